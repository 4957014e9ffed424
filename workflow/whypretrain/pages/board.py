"""The verdict board: a row for each claim and setting, in words and with its interval drawn against its margin."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from whypretrain.figures.plotting import choice, wording
from whypretrain.figures.plotting.view import View

MARKS = {"supported": "▲", "contradicted": "▼", "inconclusive": "○"}  # told apart without colours
WIDTH, MIDDLE, REACH = 180, 90, 80  # of a drawing, pixels: zero stands in the middle
SPAN = 4  # margins on either side of zero
SIDES = {"non-inferiority": (-1,), "equivalence": (-1, 1)}  # of zero on which a test's margin is; else above it


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


def interval(row: Mapping[Any, Any]) -> str:
    """Write an interval with its coverage."""
    low, high = (quantity(row[name], row["unit"]) for name in ("low", "high"))
    return "no interval" if "–" in (low, high) else f"{low} to {high}, {100 * row['coverage']:.0f} %"


def forest(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return where effect, interval and margins are drawn, pixels: all in margins, so that rows can be compared.

    Without a margin the farthest limit stands at the rim. Limits beyond the rim are cut, with an arrow.
    """
    sizes = [abs(row[name]) for name in ("effect", "low", "high") if math.isfinite(row[name])]
    has_margin = math.isfinite(row["margin"]) and row["margin"] > 0
    unit = row["margin"] if has_margin else max(sizes, default=0) / SPAN or 1

    def place(value: float) -> float | None:
        if math.isnan(value):
            return None
        return round(MIDDLE + REACH * min(max(value / unit, -SPAN), SPAN) / SPAN, 1)

    low, high = place(row["low"]), place(row["high"])
    sides = {side for test in row["test"].split(" and ") for side in SIDES.get(test, (1,))}
    return {
        "effect": place(row["effect"]),
        "low": low,
        "high": high,
        "cut_effect": abs(row["effect"]) / unit > SPAN,
        "cut_low": low is not None and row["low"] / unit < -SPAN,
        "cut_high": high is not None and row["high"] / unit > SPAN,
        "margins": [place(side * unit) for side in sorted(sides) if has_margin],
    }


def figure_of(row: Mapping[Any, Any], figures: Sequence[str]) -> str:
    """Return the figure that shows what a claim is about, the study's first if no other does; empty without any."""
    wanted = {"of cosine": "kernel-cosine", "of CKA": "pairs-by-layer", "nats": "shuffling-dose"}
    name = next((figure for unit, figure in wanted.items() if str(row["unit"]).startswith(unit)), "")
    return name if name in figures else next(iter(figures), "")


def board(verdicts: pd.DataFrame, studies: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the board, study by study; `studies` are those of the report's spec."""
    rows: list[dict[str, Any]] = []
    for study in studies:
        view = View(**study["view"])
        settings = choice.settings_of(verdicts, view) if view.settings else []
        for row in choice.of_study(verdicts, view).to_dict("records"):
            number = len(rows) + 1
            # of several pairs each has a number
            found = [each.label for each in settings if re.fullmatch(rf"{re.escape(row['setting'])}( \d+)?", each.name)]
            effect, margin = (quantity(row[name], row["unit"]) for name in ("effect", "margin"))
            rows.append(
                {
                    **{str(name): value for name, value in row.items()},
                    "number": number,
                    "title": view.title or view.study,
                    "mark": MARKS[row["verdict"]],
                    "between": " and ".join(found) if len(found) < 3 else f"{len(found)} pairs of source and target",
                    "told_effect": effect,
                    "told_margin": margin,
                    "interval": interval(row),
                    "why": told_why(row),
                    "forest": forest(row),
                    "in_margins": row["effect"] / row["margin"] if row["margin"] else math.nan,
                    "figure": figure_of(row, [figure["name"] for figure in study["figures"]]),
                }
            )
    return rows


def counted(verdicts: Sequence[str]) -> str:
    """Count verdicts in words."""
    counts = Counter(verdicts)
    return wording.listed([f"{counts[verdict]} {verdict}" for verdict in MARKS if counts[verdict]])
