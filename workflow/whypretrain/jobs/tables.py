"""Tables: collected from the results of many jobs, and made from other tables."""

from collections.abc import Iterator
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from whypretrain import registry
from whypretrain.grid.coordinates import NO_RATE, Arm, key_columns
from whypretrain.jobs.form import At, Form, Reads, Result, Seeds, by_wildcard, named
from whypretrain.jobs.measures import PAIR_TABLES
from whypretrain.jobs.runs import OF_STEPS
from whypretrain.training import moding

if TYPE_CHECKING:
    from whypretrain.jobs.plan import Plan

RUN_TABLES = {"runs": "scores", "pilots": "scores"} | {name: name for name in ("history", "kernels", "provenance")}
CHOSEN = ("runs", "selected")
EVIDENCE = ("runs", "selected", "pilots", "kernels", "sources", "parts", "pairs", "history")
MISSING = ("missing", "completeness")  # what isn't complete, of a partial plan
Part = tuple[Result, dict[str, Any]]  # a result, and the coordinates that its rows get


def collected_tables() -> tuple[str, ...]:
    """Return the tables that are put together from the results of many jobs."""
    return ("selected", "sources", "starts", *RUN_TABLES, *registry.names("measures"), *PAIR_TABLES)


class Table(Form):
    """A table, or several, among what is shown."""

    shown = True
    makes: tuple[str, ...] = ()

    def inputs(self) -> dict[str, Reads]:
        return {}

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        made = {name: [self.plan.paths.file("table", table=name)] for name in self.makes}
        return made or super().outputs(seeds)

    def every(self) -> Iterator[SimpleNamespace]:
        yield named()

    def _config(self, *, claims: bool) -> dict[str, Any]:
        """Return the config, without the words and figures that no table holds; with the `claims` only if asked."""
        config = self.plan.config
        left_out = {"include", "keep_weights", "execution"} | (set() if config.partial else {"partial"})
        told = config.model_dump(mode="json", exclude=left_out)
        for study in told["studies"].values():
            study |= {"title": "", "question": "", "figures": []} | ({} if claims else {"claims": []})
        return {"config": told if claims else {**told, "claims": {}}, "versions": dict(self.plan.pins)}


class CollectTable(Table):
    """The results of all jobs of one kind, under one another. There are too many for a command line."""

    stage = "collect_table"
    kinds = (("table", "table"),)
    silent = ("parts",)

    def inputs(self) -> dict[str, Reads]:
        return {"parts": self._files}

    def _files(self, at: At, seeds: Seeds) -> list[str]:
        """Return the files that a table is made from; of a partial plan, where no rule makes them, what is missing."""
        if self.plan.config.partial:
            return self.plan.partial_tables()
        return [part.path for part, _ in self.parts_of(at.table)]

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return the config; claims select rates as well."""
        return self._config(claims=at.table == "selected")

    def every(self) -> Iterator[SimpleNamespace]:
        yield from (named(table=table) for table in collected_tables())

    @property
    def constraints(self) -> dict[str, str]:
        return {"table": by_wildcard(dict.fromkeys(collected_tables()))}

    def parts_of(self, table: str) -> Iterator[Part]:
        """Yield all that a table is put together from, with the coordinates that its rows lack."""
        own = {"selected": self._selected, "sources": self._sources, "starts": self._starts}
        if table in own:
            return own[table]()
        of_kind = self._runs if table in RUN_TABLES else self._pairs if table in PAIR_TABLES else self._measured
        return of_kind(table)

    def _selected(self) -> Iterator[Part]:
        return ((form.one("selection", at), {"study": at.study}) for form, at in self.plan.jobs("select_rates"))

    def _runs(self, table: str) -> Iterator[Part]:
        kind = RUN_TABLES[table]
        pilots = self.plan.batches(pilots=True) if table in ("pilots", "provenance") else iter(())
        for form, at, arm in pilots if table == "pilots" else chain(self.plan.batches(), pilots):
            if kind not in OF_STEPS or moding.by_steps(arm.mode):
                yield form.one(kind, at), key_columns(arm)

    def _sources(self) -> Iterator[Part]:
        stages = ("pretrain_source", "anneal_source")
        for form, at in chain.from_iterable(self.plan.jobs(stage, pilots=False) for stage in stages):
            told = {"architecture": at.architecture, "source": at.source, "annealed": form.stage == "anneal_source"}
            for made, outputs in form.made(at):
                (seed,) = made.seeds
                own = {**told, "seed": seed, "objective": self.plan.grid.pretraining(at.source).objective}
                yield Result(outputs[f"s{seed}_history"][0], made), own

    def _starts(self) -> Iterator[Part]:
        for form, at in self.plan.jobs("measure_start"):
            told = key_columns(Arm.of(vars(at)))
            yield form.one("measured", at), {k: told[k] for k in told if k not in ("mode", "recipe")}

    def _measured(self, measure: str) -> Iterator[Part]:
        for form in self.plan.forms_of("measure_run"):
            for at in form.of_measure(measure):
                yield form.one("measured", at), key_columns(Arm.of(vars(at))) | _rates(at, "learning_rate")

    def _pairs(self, table: str) -> Iterator[Part]:
        output = PAIR_TABLES[table].removeprefix("pair_")
        for form in self.plan.forms_of("measure_pair"):
            for at in form.every() if output == "layers" or form.trained else ():
                told = {"pair": at.pair, "architecture": at.architecture}
                yield form.one(output, at), told | _rates(at, "first_rate", "second_rate")


def _rates(at: At, *names: str) -> dict[str, float]:
    texts = {name: getattr(at, name) for name in names}
    return {name: float("nan") if text == NO_RATE else float(text) for name, text in texts.items()}


SUMMARIES = {  # of each stage, the tables that it reads and those that it makes
    "summarise_arms": (CHOSEN, ("design", "arms")),
    "contrast_arms": (CHOSEN, ("contrasts",)),
    "summarise_curves": ((*CHOSEN, "sources"), ("transfer", "maturity", "correlations", "modes", "advice")),
    "judge_claims": (EVIDENCE, ("verdicts",)),
    # how often verdicts stay as they are with learning rates selected again, where config asks
    "judge_again": (EVIDENCE, ("stability",)),
}


class Summary(Table):
    """Tables that are made from others."""

    def __init__(self, plan: "Plan", stage: str) -> None:
        super().__init__(plan)
        self.stage = stage
        self.reads, self.makes = SUMMARIES[stage]
        self.judges = self.reads == EVIDENCE

    def inputs(self) -> dict[str, Reads]:
        return {name: self.table(name) for name in self.reads} | ({"partial": self.partial} if self.judges else {})

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        return self._config(claims=self.judges)


class FindMissing(Table):
    """What is there of the studies, and what isn't. What this reads is taken as it is; no rule makes it."""

    stage, makes = "find_missing", MISSING

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return the config, what is there, and all code, since what is stale depends on code that this doesn't run."""
        return {**self._config(claims=True), "there": self.plan.there(), "code": self.plan.code_of_results()}


class CalibrateVerdicts(Table):
    """How often verdicts err, by simulation. No target of `all`: make calibration."""

    stage = "calibrate_verdicts"

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        return {"calibration": [f"{self.folder}/benchmarks/calibration.parquet"]}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return the `scale` of its numbers of studies."""
        return {"scale": 1.0, "versions": self.plan.values.versions("numpy", "scipy")}

    def every(self) -> Iterator[SimpleNamespace]:
        return iter(())
