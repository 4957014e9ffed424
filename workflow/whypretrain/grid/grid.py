"""The grid: studies expanded to arms, each coordinate checked and made canonical.

Read by the Snakefile and by the collectors alone; imports neither torch nor pandas.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from whypretrain import registry
from whypretrain.config.models import Config, ConfigError, Network, Pretraining, Study, validate
from whypretrain.config.strict import mistakes_at
from whypretrain.data import partition
from whypretrain.grid.coordinates import (
    ANNEAL,
    BANK,
    NO_RECIPE,
    UNTRAINED,
    Arm,
    Paths,
    split_epoch,
    without_size,
    write_number,
)
from whypretrain.grid.spans import canonical_span, span_layers
from whypretrain.networks.architecture import card_of, is_shipped
from whypretrain.networks.card import Card
from whypretrain.registry import constants
from whypretrain.training import moding
from whypretrain.treatments import treating

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

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """All seeds, those that decide and then those that select."""
        return (*self.config.seeds, *self.config.pilot_seeds)

    def rates(self, arm: Arm) -> tuple[float | None, ...]:
        """Return the grid of an arm's recipe; one rate that is None where it has no recipe."""
        return (None,) if arm.recipe == NO_RECIPE else self.config.recipes[arm.recipe].learning_rates

    @cached_property
    def pilots(self) -> "Grid":
        """What pilot seeds train: the arms alone whose learning rate is selected."""
        arms = {arm: studies for arm, studies in self.arms.items() if len(self.rates(arm)) > 1}
        return replace(self, arms=arms, measures={}, compared={})

    # --- what config names -------------------------------------------------------------

    @cached_property
    def _cards(self) -> dict[str, Card]:
        return {}

    def card(self, architecture: str) -> Card:
        """Return the card of an architecture.

        Raises ConfigError where there is no such network, or it can't be described.
        """
        if architecture not in self._cards:
            settings = self.config.architectures[architecture]
            path = Path(Paths(self.config.results).file("network", architecture=architecture))
            with mistakes_at(f"architectures.{architecture}"):
                self._cards[architecture] = card_of(architecture, settings, None if is_shipped(settings) else path)
        return self._cards[architecture]

    def depth(self, architecture: str) -> int:
        """Return the number of layers without the head."""
        return self.card(architecture).depth

    @cached_property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images per class of each dataset, known without reading it."""
        found: dict[str, dict[str, int]] = {}
        for name in self.config.datasets:
            module, parameters = self.dataset_module(name), self.dataset_parameters(name)
            with mistakes_at(f"datasets.{name}.parameters.path"):
                found[name] = module.class_counts(parameters)
        return found

    def dataset_module(self, dataset: str) -> ModuleType:
        """Return the module that prepares a dataset."""
        module = self.config.datasets[dataset].module
        known(f"datasets.{dataset}.module", module, registry.names("datasets"))
        return registry.load("datasets", module)

    def dataset_parameters(self, dataset: str) -> Any:
        """Return a dataset's parameters, as its module describes them."""
        raw = self.config.datasets[dataset].parameters
        return validate(self.dataset_module(dataset).Parameters, raw, f"datasets.{dataset}.parameters")

    def refuse_size(self, architecture: str, study: Study, target: str, key: str) -> None:
        """Raise ConfigError where a network can't take a target's images."""
        task, card = target.rpartition(".")[0], self.card(architecture)
        own, usual = (self.config.datasets[self.config.tasks[name].dataset].size for name in (task, without_size(task)))
        size = own or study.size
        with mistakes_at(f"{key}.targets"):
            if "@" in task and size == (usual or study.size):
                raise ValueError(f"the images of '{without_size(task)}' have {size} pixels; leave out '@{size}'")
        with mistakes_at(f"{key}.architectures"):
            if size < card.least:
                raise ValueError(f"'{architecture}' makes nothing of images of {size}; allowed: from {card.least} up")
            if card.fixed and size != card.size:
                raise ValueError(f"'{architecture}' takes images of {card.size} alone, not of {size}")

    def refuse_colours(self, architecture: str, tasks: Iterable[str], key: str) -> None:
        """Raise ConfigError where images have more channels than a network takes; grey ones are repeated."""
        for task in tasks:
            module = self.dataset_module(dataset := self.config.tasks[task].dataset)
            found = module.channels(self.dataset_parameters(dataset)) if hasattr(module, "channels") else 1
            if found not in (1, takes := self.card(architecture).channels):
                raise ConfigError(
                    f"{key}.architectures: '{architecture}' takes images of {takes} channels, and those of '{task}' "
                    f"have {found}; give a plain convnet `channels: {found}`"
                )

    @cached_property
    def per_seed(self) -> frozenset[str]:
        """The datasets that are drawn anew for each seed, which have a file for each."""
        return frozenset(name for name in self.counts if getattr(self.dataset_module(name), "PER_SEED", False))

    def given_parts(self, dataset: str) -> dict[str, dict[str, int]]:
        """Return the images per part and class of a dataset that comes divided; of others nothing."""
        module = self.dataset_module(dataset)
        return module.parts(self.dataset_parameters(dataset)) if hasattr(module, "parts") else {}

    def part_sizes(self, dataset: str) -> dict[str, dict[str, int]]:
        """Return a dataset's images per part and class."""
        shares = self.config.datasets[dataset].shares
        return partition.part_sizes(self.counts[dataset], shares, self.given_parts(dataset))

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
        sizes = self.part_sizes(settings.dataset)
        return {
            name: (partition.half_size(sizes["train"][name], settings.images), sizes["validation"][name])
            for name in self.classes(task)
        }

    def test_ratio(self, task: str) -> float:
        """Return how many images of a task test for each that is there to learn from (not to choose by).

        0 where images are drawn anew for each seed: what tests one then never trains another.
        """
        if self.config.tasks[task].dataset in self.per_seed:
            return 0.0
        sizes, images = self.part_sizes(self.config.tasks[task].dataset)["test"], self.images_per_class(task)
        return sum(sizes[name] for name in images) / sum(training for training, _ in images.values())

    def largest_class(self, task: str) -> float:
        """Return the share of a task's test images that always guessing its largest class gets right.

        It is the mean over seeds where these draw the classes.
        """
        sizes = list(self.part_sizes(self.config.tasks[task].dataset)["test"].values())
        drawn = [[sizes[label] for label in self.drawn_classes(task, seed)] for seed in self.config.seeds]
        return sum(max(images) / sum(images) for images in drawn) / len(drawn)

    def test_images(self, task: str) -> int:
        """Return how many test images a task has; of a random half of uneven classes the fewest."""
        sizes = self.part_sizes(self.config.tasks[task].dataset)["test"]
        return sum(sorted(sizes[name] for name in self.classes(task))[: self.class_count(task)])

    def training_images(self, task: str) -> set[int]:
        """Return how many training images a task has; with random halves of uneven classes, with each seed."""
        images = list(self.images_per_class(task).items())
        names = list(self.counts[self.config.tasks[task].dataset])
        return {
            sum(training for name, (training, _) in images if names.index(name) in self.drawn_classes(task, seed))
            for seed in self.all_seeds
        }

    def target(self, target: str, key: str) -> Target:
        """Return a target from `task.shots`, checked against the images there are."""
        task, _, text = target.rpartition(".")
        if task:
            known(key, task, self.config.tasks)
        if not task or not re.fullmatch("full|[1-9][0-9]*", text):
            name = task or target
            raise ConfigError(f"{key}: '{target}' has no shots; allowed: {name}.N with N from 1 up, or {name}.full")
        shots = None if text == "full" else int(text)
        asked = self.config.tasks[task].validation_shots
        images = self.images_per_class(task)
        there_are = min(validating for _, validating in images.values())
        validation = asked or min(shots or DEFAULT_VALIDATION_SHOTS, DEFAULT_VALIDATION_SHOTS, there_are)
        for name, (training, validating) in images.items():
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

    def tasks_of(self, source: str) -> list[str]:
        """Return the task of a source: of the untrained network, and of published weights without one, none."""
        task = None if source == UNTRAINED else self.config.sources[source].task
        return [] if task is None else [task]

    def ancestors(self, source: str) -> tuple[str, ...]:
        """Return the sources that a source starts from: its own start, that one's, and so on."""
        start = None if source == UNTRAINED else self.config.sources[source].start
        return () if start is None else (start, *self.ancestors(start))

    def pretraining(self, source: str) -> Pretraining:
        """Return the hyper-parameters of a source."""
        return self.config.pretraining[self.config.sources[source].pretraining]

    def _objective(self, source: str) -> dict[str, Any]:
        return constants("objectives", self.pretraining(source).objective)

    def has_branches(self, source: str) -> bool:
        """Whether a source's checkpoints have annealed branches."""
        return bool(self._objective(source)["ANNEALED"])

    def is_one_network(self, source: str) -> bool:
        """Whether a source, or one that it starts from, was published: all seeds have the same network."""
        chain = () if source == UNTRAINED else (source, *self.ancestors(source))
        return any(self.pretraining(each).objective == "published" for each in chain)

    def end(self, source: str) -> str:
        """Return the checkpoint that other sources start from: the last, annealed where it has branches."""
        return self.epoch(source, f"last{ANNEAL}", f"sources.{source}")

    def relation(self, source: str, task: str) -> str:
        """Return how a source's images and classes stand to those of a target task.

        A chain stands to it as the task learnt last does, unless that of an ancestor is `overlapping`:
        then so is the chain.
        """
        if source == UNTRAINED:
            return "untrained"
        if source not in self._relations or task not in self._relations[source]:
            own = self.config.sources[source].task
            found = {self._relation(own, task, seed) if own else "published" for seed in self.all_seeds}
            if any(self.relation(ancestor, task) == "overlapping" for ancestor in self.ancestors(source)):
                found.add("overlapping")
            self._relations.setdefault(source, {})[task] = found.pop() if len(found) == 1 else "overlapping"
        return self._relations[source][task]

    def refuse_overlap(self, source: str, target: str, key: str) -> None:
        """Raise ConfigError where a source, or one that it starts from, partly has the images or classes of a target.

        `target` is `task.shots`.
        """
        task = target.rpartition(".")[0]
        if self.relation(source, task) != "overlapping":
            return
        found = [each for each in self.ancestors(source) if self.relation(each, task) == "overlapping"]
        through = f", through '{found[-1]}' that it starts from," if found else ""
        raise ConfigError(f"{key}: source '{source}'{through} and target '{target}' {OVERLAP}")

    def _relation(self, own: str, task: str, seed: int) -> str:
        a, b = self.config.tasks[own], self.config.tasks[task]
        here, there = self.drawn_classes(own, seed), self.drawn_classes(task, seed)
        if without_size(a.dataset) != without_size(b.dataset) or not here & there:
            return "different"
        if here == there and a.images == b.images:
            return "same-images"
        return "same-distribution" if here == there and {a.images, b.images} == {"a", "b"} else "overlapping"

    # --- arms --------------------------------------------------------------------------

    def epoch(self, source: str, epoch: str | float, key: str) -> str:
        """Return a checkpoint as paths have it: `last` and numbers resolved against the source's list.

        Of a source without branches, whose layers end annealed, `last+anneal` is the last checkpoint.
        """
        if source == UNTRAINED:
            return "0"
        if epoch == f"last{ANNEAL}" and not self.has_branches(source):
            epoch = "last"
        checkpoints = self.pretraining(source).checkpoints
        text = epoch if isinstance(epoch, str) else write_number(epoch)
        text = text.replace("last", write_number(checkpoints[-1]), 1)
        allowed = [write_number(c) for c in checkpoints]
        raw = text.removesuffix(ANNEAL)
        if text.endswith(ANNEAL) and not self.has_branches(source):
            raise ConfigError(
                f"{key}: '{epoch}' is a branch, and source '{source}' has none: "
                f"{self._objective(source)['UNBRANCHED']}; allowed: {', '.join(allowed)}, last"
            )
        with contextlib.suppress(ValueError):
            raw = write_number(float(raw))
        if raw not in allowed or (raw == "0" and text.endswith(ANNEAL)):
            raise ConfigError(
                f"{key}: '{epoch}' is no checkpoint of source '{source}'; allowed: {', '.join(allowed)}, last, "
                f"and each after 0 with {ANNEAL}"
            )
        return raw + (ANNEAL if text.endswith(ANNEAL) else "")

    def canonical_mode(self, architecture: str, mode: str, key: str) -> str:
        """Return the one name of a mode: to freeze no layer is to fine-tune, and a probe is of the last layer."""
        depth = self.depth(architecture)
        with mistakes_at(key):
            found = moding.parse(mode)
        if max(found.frozen, found.layer or 0) > depth:
            least = 0 if found.name == "freeze" else 1
            raise ConfigError(
                f"{key}: '{mode}' goes beyond '{architecture}'; allowed: {found.name}-{least} to {found.name}-{depth}"
            )
        if found.name == "freeze" and not found.frozen:
            return "finetune"
        if found.name == "probe" and found.layer == depth:
            mode = mode.replace(f"probe-{depth}", "probe")
        return mode if self.card(architecture).has_statistics else mode.split("+")[0]  # none to keep or re-estimate

    def canonical(self, arm: Arm) -> Arm:
        """Return the one name of an arm: coordinates that can't matter are written one way."""
        card = self.card(arm.architecture)
        if not moding.by_steps(arm.mode):
            arm = replace(arm, recipe=NO_RECIPE)
        layers = span_layers(arm.span, card)
        name, suffixes = treating.parse(arm.treatment)
        if not card.has_norm:  # no affine parameters to reset
            suffixes = ()
            arm = replace(arm, treatment=name)
        if not suffixes:
            nothing_learnt = {"rewind": split_epoch(arm.epoch)[0] == 0, "reinit": arm.source == UNTRAINED}
            if name == "intact" or nothing_learnt.get(name):
                layers = ()
            elif name in ("reinit", "glorot") and len(layers) == card.depth:  # nothing of the source is left
                treatment = "intact" if name == "reinit" else arm.treatment
                return replace(arm, source=UNTRAINED, epoch="0", treatment=treatment, span="all")
        if not layers:
            return replace(arm, treatment="intact", span="all")
        return replace(arm, span=canonical_span(layers, card))

    def arm(self, key: str, **coordinates: Any) -> Arm:
        """Return the canonical arm of some coordinates, all of them checked."""
        source, architecture = coordinates["source"], coordinates["architecture"]
        mode = self.canonical_mode(architecture, coordinates["mode"], f"{key}.modes")
        epoch = self.epoch(source, coordinates["epoch"], f"{key}.epochs")
        arm = Arm(**{**coordinates, "epoch": epoch, "mode": mode})
        with mistakes_at(f"{key}.spans", f" ('{architecture}')"):
            layers = span_layers(arm.span, self.card(architecture))
        with mistakes_at(f"{key}.treatments"):
            refusal = treating.refuse(arm.treatment, layers, self.card(architecture))
        if refusal:
            raise ConfigError(
                f"{key}.treatments: '{arm.treatment}' on span '{arm.span}' of '{architecture}': {refusal}"
            )
        if treating.reference_of(arm.treatment) == BANK:
            self._check_bank(key, arm)
        return self.canonical(arm)

    def _check_bank(self, key: str, arm: Arm) -> None:
        if self.config.bank is None:
            raise ConfigError(
                f"{key}.treatments: '{arm.treatment}' draws kernels from a bank, and config has none; "
                f"name sources for it in bank.sources; allowed: {', '.join(self.config.sources) or 'none is defined'}"
            )
        for source, _ in self.banked if arm.target else ():
            self.refuse_overlap(source, arm.target, f"{key}: '{arm.treatment}' draws from bank.sources")

    @cached_property
    def banked(self) -> tuple[tuple[str, str], ...]:
        """Source and epoch of each checkpoint whose kernels are in the bank, in the order of config."""
        bank = self.config.bank
        return tuple((source, self.epoch(source, bank.epoch, "bank.epoch")) for source in bank.sources) if bank else ()

    def taken(self, source: str, epoch: str, treatment: str) -> set[tuple[str, str]]:
        """Return source and epoch of all checkpoints a start takes weights from: the treated one, those of the bank."""
        return {(source, epoch), *(self.banked if treating.reference_of(treatment) == BANK else ())}

    def start(self, key: str, architecture: str, network: Network) -> Arm:
        """Return the arm whose start a network is; what it would learn doesn't matter."""
        coordinates = network.model_dump() | {"architecture": architecture, "mode": "probe", "recipe": NO_RECIPE}
        return replace(self.arm(key, **coordinates), target="", mode="", recipe="")

    @cached_property
    def starts(self) -> list[tuple[str, str, str, str, str]]:
        """All starts that an arm or a pair begins with, sorted."""
        sides = [side.arm for pair in self.compared.values() for side in pair]
        return sorted({arm.start for arm in [*self.arms, *sides]})

    @cached_property
    def taken_checkpoints(self) -> list[tuple[str, str, str]]:
        """Architecture, source and epoch of all checkpoints that any start takes weights from, sorted."""
        return sorted({(start[0], *taken) for start in self.starts for taken in self.taken(*start[1:4])})

    @cached_property
    def trained_sources(self) -> list[tuple[str, str]]:
        """Pairs of architecture and source that any start takes weights from, and all that those start from; sorted."""
        starts = {taken[:2] for taken in self.taken_checkpoints if taken[1] != UNTRAINED}
        return sorted(starts | {(name, each) for name, source in starts for each in self.ancestors(source)})

    def scratch_arm(self, study: Study, architecture: str, target: str) -> Arm:
        """Return the arm of training from scratch with the study's scratch recipe."""
        return Arm(architecture, UNTRAINED, "0", "intact", "all", target, "finetune", study.scratch_recipe)

    def uses(self) -> set[tuple[str, str, str]]:
        """Return which study brings which source, or one that it starts from, together with which target task."""

        def taken(arm: Arm) -> set[str]:
            return {source for source, _ in self.taken(arm.source, arm.epoch, arm.treatment)}

        found = {(name, each, arm.task) for arm, names in self.arms.items() for each in taken(arm) for name in names}
        for name, study in self.config.studies.items():
            for pair in study.pairs:
                task = self.config.pairs[pair].images.rpartition(".")[0]
                architectures = self.config.pairs[pair].architectures
                sides = [side for each in architectures for side in self.compared[pair, each]]
                found |= {(name, each, task) for side in sides for each in taken(side.arm)}
        return found | {(name, each, task) for name, source, task in found for each in self.ancestors(source)}

    def arms_of(self, study: str) -> list[Arm]:
        """Return a study's arms, sorted."""
        return sorted(arm for arm, studies in self.arms.items() if study in studies)
