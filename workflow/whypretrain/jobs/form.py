"""A form is all that there is to say of one kind of job: what it reads and writes, what it is told, what code it runs.

A rule of the workflow is a form filled in, and the collectors and the audit hold results against the same form. What it
says follows from coordinates, `at` (Snakemake's wildcards, or a namespace with the same names), and from seeds: a job
takes on a block of them. Most jobs write files of each seed, whose origin names that seed alone. A batch of runs, and
what is read out of one, are files of the whole block.
"""

import contextlib
import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from whypretrain.config.execution import resources
from whypretrain.files.origins import Origin, canonical, digest_of, lasting
from whypretrain.grid.grid import Grid
from whypretrain.jobs.fingerprints import stage_fingerprint
from whypretrain.networks.architecture import is_shipped

if TYPE_CHECKING:
    from whypretrain.jobs.plan import Plan

At = Any
Seeds = tuple[int, ...]
Reads = Callable[[At, Seeds], list[str]]  # the files of one input
LABELS = {"epoch": "epoch-", "learning_rate": "lr-", "seed": "s"}  # what goes before a coordinate in a log's name


@dataclass(frozen=True)
class Block:
    """The seeds that a job takes on, and the grid that they are of: that of pilots, or that of seeds that decide."""

    name: str
    seeds: Seeds
    grid: Grid

    @property
    def selects(self) -> bool:
        """Whether these seeds select learning rates."""
        return bool(set(self.seeds) & set(self.grid.config.pilot_seeds))


class Form(ABC):
    """One kind of job, of one block of seeds, or of none."""

    stage = ""
    kinds: tuple[tuple[str, str], ...] = ()  # the name of each output, and its kind of file (`Paths`)
    needs = ""  # what of `execution` says what it needs; a light job, which runs where Snakemake does, needs nothing
    shown = False  # whether it makes tables, figures or pages, which a partial plan makes alone
    of_block = False  # whether its files are of all seeds of the block together
    silent: tuple[str, ...] = ()  # inputs that the job finds out itself
    undigested: tuple[str, ...] = ()  # inputs that no origin tells of
    temporary: tuple[str, ...] = ()  # outputs that go when nothing needs them any more
    outputs_as = ""  # the one name under which its command has all outputs, which then need names for Snakemake alone
    may_be_shared = False  # whether its results may come from a store that others use too
    told_apart = True  # whether logs of rules of the stage would have one name without `parts`
    priority = 0

    def __init__(self, plan: "Plan", block: Block | None = None, *parts: str) -> None:
        self.plan = plan
        self.block = block or Block("", (), plan.grid)
        self.parts = parts  # what tells its rule from others of the stage, beside the block

    # --- what each form says ---------------------------------------------------------------

    @abstractmethod
    def inputs(self) -> dict[str, Reads]:
        """Return how each input is found, by name, in the order of the origin's digest."""

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        """Return the files by name, their wildcards open: of each kind one, or one of each seed."""
        keys = [{"block": self.block.name, "seed": seed} for seed in seeds] or [{}]
        paths = self.plan.paths
        return {name: [*dict.fromkeys(paths.open(kind, **key) for key in keys)] for name, kind in self.kinds}

    @abstractmethod
    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return all values that the job uses."""

    def modules(self, at: At) -> list[str]:
        """Return the modules that the spec selects."""
        return []

    def every(self) -> Iterator[SimpleNamespace]:
        """Yield the coordinates of each job that this config has."""
        return iter(())

    @property
    def category(self) -> str:
        """What the report calls it; nothing of what is no figure."""
        return ""

    @property
    def constraints(self) -> dict[str, str]:
        """What wildcards may be here."""
        return {}

    # --- a rule ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of its rule."""
        return identifier(".".join(filter(None, (self.stage, *self.parts, self.block.name))))

    @property
    def folder(self) -> str:
        """Where its log and benchmark go."""
        return self.plan.paths.shown if self.shown else self.plan.paths.results

    def _trace(self, kind: str, ending: str) -> str:
        first = next(files[0] for files in self.outputs(self.block.seeds).values() if files)
        wildcards = dict.fromkeys(re.findall(r"\{(\w+)\}", first))
        words = [f"{LABELS.get(name, '')}{{{name}}}" for name in wildcards]
        words += filter(None, [*(self.parts if self.told_apart else ()), self.block.name])
        return f"{self.folder}/{kind}/{'/'.join(filter(None, (self.stage, '.'.join(words))))}.{ending}"

    @property
    def log(self) -> str:
        """The pattern of its log."""
        return self._trace("logs", "log")

    @property
    def benchmark(self) -> str:
        """The pattern of what Snakemake measures of it."""
        return self._trace("benchmarks", "jsonl")

    @property
    def reading(self) -> dict[str, Callable[[At], list[str]]]:
        """Its inputs as functions of Snakemake's wildcards."""

        def bound(reads: Reads) -> Callable[[At], list[str]]:
            return lambda wildcards: reads(wildcards, self.block.seeds)

        return {name: bound(reads) for name, reads in self.inputs().items()}

    @property
    def writing(self) -> dict[str, str | list[str]]:
        """Its outputs, a single one by itself."""
        found = self.outputs(self.block.seeds)
        return {name: files[0] if len(files) == 1 else files for name, files in found.items()}

    def flagged(self, temp: Any, report: Any) -> dict[str, Any]:
        """Return its outputs, marked by Snakemake's functions of these names where they are temporary, or reported."""
        found: dict[str, Any] = self.writing
        found |= {name: temp(found[name]) for name in self.temporary}
        if self.category:
            (figure,) = self.parts
            words = {"category": self.category, "labels": {"figure": figure.replace("-", " ")}}
            found["svg"] = report(found["svg"], caption=f"../report/{figure}.rst", **words)
        return found

    def files(self, wildcards: At, input: Any, output: Any) -> "Words":
        """Return how its command names its files, of Snakemake's `input` and `output`."""
        named = [("in", name, input.get(name)) for name in self.inputs() if name not in self.silent]
        outputs = {self.outputs_as: [*output]} if self.outputs_as else dict(output.items())
        named += [("out", name, paths) for name, paths in outputs.items()]
        lists = ((way, name, [paths] if isinstance(paths, str) else paths) for way, name, paths in named)
        return Words(shlex.join(word for way, name, paths in lists for word in (f"--{way}", name, *paths)))

    @property
    def resources(self) -> dict[str, Any]:
        """What it asks of a cluster."""
        if not self.needs:
            return {}
        config = self.plan.config
        return resources(getattr(config.execution, self.needs), config.device, self.plan.limits[self.needs])

    @property
    def threads(self) -> int:
        """How many threads it uses."""
        return self.plan.config.threads if self.needs else 1

    def told(self, at: At) -> str:
        """Return its spec as a function of Snakemake's wildcards."""
        return canonical(self.spec(at, self.block.seeds))

    def code(self, at: At) -> str:
        """Return the fingerprint of the code that it runs."""
        return stage_fingerprint(self.stage, self.modules(at))

    # --- its results -----------------------------------------------------------------------

    def read(self, at: At, seeds: Seeds) -> list[str]:
        """Return the files that a result is made from, in the order of its digest."""
        several = (reads for name, reads in self.inputs().items() if name not in self.undigested)
        return lasting(path for reads in several for path in reads(at, seeds))

    def made(self, at: At) -> "Iterator[tuple[Made, dict[str, list[str]]]]":
        """Yield what the results of some coordinates say of themselves, with their files by name: seed by seed."""
        seeds = self.block.seeds
        for own in [seeds] if self.of_block or not seeds else [(seed,) for seed in seeds]:
            outputs = self.outputs(own).items()
            yield Made(self, at, own), {name: [file.format(**vars(at)) for file in files] for name, files in outputs}

    def results(self) -> "Iterator[Result]":
        """Yield every result that this config has."""
        for made, outputs in (each for at in self.every() for each in self.made(at)):
            yield from (Result(path, made) for files in outputs.values() for path in files)

    def one(self, name: str, at: At) -> "Result":
        """Return the one result of an output, of a form whose files aren't seeds' own."""
        ((made, outputs),) = self.made(at)
        return Result(outputs[name][0], made)

    # --- what several read -----------------------------------------------------------------

    def card(self, at: At, seeds: Seeds) -> list[str]:
        """Return the file of an architecture's card; none of one that is shipped or follows from config."""
        shipped = is_shipped(self.plan.config.architectures[at.architecture])
        return [] if shipped else [self.plan.paths.file("network", architecture=at.architecture)]

    def each(self, kind: str) -> Reads:
        """Return how a kind of file is found for each seed."""

        def reads(at: At, seeds: Seeds) -> list[str]:
            return [self.plan.paths.file(kind, **{**vars(at), "seed": seed}) for seed in seeds]

        return reads

    def dataset_of_source(self, at: At, seeds: Seeds) -> list[str]:
        """Return the dataset file of the source for each seed, or the one of all; none without a source."""
        return [file for task in self.plan.grid.tasks_of(at.source) for file in self.plan.dataset_of_task(task, seeds)]

    def dataset_of_target(self, at: At, seeds: Seeds) -> list[str]:
        """Return the dataset file of the target for each seed, or the one of all."""
        return self.plan.dataset_of_task(at.target.rpartition(".")[0], seeds)

    def at_zero(self, architecture: str, source: str, seeds: Seeds) -> list[str]:
        """Return the initialisation of a source for each seed."""
        return self.each("checkpoint")(named(architecture=architecture, source=source, epoch=0), seeds)

    def table(self, name: str) -> Reads:
        """Return how a table is found."""
        return lambda at, seeds: [self.plan.paths.file("table", table=name)]

    def partial(self, at: At, seeds: Seeds) -> list[str]:
        """Return the tables that say what is missing, of a partial plan alone."""
        return self.plan.partial_tables()


class Words(dict[str, str]):
    """A part of a command that is no part of what tells jobs apart.

    Snakemake compares parameters, and shares results under a key made of them: those of one config are the same jobs
    in another folder. Of this one it sees an empty mapping.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __format__(self, form: str) -> str:
        return self.text


Content = Callable[[str], str]


@dataclass(frozen=True)
class Made:
    """What some results of one job should say of themselves, found out when that is asked for."""

    form: Form
    at: At
    seeds: Seeds

    @cached_property
    def spec(self) -> str:
        """The spec of the job."""
        return canonical(self.form.spec(self.at, self.seeds))

    @cached_property
    def code(self) -> str:
        """The fingerprint of the code of the job."""
        return self.form.code(self.at)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The files that the results are made from."""
        return tuple(self.form.read(self.at, self.seeds))

    def staleness(self, found: Origin, content: Content) -> str | None:
        """Say why a result isn't what config, code and inputs make now; None where it is.

        `content` gives the digest of an input; FileNotFoundError of one that is gone, as temporary files are, with
        which nothing can be compared.
        """
        if found.spec != self.spec:
            return "it was made with other config values than there are now"
        if found.code != self.code:
            return "it was made with other code than there is now"
        with contextlib.suppress(FileNotFoundError):
            if found.inputs != digest_of(map(content, self.inputs)):
                return "it was made from other inputs than there are now"
        return None


@dataclass(frozen=True)
class Result:
    """One file of results, with what it should say of itself."""

    path: str
    made: Made

    def staleness(self, found: Origin, content: Content) -> str | None:
        """Say why it isn't what config, code and inputs make now, as `Made.staleness` does."""
        return self.made.staleness(found, content)


def named(**coordinates: object) -> SimpleNamespace:
    """Return coordinates as forms take them: texts by name."""
    return SimpleNamespace(**{name: str(value) for name, value in coordinates.items()})


def identifier(name: str) -> str:
    """Return a name as a rule may have it."""
    return re.sub(r"[^a-z0-9]", "_", name)


def by_wildcard(names: Mapping[str, object]) -> str:
    """Return the expression of a wildcard that is one of some names."""
    return "|".join(map(re.escape, names))
