"""Pieces of HTML: the report's templates, its figures with what they say, and tables to look at and to take away."""

import base64
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pandas as pd
from docutils.core import publish_parts
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from whypretrain import registry
from whypretrain.files.schemas import TABLES

TEMPLATES = registry.PACKAGE.parent / "report"
TITLE = "{http://purl.org/dc/elements/1.1/}title"
SHOWN_ROWS = 30  # of a table on the page; the files have all
CSV_ROWS = 5000  # of a table that the page carries as CSV
TRUSTED = {"raw_enabled": False, "file_insertion_enabled": False, "report_level": 5}


def environment() -> Environment:
    """Return the templates, which escape all that they are given."""
    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def data_uri(content: bytes, kind: str) -> str:
    """Return a content as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def caption(figure: str, study: str) -> Markup:
    """Return the caption of a figure, which says how to read it."""
    text = (TEMPLATES / f"{figure}.rst").read_text(encoding="utf-8")
    asked = SimpleNamespace(wildcards=SimpleNamespace(study=study))
    said = Environment().from_string(text).render(snakemake=asked)
    return Markup(publish_parts(said, writer="html5", settings_overrides=TRUSTED)["fragment"])


def drawn(path: str) -> dict[str, str]:
    """Return a figure as an address that holds it, with its title: the finding."""
    content = Path(path).read_bytes()
    title = ElementTree.fromstring(content).find(f".//{TITLE}")
    said = title.text if title is not None and title.text else "A figure"
    return {"source": data_uri(content, "image/svg+xml"), "title": " ".join(said.split())}


def cell(value: Any) -> str:
    """Write a value of a table as a reader takes it in."""
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)


def numbers(name: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Return some rows of a table: the columns that differ, what is the same in all of them, and all as CSV."""
    same = [column for column in rows if len(rows) > 1 and rows[column].nunique(dropna=False) == 1]
    shown = rows.drop(columns=same).head(SHOWN_ROWS)
    return {
        "name": name,
        "count": len(rows),
        "same": {column: cell(rows[column].tolist()[0]) for column in same},
        "columns": {column: str(TABLES[name][str(column)].description) for column in shown},
        "rows": [[cell(value) for value in row] for row in shown.to_dict("split")["data"]],
        "csv": data_uri(rows.to_csv(index=False).encode(), "text/csv") if len(rows) <= CSV_ROWS else "",
    }


def in_comment(name: str, text: str) -> str:
    """Return a line for an HTML comment that carries JSON, or a word; nothing in it ends the comment."""
    return f".. {name}: {text.replace('<', chr(92) + 'u003c').replace('>', chr(92) + 'u003e')}"


def table_library() -> Mapping[str, str]:
    """Return DataTables, as itables carries it: its script as an address that holds it, and its style."""
    from importlib.metadata import distribution

    files = distribution("itables")
    script, style = (Path(str(files.locate_file(f"itables/html/dt_bundle.{end}"))) for end in ("js", "css"))
    return {"script": data_uri(script.read_bytes(), "text/javascript"), "style": style.read_text(encoding="utf-8")}
