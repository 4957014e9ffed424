"""The words of titles, headings and legends."""

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence

import numpy as np

ABSENT = "no such arm in this study"
ALL = "full"  # shots: every training image
NAMED = 2  # places that a title names; of more it gives the range
FRACTIONS = {0.125: "⅛", 0.25: "¼", 0.375: "⅜", 0.5: "½", 0.625: "⅝", 0.75: "¾", 0.875: "⅞"}
# a number stays with what it is of
TIED = re.compile(r" (?==)|(?<==) |(?<=\d) (?=%|shots?\b)|(?<=\ball) (?=images)|(?<=\bdistance) (?=[\d−])|(?<= –) ")


def wrapped(text: str, wide: int) -> str:
    """Return a text in lines of at most so many characters; its own lines stay apart."""
    lines = (TIED.sub("\u00a0", line) for line in text.split("\n"))
    return "\n".join(part for line in lines for part in textwrap.wrap(line, wide))


def points(value: float, signed: bool = False) -> str:
    """Write a difference of fractions in points of 100, with a real minus sign."""
    return f"{100 * value:{'+' if signed else ''}.1f}".replace("-", "−")


def gain(value: float) -> str:
    """Write a difference of fractions in points, with its sign."""
    return points(value, signed=True)


def plain(value: float, form: str = ".2f") -> str:
    """Write a number with a real minus sign; NaN as `undefined`."""
    return f"{value:{form}}".replace("-", "−") if np.isfinite(value) else "undefined"


def how_many(counts: Iterable[int]) -> str:
    """Write n, or its range."""
    return f"n = {span(sorted({int(count) for count in counts}) or [0])}"


def span(values: Sequence[float], write: Callable[[float], str] = str) -> str:
    """Write a number, or from which to which several go."""
    return " to ".join(dict.fromkeys((write(min(values)), write(max(values)))))


def listed(words: Sequence[str]) -> str:
    """Join words by commas and `and`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def ranged(found: Iterable[tuple[str, float]], write: Callable[[float], str], what: str = "panels") -> str:
    """Write numbers, each with its place; of more than two their range. What isn't finite is left out."""
    known = [(place, value) for place, value in found if np.isfinite(value)]
    if not known:
        return "undefined"
    if len(known) <= NAMED:
        return listed([f"{write(value)} ({place})" for place, value in known])
    return f"{span([value for _, value in known], write)} ({len(known)} {what})"


def extremes(found: Iterable[tuple[str, str, float]]) -> str:
    """Say which curve has the least and which the largest number, in each place; in many the range over all."""
    known = [each for each in found if np.isfinite(each[2])]
    places: dict[str, list[tuple[float, str]]] = {}
    for place, name, value in known:
        places.setdefault(place, []).append((value, name))
    if not places:
        return "undefined"
    if len(places) > NAMED:
        values = [value for _, _, value in known]
        return f"{plain(min(values))} to {plain(max(values))} ({len(places)} architectures)"
    return "; ".join(
        f"{' to '.join(f'{plain(value)} ({name})' for value, name in dict.fromkeys((min(here), max(here))))} in {place}"
        for place, here in places.items()
    )


def counted(number: int, total: int, what: str) -> str:
    """Write a count of some."""
    return f"all {total} {what}s" if number == total > 1 else f"{number} of {total} {what}{'s' if total > 1 else ''}"


def epoch_text(epoch: float) -> str:
    """Write a checkpoint's epoch, the usual fractions as such."""
    whole, part = divmod(epoch, 1)
    return f"{int(whole) if whole else ''}{FRACTIONS[part]}" if part in FRACTIONS else f"{epoch:g}"


def in_order(shots: Iterable[str]) -> list[str]:
    """Return numbers of shots in order, all images last."""
    return sorted(set(shots), key=lambda each: (each == ALL, 0 if each == ALL else int(each)))


def shots_text(shots: str) -> str:
    """Say how many training images there are for each class."""
    return "all images" if shots == ALL else f"{shots} shot{'' if shots == '1' else 's'}"
