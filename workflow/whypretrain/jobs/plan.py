"""The plan of a config: its grid as files, and a form for each kind of job.

The Snakefile asks it, and the collectors ask it again to hold results against what they should be.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from whypretrain import registry
from whypretrain.command import StageError
from whypretrain.config.models import Config, ConfigError
from whypretrain.files.origins import FINAL, canonical
from whypretrain.grid.coordinates import ANNEAL, Arm, Paths, write_number
from whypretrain.grid.expansion import expand
from whypretrain.grid.grid import Grid
from whypretrain.jobs import measures, pages, runs, sources, tables
from whypretrain.jobs.fingerprints import fingerprint
from whypretrain.jobs.form import Block, Form, Result
from whypretrain.jobs.selections import Selection, Selections
from whypretrain.jobs.values import WHEEL, Values

# Packages whose version is part of results: a spec holds those that its job uses, and the job checks them.
OF_NETWORKS = ("torch", "torchvision", "timm", "torch-pruning", WHEEL)
OF_NUMBERS = ("numpy", "scipy", "statsmodels", "scikit-learn", "pandas", "pyarrow", "matplotlib", "pillow", "mlxtend")
NUMERICAL = (*OF_NETWORKS, *OF_NUMBERS)
OF_PAGES = ("jinja2", "docutils", "itables")  # of no table


def pinned_versions(requirements: Path) -> dict[str, str]:
    """Return the pinned version of each package in a requirements file."""
    lines = (line.split("#")[0].split(";")[0].strip() for line in requirements.read_text().splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def _in_order(rates: Iterable[float | None]) -> list[float | None]:
    return sorted(set(rates), key=lambda rate: rate or 0.0)


class Plan:
    """What each job reads, is told and runs. A partial one makes nothing but tables, figures and pages."""

    def __init__(self, config: Config, pins: Mapping[str, str]) -> None:
        self.config = config
        self.pins = {package: pins[package] for package in NUMERICAL}
        self.grid = expand(config)
        self.paths = Paths(config.results, partial=config.partial)
        self.selections = Selections(lambda study: self.paths.file("selection", study=study))
        shown = {package: pins[package] for package in OF_PAGES if package in pins}
        self.values = Values(config, self.grid, self.pins | shown)
        # what a job of a kind can ever get, by resource: known once a cluster has been asked
        self.limits: dict[str, dict[str, int]] = {kind: {} for kind in ("pretrain", "train", "measure")}

    @classmethod
    def of_spec(cls, spec: Mapping[str, Any]) -> "Plan":
        """Return the plan that a collector's spec describes: it expands the grid again, from the values it was told.

        Raises StageError where a folder of images that was there when the job was planned is not there now.
        """
        try:
            return cls(Config.model_validate(spec["config"]), spec["versions"])
        except ConfigError as error:
            raise StageError(str(error)) from None

    # --- forms -----------------------------------------------------------------------------

    def blocks(self, *, pilots: bool = False) -> list[Block]:
        """Return the blocks of seeds that decide; with `pilots` those that select as well."""
        found = [("s", self.config.seed_blocks, self.grid)]
        found += [("p", self.config.pilot_blocks, self.grid.pilots)] if pilots else []
        return [
            Block(f"{kind}{number}", seeds, grid) for kind, blocks, grid in found for number, seeds in enumerate(blocks)
        ]

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """All forms, in the order of the chain."""
        deciding, all_blocks = self.blocks(), self.blocks(pilots=True)
        found: list[Form] = [sources.PrepareDataset(self), sources.PrepareDataset(self, None, "of_seed")]
        found += [sources.InitialiseNetwork(self), sources.ReadWeights(self)]
        found += [sources.PretrainSource(self, block, name) for block in all_blocks for name in self.pretrainings()]
        found += [sources.AnnealSource(self, block) for block in all_blocks]
        found += [sources.PoolKernels(self, block) for block in all_blocks if self.config.bank]
        found += [sources.TreatCheckpoint(self, block) for block in all_blocks]
        found += [*(form for forms in self._training.values() for form in forms), runs.SelectRates(self)]
        # nothing is read out of pilots but their scores
        found += [form(self, block) for block in deciding for form in (measures.MeasureStart, measures.MeasureRun)]
        pairs = sorted({pair for pair, _ in self.grid.compared})
        found += [measures.MeasurePair(self, block, pair) for block in deciding for pair in pairs]
        again = self.config.selection_draws and not self.config.partial
        summaries = (stage for stage in tables.SUMMARIES if again or stage != "judge_again")
        found += [tables.CollectTable(self), *(tables.Summary(self, stage) for stage in summaries)]
        found += [tables.CalibrateVerdicts(self)]
        found += [tables.FindMissing(self)] if self.config.partial else []
        figures = sorted({figure for study in self.config.studies.values() for figure in study.figures})
        found += [pages.PlotFigure(self, None, figure) for figure in figures]
        return (*found, pages.WriteReport(self), pages.WriteAdvice(self))

    @cached_property
    def _training(self) -> dict[tuple[str, bool], list[runs.TrainRun]]:
        """What trains the arms of a recipe, with pilots or with the seeds that decide."""
        found = {}
        for recipe in sorted({arm.recipe for arm in self.arms}):
            found[recipe, False] = [runs.TrainRun(self, recipe, block) for block in self.blocks()]
            if any(arm.recipe == recipe for arm in self.grid.pilots.arms):
                found[recipe, True] = [
                    runs.TrainRun(self, recipe, block, rates, number)
                    for number, rates in enumerate(self.config.recipes[recipe].learning_rate_blocks)
                    for block in self.blocks(pilots=True)
                    if block.selects
                ]
        return found

    def forms_of(self, stage: str, *, pilots: bool = True) -> list[Any]:
        """Return the forms of a stage, in the order of the chain."""
        return [form for form in self.forms if form.stage == stage and (pilots or not form.block.selects)]

    def jobs(self, stage: str, *, pilots: bool = True) -> Iterator[tuple[Any, SimpleNamespace]]:
        """Yield the form and the coordinates of each job of a stage."""
        return ((form, at) for form in self.forms_of(stage, pilots=pilots) for at in form.every())

    def form(self, stage: str) -> Any:
        """Return the one form of a stage."""
        (form,) = self.forms_of(stage)
        return form

    def ruled(self, *without: str) -> list[Form]:
        """Return the forms that are rules of the workflow, but those of some stages."""
        forms = (form for form in self.forms if form.shown or not self.config.partial)
        return [form for form in forms if form.stage not in without]

    def results(self) -> Iterator[Result]:
        """Yield every result that this config has."""
        return (result for form in self.forms for result in form.results())

    def computed(self) -> Iterator[Result]:
        """Yield every result but tables, figures and pages."""
        return (result for form in self.forms if not form.shown for result in form.results())

    # --- the grid, as files ----------------------------------------------------------------

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """All arms, sorted."""
        return tuple(sorted(self.grid.arms))

    def annealed(self, grid: Grid) -> list[tuple[str, str, str]]:
        """Return architecture, source and epoch of every annealed branch that an arm, pair or source starts from."""
        found = set(grid.taken_checkpoints)
        for architecture, source in grid.trained_sources:
            found |= {(architecture, start, self.grid.end(start)) for start in self.grid.ancestors(source)}
        return sorted(branch for branch in found if branch[2].endswith(ANNEAL))

    def batches(self, *, pilots: bool = False) -> Iterator[tuple[runs.TrainRun, SimpleNamespace, Arm]]:
        """Yield every batch of runs of seeds that decide, or of pilots: its form, its coordinates and its arm."""
        for arm in self.arms:
            asked = not pilots or arm in self.grid.pilots.arms
            for form in self._training.get((arm.recipe, pilots), ()) if asked else ():
                yield from ((form, at, arm) for at in form.of_arm(arm))

    def runs(self) -> Iterator[tuple[Arm, float | None, int]]:
        """Yield every run that decides: its arm, learning rate (None for a probe) and seed."""
        for form, at, arm in self.batches():
            yield from ((arm, rate, seed) for rate in form.rates_of(at) for seed in form.block.seeds)

    def rates(self, arm: Arm) -> list[float | None]:
        """Return the rates at which the seeds that decide train an arm, in all its studies; none before pilots."""
        return _in_order(rate for found in self._selections(arm) for rate in found.rates)

    def selected_rates(self, arm: Arm) -> list[float | None]:
        """Return the rates that an arm's studies selected for it, each once; none before the pilots are done."""
        return _in_order(found.rate for found in self._selections(arm))

    def _selections(self, arm: Arm) -> list[Selection]:
        return [*filter(None, (self.selections.of(study).get(arm) for study in self.grid.arms[arm]))]

    def source_files(self) -> list[str]:
        """Return all checkpoints of all sources that any arm starts from, pilots' as well.

        They are asked for by name: a start doesn't tell that the source it was made from is gone.
        """
        results = (result.path for form in self.forms_of("pretrain_source") for result in form.results())
        return [path for path in results if path.endswith(".safetensors")]

    @cached_property
    def asked(self) -> dict[str, list[tuple[str, int]]]:
        """Architecture and seed of the untrained networks, and of the banks, that any job reads.

        Config has more architectures and seeds than these.
        """
        asking = {"treat_checkpoint": ("checkpoints", "references"), "measure_start": ("untrained",)}
        paths: set[str] = set()
        for stage, names in {**asking, "measure_run": ("initials",)}.items():
            for form, at in self.jobs(stage):
                reading = form.inputs()
                paths.update(path for name in names for path in reading[name](at, form.block.seeds))
        every = [*product(sorted(self.config.architectures), self.grid.all_seeds)]
        return {
            kind: [key for key in every if self.paths.file(kind, architecture=key[0], seed=key[1]) in paths]
            for kind in ("untrained", "bank")
        }

    def tables(self) -> list[str]:
        """Return the paths of all tables."""
        makers = [form for form in self.forms if isinstance(form, tables.Table) and form.stage != "calibrate_verdicts"]
        return [result.path for form in makers for result in form.results()]

    def figure_files(self) -> list[str]:
        """Return the paths of all figures."""
        return [result.path for form in self.forms_of("plot_figure") for result in form.results()]

    def advised(self) -> list[str]:
        """Return the studies that compare ways of using a source: those with a mode map."""
        return [name for name, study in self.config.studies.items() if "mode-map" in study.figures]

    def partial_tables(self) -> list[str]:
        """Return the tables that say what is missing, of a partial plan alone."""
        return [self.paths.file("table", table=table) for table in tables.MISSING if self.config.partial]

    def there(self) -> str:
        """Return a digest of which results are there, by name, size and time: what a partial plan is made from.

        It is empty where no run is among them.
        """
        files = (Path(result.path) for result in self.computed())
        found = [file for file in files if file.name != FINAL and file.exists()]
        if not any(file.name == "scores.parquet" for file in found):
            return ""
        told = []
        for file in found:
            with contextlib.suppress(FileNotFoundError):  # a run in progress makes it again
                told.append(f"{file} {(status := file.stat()).st_size} {status.st_mtime_ns}")
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]

    def code_of_results(self) -> str:
        """Return a digest of all code that results are made by, and of the user's own images: of what may be stale."""
        stages = (f"whypretrain.stages.{path.stem}" for path in (registry.PACKAGE / "stages").glob("[a-z]*.py"))
        kinds = (kind for kind in registry.FOLDERS if kind != "figures")
        entries = (registry.module_name(kind, name) for kind in kinds for name in registry.names(kind))
        images = (canonical(form.spec(at, ())) for form, at in self.jobs("prepare_dataset"))
        told = [fingerprint(tuple(sorted({*stages, *entries}))), *images]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]

    def pretrainings(self) -> list[str]:
        """Return the entries of `pretraining` that the sources of any arm use."""
        return sorted({self.config.sources[source].pretraining for _, source in self.grid.trained_sources})

    def published(self, pretraining: str) -> dict[str, str]:
        """Return what somebody published, by the epoch that it is in a source; nothing of other pretrainings."""
        settings = self.config.pretraining[pretraining]
        return dict(zip(map(write_number, settings.checkpoints[1:]), settings.weights, strict=False))

    def dataset_of_task(self, task: str, seeds: Sequence[int]) -> list[str]:
        """Return the dataset file of each seed, or the one of all."""
        name = self.config.tasks[task].dataset
        if name in self.grid.per_seed:
            return [self.paths.file("dataset_of_seed", dataset=name, seed=seed) for seed in seeds]
        return [self.paths.file("dataset", dataset=name)]
