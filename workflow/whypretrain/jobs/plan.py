"""The plan: for each rule its inputs, its spec and its code, from wildcards and config alone.

The Snakefile asks it, and the collectors ask it again to hold results against what they
should be. Every method that takes `wildcards` can stand as an input or params function.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whypretrain import registry
from whypretrain.config.execution import resources
from whypretrain.config.models import Config
from whypretrain.grid.coordinates import ANNEAL, NO_RECIPE, Arm, Paths, write_number, write_rate
from whypretrain.grid.expansion import expand
from whypretrain.grid.grid import START, Grid
from whypretrain.jobs.figure_plan import FigurePlan
from whypretrain.jobs.fingerprints import stage_fingerprint
from whypretrain.jobs.jobs import OF_STEPS, SeedBlock, TrainingBlock
from whypretrain.jobs.selections import Selections
from whypretrain.jobs.specs import WHEEL, Rates, Specs
from whypretrain.networks.architecture import is_shipped
from whypretrain.training import moding
from whypretrain.treatments import treating

RUN_TABLES = {
    "runs": "scores",
    "pilots": "scores",
    "history": "history",
    "kernels": "kernels",
    "provenance": "provenance",
}
PAIR_TABLES = {"pairs": "pair_layers", "barriers": "pair_barriers"}
KINDS = ("history", "scores", "kernels", "predictions", "provenance")  # of a run's files, beside its final weights
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
    "torchvision",
    "timm",
    "torch-pruning",
    WHEEL,
)


def pinned_versions(requirements: Path) -> dict[str, str]:
    """Return the pinned version of each package in a requirements file."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in requirements.read_text().splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def collected_tables() -> tuple[str, ...]:
    """Return the tables that are put together from the results of many jobs."""
    return ("selected", "sources", "starts", *RUN_TABLES, *registry.names("measures"), *PAIR_TABLES)


class Plan:
    """What each job reads, is told and runs. A partial one makes nothing but tables, figures and pages."""

    def __init__(self, config: Config, pins: Mapping[str, str]) -> None:
        self.config = config
        self.pins = {package: pins[package] for package in NUMERICAL}
        self.grid = expand(config)
        self.paths = Paths(config.results, partial=config.partial)
        self.selections = Selections(lambda study: self.paths.file("selection", study=study))
        self.specs = Specs(config, self.grid, self.pins)
        self.figures = FigurePlan(config, self.grid, self.paths, self.selections, self.pins["matplotlib"])
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

    def annealed(self, grid: Grid) -> list[tuple[str, str, str]]:
        """Return architecture, source and epoch of every annealed branch that an arm, pair or source starts from."""
        found = set(grid.taken_checkpoints)
        for architecture, source in grid.trained_sources:
            found |= {(architecture, start, self.grid.end(start)) for start in self.grid.ancestors(source)}
        return sorted(branch for branch in found if branch[2].endswith(ANNEAL))

    def runs(self) -> Iterator[tuple[Arm, float | None, int]]:
        """Yield every run that decides: its arm, learning rate (None for a probe) and seed, in one fixed order.

        Of an arm whose rate isn't selected yet there is none.
        """
        for arm in self.arms:
            for rate in self.rates(arm):
                for seed in self.config.seeds:
                    yield arm, rate, seed

    def rates(self, arm: Arm) -> list[float | None]:
        """Return the rates at which the seeds that decide train an arm, in all its studies; none before pilots."""
        found: set[float | None] = set()
        for study in self.grid.arms[arm]:
            if arm in (selected := self.selections.of(study)):
                found |= set(selected[arm].rates)
        return sorted(found, key=lambda rate: rate or 0.0)

    def pilots(self) -> Iterator[tuple[Arm, float | None, int]]:
        """Yield every run that selects: all rates of each arm that has several, with the pilot seeds."""
        for arm in self.arms:
            for rate in self.grid.rates(arm) if arm in self.grid.pilots.arms else ():
                for seed in self.config.pilot_seeds:
                    yield arm, rate, seed

    def pilot_scores(self, wildcards: Any) -> list[str]:
        """Return the scores by which the rates of a study's arms are selected: arm, rate, seed."""
        studies = self.grid.pilots.arms
        return [self.run_file("scores", *run) for run in self.pilots() if wildcards.study in studies[run[0]]]

    def selection_files(self) -> list[str]:
        """Return what says which rates were selected, of every study."""
        return [self.paths.file("selection", study=study) for study in sorted(self.config.studies)]

    def run_file(self, kind: str, arm: Arm, rate: float | None, seed: int) -> str:
        """Return the path of one file of a run."""
        return self.paths.file(kind, **arm.columns(), learning_rate=write_rate(rate), seed=seed)

    def runs_of(self, table: str) -> Iterator[tuple[Arm, float | None, int]]:
        """Yield every run that has rows in a table: pilots alone in `pilots`, all in `provenance`."""
        runs = self.pilots() if table in ("pilots", "provenance") else iter(())
        if table != "pilots":
            runs = chain(self.runs(), runs)
        return (run for run in runs if RUN_TABLES[table] not in OF_STEPS or moding.by_steps(run[0].mode))

    def source_files(self) -> list[str]:
        """Return all files of all sources that any arm starts from, every checkpoint included, and pilots' as well.

        They are asked for by name: a start doesn't tell that the source it was made from is gone.
        """
        files = []
        for grid, seeds in ((self.grid, self.config.seeds), (self.grid.pilots, self.config.pilot_seeds)):
            for architecture, source in grid.trained_sources:
                pretraining = self.config.sources[source].pretraining
                for seed in seeds:
                    key = {"architecture": architecture, "source": source, "seed": seed}
                    files += [self.paths.file("checkpoint", **key, epoch=e) for e in self.checkpoints(pretraining)]
        return files

    def datasets(self) -> Iterator[SimpleNamespace]:
        """Yield the wildcards of each dataset file: its name and, where each seed has its own, the seed."""
        pilots = self.grid.pilots
        tasks = {arm.task for arm in pilots.arms}
        tasks |= {task for _, source in pilots.trained_sources for task in self.grid.tasks_of(source)}
        of_pilots = {self.config.tasks[task].dataset for task in tasks}
        for name in self.specs.datasets():
            if name in self.grid.per_seed:
                seeds = self.grid.all_seeds if name in of_pilots else self.config.seeds
                yield from (SimpleNamespace(dataset=name, seed=seed) for seed in seeds)
            else:
                yield SimpleNamespace(dataset=name)

    def histories(self, *, pilots: bool = False) -> Iterator[tuple[str, SimpleNamespace, bool]]:
        """Yield each source history's path, its wildcards, and whether it is of an annealed branch.

        With `pilots` also those of pilot seeds, on which nothing but the selection of rates rests.
        """
        for grid, seeds in [(self.grid, self.config.seeds), (self.grid.pilots, self.config.pilot_seeds)][: 1 + pilots]:
            for architecture, source in grid.trained_sources:
                for seed in seeds:
                    key = {"architecture": architecture, "source": source, "seed": str(seed)}
                    yield self.paths.file("source_history", **key), SimpleNamespace(**key), False
            for architecture, source, epoch in self.annealed(grid):
                for seed in seeds:
                    raw = epoch.removesuffix(ANNEAL)
                    key = {"architecture": architecture, "source": source, "seed": str(seed), "epoch": raw}
                    yield self.paths.file("anneal_history", **key), SimpleNamespace(**key), True

    def summaries(self) -> list[str]:
        """Return the tables that are made from others."""
        return [*SUMMARIES, *(["stability"] if self.config.selection_draws and not self.config.partial else [])]

    def tables(self) -> list[str]:
        """Return the paths of all tables."""
        names = (*collected_tables(), *self.summaries(), *(STOCK if self.config.partial else ()))
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

    def measured_runs(self, measure: str) -> Iterator[tuple[str, Arm, float | None, int]]:
        """Yield the path of each read-out of an arm at its selected rate, with the arm, the rate and the seed."""
        for arm in sorted(self.grid.measures.get(measure, ())):
            for rate in self.selected_rates(arm):
                for seed in self.config.seeds:
                    key = {**arm.columns(), "learning_rate": write_rate(rate), "seed": seed}
                    yield self.paths.file("measured_run", measure=measure, **key), arm, rate, seed

    def selected_rates(self, arm: Arm) -> list[float | None]:
        """Return the rates that an arm's studies selected for it, each once; none before the pilots are done."""
        selected = (self.selections.of(study).get(arm) for study in self.grid.arms[arm])
        return sorted({found.rate for found in selected if found}, key=lambda rate: rate or 0.0)

    def measured_pairs(self, kind: str) -> Iterator[tuple[str, SimpleNamespace]]:
        """Yield the path of each read-out of a pair, with its wildcards; each trained network at its selected rates."""
        for (pair, architecture), sides in sorted(self.grid.compared.items()):
            if kind == "pair_barriers" and not all(side.trained for side in sides):
                continue
            first, second = (self.selected_rates(side.arm) if side.trained else [None] for side in sides)
            for rates in product(first, second):
                for seed in self.config.seeds:
                    names = dict(zip(("first_rate", "second_rate"), map(write_rate, rates), strict=True))
                    key = {"pair": pair, "architecture": architecture, **names, "seed": seed}
                    yield self.paths.file(kind, **key), SimpleNamespace(**key)

    def pretrainings(self) -> list[str]:
        """Return the entries of `pretraining` that the sources of any arm use."""
        return sorted({self.config.sources[source].pretraining for _, source in self.trained_sources})

    def sources_of(self, pretraining: str) -> list[str]:
        """Return the sources that are trained by an entry of `pretraining`."""
        return sorted({s for _, s in self.trained_sources if self.config.sources[s].pretraining == pretraining})

    def training_blocks(self) -> list[TrainingBlock]:
        """Return what training jobs take on, of all recipes that any arm uses.

        That is every pilot block of seeds with every block of learning rates, and every other block with any one rate.
        """
        found = []
        for recipe in sorted({arm.recipe for arm in self.arms}):
            rates: Rates | None = (None,) if recipe == NO_RECIPE else None
            found += [
                TrainingBlock(self, recipe, f"s{j}", rates, seeds) for j, seeds in enumerate(self.config.seed_blocks)
            ]
            if any(arm.recipe == recipe for arm in self.grid.pilots.arms):
                found += [
                    TrainingBlock(self, recipe, f"r{i}.p{j}", grid, seeds)
                    for i, grid in enumerate(self.config.recipes[recipe].learning_rate_blocks)
                    for j, seeds in enumerate(self.config.pilot_blocks)
                ]
        return found

    def seed_blocks(self, *, pilots: bool = True) -> list[SeedBlock]:
        """Return every block of seeds that jobs take on, those of pilots too unless told otherwise."""
        if self.config.partial:
            return []
        blocks = [SeedBlock(self, f"s{j}", seeds) for j, seeds in enumerate(self.config.seed_blocks)]
        if pilots:
            blocks += [SeedBlock(self, f"p{j}", seeds) for j, seeds in enumerate(self.config.pilot_blocks)]
        return blocks

    def bank_blocks(self) -> list[SeedBlock]:
        """Return every block of seeds where there is a bank of kernels, and none where there isn't."""
        return self.seed_blocks() if self.config.bank else []

    def pretraining_blocks(self) -> list[tuple[SeedBlock, str]]:
        """Return every block of seeds with every entry of `pretraining` in use."""
        return [(block, name) for block in self.seed_blocks() for name in self.pretrainings()]

    def pair_blocks(self) -> list[tuple[SeedBlock, str]]:
        """Return every block of seeds with every pair."""
        pairs = sorted({pair for pair, _ in self.grid.compared})
        return [(block, pair) for block in self.seed_blocks(pilots=False) for pair in pairs]

    def pair_outputs(self, kind: str, pair: str, block: SeedBlock) -> list[str]:
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
        if table == "selected":
            return self.selection_files()
        if table in RUN_TABLES:
            return [self.run_file(RUN_TABLES[table], *run) for run in self.runs_of(table)]
        if table in PAIR_TABLES:
            return [found[0] for found in self.measured_pairs(PAIR_TABLES[table])]
        return [found[0] for found in self.measured_runs(table)]

    def files_of_dataset(self, wildcards: Any) -> list[str]:
        """Return the files of the user's own that a dataset is made from; none of most."""
        module = self.grid.dataset_module(wildcards.dataset)
        if not hasattr(module, "files"):
            return []
        return [str(file) for file in module.files(self.grid.dataset_parameters(wildcards.dataset))]

    def published(self, pretraining: str) -> dict[str, str]:
        """Return what somebody published, by the epoch that it is in a source; nothing of other pretrainings."""
        settings = self.config.pretraining[pretraining]
        return dict(zip(map(write_number, settings.checkpoints[1:]), settings.weights, strict=False))

    def published_spec(self, wildcards: Any) -> str:
        """Spec of reading what somebody published."""
        return self.specs.published(wildcards, self.published(wildcards.pretraining)[wildcards.epoch])

    def file_of_published(self, wildcards: Any) -> list[str]:
        """Return the user's own file that published weights are read from; none of others."""
        name = self.published(wildcards.pretraining)[wildcards.epoch]
        return [name] if name in self.config.pretraining[wildcards.pretraining].files else []

    def card(self, wildcards: Any) -> list[str]:
        """Return the file of an architecture's card; none of one that is shipped or follows from config."""
        if is_shipped(self.config.architectures[wildcards.architecture]):
            return []
        return [self.paths.file("network", architecture=wildcards.architecture)]

    def dataset_of_source(self, source: str, seeds: Sequence[int]) -> list[str]:
        """Return the dataset files that a source trains on, as `_dataset_of_task` does; none where it has no task."""
        return [file for task in self.grid.tasks_of(source) for file in self._dataset_of_task(task, seeds)]

    def dataset_of_target(self, target: str, seeds: Sequence[int]) -> list[str]:
        """Return the dataset files of a target, as `_dataset_of_task` does."""
        return self._dataset_of_task(target.rpartition(".")[0], seeds)

    def _dataset_of_task(self, task: str, seeds: Sequence[int]) -> list[str]:
        """Return the dataset file of each seed, or the one of all."""
        name = self.config.tasks[task].dataset
        if name in self.grid.per_seed:
            return [self.paths.file("dataset_of_seed", dataset=name, seed=seed) for seed in seeds]
        return [self.paths.file("dataset", dataset=name)]
