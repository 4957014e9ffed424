"""Write the main page of the report: what each study asked, and what came out."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from whypretrain.command import Job, run_stage
from whypretrain.evidence import advising
from whypretrain.evidence.missing import sentence
from whypretrain.figures.plotting import choice, wording
from whypretrain.figures.plotting.view import View
from whypretrain.files.restructured import heading, list_table, plain, write_page
from whypretrain.files.storage import read_columns
from whypretrain.grid.coordinates import ARM_KEYS

READ = ("verdicts", "arms", "sources", "advice")

INTRODUCTION = """\
What was asked, and what came out. The figures are under *Results* in the menu, a category for each study. Numbers here
are read from the tables, and every interval is over seeds.
"""

LISTED = 30  # arms that aren't complete
PARTIAL = """\
This page, its figures and its tables are made from what is there. A run counts with all learning rates of its seed, and
where it is what config and code would make now. Arms without any seed are left out as if the study hadn't asked for
them; others may have fewer seeds than the study, and are compared on the seeds that both have. A claim is judged only
where all that it rests on is there. The table ``missing`` names every run, source and read-out that doesn't count, and
why; ``completeness`` counts them for each arm.
"""

READING = """\
Verdicts
    A claim is a paper's statement, written as differences between arms, seed by seed, with a test and a margin that
    were fixed before the runs. Effect and interval are of the difference that decided. Its limits are those that the
    verdict rests on, at a level that is adjusted, like the p values, for the number of that paper's claims (Holm). The
    share in brackets is how often, at least, such an interval holds the true difference, for each claim by itself;
    of all intervals together less is true. Differences with ties, and counts, are tested by flips of signs, others by
    Student's t; a difference that is 0 for every seed is no evidence. Where a margin is a share of what
    pre-training gains, the share was fixed; the gain is the mean of these runs, and its own error isn't counted.
supported
    Superiority: the interval lies above zero and the effect is at least the margin. Non-inferiority: the interval lies
    above minus the margin. Equivalence: the interval lies within plus or minus the margin.
contradicted
    Superiority: the interval lies below the margin. Non-inferiority: below minus the margin. Equivalence: wholly
    outside plus or minus the margin. Of several differences that must all hold, one that is contradicted is enough; of
    several of which any will do, all must be. Where one is enough, it has a share of the level.
inconclusive
    Anything else; the reason says what is missing. *Too few seeds* gives the number that would do. *Grid edge*: a
    learning rate was selected at the end of its grid, and a better one beyond it could overturn the verdict. *No assay
    sensitivity*: intact and scratch are too close, so there was nothing to lose.
Units
    Effect, interval and margin are in points of top-1 (100 points are 1), also for each layer or each doubling of
    pre-training where it is a slope, in checkpoints where it is a place along pre-training, or of cosine, CKA or rank
    correlation; reasons give all of them as fractions. A component that has a margin of its own is judged by that.
Interaction
    A setting called "a minus b" compares the effect in two settings.
"""

ADVICE = """\
The best way of using each source on test images, and those that multiple comparisons with the best can't tell from it
(paired tests over seeds, Bonferroni, p above 0.05): any of these may be taken, the cheapest as well. Expected is the
share of test images that is right when the way is chosen on all seeds but the one it is scored on, with a 95 %
interval for repeated splits of one set of images (Nadeau and Bengio 2003); n is the number of seeds. Balanced accuracy
is the mean over classes of the share of a class's test images that is right. Where neither interval lies above what
guessing gives, nothing was learnt, as far as these seeds can tell.
"""

TABLES = """\
All numbers stand in the tables, in the folder ``tables`` beside this report: ``verdicts``, ``contrasts`` (paired
differences), ``arms`` (means with intervals), ``runs`` (a row for each training), ``history``, ``kernels``,
``sources``, ``starts``, ``transfer`` (curves over layers), ``maturity`` and ``correlations`` (over checkpoints),
``modes`` and ``advice`` (which way of using a source is best),
``spectra`` and ``parts`` (of features), ``similarity``, ``criticality``, ``pairs`` and ``barriers`` (of weights and
activations), ``design`` (which study a run belongs to) and ``provenance``. They are Parquet files; each
column carries its description.
"""


def quantity(value: float, unit: str) -> str:
    """Write a number of a claim in its unit: points of top-1, of which 100 are 1, or a plain number."""
    if pd.isna(value):
        return "–"
    if unit.startswith("points"):
        return wording.points(value)
    return f"{value:.{1 if unit == 'steps' else 3}f}".replace("-", "−")


def told_why(row: Mapping[Any, Any]) -> str:
    """Return why a verdict is what it is, and whether it tells of one source network alone."""
    return f"{row['reason']}; of one source network alone" if row["one_source"] else str(row["reason"])


def verdict_table(verdicts: pd.DataFrame) -> str:
    """Return the table of a study's verdicts, and what its claims say."""
    if verdicts.empty:
        return "This study decides no claim.\n"
    rows = [["claim", "setting", "effect (interval)", "margin", "n", "verdict", "reason"]]
    for row in verdicts.to_dict("records"):
        unit = row["unit"]
        effect, low, high, margin = (quantity(row[name], unit) for name in ("effect", "low", "high", "margin"))
        between = "no interval" if "–" in (low, high) else f"{low} to {high}, {100 * row['coverage']:.0f} %"
        rows.append(
            [
                plain(row["claim"]),
                plain(row["setting"]),
                f"{effect} {unit} ({between})",
                margin,
                str(row["n"]),
                f"**{row['verdict']}**",
                plain(told_why(row)),
            ]
        )
    claims = verdicts.drop_duplicates(["claim", "statement"]).to_dict("records")
    said = [
        f"- {plain(row['claim'])}{', interaction' if ' minus ' in row['setting'] else ''} ({plain(row['paper'])}; "
        f"test: {row['test']}): {plain(row['statement'])}"
        for row in claims
    ]
    return "\n".join([list_table(rows, [7, 15, 20, 7, 4, 14, 33]), *said, ""])


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
        f"- {words} with layers that reconstruct what they take but for {100 * errors.min():.1f} to "
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
            words = f"{plain(architecture)} ends its pre-training on {plain(name)}"
            if name in view.published:
                lines.append(
                    f"- {plain(architecture)} from {plain(name)} is one source network, the same with every seed."
                )
            if (rows["objective"] == "reconstruction").any():
                lines.append(reconstruction_line(rows, words))
                continue
            ends = rows[rows["annealed"]] if rows["annealed"].any() else rows
            by_chance = bool((rows["objective"] == "random-labels").any())
            column, what = ("top1_train", "top-1 on its random labels") if by_chance else ("top1_test", "test top-1")
            ends = ends.loc[ends["epoch"] == ends["epoch"].max(), column].dropna()  # without a head there is none
            if len(ends):
                lines.append(
                    f"- {words} with {100 * ends.mean():.1f} % "
                    f"{what} (seeds from {100 * ends.min():.1f} to {100 * ends.max():.1f} %, n = {len(ends)})."
                )
    return lines


def arm_table(arms: pd.DataFrame, view: View) -> str:
    """Return a table with a row for each architecture and setting: intact, all kernels shuffled, scratch."""
    panels = {
        (architecture, setting): {
            arm.name: arm.rows.to_dict("records")[0]
            for arm in choice.main_arms(choice.in_panel(arms, view, architecture, setting), view)
        }
        for architecture in view.architectures
        for setting in choice.settings_of(arms, view)
    }
    names = list(dict.fromkeys(name for found in panels.values() for name in found))
    if not names:
        return f"{wording.ABSENT.capitalize()}: intact, all kernels shuffled, scratch.\n"
    rows = [["architecture", "setting", *map(plain, names), "guessing", "n"]]
    for (architecture, setting), found in panels.items():
        if found:
            cells = [share(found[name]) if name in found else "–" for name in names]
            n = wording.how_many(row["n"] for row in found.values()).removeprefix("n = ")
            guess = f"{100 * next(iter(found.values()))['largest_class']:.1f}"
            rows.append([plain(architecture), plain(f"{setting.name} ({setting.label})"), *cells, guess, n])
    return list_table(rows, [12, 26, *[18] * len(names), 8, 4])


def advice_section(advice: pd.DataFrame, view: View) -> list[str]:
    """Return what to do in each cell of a study's mode map, a sentence each."""
    sources = {setting["name"]: setting["source"] for setting in view.settings}
    said = [f"- {plain(advising.sentence(row, sources.get(row['setting'], '')))}" for row in advice.to_dict("records")]
    return [heading("What to do", "~"), ADVICE if said else "No two ways were compared in any setting.\n", *said, ""]


def study_section(
    study: dict[str, Any], verdicts: pd.DataFrame, arms: pd.DataFrame, sources: pd.DataFrame, advice: pd.DataFrame
) -> str:
    """Return the section of one study: question, verdicts, what to do where it asks for that, key numbers."""
    view = View(**study["view"])
    arms = choice.of_study(arms, view)
    edges, total = int(arms["grid_edge"].sum()), len(arms)
    diverged, collapsed, unconverged = (int(arms[name].sum()) for name in ("diverged", "collapsed", "unconverged"))
    numbers = source_lines(sources, arms, view)
    numbers.append(
        f"- Of {total} arms {edges} have the selected learning rate at the edge of its grid; at the selected "
        f"rates {diverged} runs diverged and {collapsed} collapsed, and {unconverged} probes did not converge."
    )
    return "\n".join(
        [
            heading(view.title or view.study, "-"),
            plain(study["question"]) + "\n",
            verdict_table(choice.of_study(verdicts, view)),
            *(advice_section(choice.of_study(advice, view), view) if study["advice"] else []),
            heading("Key numbers", "~"),
            "Test top-1 (%) on the target, means with 95 % t-intervals over seeds, each arm at the learning rate that "
            "validation selected (†: that rate is at the edge of its grid); guessing: always the largest class:\n",
            arm_table(arms, view),
            *numbers,
            "",
        ]
    )


def partial_section(studies: Sequence[str], missing: pd.DataFrame, completeness: pd.DataFrame) -> str:
    """Return what stands on top of a page of studies that aren't complete: how much of each is there."""
    told = [f"- {plain(study)}: {plain(sentence(completeness, study))}" for study in studies]
    rows = [["study", "arm", "runs there", "seeds there"]]
    gaps = completeness[completeness["runs_there"] < completeness["runs"]]
    for row in gaps.head(LISTED).to_dict("records"):
        arm = ", ".join(str(row[key]) for key in ARM_KEYS)
        there = [f"{row[f'{what}_there']} of {row[what]}" for what in ("runs", "seeds")]
        rows.append([plain(row["study"]), plain(arm), *there])
    if len(gaps) > LISTED:
        rows.append(["…", f"and {len(gaps) - LISTED} more, in the table completeness", "…", "…"])
    others = missing.loc[missing["what"] != "runs", "what"].astype(str).value_counts().sort_index()
    if len(others):
        counts = ", ".join(f"{count} of {plain(what)}" for what, count in others.items())
        told.append(f"- Read-outs and histories that are missing: {counts}.")
    return "\n".join(
        [
            heading("Partial results", "-"),
            f"**{plain(sentence(completeness))}** {PARTIAL}",
            *told,
            "",
            list_table(rows, [15, 60, 12, 12]) if len(rows) > 1 else "No run is missing.\n",
        ]
    )


def page(
    spec: dict[str, Any],
    verdicts: pd.DataFrame,
    arms: pd.DataFrame,
    sources: pd.DataFrame,
    advice: pd.DataFrame,
    *partial: pd.DataFrame,
) -> str:
    """Return the whole page; `partial` are `missing` and `completeness`, of studies that may not be complete."""
    names = [study["view"]["study"] for study in spec["studies"]]
    return "\n".join(
        [
            heading(f"Why does pre-training work?{' (partial)' if partial else ''}", "="),
            *([partial_section(names, *partial)] if partial else []),
            INTRODUCTION,
            *(study_section(study, verdicts, arms, sources, advice) for study in spec["studies"]),
            heading("How to read this", "-"),
            READING,
            heading("Where the numbers are", "-"),
            TABLES,
        ]
    )


def main(job: Job) -> None:
    """Read `verdicts`, `arms`, `sources` and `advice`; write the page, its origin in comments on top."""
    files = [*(job.file(name) for name in READ), *job.files("partial")]
    tables = (read_columns(file)[0].to_pandas() for file in files)
    write_page(job.file("page"), page(job.spec, *tables), job.origin())


if __name__ == "__main__":
    run_stage(main)
