"""What tests look for in a drawn figure: its bytes, its words, and whether they can be read."""

import io
import itertools
import re
import warnings
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from whypretrain import registry
from whypretrain.figures.plotting import drawing
from whypretrain.figures.plotting.view import View
from whypretrain.registry import constants

Tables = dict[str, pd.DataFrame]
Words = list[tuple[str, Bbox]]


def drawn(name: str, tables: Tables, view: View, weights: drawing.Loaded | None = None) -> Figure:
    """Draw a figure as its stage does, from its tables alone."""
    asked = {table: tables[table] for table in constants("figures", name)["TABLES"]}
    figure = registry.load("figures", name).draw(asked, view, weights or [])
    drawing.settle(figure)
    return figure


def assert_drawn(name: str, tables: Tables, view: View) -> None:
    """Hold that a figure is drawn without a warning, has a title and no number that is none, and can be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = drawn(name, tables, view)
        written = svg(figure)
    assert len(written) > 1000
    assert title_of(figure).strip()
    headings = [figure._supxlabel, *(part._suptitle for part in figure.subfigs)]  # type: ignore[attr-defined]
    shown = [text for text in headings if text]
    words = [text for text, _ in words_of(figure)] + [text.get_text() for text in shown]
    assert not re.search(r"\bnan\b|\binf\b", " ".join(words), re.IGNORECASE)
    assert figure.get_size_inches()[0] == drawing.WIDTH
    assert_legible(figure, shown)


def svg(figure: Figure) -> bytes:
    """Return a figure's bytes, as its stage writes them."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def title_of(figure: Figure) -> str:
    """Return a figure's title in one line."""
    return figure.get_suptitle().replace("\n", " ").replace("\u00a0", " ")


def words_of(figure: Figure) -> list[tuple[str, Bbox]]:
    """Return all texts outside tick labels, with their places."""
    texts: list[Text] = [figure._suptitle]  # type: ignore[attr-defined]
    for axes in figure.get_axes():
        texts += [axes.title, axes._left_title]  # type: ignore[attr-defined]
        texts += list(axes.texts)
        if axes.axison:
            texts += [axes.xaxis.label, axes.yaxis.label]
    words = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    return words + [("legend", each.get_window_extent()) for each in figure.legends]


def ticks_of(figure: Figure) -> list[list[tuple[str, Bbox]]]:
    """Return the tick labels of each axis, with their places."""
    found = []
    for axes in figure.get_axes():
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            low, high = sorted(axis.get_view_interval())
            labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            found.append([(t.get_text(), t.get_window_extent()) for t in labels if t.get_text() and t.get_visible()])
    return found


def overlap(a: Bbox, b: Bbox) -> bool:
    """Return whether two boxes share more than a pixel at their rims."""
    return a.padded(-1).overlaps(b.padded(-1)) and min(a.width, a.height, b.width, b.height) > 2


def assert_legible(figure: Figure, headings: Sequence[Text] = ()) -> None:
    """Fail where a text leaves the page or covers another; `headings` are texts beside those that are found."""
    figure.draw_without_rendering()  # the file's resolution was another one
    page, ticks = figure.bbox, ticks_of(figure)
    words = words_of(figure) + [(text.get_text(), text.get_window_extent()) for text in headings]
    for text, box in [*words, *itertools.chain.from_iterable(ticks)]:
        assert page.x0 - 1 <= box.x0, text
        assert box.x1 <= page.x1 + 1, text
        assert page.y0 - 1 <= box.y0, text
        assert box.y1 <= page.y1 + 1, text
    for labels in [*ticks, words]:
        for (text, a), (other, b) in itertools.combinations(labels, 2):
            assert not overlap(a, b), (text, other)
    for (text, a), (other, b) in itertools.product(words, itertools.chain.from_iterable(ticks)):
        assert not overlap(a, b), (text, other)
