"""Modes of target training as config spells them: what learns on the target (needs no torch)."""

import re
from dataclasses import dataclass

_NUMBER = "(0|[1-9][0-9]*)"
_SPELLING = re.compile(rf"finetune|lpft|(freeze-{_NUMBER}|probe|(probe|svm)-[1-9][0-9]*)(\+source-norm)?")
OF_FEATURES = ("probe", "svm")  # a classifier on the features of the frozen start: no steps, no recipe


@dataclass(frozen=True)
class Mode:
    """The module in `modes/`, what of the network it uses, and whose statistics the norms begin with.

    The first `frozen` layers don't learn. A classifier on features reads those of `layer`, None for the last.
    `source_norm` keeps the statistics of the start; otherwise they are re-estimated on the target's training images.
    """

    name: str
    frozen: int = 0
    layer: int | None = None
    source_norm: bool = False


def parse(mode: str) -> Mode:
    """Return what a mode's name says (`freeze-2+source-norm`). Raises ValueError, with what is allowed."""
    if not _SPELLING.fullmatch(mode):
        raise ValueError(
            f"unknown mode '{mode}'; allowed: finetune, lpft, probe, probe-L and svm-L with L the layer whose features "
            "are classified (svm-4), freeze-N with N the number of layers that don't learn (freeze-2); all but the "
            "first two also with +source-norm"
        )
    spelt, _, suffix = mode.partition("+")
    name, _, number = spelt.partition("-")
    on_features = name in OF_FEATURES
    return Mode(
        name,
        frozen=0 if on_features else int(number or 0),
        layer=int(number) if on_features and number else None,
        source_norm=bool(suffix),
    )


def by_steps(mode: str) -> bool:
    """Return whether a mode learns by gradient steps, so has a recipe and learning rates. Raises as `parse` does."""
    return parse(mode).name not in OF_FEATURES
