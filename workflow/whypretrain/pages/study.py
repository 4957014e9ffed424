"""A study's section: what was asked, how it was run, what came out, and the numbers behind it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from whypretrain.evidence import advising
from whypretrain.figures.plotting import choice, wording
from whypretrain.figures.plotting.view import View
from whypretrain.pages import html
from whypretrain.pages.board import counted

NAMED = 6  # treatments, modes, … that a drawing of the design names; of more it says how many


def share(row: Mapping[Any, Any]) -> str:
    """Write an arm's test accuracy in % with its interval; a dagger says that its rate is at the grid's edge."""
    low, high = row["top1_test_low"], row["top1_test_high"]
    interval = "no interval" if pd.isna(low) else f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{100 * row['top1_test']:.1f} ({interval}){' †' if row['grid_edge'] else ''}"


def reconstruction_line(rows: pd.DataFrame, words: str) -> str:
    """Return the line of a source whose layers learnt to reconstruct what they take, from its rows of `sources`."""
    last = rows.sort_values("step", kind="stable").groupby(["layer", "seed"], observed=True).tail(1)
    errors = last.groupby("layer", observed=True)["reconstruction_test"].mean()
    return (
        f"{words} with layers that reconstruct what they take but for {100 * errors.min():.1f} to "
        f"{100 * errors.max():.1f} % of its variance on test images (means over n = {last['seed'].nunique()})."
    )


def source_lines(sources: pd.DataFrame, arms: pd.DataFrame, view: View) -> list[str]:
    """Return a line for each architecture and source of the study: where its pre-training ended.

    Of one that learns to reconstruct it is what its layers end with, of one on random labels how many it has learnt.
    """
    lines = []
    used = arms.loc[arms["source"] != choice.UNTRAINED, ["architecture", "source"]].astype(str).drop_duplicates()
    for architecture in view.architectures:
        for name in sorted(used.loc[used["architecture"] == architecture, "source"]):
            rows = sources[(sources["architecture"] == architecture) & (sources["source"] == name)]
            words = f"{architecture} ends its pre-training on {name}"
            if name in view.published:
                lines.append(f"{architecture} from {name} is one source network, the same with every seed.")
            if (rows["objective"] == "reconstruction").any():
                lines.append(reconstruction_line(rows, words))
                continue
            ends = rows[rows["annealed"]] if rows["annealed"].any() else rows
            by_chance = bool((rows["objective"] == "random-labels").any())
            column, what = ("top1_train", "top-1 on its random labels") if by_chance else ("top1_test", "test top-1")
            ends = ends.loc[ends["epoch"] == ends["epoch"].max(), column].dropna()  # without a head there is none
            if len(ends):
                lines.append(
                    f"{words} with {100 * ends.mean():.1f} % "
                    f"{what} (seeds from {100 * ends.min():.1f} to {100 * ends.max():.1f} %, n = {len(ends)})."
                )
    return lines


def main_panels(arms: pd.DataFrame, view: View) -> dict[tuple[str, choice.Setting], dict[str, Mapping[Any, Any]]]:
    """Return for each architecture and setting the rows of intact, all kernels shuffled and scratch, by name."""
    return {
        (architecture, setting): {
            arm.name: arm.rows.to_dict("records")[0]
            for arm in choice.main_arms(choice.in_panel(arms, view, architecture, setting), view)
        }
        for architecture in view.architectures
        for setting in choice.settings_of(arms, view)
    }


def arm_table(arms: pd.DataFrame, view: View) -> dict[str, list[Any]]:
    """Return head and rows of a table: a row for each architecture and setting that has such arms."""
    panels = main_panels(arms, view)
    names = list(dict.fromkeys(name for found in panels.values() for name in found))
    rows = []
    for (architecture, setting), found in panels.items():
        if found:
            cells = [share(found[name]) if name in found else "–" for name in names]
            n = wording.how_many(row["n"] for row in found.values()).removeprefix("n = ")
            guess = f"{100 * next(iter(found.values()))['largest_class']:.1f}"
            rows.append([architecture, f"{setting.name} ({setting.label})", *cells, guess, n])
    return {"head": ["architecture", "setting", *names, "guessing", "n"], "rows": rows}


def health(arms: pd.DataFrame) -> str:
    """Say how many arms and runs of a study are not as they should be."""
    edges, total = int(arms["grid_edge"].sum()), len(arms)
    diverged, collapsed, unconverged = (int(arms[name].sum()) for name in ("diverged", "collapsed", "unconverged"))
    return (
        f"Of {total} arms {edges} have the selected learning rate at the edge of its grid; at the selected "
        f"rates {diverged} runs diverged and {collapsed} collapsed, and {unconverged} probes did not converge."
    )


def _named(words: Sequence[str]) -> list[str]:
    found = sorted(set(words))
    return found if len(found) <= NAMED else [*found[: NAMED - 1], f"and {len(found) - NAMED + 1} more"]


def design(arms: pd.DataFrame, view: View, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the steps of a study's design, each with what it has of them, from `arms` and config."""
    trained = arms[arms["source"] != choice.UNTRAINED]
    treated = trained.loc[trained["treatment"] != "intact", ["treatment", "span"]].astype(str)
    untrained = arms[arms["source"] == choice.UNTRAINED]
    seeds, pilots = (sum(len(block) for block in config[f"{kind}_blocks"]) for kind in ("seed", "pilot"))
    steps = {
        "Networks": list(view.architectures),
        "Sources": [
            *_named([f"{s} at epoch {e}" for s, e in trained[["source", "epoch"]].astype(str).to_numpy()]),
            *(["none: from scratch"] if len(untrained) else []),
        ],
        "Treatments": ["intact", *_named([f"{treatment} of {span}" for treatment, span in treated.to_numpy()])],
        "What learns": _named([str(mode) for mode in arms["mode"]]),
        "Targets": _named(
            [
                f"{t}, {'all images' if n == 'full' else f'{n} images per class'}"
                for t, n in arms[["target", "shots"]].astype(str).to_numpy()
            ]
        ),
        "Seeds": [f"{seeds} that decide", f"{pilots} other{'' if pilots == 1 else 's'} that select learning rates"],
    }
    return [{"name": name, "entries": entries} for name, entries in steps.items()]


def gain(arms: pd.DataFrame, view: View) -> str:
    """Say what pre-training is worth by itself in the study's first setting that tells; empty where none does."""
    for (architecture, setting), found in main_panels(arms, view).items():
        if choice.INTACT in found and choice.SCRATCH in found:
            intact, scratch = found[choice.INTACT], found[choice.SCRATCH]
            return (
                f"With {architecture}, {setting.label}, the pre-trained network as it is comes to "
                f"{100 * intact['top1_test']:.1f} % of test images right, one from scratch to "
                f"{100 * scratch['top1_test']:.1f} % (n = {int(intact['n'])})."
            )
    return ""


def sentences(arms: pd.DataFrame, rows: Sequence[Mapping[str, Any]], view: View) -> list[str]:
    """Say in two or three sentences what was run and what came out; `rows` are the study's of the board."""
    runs = int(arms["n"].sum())
    told = f"{len(arms)} arms, {runs:,} runs on seeds that decide."
    if not len(arms):
        told = "No run of this study is there."
    if not rows:
        return [told, "It decides no claim.", gain(arms, view)]
    verdicts = counted([row["verdict"] for row in rows])
    count = f"{len(rows)} verdict{'' if len(rows) == 1 else 's'}: {verdicts}."
    return [told, count, *(outcome(rows, verdict) for verdict in ("supported", "contradicted")), gain(arms, view)]


def outcome(rows: Sequence[Mapping[str, Any]], verdict: str) -> str:
    """Say in words which claims came out so, with the settings in which they did; empty where none did."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row["verdict"] == verdict:
            found.setdefault((row["statement"], row["claim"]), []).append(row["setting"])
    named = [f"“{said.rstrip('.')}” ({claim}, {wording.listed(where)})" for (said, claim), where in found.items()]
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return f"{verdict.capitalize()}: {'; '.join(named[:NAMED])}{more}." if named else ""


def advice_lines(advice: pd.DataFrame, view: View) -> list[str]:
    """Return what to do in each cell of a study's mode map, a sentence each."""
    sources = {setting["name"]: setting["source"] for setting in view.settings}
    return [advising.sentence(row, sources.get(row["setting"], "")) for row in advice.to_dict("records")]


def section(
    study: Mapping[str, Any],
    config: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    rows: Sequence[Mapping[str, Any]],
    figures: Mapping[str, str],
) -> dict[str, Any]:
    """Return all that a study's section shows; `rows` are those of the board, `figures` its files by name."""
    view = View(**study["view"])
    own = {name: choice.of_study(frame, view) for name, frame in tables.items() if "study" in frame}
    mine = [row for row in rows if row["study"] == view.study]
    numbers = [html.numbers(name, frame) for name, frame in own.items() if len(frame) and name in SHOWN]
    asked = config["studies"][view.study]
    return {
        "name": view.study,
        "title": view.title or view.study,
        "question": " ".join(study["question"].split()),
        "sentences": [told for told in sentences(own["arms"], mine, view) if told],
        "design": design(own["arms"], view, config),
        "claims": mine,
        "advised": study["advice"],
        "advice": advice_lines(own["advice"], view) if study["advice"] else [],
        "sources": source_lines(tables["sources"], own["arms"], view),
        "arms": arm_table(own["arms"], view),
        "health": health(own["arms"]),
        "figures": [
            {**figure, **html.drawn(figures[figure["name"]]), "caption": html.caption(figure["name"], view.study)}
            for figure in study["figures"]
        ],
        "numbers": numbers,
        "shown": [each["name"] for each in numbers],
        "config": yaml.safe_dump(
            {"studies": {view.study: asked}, "claims": {name: config["claims"][name] for name in asked["claims"]}},
            sort_keys=False,
            allow_unicode=True,
        ),
    }


SHOWN = ("verdicts", "arms", "contrasts", "transfer", "maturity", "correlations", "modes", "advice")
