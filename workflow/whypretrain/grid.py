"""The grid: studies expanded to arms, each coordinate checked and made canonical.

Read by the Snakefile and by the collectors alone; imports neither torch nor pandas.
"""

import contextlib
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import ModuleType
from typing import Any

from whypretrain import partition, registry, treating
from whypretrain.architectures import convnet
from whypretrain.config import Choice, Claim, Config, ConfigError, Difference, Setting, Study, validate
from whypretrain.coordinates import (
    ANNEAL,
    UNTRAINED,
    Arm,
    canonical_span,
    span_layers,
    split_epoch,
    write_number,
)
from whypretrain.schedules import checkpoint_steps

DEFAULT_VALIDATION_SHOTS = 20
OVERLAP = (
    "overlap in classes or images; allowed: disjoint classes, the same classes and images, "
    "or the same classes with the halves a and b of their images"
)


def _known(key: str, name: str, allowed: Iterable[str]) -> None:
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
        _known(f"datasets.{dataset}.module", module, registry.names("datasets"))
        return registry.load("datasets", module)

    def classes(self, task: str) -> tuple[str, ...]:
        """Return the names of a task's classes, in the order of its labels."""
        settings = self.config.tasks[task]
        return settings.classes or tuple(self.counts[settings.dataset])

    def class_indices(self, task: str) -> list[int]:
        """Return the labels that a task's classes have in its dataset."""
        names = list(self.counts[self.config.tasks[task].dataset])
        return [names.index(name) for name in self.classes(task)]

    def images_per_class(self, task: str) -> dict[str, tuple[int, int]]:
        """Return each class's images for training (within the task's half) and for validation."""
        settings = self.config.tasks[task]
        sizes = partition.part_sizes(self.counts[settings.dataset])
        return {
            name: (partition.half_size(sizes["train"][name], settings.images), sizes["validation"][name])
            for name in self.classes(task)
        }

    def target(self, target: str, key: str) -> Target:
        """Return a target from `task.shots`, checked against the images there are."""
        task, _, text = target.rpartition(".")
        if not task:
            raise ConfigError(f"{key}: '{target}' has no shots; allowed: {target}.N with N from 1 up, or {target}.full")
        _known(key, task, self.config.tasks)
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
        a, b = self.config.tasks[self.config.sources[source].task], self.config.tasks[task]
        shared = set(self.classes(self.config.sources[source].task)) & set(self.classes(task))
        if a.dataset != b.dataset or not shared:
            return "different"
        if set(self.classes(self.config.sources[source].task)) != set(self.classes(task)):
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

    def canonical(self, arm: Arm) -> Arm:
        """Return the one name of an arm: coordinates that can't matter are written one way."""
        depth = self.depth(arm.architecture)
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
        arm = Arm(**{**coordinates, "epoch": self.epoch(source, coordinates["epoch"], f"{key}.epochs")})
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

    def contrast_arms(
        self, study: str, claim: Claim, setting: Setting, difference: Difference
    ) -> tuple[list[Arm], list[Arm]]:
        """Return a study's arms on both sides of a claim's difference; each side is averaged seed by seed."""
        depth, settings = self.depth(claim.architecture), self.config.studies[study]

        def side(choice: Choice) -> list[Arm]:
            few = [f"top-{k}" for k in range(1, -(-depth // 4) + 1)]
            arms = [
                self.arm(
                    f"claims ({claim.statement})",
                    architecture=claim.architecture,
                    source=setting.source,
                    epoch=settings.epoch,
                    treatment=choice.treatment,
                    span=span,
                    target=setting.target,
                    mode="finetune",
                    recipe=settings.recipe,
                )
                for span in (few if choice.span == "few" else [choice.span])
            ]
            return [arm for arm in arms if choice.span != "few" or study in self.arms.get(arm, ())]

        return side(difference.of), side(difference.minus)

    def scratch_arm(self, study: Study, architecture: str, target: str) -> Arm:
        """Return the arm of training from scratch with the study's scratch recipe."""
        return Arm(architecture, UNTRAINED, "0", "intact", "all", target, "finetune", study.scratch_recipe)

    def arms_of(self, study: str) -> list[Arm]:
        """Return a study's arms, sorted."""
        return sorted(arm for arm, studies in self.arms.items() if study in studies)


def _expand_block(grid: Grid, study: Study, number: int, key: str) -> Iterable[Arm]:
    block = study.grid[number]
    config = grid.config
    for name in block.architectures:
        _known(f"{key}.architectures", name, config.architectures)
        if study.size < (least := convnet.smallest_size(config.architectures[name])):
            raise ConfigError(
                f"{key}.architectures: '{name}' pools images of {study.size} away; allowed: from {least} up"
            )
    for name in block.sources:
        _known(f"{key}.sources", name, [UNTRAINED, *config.sources])
    for name in block.modes:
        _known(f"{key}.modes", name, registry.names("modes"))
    for name in block.recipes:
        _known(f"{key}.recipes", name, config.recipes)
    for target in block.targets:
        task = grid.target(target, f"{key}.targets").task
        for source in block.sources:
            if grid.relation(source, task) == "overlapping":
                raise ConfigError(f"{key}: source '{source}' and target '{target}' {OVERLAP}")
    for architecture, source, epoch, treatment, span, target, mode, recipe in itertools.product(
        block.architectures,
        block.sources,
        block.epochs,
        block.treatments,
        block.spans,
        block.targets,
        block.modes,
        block.recipes,
    ):
        yield grid.arm(
            key,
            architecture=architecture,
            source=source,
            epoch=epoch,
            treatment=treatment,
            span=span,
            target=target,
            mode=mode,
            recipe=recipe,
        )


def _check_parts(config: Config, grid: Grid) -> None:
    for name, task in config.tasks.items():
        _known(f"tasks.{name}.dataset", task.dataset, config.datasets)
        for label in task.classes or ():
            _known(f"tasks.{name}.classes", label, grid.counts[task.dataset])
        if task.classes and len(set(task.classes)) != len(task.classes):
            raise ConfigError(f"tasks.{name}.classes: {list(task.classes)} name a class twice")
        for label, (training, validating) in grid.images_per_class(name).items():
            if training == 0 or validating == 0:
                raise ConfigError(f"tasks.{name}: class {label} has no images left for training or validation")
    for name, source in config.sources.items():
        if name == UNTRAINED:
            raise ConfigError(f"sources.{name}: the name stands for the untrained network; choose another")
        _known(f"sources.{name}.task", source.task, config.tasks)
        _known(f"sources.{name}.pretraining", source.pretraining, config.pretraining)
        settings = config.pretraining[source.pretraining]
        images = sum(training for training, _ in grid.images_per_class(source.task).values())
        try:
            checkpoint_steps(settings.checkpoints, images, settings.batch_size)
        except ValueError as error:
            raise ConfigError(f"pretraining.{source.pretraining}.checkpoints: {error} with source '{name}'") from None


def _check_claims(grid: Grid, name: str, study: Study) -> None:
    config = grid.config
    key = f"studies.{name}"
    _known(f"{key}.recipe", study.recipe, config.recipes)
    _known(f"{key}.scratch_recipe", study.scratch_recipe, config.recipes)
    for setting_name, setting in study.settings.items():
        _known(f"{key}.settings.{setting_name}.source", setting.source, config.sources)
        grid.epoch(setting.source, study.epoch, f"{key}.epoch")
        target = grid.target(setting.target, f"{key}.settings.{setting_name}.target")
        relation = grid.relation(setting.source, target.task)
        if relation == "overlapping":
            raise ConfigError(
                f"{key}.settings.{setting_name}: source '{setting.source}' and target '{setting.target}' {OVERLAP}"
            )
        if setting_name in ("different", "same-images", "same-distribution") and setting_name != relation:
            raise ConfigError(
                f"{key}.settings.{setting_name}: source and target are '{relation}'; name it so or change it"
            )
    for claim_name in study.claims:
        _known(f"{key}.claims", claim_name, config.claims)
        claim = config.claims[claim_name]
        _known(f"claims.{claim_name}.architecture", claim.architecture, config.architectures)
        settings = {*claim.settings, *(claim.interaction.settings if claim.interaction else ())}
        for setting_name in sorted(settings):
            _known(f"claims.{claim_name}.settings", setting_name, study.settings)
            setting = study.settings[setting_name]
            needed = [grid.scratch_arm(study, claim.architecture, setting.target)]
            for difference in claim.components:
                sides = grid.contrast_arms(name, claim, setting, difference)
                needed += [*sides[0], *sides[1]]
                if not all(sides):
                    raise ConfigError(f"claims.{claim_name}: study '{name}' has no top-K arm with K up to a quarter")
            for arm in needed:
                if name not in grid.arms.get(arm, ()):
                    raise ConfigError(
                        f"{key}.grid: the claim '{claim_name}' needs the arm {arm.source}, {arm.treatment}.{arm.span} "
                        f"on {arm.target} with recipe '{arm.recipe}' of '{arm.architecture}'; add it or drop the claim"
                    )


def _check_names_shared(grid: Grid) -> None:
    """Refuse one name for two things: a dataset in two sizes, a source or run under two normalisations."""
    seen: dict[tuple[str, str], tuple[str, object]] = {}
    for arm, studies in grid.arms.items():
        tasks = {arm.task} | ({grid.config.sources[arm.source].task} if arm.source != UNTRAINED else set())
        for name in studies:
            study = grid.config.studies[name]
            things: list[tuple[tuple[str, str], object]] = [
                (("dataset", grid.config.tasks[task].dataset), f"size {study.size}") for task in sorted(tasks)
            ]
            constants = f"normalisation {study.normalisation.mean}, {study.normalisation.standard_deviation}"
            things += [(("source", arm.source), constants), (("task", arm.task), constants)]
            for (kind, thing), value in things:
                if thing == UNTRAINED:
                    continue
                other, earlier = seen.setdefault((kind, thing), (name, value))
                if earlier != value:
                    raise ConfigError(
                        f"studies.{name}: {kind} '{thing}' is used with {value}, but with {earlier} in '{other}'; "
                        "give one of them another name"
                    )


def expand(config: Config) -> Grid:
    """Return the grid of a config. Raises ConfigError for any name, span or number that can't be."""
    grid = Grid(config)
    _check_parts(config, grid)
    for name, study in config.studies.items():
        for number in range(len(study.grid)):
            for arm in _expand_block(grid, study, number, f"studies.{name}.grid.{number}"):
                if name not in grid.arms.get(arm, ()):
                    grid.arms[arm] = (*grid.arms.get(arm, ()), name)
        for figure in study.figures:
            _known(f"studies.{name}.figures", figure, registry.names("figures"))
    for name, study in config.studies.items():
        _check_claims(grid, name, study)
    _check_names_shared(grid)
    return grid
