"""What a figure knows of its study beside the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class View:
    """A study as its figures see it.

    `settings` are in the order of config, each with its name, source, epoch (the checkpoint that
    claims are about), target task and shots, and of an uneven target what guessing gives; `pairs` names
    the pairs of networks that are compared; `depths` maps each architecture of the study to its
    number of layers; `recipe` and `scratch_recipe` are those of the claims; `seed` is the one that is
    shown where one must be; `published` are the sources that are one network for all seeds;
    `classes` names the classes of the settings' targets, where they are the same with every seed.
    `regularisers` maps the study's recipes that have a regulariser to its name; `rules` are what the course
    advises in a setting, each with `setting`, `claim`, `architecture`, `quadrant` (the kind of target), `family`
    (as in the table `modes`), `modes` (those of the family that it means) and `statement`.
    """

    study: str
    title: str
    settings: Sequence[Mapping[str, str]]
    pairs: Sequence[str]
    depths: Mapping[str, int]
    recipe: str
    scratch_recipe: str
    seed: int
    regularisers: Mapping[str, str] = field(default_factory=dict)
    rules: Sequence[Mapping[str, Any]] = ()
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    published: Sequence[str] = ()

    @property
    def architectures(self) -> list[str]:
        """The study's architectures, the shallowest first."""
        return sorted(self.depths, key=lambda name: (self.depths[name], name))
