"""Modes of target training as config spells them: what learns on the target (needs no torch)."""

import re
from dataclasses import dataclass

_SPELLING = re.compile(r"finetune|(freeze-(0|[1-9][0-9]*)|probe)(\+source-norm)?")


@dataclass(frozen=True)
class Mode:
    """The module in `modes/`, the layers from the input on that don't learn, and whose statistics the norms begin with.

    `source_norm` keeps those of the start; otherwise they are re-estimated on the target's training images.
    """

    name: str
    frozen: int = 0
    source_norm: bool = False


def parse(mode: str) -> Mode:
    """Return what a mode's name says (`freeze-2+source-norm`). Raises ValueError, with what is allowed."""
    if not _SPELLING.fullmatch(mode):
        raise ValueError(
            f"unknown mode '{mode}'; allowed: finetune, freeze-N with N the number of layers that don't learn "
            "(freeze-2), probe; the last two also as freeze-N+source-norm and probe+source-norm"
        )
    spelt, _, suffix = mode.partition("+")
    name, _, frozen = spelt.partition("-")
    return Mode(name, int(frozen or 0), source_norm=bool(suffix))


def by_steps(mode: str) -> bool:
    """Return whether a mode learns by gradient steps, so has a recipe and learning rates. Raises as `parse` does."""
    return parse(mode).name != "probe"
