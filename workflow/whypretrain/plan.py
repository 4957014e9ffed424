"""The plan: for each rule its inputs, its spec and its code, from wildcards and config alone.

The Snakefile asks it, and the collectors ask it again to hold results against what they
should be. Every method that takes `wildcards` can stand as an input or params function.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whypretrain import grid, registry, treating
from whypretrain.config import Config, Study, validate
from whypretrain.coordinates import ANNEAL, UNTRAINED, Arm, Paths, span_layers, split_epoch, write_number
from whypretrain.declared import constants
from whypretrain.fingerprints import stage_fingerprint
from whypretrain.storage import canonical

TABLES = (
    "sources",
    "starts",
    "runs",
    "history",
    "kernels",
    "provenance",
    "design",
    "arms",
    "contrasts",
    "verdicts",
)


# Packages whose version is part of results: a spec holds those that its job uses, and the job checks them.
NUMERICAL = (
    "torch",
    "numpy",
    "scipy",
    "statsmodels",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "matplotlib",
    "pillow",
    "mlxtend",
)


def pinned_versions(requirements: Path) -> dict[str, str]:
    """Return the pinned version of each package in a requirements file."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in requirements.read_text().splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


class Plan:
    """What each job reads, is told and runs."""

    def __init__(self, config: Config, pins: Mapping[str, str]) -> None:
        self.config = config
        self.pins = {package: pins[package] for package in NUMERICAL}
        self.grid = grid.expand(config)
        self.paths = Paths(config.results)

    # --- the grid, as files ------------------------------------------------------------

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, sorted."""
        return tuple(sorted(self.grid.arms))

    @cached_property
    def _study_of(self) -> dict[tuple[str, str], Study]:
        found: dict[tuple[str, str], Study] = {}
        for arm in self.arms:
            study = self.config.studies[self.grid.arms[arm][0]]
            found.setdefault(("task", arm.task), study)
            found.setdefault(("source", arm.source), study)
            found.setdefault(("dataset", self.config.tasks[arm.task].dataset), study)
            if arm.source != UNTRAINED:
                task = self.config.sources[arm.source].task
                found.setdefault(("dataset", self.config.tasks[task].dataset), study)
        return found

    @cached_property
    def trained_sources(self) -> list[tuple[str, str]]:
        """Pairs of architecture and source that any arm starts from, the untrained ones left out."""
        return sorted({(arm.architecture, arm.source) for arm in self.arms if arm.source != UNTRAINED})

    def checkpoints(self, pretraining: str) -> list[str]:
        """Return the raw checkpoints of a pretraining, as paths have them."""
        return [write_number(epoch) for epoch in self.config.pretraining[pretraining].checkpoints]

    def annealed(self) -> list[tuple[str, str, str]]:
        """Return architecture, source and epoch of every annealed branch that any arm starts from."""
        return sorted({arm.start[:3] for arm in self.arms if arm.epoch.endswith(ANNEAL)})

    def runs(self, arms: tuple[Arm, ...] | None = None) -> Iterator[tuple[Arm, float, int]]:
        """Yield every run: its arm, learning rate and seed, in one fixed order."""
        for arm in self.arms if arms is None else arms:
            for rate in self.config.recipes[arm.recipe].learning_rates:
                for seed in self.config.seeds:
                    yield arm, rate, seed

    def run_file(self, kind: str, arm: Arm, rate: float, seed: int) -> str:
        """Return the path of one file of a run."""
        return self.paths.file(kind, **arm.columns(), learning_rate=write_rate(rate), seed=seed)

    def run_files(self, kind: str) -> list[str]:
        """Return the paths of one kind of file of all runs."""
        return [self.run_file(kind, *run) for run in self.runs()]

    def source_files(self) -> list[str]:
        """Return all files of all sources that any arm starts from, every checkpoint included."""
        files = []
        for architecture, source in self.trained_sources:
            pretraining = self.config.sources[source].pretraining
            for seed in self.config.seeds:
                key = {"architecture": architecture, "source": source, "seed": seed}
                files += [self.paths.file("checkpoint", **key, epoch=e) for e in self.checkpoints(pretraining)]
        return files

    def histories(self) -> Iterator[tuple[str, SimpleNamespace, bool]]:
        """Yield each source history's path, its wildcards, and whether it is of an annealed branch."""
        for architecture, source in self.trained_sources:
            for seed in self.config.seeds:
                key = {"architecture": architecture, "source": source, "seed": str(seed)}
                yield self.paths.file("source_history", **key), SimpleNamespace(**key), False
        for architecture, source, epoch in self.annealed():
            for seed in self.config.seeds:
                raw = epoch.removesuffix(ANNEAL)
                key = {"architecture": architecture, "source": source, "seed": str(seed), "epoch": raw}
                yield self.paths.file("anneal_history", **key), SimpleNamespace(**key), True

    def tables(self) -> list[str]:
        """Return the paths of all tables."""
        return [self.paths.file("table", table=table) for table in TABLES]

    def measured_starts(self) -> Iterator[tuple[str, Arm, int]]:
        """Yield the path of each read-out of a start on a target, with an arm that has it."""
        seen = set()
        for arm in self.arms:
            for seed in self.config.seeds:
                path = self.paths.file("measured_start", **arm.columns(), seed=seed)
                if path not in seen:
                    seen.add(path)
                    yield path, arm, seed

    def pretrainings(self) -> list[str]:
        """Return the entries of `pretraining` that the sources of any arm use."""
        return sorted({self.config.sources[source].pretraining for _, source in self.trained_sources})

    def sources_of(self, pretraining: str) -> list[str]:
        """Return the sources that are trained by an entry of `pretraining`."""
        return sorted({s for _, s in self.trained_sources if self.config.sources[s].pretraining == pretraining})

    def training_blocks(self) -> list["TrainingBlock"]:
        """Return every block of seeds with every block of learning rates, of all recipes that any arm uses."""
        return [
            TrainingBlock(self, recipe, f"r{i}.s{j}", rates, seeds)
            for recipe in sorted({arm.recipe for arm in self.arms})
            for i, rates in enumerate(self.config.recipes[recipe].learning_rate_blocks)
            for j, seeds in enumerate(self.config.seed_blocks)
        ]

    def measuring_blocks(self) -> list["MeasuringBlock"]:
        """Return every block of seeds."""
        return [MeasuringBlock(self, f"s{j}", seeds) for j, seeds in enumerate(self.config.seed_blocks)]

    # --- specs -------------------------------------------------------------------------

    def _environment(self) -> dict[str, Any]:
        versions = self._versions("torch", "numpy")
        return {"versions": versions, "threads": self.config.threads, "device": self.config.device}

    def _versions(self, *packages: str) -> dict[str, str]:
        return {package: self.pins[package] for package in packages}

    def _architecture(self, name: str) -> dict[str, Any]:
        return {"name": name, **self.config.architectures[name].model_dump()}

    def _normalisation(self, kind: str, name: str) -> dict[str, float]:
        return self._study_of[kind, name].normalisation.model_dump()

    def _task(self, name: str) -> dict[str, Any]:
        task = self.config.tasks[name]
        return {
            "name": name,
            "dataset": task.dataset,
            "classes": self.grid.class_indices(name),
            "images": task.images,
        }

    def _target(self, target: str) -> dict[str, Any]:
        found = self.grid.target(target, "target")
        return {
            **self._task(found.task),
            "target": target,
            "shots": found.shots,
            "validation_shots": found.validation_shots,
        }

    def dataset_spec(self, wildcards: Any) -> str:
        """Spec of a dataset: its module, parameters and size."""
        dataset = self.config.datasets[wildcards.dataset]
        parameters = validate(self.grid.dataset_module(wildcards.dataset).Parameters, dataset.parameters, "datasets")
        return canonical(
            {
                "dataset": wildcards.dataset,
                "module": dataset.module,
                "parameters": parameters.model_dump(),
                "versions": self._versions("numpy", *self.grid.dataset_module(wildcards.dataset).PACKAGES),
                "size": self._study_of["dataset", wildcards.dataset].size,
            }
        )

    def initialise_spec(self, wildcards: Any) -> str:
        """Spec of an untrained network."""
        spec = {"architecture": self._architecture(wildcards.architecture), "seed": int(wildcards.seed)}
        return canonical({**spec, "versions": self._versions("numpy")})

    def _source(self, architecture: str, source: str) -> dict[str, Any]:
        settings = self.config.sources[source]
        return {
            **self._environment(),
            "architecture": self._architecture(architecture),
            "source": source,
            "task": self._task(settings.task),
            "pretraining": self.config.pretraining[settings.pretraining].model_dump(),
            "normalisation": self._normalisation("source", source),
        }

    def pretrain_spec(self, wildcards: Any) -> str:
        """Spec of one source with one seed."""
        return canonical({**self._source(wildcards.architecture, wildcards.source), "seed": int(wildcards.seed)})

    def anneal_spec(self, wildcards: Any) -> str:
        """Spec of one annealed branch: its source's, without the list of checkpoints."""
        spec = self._source(wildcards.architecture, wildcards.source)
        del spec["pretraining"]["checkpoints"]
        epoch, _ = split_epoch(wildcards.epoch)
        return canonical({**spec, "epoch": epoch, "seed": int(wildcards.seed)})

    def treat_spec(self, wildcards: Any) -> str:
        """Spec of one start."""
        layers = span_layers(wildcards.span, self.grid.depth(wildcards.architecture))
        spec = {"treatment": wildcards.treatment, "layers": layers, "seed": int(wildcards.seed)}
        return canonical({**spec, "versions": self._versions("numpy")})

    def _run(self, arm: Any) -> dict[str, Any]:
        recipe = self.config.recipes[arm.recipe].model_dump()
        del recipe["learning_rate_blocks"]
        task = arm.target.rpartition(".")[0]
        return {
            **self._environment(),
            "architecture": self._architecture(arm.architecture),
            "target": self._target(arm.target),
            "mode": arm.mode,
            "recipe": recipe,
            "normalisation": self._normalisation("task", task),
        }

    def train_spec(self, arm: Any, rates: tuple[float, ...], seeds: tuple[int, ...]) -> str:
        """Spec of a training job: one arm, some learning rates and seeds; of one run with one of each."""
        return canonical({**self._run(arm), "learning_rates": rates, "seeds": seeds})

    def measure_spec(self, arm: Any, seeds: tuple[int, ...]) -> str:
        """Spec of the read-outs of a start before target training, for a block of seeds."""
        spec = {
            **self._environment(),
            "versions": self._versions("torch", "numpy", "scikit-learn"),
            "architecture": self._architecture(arm.architecture),
            "target": self._target(arm.target),
            "source_task": None if arm.source == UNTRAINED else self._task(self.config.sources[arm.source].task),
            "normalisation": self._normalisation("task", arm.target.rpartition(".")[0]),
            "seeds": seeds,
        }
        return canonical(spec)

    def collect_spec(self, wildcards: Any = None, *, claims: bool = False) -> str:
        """Spec of a collector: the config, without the words and figures that no table holds."""
        config = self.config.model_dump(mode="json", exclude={"include", "keep_weights"})
        for study in config["studies"].values():
            study |= {"title": "", "question": "", "figures": []}
            if not claims:
                study |= {"claims": [], "settings": {}}
        if not claims:
            config["claims"] = {}
        return canonical({"config": config, "versions": self.pins})

    def claims_spec(self) -> str:
        """Spec of what also reads the claims."""
        return self.collect_spec(claims=True)

    def view(self, study: str) -> dict[str, Any]:
        """Return what a figure knows of its study (`view.View`)."""
        settings = self.config.studies[study]
        pairs = [
            {
                "name": name,
                "source": setting.source,
                "epoch": self.grid.epoch(setting.source, settings.epoch, f"studies.{study}.epoch"),
                "target": setting.target.rpartition(".")[0],
                "shots": setting.target.rpartition(".")[2],
            }
            for name, setting in settings.settings.items()
        ]
        architectures = sorted({arm.architecture for arm in self.grid.arms_of(study)})
        return {
            "study": study,
            "title": settings.title,
            "settings": pairs,
            "depths": {name: self.grid.depth(name) for name in architectures},
            "recipe": settings.recipe,
            "scratch_recipe": settings.scratch_recipe,
            "seed": self.config.seeds[0],
        }

    def spec_of_figure(self, figure: str) -> Callable[[Any], str]:
        """Return the spec of a figure as a function of the study, with what each of its weight files is."""

        def spec(wildcards: Any) -> str:
            labels = [label for label, _ in self.weights_of_figure(figure, wildcards.study)]
            spec = {"figure": figure, "view": self.view(wildcards.study), "weights": labels}
            return canonical({**spec, "versions": self._versions("matplotlib")})

        return spec

    def summary_spec(self) -> str:
        """Spec of the report's main page: what each study asks, and what its claims measure."""
        studies = [
            {
                "question": study.question,
                "view": self.view(name),
                "claims": {claim: self.config.claims[claim].measure for claim in study.claims},
            }
            for name, study in self.config.studies.items()
        ]
        return canonical({"studies": studies})

    # --- code --------------------------------------------------------------------------

    def dataset_code(self, wildcards: Any) -> str:
        """Fingerprint of preparing a dataset."""
        module = self.config.datasets[wildcards.dataset].module
        return stage_fingerprint("prepare_dataset", [registry.module_name("datasets", module)])

    def stage_code(self, stage: str) -> str:
        """Fingerprint of a stage whose spec selects no module."""
        return stage_fingerprint(stage)

    def treat_code(self, wildcards: Any) -> str:
        """Fingerprint of a treatment."""
        name, _ = treating.parse(wildcards.treatment)
        return stage_fingerprint("treat_checkpoint", [registry.module_name("treatments", name)])

    def train_code(self, arm: Any) -> str:
        """Fingerprint of target training in a mode."""
        return stage_fingerprint("train_run", [registry.module_name("modes", arm.mode)])

    def figure_code(self, figure: str) -> str:
        """Fingerprint of one figure."""
        return stage_fingerprint("plot_figure", [registry.module_name("figures", figure)])

    def files_of_table(self, wildcards: Any) -> list[str]:
        """Return the files that a collected table is made from."""
        if wildcards.table == "sources":
            return [path for path, _, _ in self.histories()]
        if wildcards.table == "starts":
            return [path for path, _, _ in self.measured_starts()]
        return self.run_files({"runs": "scores"}.get(wildcards.table, wildcards.table))

    def figure_names(self) -> list[str]:
        """Return the figures that any study has."""
        return sorted({figure for study in self.config.studies.values() for figure in study.figures})

    def figures(self) -> list[str]:
        """Return the paths of all figures, in both formats."""
        return [
            self.paths.file(kind, study=name, figure=figure)
            for name, study in self.config.studies.items()
            for figure in study.figures
            for kind in ("figure_svg", "figure_png")
        ]

    def tables_of_figure(self, figure: str) -> list[str]:
        """Return the tables that a figure reads."""
        tables = constants("figures", figure)["TABLES"]
        return [self.paths.file("table", table=table) for table in tables]

    def weights_of_figure(self, figure: str, study: str) -> list[tuple[dict[str, str], str]]:
        """Return what each weight file of a figure is, with its path: none, or those of its study's claims.

        These are, of one seed, the start and the finals at every learning rate of the intact arm and of the
        one whose kernels are all shuffled, in the first setting.
        """
        settings = self.config.studies[study]
        if not constants("figures", figure).get("WEIGHTS") or not settings.settings:
            return []
        setting = next(iter(settings.settings.values()))
        epoch = self.grid.epoch(setting.source, settings.epoch, f"studies.{study}.epoch")
        found = []
        for arm in self.grid.arms_of(study):
            told = arm.mode == "finetune" and (arm.source, arm.epoch, arm.target, arm.recipe) == (
                setting.source,
                epoch,
                setting.target,
                settings.recipe,
            )
            if told and arm.span == "all" and arm.treatment in ("intact", "shuffle-kernels"):
                label = {"architecture": arm.architecture, "treatment": arm.treatment}
                seed = self.config.seeds[0]
                found.append(({**label, "what": "start"}, self.paths.file("start", **arm.columns(), seed=seed)))
                for rate in self.config.recipes[arm.recipe].learning_rates:
                    path = self.run_file("final", arm, rate, seed)
                    found.append(({**label, "what": "final", "learning_rate": write_rate(rate)}, path))
        return found

    def weights_input(self, figure: str) -> Callable[[Any], list[str]]:
        """Return the weight files of a figure as a function of the study."""
        return lambda wildcards: [path for _, path in self.weights_of_figure(figure, wildcards.study)]

    # --- inputs ------------------------------------------------------------------------

    def dataset_of_source(self, wildcards: Any) -> str:
        """Return the dataset file that a source trains on."""
        task = self.config.sources[wildcards.source].task
        return self.paths.file("dataset", dataset=self.config.tasks[task].dataset)

    def dataset_of_target(self, wildcards: Any) -> str:
        """Return the dataset file of a target."""
        task = wildcards.target.rpartition(".")[0]
        return self.paths.file("dataset", dataset=self.config.tasks[task].dataset)

    def datasets_of_start(self, wildcards: Any) -> list[str]:
        """Return the datasets that the read-outs of a start use: the target's, and the source's if it has one."""
        files = [self.dataset_of_target(wildcards)]
        return files if wildcards.source == UNTRAINED else [*files, self.dataset_of_source(wildcards)]

    def checkpoints_to_treat(self, wildcards: Any) -> list[str]:
        """Return the checkpoint of a start, and then the one that its treatment takes layers from, if any."""
        key = {"architecture": wildcards.architecture, "seed": wildcards.seed}
        files = [self.paths.file("checkpoint", **key, source=wildcards.source, epoch=wildcards.epoch)]
        reference = treating.reference_of(wildcards.treatment)
        if reference == "epoch-0":
            files.append(self.paths.file("checkpoint", **key, source=wildcards.source, epoch="0"))
        elif reference == UNTRAINED:
            files.append(self.paths.file("checkpoint", **key, source=UNTRAINED, epoch="0"))
        return files


def write_rate(rate: float) -> str:
    """Write a learning rate as paths have it: `repr(float)`."""
    return repr(float(rate))


@dataclass(frozen=True)
class TrainingBlock:
    """What one training job takes on for an arm: some learning rates of a recipe, and some seeds."""

    plan: Plan
    recipe: str
    name: str
    rates: tuple[float, ...]
    seeds: tuple[int, ...]

    def outputs(self, pattern: str) -> list[str]:
        """Return a pattern once for each run of the block, in the order of the stage."""
        return [
            pattern.replace("{learning_rate}", write_rate(rate)).replace("{seed}", str(seed))
            for rate in self.rates
            for seed in self.seeds
        ]

    def spec(self, wildcards: Any) -> str:
        """Spec of the job that trains this block for the arm of the wildcards."""
        return self.plan.train_spec(wildcards, self.rates, self.seeds)


@dataclass(frozen=True)
class MeasuringBlock:
    """What one measuring job takes on for a start and a target: some seeds."""

    plan: Plan
    name: str
    seeds: tuple[int, ...]

    def spec(self, wildcards: Any) -> str:
        """Spec of the job that measures this block for the start and target of the wildcards."""
        return self.plan.measure_spec(wildcards, self.seeds)
