"""Fonts for the names that users give: matplotlib's own, and of those installed what its own lacks."""

from collections.abc import Iterable
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"


def _held(path: str) -> set[str]:
    """Return the characters of a font; none of one that matplotlib can't draw, as those of coloured bitmaps."""
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return set()
    return set(map(chr, font.get_charmap())) if font.scalable else set()


def choose(text: str) -> set[str]:
    """Let matplotlib use the installed fonts that a text needs, and return the characters that none of them has."""
    left = {each for each in text if not each.isspace()} - _held(font_manager.findfont(OWN))
    families = [OWN]
    paths = [path for path in sorted(font_manager.findSystemFonts()) if "lastresort" not in path.lower()]
    held = {path: left & _held(path) for path in paths} if left else {}
    while best := max(held, key=lambda path: len(held[path] & left), default=""):
        if not held[best] & left:
            break
        font_manager.fontManager.addfont(best)
        families.append(font_manager.FontProperties(fname=best).get_name())
        left -= held[best]
    matplotlib.rcParams["font.family"] = families
    return left


def coded(value: Any, characters: Iterable[str]) -> Any:
    """Return a value of JSON in which some characters are written as their codes, as `[U+732B]`."""
    if isinstance(value, dict):
        return {key: coded(each, characters) for key, each in value.items()}
    if isinstance(value, list):
        return [coded(each, characters) for each in value]
    return value.translate({ord(c): f"[U+{ord(c):04X}]" for c in characters}) if isinstance(value, str) else value


def note(names: Iterable[str]) -> str:
    """Say which names no installed font can draw; nothing where all can be."""
    if not (undrawn := [name for name in names if choose(name)]):
        return ""
    return (
        f"No installed font has all characters of {', '.join(undrawn)}; figures write these as codes. Install a font "
        "that has them, such as Noto Sans CJK or Noto Emoji (not the coloured one)."
    )
