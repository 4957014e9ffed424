"""Pieces of reStructuredText, as the report shows it."""

import re

from whypretrain.files.origins import BLANK, Origin
from whypretrain.files.storage import text_writer, write_sealed


def plain(text: object) -> str:
    """Return a text as reStructuredText shows it literally, wherever it stands; Jinja finds nothing in it either."""
    words = " ".join(str(text).split())
    return "\\ " + re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", words)


def comment(name: str, text: str) -> str:
    """Return a comment that carries JSON, or a word; Jinja finds nothing to replace in it."""
    return f".. {name}: {re.sub(r'{(?=[{%#])', lambda _: chr(92) + 'u007b', text)}\n"


def write_page(path: str, text: str, origin: Origin) -> None:
    """Write a page with its origin and its seal in comments on top."""
    told = {**origin.columns(), "seal": BLANK.decode()}
    write_sealed(path, text_writer("".join(comment(name, value) for name, value in told.items()) + "\n" + text))


def heading(text: str, line: str) -> str:
    """Return a section's heading."""
    return f"{plain(text)}\n{line * (2 * len(plain(text)))}\n"


def list_table(rows: list[list[str]], widths: list[int]) -> str:
    """Return a table of cells that are reStructuredText; the first row is the head."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for cells in rows:
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(cells)]
    return "\n".join([*lines, ""])
