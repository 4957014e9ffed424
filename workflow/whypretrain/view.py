"""What a figure knows of its study beside the tables."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """A study as its figures see it.

    `settings` maps a setting's name to its source, target task and shots; `depths` maps each
    architecture of the study to its number of layers; `epoch` is the checkpoint that claims are
    about; `recipe` and `scratch_recipe` are those of the claims; `seed` is the one that is shown
    where one must be.
    """

    study: str
    title: str
    settings: Mapping[str, Mapping[str, str]]
    depths: Mapping[str, int]
    epoch: str
    recipe: str
    scratch_recipe: str
    seed: int
