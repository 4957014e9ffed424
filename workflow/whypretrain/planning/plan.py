"""The plan: for each rule its inputs, its spec and its code, from wildcards and config alone.

The Snakefile asks it, and the collectors ask it again to hold results against what they
should be. Every method that takes `wildcards` can stand as an input or params function.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whypretrain import registry
from whypretrain.planning.figure_plan import FigurePlan
from whypretrain.planning.fingerprints import stage_fingerprint
from whypretrain.planning.specs import Rates, Specs
from whypretrain.study import moding
from whypretrain.study.config import Config
from whypretrain.study.coordinates import ANNEAL, BANK, NO_RECIPE, UNTRAINED, Arm, Paths, write_number, write_rate
from whypretrain.study.execution import resources
from whypretrain.study.expansion import expand
from whypretrain.study.grid import START
from whypretrain.weights import treating

RUN_TABLES = {"runs": "scores", "history": "history", "kernels": "kernels", "provenance": "provenance"}
PAIR_TABLES = {"pairs": "pair_layers", "barriers": "pair_barriers"}
KINDS = ("history", "scores", "kernels", "predictions", "provenance")  # of a run's files, beside its final weights
OF_STEPS = ("history", "kernels")  # what a mode that doesn't learn by steps has none of
SUMMARIES = ("design", "arms", "contrasts", "transfer", "maturity", "correlations", "modes", "advice", "verdicts")
STOCK = ("missing", "completeness")  # of what isn't complete

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


def collected_tables() -> tuple[str, ...]:
    """Return the tables that are put together from the results of many jobs."""
    return ("sources", "starts", *RUN_TABLES, *registry.names("measures"), *PAIR_TABLES)


class Plan:
    """What each job reads, is told and runs. A partial one makes nothing but tables, figures and pages."""

    def __init__(self, config: Config, pins: Mapping[str, str]) -> None:
        self.config = config
        self.pins = {package: pins[package] for package in NUMERICAL}
        self.grid = expand(config)
        self.paths = Paths(config.results, partial=config.partial)
        self.specs = Specs(config, self.grid, self.pins)
        self.figures = FigurePlan(config, self.grid, self.paths, self.pins["matplotlib"])
        # what a job of a kind can ever get, by resource: known once a cluster has been asked
        self.limits: dict[str, dict[str, int]] = {kind: {} for kind in ("pretrain", "train", "measure")}

    # --- the grid, as files ------------------------------------------------------------

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, sorted."""
        return tuple(sorted(self.grid.arms))

    @cached_property
    def trained_sources(self) -> list[tuple[str, str]]:
        """Pairs of architecture and source that any arm or pair starts from, and all that those start from."""
        return self.grid.trained_sources

    def checkpoints(self, pretraining: str) -> list[str]:
        """Return the raw checkpoints of a pretraining, as paths have them."""
        return [write_number(epoch) for epoch in self.config.pretraining[pretraining].checkpoints]

    def annealed(self) -> list[tuple[str, str, str]]:
        """Return architecture, source and epoch of every annealed branch that an arm, pair or source starts from."""
        found = set(self.grid.taken_checkpoints)
        for architecture, source in self.trained_sources:
            found |= {(architecture, start, self.grid.end(start)) for start in self.grid.ancestors(source)}
        return sorted(branch for branch in found if branch[2].endswith(ANNEAL))

    def runs(self, arms: tuple[Arm, ...] | None = None) -> Iterator[tuple[Arm, float | None, int]]:
        """Yield every run: its arm, learning rate (None for a probe) and seed, in one fixed order."""
        for arm in self.arms if arms is None else arms:
            for rate in self.specs.rates(arm):
                for seed in self.config.seeds:
                    yield arm, rate, seed

    def run_file(self, kind: str, arm: Arm, rate: float | None, seed: int) -> str:
        """Return the path of one file of a run."""
        return self.paths.file(kind, **arm.columns(), learning_rate=write_rate(rate), seed=seed)

    def runs_with(self, kind: str) -> Iterator[tuple[Arm, float | None, int]]:
        """Yield every run that has a kind of file."""
        return (run for run in self.runs() if kind not in OF_STEPS or moding.by_steps(run[0].mode))

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
        names = (*collected_tables(), *SUMMARIES, *(STOCK if self.config.partial else ()))
        return [self.paths.file("table", table=table) for table in names]

    def stock(self) -> list[str]:
        """Return the tables that say what is missing, of a partial plan alone."""
        return [self.paths.file("table", table=table) for table in STOCK if self.config.partial]

    def measured_starts(self) -> Iterator[tuple[str, Arm, int]]:
        """Yield the path of each read-out of a start on a target, with an arm that has it."""
        seen = set()
        for arm in sorted(self.grid.measures.get(START, ())):
            for seed in self.config.seeds:
                path = self.paths.file("measured_start", **arm.columns(), seed=seed)
                if path not in seen:
                    seen.add(path)
                    yield path, arm, seed

    def measured_runs(self, measure: str) -> Iterator[tuple[str, Arm, int]]:
        """Yield the path of each read-out of an arm, with the arm and the seed."""
        for arm in sorted(self.grid.measures.get(measure, ())):
            for seed in self.config.seeds:
                yield self.paths.file("measured_run", measure=measure, **arm.columns(), seed=seed), arm, seed

    def measured_pairs(self, kind: str) -> Iterator[tuple[str, str, str, int]]:
        """Yield the path of each read-out of a pair, with its name, architecture and seed."""
        for (pair, architecture), sides in sorted(self.grid.compared.items()):
            if kind == "pair_layers" or all(side.trained for side in sides):
                for seed in self.config.seeds:
                    path = self.paths.file(kind, pair=pair, architecture=architecture, seed=seed)
                    yield path, pair, architecture, seed

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
            for i, rates in enumerate(self._rate_blocks(recipe))
            for j, seeds in enumerate(self.config.seed_blocks)
        ]

    def _rate_blocks(self, recipe: str) -> tuple[Rates, ...]:
        return ((None,),) if recipe == NO_RECIPE else self.config.recipes[recipe].learning_rate_blocks

    def seed_blocks(self) -> list["SeedBlock"]:
        """Return every block of seeds that jobs take on."""
        return (
            []
            if self.config.partial
            else [SeedBlock(self, f"s{j}", seeds) for j, seeds in enumerate(self.config.seed_blocks)]
        )

    def bank_blocks(self) -> list["SeedBlock"]:
        """Return every block of seeds where there is a bank of kernels, and none where there isn't."""
        return self.seed_blocks() if self.config.bank else []

    def pretraining_blocks(self) -> list[tuple["SeedBlock", str]]:
        """Return every block of seeds with every entry of `pretraining` in use."""
        return [(block, name) for block in self.seed_blocks() for name in self.pretrainings()]

    def pair_blocks(self) -> list[tuple["SeedBlock", str]]:
        """Return every block of seeds with every pair."""
        pairs = sorted({pair for pair, _ in self.grid.compared})
        return [(block, pair) for block in self.seed_blocks() for pair in pairs]

    def pair_outputs(self, kind: str, pair: str, block: "SeedBlock") -> list[str]:
        """Return what comparing a pair gives for every seed of a block; a barrier only where both are trained."""
        sides = [side for (name, _), both in self.grid.compared.items() if name == pair for side in both]
        if kind == "pair_barriers" and not all(side.trained for side in sides):
            return []
        return block.files(kind)

    def needs(self, kind: str) -> dict[str, Any]:
        """Return the resources of the rules of a kind: `pretrain`, `train` or `measure`."""
        return resources(getattr(self.config.execution, kind), self.config.device, self.limits[kind])

    # --- code --------------------------------------------------------------------------

    def dataset_code(self, wildcards: Any) -> str:
        """Fingerprint of preparing a dataset."""
        module = self.config.datasets[wildcards.dataset].module
        return stage_fingerprint("prepare_dataset", [registry.module_name("datasets", module)])

    def stage_code(self, stage: str) -> str:
        """Fingerprint of a stage whose spec selects no module."""
        return stage_fingerprint(stage)

    def source_code(self, stage: str) -> Callable[[Any], str]:
        """Return the fingerprint of a stage that trains a source, as a function of the wildcards."""

        def code(wildcards: Any) -> str:
            settings = self.config.pretraining[self.config.sources[wildcards.source].pretraining]
            return stage_fingerprint(stage, [registry.module_name("objectives", settings.objective)])

        return code

    def treat_code(self, wildcards: Any) -> str:
        """Fingerprint of a treatment."""
        name, _ = treating.parse(wildcards.treatment)
        return stage_fingerprint("treat_checkpoint", [registry.module_name("treatments", name)])

    def train_code(self, arm: Any) -> str:
        """Fingerprint of target training in a mode, with the regulariser of its recipe if it has one."""
        modules = [registry.module_name("modes", moding.parse(arm.mode).name)]
        recipe = self.config.recipes.get(arm.recipe)  # a probe has none
        if recipe and recipe.regulariser:
            modules.append(registry.module_name("regularisers", recipe.regulariser.name))
        return stage_fingerprint("train_run", modules)

    def measure_code(self, wildcards: Any) -> str:
        """Fingerprint of one read-out of an arm."""
        return stage_fingerprint("measure_run", [registry.module_name("measures", wildcards.measure)])

    def figure_code(self, figure: str) -> str:
        """Fingerprint of one figure."""
        return stage_fingerprint("plot_figure", [registry.module_name("figures", figure)])

    # --- inputs ------------------------------------------------------------------------

    def files_of_table(self, wildcards: Any) -> list[str]:
        """Return the files that a collected table is made from; in a partial plan those are no rule's business."""
        table = wildcards.table
        if self.config.partial:
            return self.stock()
        if table == "sources":
            return [path for path, _, _ in self.histories()]
        if table == "starts":
            return [path for path, _, _ in self.measured_starts()]
        if table in RUN_TABLES:
            return [self.run_file(RUN_TABLES[table], *run) for run in self.runs_with(RUN_TABLES[table])]
        if table in PAIR_TABLES:
            return [found[0] for found in self.measured_pairs(PAIR_TABLES[table])]
        return [path for path, _, _ in self.measured_runs(table)]

    def files_of_dataset(self, wildcards: Any) -> list[str]:
        """Return the files of the user's own that a dataset is made from; none of most."""
        module = self.grid.dataset_module(wildcards.dataset)
        if not hasattr(module, "files"):
            return []
        return [str(file) for file in module.files(self.grid.dataset_parameters(wildcards.dataset))]

    def file_of_pretraining(self, wildcards: Any) -> str:
        """Return the user's own file that a pretraining takes its weights from."""
        return str(self.config.pretraining[wildcards.pretraining].file)

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


@dataclass(frozen=True)
class TrainingBlock:
    """What one training job takes on for an arm: some learning rates of a recipe, and some seeds.

    The recipe stands in the paths of its rule and is no wildcard of it. With one, Snakemake would hold every file of a
    run against every output of every recipe's rules, which took most of a dry run.
    """

    plan: Plan
    recipe: str
    name: str
    rates: Rates
    seeds: tuple[int, ...]

    @property
    def priority(self) -> int:
        """The longest runs first, so that none is left alone at the end."""
        return 0 if self.recipe == NO_RECIPE else self.plan.config.recipes[self.recipe].min_steps

    def outputs(self, kind: str) -> list[str]:
        """Return one kind of file for each run of the block, in the order of the stage; none of what they lack."""
        if self.recipe == NO_RECIPE and kind in OF_STEPS:
            return []
        return [
            self.plan.paths.open(kind, recipe=self.recipe, learning_rate=write_rate(rate), seed=seed)
            for rate in self.rates
            for seed in self.seeds
        ]

    def spec(self, wildcards: Any) -> str:
        """Spec of the job that trains this block for the arm of the wildcards."""
        return self.plan.specs.train(self._arm(wildcards), self.rates, self.seeds)

    def code(self, wildcards: Any) -> str:
        """Fingerprint of the job that trains this block for the arm of the wildcards."""
        return self.plan.train_code(self._arm(wildcards))

    def _arm(self, wildcards: Any) -> SimpleNamespace:
        return SimpleNamespace(**{**vars(wildcards), "recipe": self.recipe})


@dataclass(frozen=True)
class SeedBlock:
    """What one job takes on of anything but training on a target: some seeds."""

    plan: Plan
    name: str
    seeds: tuple[int, ...]

    def files(self, kind: str) -> list[str]:
        """Return one kind of file for each seed, its other wildcards open."""
        return [self.plan.paths.open(kind, seed=seed) for seed in self.seeds]

    def pretrained(self, pretraining: str) -> dict[str, str]:
        """Return each seed's checkpoints and then its history, each under a name of its own, as sharing asks for."""
        found = {}
        for seed in self.seeds:
            for epoch in self.plan.checkpoints(pretraining):
                name = f"s{seed}_epoch_{re.sub(r'[^0-9]', '_', epoch)}"
                found[name] = self.plan.paths.open("checkpoint", seed=seed, epoch=epoch)
            found[f"s{seed}_history"] = self.plan.paths.open("source_history", seed=seed)
        return found

    def annealed(self) -> dict[str, str]:
        """Return the end of each seed's branch and then its history, each under a name of its own."""
        kinds = {"weights": "annealed", "history": "anneal_history"}
        return {f"s{s}_{name}": self.plan.paths.open(kind, seed=s) for s in self.seeds for name, kind in kinds.items()}

    def pretrain_spec(self, wildcards: Any) -> str:
        """Spec of the job that pre-trains the source of the wildcards."""
        return self.plan.specs.pretrain(wildcards, self.seeds)

    def parents(self, wildcards: Any) -> list[str]:
        """Return the checkpoints of another source, or the file, that a source starts from, for each seed; or none."""
        settings = self.plan.config.sources[wildcards.source]
        if self.plan.config.pretraining[settings.pretraining].file:
            return [self.plan.paths.file("foreign", pretraining=settings.pretraining)] * len(self.seeds)
        start = settings.start
        if start is None:
            return []
        key = {"architecture": wildcards.architecture, "source": start, "epoch": self.plan.grid.end(start)}
        return [self.plan.paths.file("checkpoint", **key, seed=seed) for seed in self.seeds]

    def anneal_spec(self, wildcards: Any) -> str:
        """Spec of the job that anneals the checkpoint of the wildcards."""
        return self.plan.specs.anneal(wildcards, self.seeds)

    def treat_spec(self, wildcards: Any) -> str:
        """Spec of the job that treats the checkpoint of the wildcards."""
        return self.plan.specs.treat(wildcards, self.seeds)

    def references(self, wildcards: Any) -> list[str]:
        """Return the checkpoints or banks that a treatment takes from, one for each seed; none for most."""
        reference = treating.reference_of(wildcards.treatment)
        if reference is None:
            return []
        if reference == BANK:
            return [self.plan.paths.file("bank", architecture=wildcards.architecture, seed=s) for s in self.seeds]
        return self._at_zero(wildcards.architecture, UNTRAINED if reference == UNTRAINED else wildcards.source)

    def banked(self, wildcards: Any) -> list[str]:
        """Return the checkpoints whose kernels are in a bank, all of one seed after all of another."""
        key = {"architecture": wildcards.architecture}
        return [
            self.plan.paths.file("checkpoint", **key, source=source, epoch=epoch, seed=seed)
            for seed in self.seeds
            for source, epoch in self.plan.grid.banked
        ]

    def bank_spec(self, wildcards: Any) -> str:
        """Spec of the job that pools the kernels of the sources of the bank, the same for every architecture."""
        return self.plan.specs.bank(self.seeds)

    def _at_zero(self, architecture: str, source: str) -> list[str]:
        key = {"architecture": architecture, "source": source, "epoch": "0"}
        return [self.plan.paths.file("checkpoint", **key, seed=seed) for seed in self.seeds]

    def start_spec(self, wildcards: Any) -> str:
        """Spec of the job that measures this block for the start and target of the wildcards."""
        return self.plan.specs.measure_start(wildcards, self.seeds)

    def untrained(self, wildcards: Any) -> list[str]:
        """Return each seed's untrained network, on which tasks are compared; none where the start has no source."""
        return [] if wildcards.source == UNTRAINED else self._at_zero(wildcards.architecture, UNTRAINED)

    def run_spec(self, wildcards: Any) -> str:
        """Spec of the job that takes one read-out of the arm of the wildcards."""
        return self.plan.specs.measure(wildcards.measure, wildcards, self.seeds)

    def pair_spec(self, wildcards: Any) -> str:
        """Spec of the job that compares the pair of the wildcards."""
        return self.plan.specs.pair(wildcards.pair, wildcards.architecture, self.seeds)

    def initials(self, wildcards: Any) -> list[str]:
        """Return each seed's initialisation of the source that an arm starts from."""
        return self._at_zero(wildcards.architecture, wildcards.source)

    def finals(self, arm: Any) -> list[str]:
        """Return an arm's final weights, rate after rate and seed after seed."""
        return self._files("final", arm, self.seeds)

    def scores(self, arm: Any) -> list[str]:
        """Return an arm's scores with all seeds of the study: what its learning rate is selected by."""
        return self._files("scores", arm, self.plan.config.seeds)

    def _files(self, kind: str, arm: Any, seeds: tuple[int, ...]) -> list[str]:
        coordinates = {name: getattr(arm, name) for name in Arm.__dataclass_fields__}
        return [
            self.plan.paths.file(kind, **coordinates, learning_rate=write_rate(rate), seed=seed)
            for rate in self.plan.specs.rates(arm)
            for seed in seeds
        ]

    def weights(self, place: int) -> Callable[[Any], list[str]]:
        """Return the weights of one network of a pair as a function of the wildcards."""

        def files(wildcards: Any) -> list[str]:
            side = self.plan.grid.compared[wildcards.pair, wildcards.architecture][place]
            if side.trained:
                return self.finals(side.arm)
            return [self.plan.paths.file("start", **side.arm.columns(), seed=seed) for seed in self.seeds]

        return files

    def weights_scores(self, place: int) -> Callable[[Any], list[str]]:
        """Return the scores that select the learning rate of one network of a pair; none of an untrained one."""

        def files(wildcards: Any) -> list[str]:
            side = self.plan.grid.compared[wildcards.pair, wildcards.architecture][place]
            return self.scores(side.arm) if side.trained else []

        return files

    def dataset_of_pair(self, wildcards: Any) -> str:
        """Return the dataset file of the images that a pair is compared on."""
        return self.plan.dataset_of_target(SimpleNamespace(target=self.plan.config.pairs[wildcards.pair].images))
