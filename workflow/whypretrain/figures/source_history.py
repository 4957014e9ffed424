"""The sources along pre-training: test accuracy of raw checkpoints and of annealed branches."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from whypretrain.figures.plotting import choice, drawing, wording
from whypretrain.figures.plotting.drawing import Panel
from whypretrain.figures.plotting.palette import Look
from whypretrain.figures.plotting.view import View

TABLES = ("sources", "arms")
COLUMNS = 3  # panels side by side
# raw and annealed of the first source, of the second, and so on
SHADES = (("#0072B2", "#E69F00"), ("#2C325F", "#D55E00"), ("#6275FF", "#682C00"), ("#22C4EC", "#FFC20A"))


def draw(tables: dict[str, pd.DataFrame], view: View, weights: drawing.Loaded) -> Figure:
    """Draw a panel for each architecture."""
    arms = choice.of_study(tables["arms"], view)
    used = arms.loc[arms["source"] != choice.UNTRAINED, ["architecture", "source"]].drop_duplicates()
    sources = used.merge(tables["sources"], on=["architecture", "source"])
    # other objectives have no accuracy, or chance; test images are read at checkpoints
    sources = sources[sources["objective"] == "labels"].dropna(subset=["top1_test"])
    looks: dict[str, Look] = {}

    def paint(axes: Axes, panel: Panel) -> set[int]:
        counts: set[int] = set()
        for number, (name, mine) in enumerate(panel.rows.astype({"source": str}).groupby("source")):
            raw, annealed = SHADES[number % len(SHADES)]
            look = looks.setdefault(f"{name} raw", Look(f"{name}, raw", raw, "-", "."))
            counts |= drawing.band(axes, mine[~mine["annealed"]], "epoch", "top1_test", look, 100)
            found = choice.estimates(mine[mine["annealed"]], "epoch", "top1_test")
            if len(found):
                look = looks.setdefault(f"{name} annealed", Look(f"{name}, annealed from there", annealed, ":", "D"))
                counts |= drawing.curve(axes, found, "epoch", look, 100)
        return counts

    return drawing.draw_panels(
        title(sources, view),
        drawing.in_lines(
            [Panel(name, sources[sources["architecture"] == name], name) for name in view.architectures], COLUMNS
        ),
        paint,
        x="epoch of pre-training",
        y="source's test top-1 (%)",
        bounds=(0, 100),
        looks=looks.values(),
        absent="no source of this architecture in this study",
    )


def title(sources: pd.DataFrame, view: View) -> str:
    """Say where the sources end, and what annealing adds."""
    said = []
    last = sources["epoch"] == sources.groupby(["architecture", "source", "annealed"], observed=True)[
        "epoch"
    ].transform("max")
    ends = sources[last].astype({"source": str})
    for architecture in view.architectures:
        rows = ends[ends["architecture"] == architecture]
        for name, mine in rows.groupby("source"):
            place = architecture if rows["source"].nunique() == 1 else f"{architecture}, {name}"
            raw, annealed = mine[~mine["annealed"]], mine[mine["annealed"]]
            over = choice.difference(annealed, raw)
            note = ", not annealed" if annealed.empty else f"; annealing: {wording.gain(over.mean)}" if over.n else ""
            told = raw if annealed.empty else annealed
            said.append(f"{wording.points(told['top1_test'].mean())} % ({place}{note})")
    if not said:
        return "Pre-training: no source in this study"
    seeds = sources.groupby(["architecture", "source"], observed=True)["seed"].nunique()
    return f"Sources end at {wording.listed(said)} test top-1 ({wording.how_many(seeds)})"
