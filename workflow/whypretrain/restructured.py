"""Pieces of reStructuredText, as the report shows it."""

import re


def plain(text: object) -> str:
    """Return a text as reStructuredText shows it literally, wherever it stands; Jinja finds nothing in it either."""
    words = " ".join(str(text).split())
    return "\\ " + re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", words)


def comment(name: str, text: str) -> str:
    """Return a comment that carries JSON, or a word; Jinja finds nothing to replace in it."""
    return f".. {name}: {re.sub(r'{(?=[{%#])', lambda _: chr(92) + 'u007b', text)}\n"


def heading(text: str, line: str) -> str:
    """Return a section's heading."""
    return f"{plain(text)}\n{line * (2 * len(plain(text)))}\n"


def list_table(rows: list[list[str]], widths: list[int]) -> str:
    """Return a table of cells that are reStructuredText; the first row is the head."""
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {' '.join(map(str, widths))}", ""]
    for cells in rows:
        lines += [f"   {'*' if number == 0 else ' '} - {cell}" for number, cell in enumerate(cells)]
    return "\n".join([*lines, ""])
