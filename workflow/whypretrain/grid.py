"""The grid: studies expanded to arms, each coordinate checked and made canonical.

Read by the Snakefile and by the collectors alone; imports neither torch nor pandas.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import ModuleType
from typing import Any

from whypretrain import moding, partition, registry, treating
from whypretrain.config import Config, ConfigError, Network, Study, validate
from whypretrain.coordinates import (
    ANNEAL,
    NO_RECIPE,
    UNTRAINED,
    Arm,
    canonical_span,
    span_layers,
    split_epoch,
    write_number,
)

START = "start"  # the read-out of a start before target training
DEFAULT_VALIDATION_SHOTS = 20
OVERLAP = (
    "overlap in classes or images; allowed: disjoint classes, the same classes and images, "
    "or the same classes with the halves a and b of their images"
)


@dataclass(frozen=True)
class Side:
    """One network of a pair: the start of an arm, or, where it is `trained`, what the arm's training ends with."""

    arm: Arm
    trained: bool


def known(key: str, name: str, allowed: Iterable[str]) -> None:
    """Raise ConfigError where a name isn't one of those allowed."""
    if name not in (names := list(allowed)):
        raise ConfigError(f"{key}: '{name}' is unknown; allowed: {', '.join(names) or 'none is defined'}")


@dataclass(frozen=True)
class Target:
    """A target task with its numbers of images per class; `None` shots are all images."""

    task: str
    shots: int | None
    validation_shots: int


@dataclass(frozen=True)
class Grid:
    """All arms of a config, each with the studies it belongs to, and what config says of their parts."""

    config: Config
    arms: dict[Arm, tuple[str, ...]] = field(default_factory=dict)
    measures: dict[str, set[Arm]] = field(default_factory=dict)  # the arms that each read-out is taken of
    compared: dict[tuple[str, str], tuple["Side", "Side"]] = field(default_factory=dict)  # by pair and architecture
    _relations: dict[str, dict[str, str]] = field(default_factory=dict)

    # --- what config names -------------------------------------------------------------

    def depth(self, architecture: str) -> int:
        """Return the number of layers without the head."""
        return len(self.config.architectures[architecture].widths)

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images per class of each dataset, known without reading it."""
        found = {}
        for name, dataset in self.config.datasets.items():
            module = self.dataset_module(name)
            found[name] = module.class_counts(
                validate(module.Parameters, dataset.parameters, f"datasets.{name}.parameters")
            )
        return found

    def dataset_module(self, dataset: str) -> ModuleType:
        """Return the module that prepares a dataset."""
        module = self.config.datasets[dataset].module
        known(f"datasets.{dataset}.module", module, registry.names("datasets"))
        return registry.load("datasets", module)

    def classes(self, task: str) -> tuple[str, ...]:
        """Return the names of the classes that a task names; where it is a half of them, of both halves."""
        settings = self.config.tasks[task]
        return settings.classes or tuple(self.counts[settings.dataset])

    def class_indices(self, task: str) -> list[int]:
        """Return the labels that these classes have in the task's dataset."""
        names = list(self.counts[self.config.tasks[task].dataset])
        return [names.index(name) for name in self.classes(task)]

    def class_count(self, task: str) -> int:
        """Return the number of classes that a task has, the same with every seed."""
        count, half = len(self.classes(task)), self.config.tasks[task].class_half
        return {None: count, "a": (count + 1) // 2, "b": count // 2}[half]

    def drawn_classes(self, task: str, seed: int) -> frozenset[int]:
        """Return the labels in its dataset that a task has with one seed."""
        settings, indices = self.config.tasks[task], self.class_indices(task)
        if settings.class_half is None:
            return frozenset(indices)
        return frozenset(partition.class_half(indices, settings.dataset, seed, settings.class_half))

    def images_per_class(self, task: str) -> dict[str, tuple[int, int]]:
        """Return each class's images for training (within the task's half) and for validation."""
        settings = self.config.tasks[task]
        sizes = partition.part_sizes(self.counts[settings.dataset])
        return {
            name: (partition.half_size(sizes["train"][name], settings.images), sizes["validation"][name])
            for name in self.classes(task)
        }

    def test_images(self, task: str) -> int:
        """Return how many test images a task has; of a random half of uneven classes the fewest."""
        sizes = partition.part_sizes(self.counts[self.config.tasks[task].dataset])["test"]
        return sum(sorted(sizes[name] for name in self.classes(task))[: self.class_count(task)])

    def training_images(self, task: str) -> set[int]:
        """Return how many training images a task has; with random halves of uneven classes, with each seed."""
        images = list(self.images_per_class(task).items())
        names = list(self.counts[self.config.tasks[task].dataset])
        return {
            sum(training for name, (training, _) in images if names.index(name) in self.drawn_classes(task, seed))
            for seed in self.config.seeds
        }

    def target(self, target: str, key: str) -> Target:
        """Return a target from `task.shots`, checked against the images there are."""
        task, _, text = target.rpartition(".")
        if not task:
            raise ConfigError(f"{key}: '{target}' has no shots; allowed: {target}.N with N from 1 up, or {target}.full")
        known(key, task, self.config.tasks)
        if not re.fullmatch("full|[1-9][0-9]*", text):
            raise ConfigError(f"{key}: '{target}' has no shots; allowed: {task}.N with N from 1 up, or {task}.full")
        shots = None if text == "full" else int(text)
        asked = self.config.tasks[task].validation_shots
        validation = asked or min(shots or DEFAULT_VALIDATION_SHOTS, DEFAULT_VALIDATION_SHOTS)
        for name, (training, validating) in self.images_per_class(task).items():
            if shots and shots > training:
                raise ConfigError(
                    f"{key}: '{target}' asks for {shots} images of class {name}; allowed: up to {training}"
                )
            if validation > validating:
                raise ConfigError(
                    f"tasks.{task}.validation_shots: is {validation}, but class {name} has {validating} "
                    f"validation images; allowed: up to {validating}"
                )
        return Target(task, shots, validation)

    def relation(self, source: str, task: str) -> str:
        """Return how a source's images and classes stand to those of a target task."""
        if source == UNTRAINED:
            return "untrained"
        if source not in self._relations or task not in self._relations[source]:
            own = self.config.sources[source].task
            found = {self._relation(own, task, seed) for seed in self.config.seeds}
            self._relations.setdefault(source, {})[task] = found.pop() if len(found) == 1 else "overlapping"
        return self._relations[source][task]

    def _relation(self, own: str, task: str, seed: int) -> str:
        a, b = self.config.tasks[own], self.config.tasks[task]
        here, there = self.drawn_classes(own, seed), self.drawn_classes(task, seed)
        if a.dataset != b.dataset or not here & there:
            return "different"
        if here != there:
            return "overlapping"
        if a.images == b.images:
            return "same-images"
        return "same-distribution" if {a.images, b.images} == {"a", "b"} else "overlapping"

    # --- arms --------------------------------------------------------------------------

    def epoch(self, source: str, epoch: str | float, key: str) -> str:
        """Return a checkpoint as paths have it: `last` and numbers resolved against the source's list."""
        if source == UNTRAINED:
            return "0"
        checkpoints = self.config.pretraining[self.config.sources[source].pretraining].checkpoints
        text = epoch if isinstance(epoch, str) else write_number(epoch)
        text = text.replace("last", write_number(checkpoints[-1]), 1)
        allowed = [write_number(c) for c in checkpoints]
        raw = text.removesuffix(ANNEAL)
        with contextlib.suppress(ValueError):
            raw = write_number(float(raw))
        if raw not in allowed or (raw == "0" and text.endswith(ANNEAL)):
            raise ConfigError(
                f"{key}: '{epoch}' is no checkpoint of source '{source}'; allowed: {', '.join(allowed)}, last, "
                f"and each after 0 with {ANNEAL}"
            )
        return raw + (ANNEAL if text.endswith(ANNEAL) else "")

    def canonical_mode(self, architecture: str, mode: str, key: str) -> str:
        """Return the one name of a mode in an architecture: to freeze no layer is to fine-tune."""
        try:
            found = moding.parse(mode)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from None
        if found.frozen > self.depth(architecture):
            raise ConfigError(
                f"{key}: '{mode}' goes beyond '{architecture}'; allowed: freeze-0 to freeze-{self.depth(architecture)}"
            )
        if found.name == "freeze" and not found.frozen:
            return "finetune"
        plain = self.config.architectures[architecture].norm == "none"  # no statistics to keep or re-estimate
        return mode.split("+")[0] if plain else mode

    def canonical(self, arm: Arm) -> Arm:
        """Return the one name of an arm: coordinates that can't matter are written one way."""
        depth = self.depth(arm.architecture)
        if not moding.by_steps(arm.mode):
            arm = replace(arm, recipe=NO_RECIPE)
        layers = span_layers(arm.span, depth)
        name, suffixes = treating.parse(arm.treatment)
        if self.config.architectures[arm.architecture].norm == "none":  # no affine parameters to reset
            suffixes = ()
            arm = replace(arm, treatment=name)
        at_zero = split_epoch(arm.epoch)[0] == 0
        if name == "rewind" and at_zero and not suffixes:
            name = "intact"
        if arm.source == UNTRAINED and name == "reinit" and not suffixes:
            name = "intact"
        if not layers or (name == "intact" and not suffixes):
            return replace(arm, treatment="intact", span="all")
        if name == "reinit" and not suffixes and len(layers) == depth:
            return replace(arm, source=UNTRAINED, epoch="0", treatment="intact", span="all")
        return replace(arm, span=canonical_span(layers, depth))

    def arm(self, key: str, **coordinates: Any) -> Arm:
        """Return the canonical arm of some coordinates, all of them checked."""
        source, architecture = coordinates["source"], coordinates["architecture"]
        mode = self.canonical_mode(architecture, coordinates["mode"], f"{key}.modes")
        epoch = self.epoch(source, coordinates["epoch"], f"{key}.epochs")
        arm = Arm(**{**coordinates, "epoch": epoch, "mode": mode})
        try:
            layers = span_layers(arm.span, self.depth(architecture))
        except ValueError as error:
            raise ConfigError(f"{key}.spans: {error} ('{architecture}')") from None
        try:
            refusal = treating.refuse(arm.treatment, layers, self.config.architectures[architecture].kernels)
        except ValueError as error:
            raise ConfigError(f"{key}.treatments: {error}") from None
        if refusal:
            raise ConfigError(
                f"{key}.treatments: '{arm.treatment}' on span '{arm.span}' of '{architecture}': {refusal}"
            )
        return self.canonical(arm)

    def start(self, key: str, architecture: str, network: Network) -> Arm:
        """Return the arm whose start a network is; what it would learn doesn't matter."""
        coordinates = network.model_dump() | {"architecture": architecture, "mode": "probe", "recipe": NO_RECIPE}
        return replace(self.arm(key, **coordinates), target="", mode="", recipe="")

    @cached_property
    def starts(self) -> list[tuple[str, str, str, str, str]]:
        """All starts that an arm or a pair begins with, sorted."""
        sides = [side.arm for pair in self.compared.values() for side in pair]
        return sorted({arm.start for arm in [*self.arms, *sides]})

    def scratch_arm(self, study: Study, architecture: str, target: str) -> Arm:
        """Return the arm of training from scratch with the study's scratch recipe."""
        return Arm(architecture, UNTRAINED, "0", "intact", "all", target, "finetune", study.scratch_recipe)

    def uses(self) -> set[tuple[str, str, str]]:
        """Return which study brings which source together with which target task."""
        found = {(name, arm.source, arm.task) for arm, names in self.arms.items() for name in names}
        for name, study in self.config.studies.items():
            for pair in study.pairs:
                task = self.config.pairs[pair].images.rpartition(".")[0]
                architectures = self.config.pairs[pair].architectures
                sides = [side for each in architectures for side in self.compared[pair, each]]
                found |= {(name, side.arm.source, task) for side in sides}
        return found

    def arms_of(self, study: str) -> list[Arm]:
        """Return a study's arms, sorted."""
        return sorted(arm for arm, studies in self.arms.items() if study in studies)
