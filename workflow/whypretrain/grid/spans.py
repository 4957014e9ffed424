"""Spans: which layers of a network a treatment is done to, by name."""

import re

from whypretrain.networks.card import Card

SPAN = re.compile(r"(?P<kind>all|top|bottom|only|above)(?:-(?P<number>\d+))?")


def span_layers(span: str, card: Card) -> tuple[int, ...]:
    """Return the numbers of the layers, from 1 at the input, that a span names.

    `all`, `top-K`, `bottom-K` and `only-L` count convolutions, or all layers of a network with fewer than two;
    `above-N` counts all layers. Raises ValueError where the span is not one, or goes beyond the network.
    """
    match = SPAN.fullmatch(span)
    if not match or (match["kind"] == "all") != (match["number"] is None):
        raise ValueError(f"'{span}' is no span; allowed: all, top-K, bottom-K, only-L, above-N")
    counted = _counted(card)
    if match["kind"] == "all":
        return counted
    kind, number = match["kind"], int(match["number"])
    if kind == "above":
        counted = tuple(range(1, card.depth + 1))
    if number > len(counted) or (kind == "only" and number == 0):
        what = "layers" if len(counted) == card.depth else "convolutions"
        raise ValueError(f"the span '{span}' goes beyond the network, which has {what} 1 to {len(counted)}")
    if kind == "only":
        return (counted[number - 1],)
    return {"top": counted[len(counted) - number :], "bottom": counted[:number], "above": counted[number:]}[kind]


def _counted(card: Card) -> tuple[int, ...]:
    convolutions = tuple(layer.number for layer in card.layers if layer.convolves)
    return convolutions if len(convolutions) > 1 else tuple(range(1, card.depth + 1))


def canonical_span(layers: tuple[int, ...], card: Card) -> str:
    """Return the first of all, top-K, bottom-K, only-L, above-N that names these layers."""
    counted = range(1, len(_counted(card)) + 1)
    candidates = ["all", *(f"{kind}-{k}" for kind in ("top", "bottom", "only") for k in counted)]
    candidates += [f"above-{n}" for n in range(card.depth)]
    return next(span for span in candidates if span_layers(span, card) == layers)


def in_layers(text: str, card: Card) -> str:
    """Return a span or mode that counts blocks as the one that counts layers (`freeze-2` as `freeze-5`).

    Raises ValueError where it goes beyond the network, or no span that counts layers has its layers.
    """
    match = re.fullmatch(r"(?P<kind>[a-z]+)-(?P<number>\d+)(?P<suffix>\+.*)?", text)
    if not match:
        return text
    kind, number, ends = match["kind"], int(match["number"]), (0, *card.ends)
    if number >= len(ends):
        raise ValueError(f"'{text}' goes beyond the network, which has blocks 1 to {len(ends) - 1}")
    if kind not in ("top", "bottom", "only"):
        return f"{kind}-{ends[number]}{match['suffix'] or ''}"
    first, last = {"top": (ends[-1 - number], card.depth), "bottom": (0, ends[number])}.get(
        kind, (ends[number - 1], ends[number])
    )
    layers = tuple(layer for layer in _counted(card) if first < layer <= last)
    if kind == "only" and len(layers) != 1:
        raise ValueError(
            f"'{text}' has {len(layers)} layers, and no span names these alone; allowed: top-K, bottom-K, above-N"
        )
    return canonical_span(layers, card) if layers else text
