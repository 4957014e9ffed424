"""What each result should say of itself, from config and code alone: what the collectors and the audit compare with."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from types import SimpleNamespace
from typing import Any

from whypretrain.files.origins import Origin, digest_of
from whypretrain.grid.coordinates import Arm, write_rate
from whypretrain.grid.grid import START
from whypretrain.jobs.jobs import OF_STEPS, SeedBlock
from whypretrain.jobs.plan import KINDS, PAIR_TABLES, Plan, collected_tables
from whypretrain.training import moding

MADE_FROM = {  # the tables that a summary is made from
    "design": ("runs", "selected"),
    "arms": ("runs", "selected"),
    "contrasts": ("runs", "selected"),
    **dict.fromkeys(("transfer", "maturity", "correlations", "modes", "advice"), ("runs", "selected", "sources")),
    **dict.fromkeys(
        ("verdicts", "stability"),
        ("runs", "selected", "pilots", "kernels", "sources", "parts", "pairs", "history"),
    ),
}
MADE_BY = {
    "design": "summarise_arms",
    "arms": "summarise_arms",
    "contrasts": "contrast_arms",
    "verdicts": "judge_claims",
    "stability": "judge_again",
}
OF_SUMMARY = ("verdicts", "arms", "sources", "advice")
OF_ADVICE = ("advice", "provenance")
OF_STARTS = ("architecture", "source", "epoch", "treatment", "span")


Made = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True)
class Expected:
    """One result: its path, and what it should say of itself, found out when that is asked for.

    `made` gives the spec and code of its job, and the files it is made from, in the order of its digest.
    """

    path: str
    made: Callable[[], Made]

    @cached_property
    def _made(self) -> Made:
        return self.made()

    @property
    def spec(self) -> str:
        """The spec of its job."""
        return self._made[0]

    @property
    def code(self) -> str:
        """The fingerprint of the code of its job."""
        return self._made[1]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The files it is made from."""
        return self._made[2]


Content = Callable[[str], str]


def staleness(expected: Expected, found: Origin, content: Content) -> str | None:
    """Say why a result isn't what config, code and inputs make now; None where it is.

    `content` gives the digest of an input; FileNotFoundError of one that is gone, as temporary files are, with which
    nothing can be compared.
    """
    if found.spec != expected.spec:
        return "it was made with other config values than there are now"
    if found.code != expected.code:
        return "it was made with other code than there is now"
    with contextlib.suppress(FileNotFoundError):
        if found.inputs != digest_of(map(content, expected.inputs)):
            return "it was made from other inputs than there are now"
    return None


def _of_seed(plan: Plan, seed: int) -> SeedBlock:
    return SeedBlock(plan, "", (seed,))


def run(plan: Plan, kind: str, arm: Arm, rate: float | None, seed: int) -> Expected:
    """Return one file of a run."""

    def made() -> Made:
        start = plan.paths.file("start", **arm.columns(), seed=seed)
        inputs = (*plan.card(arm), *plan.dataset_of_target(arm.target, [seed]), start)
        return plan.specs.train(arm, (rate,), (seed,)), plan.train_code(arm), inputs

    return Expected(plan.run_file(kind, arm, rate, seed), made)


def source(plan: Plan, path: str, wildcards: Any, annealed: bool) -> Expected:
    """Return a file of a source's training, or of the branch of the wildcards' epoch."""

    def made() -> Made:
        seed = int(wildcards.seed)
        dataset = plan.dataset_of_source(wildcards.source, [seed])
        if annealed:
            inputs = (*plan.card(wildcards), *dataset, plan.paths.file("checkpoint", **vars(wildcards)))
            return plan.specs.anneal(wildcards, (seed,)), plan.source_code("anneal_source")(wildcards), inputs
        code = plan.source_code("pretrain_source")(wildcards)
        block = _of_seed(plan, seed)
        inputs = (*plan.card(wildcards), *dataset, *block.parents(wildcards), *block.published(wildcards))
        return plan.specs.pretrain(wildcards, (seed,)), code, inputs

    return Expected(path, made)


def measured_start(plan: Plan, path: str, arm: Arm, seed: int) -> Expected:
    """Return the read-out of a start on a target."""

    def made() -> Made:
        block, start = _of_seed(plan, seed), plan.paths.file("start", **arm.columns(), seed=seed)
        inputs = (*plan.card(arm), *block.dataset_of_target(arm), *block.dataset_of_source(arm))
        inputs += (start, *block.untrained(arm))
        return plan.specs.measure_start(arm, (seed,)), plan.stage_code("measure_start"), inputs

    return Expected(path, made)


def selection(plan: Plan, study: str) -> Expected:
    """Return the selection of the learning rates of a study's arms."""
    wildcards = SimpleNamespace(study=study)

    def made() -> Made:
        inputs = tuple(plan.pilot_scores(wildcards))
        return plan.specs.select(wildcards), plan.stage_code("select_rates"), inputs

    return Expected(plan.paths.file("selection", study=study), made)


def measured_run(plan: Plan, measure: str, path: str, arm: Arm, rate: float | None, seed: int) -> Expected:
    """Return one read-out of an arm at a learning rate."""

    def made() -> Made:
        block, start = _of_seed(plan, seed), plan.paths.file("start", **arm.columns(), seed=seed)
        run = SimpleNamespace(**arm.columns(), learning_rate=write_rate(rate))
        inputs = (*plan.card(arm), *block.dataset_of_target(arm), *block.dataset_of_source(arm), start)
        inputs += (*block.initials(arm), *block.scores(run))
        code = plan.measure_code(SimpleNamespace(measure=measure))
        return plan.specs.measure(measure, arm, (seed,)), code, inputs

    return Expected(path, made)


def measured_pair(plan: Plan, path: str, wildcards: Any) -> Expected:
    """Return the comparison of two networks."""

    def made() -> Made:
        block = _of_seed(plan, wildcards.seed)
        inputs = [*plan.card(wildcards), *block.dataset_of_pair(wildcards)]
        for place, side in enumerate(plan.grid.compared[wildcards.pair, wildcards.architecture]):
            inputs += block.weights(place, "scores" if side.trained else "final")(wildcards)
        spec = plan.specs.pair(wildcards.pair, wildcards.architecture, (wildcards.seed,))
        return spec, plan.stage_code("measure_pair"), tuple(inputs)

    return Expected(path, made)


def _dataset(plan: Plan, kind: str, wildcards: SimpleNamespace) -> Expected:
    def made() -> Made:
        return plan.specs.dataset(wildcards), plan.dataset_code(wildcards), tuple(plan.files_of_dataset(wildcards))

    own = "_of_seed" if wildcards.dataset in plan.grid.per_seed else ""
    return Expected(plan.paths.file(f"{kind}{own}", **vars(wildcards)), made)


def _untrained(plan: Plan, architecture: str, seed: int) -> Expected:
    key = {"architecture": architecture, "seed": seed}

    def made() -> Made:
        wildcards = SimpleNamespace(**key)
        return plan.specs.initialise(wildcards), plan.stage_code("initialise_network"), tuple(plan.card(wildcards))

    return Expected(plan.paths.file("untrained", **key), made)


def _published(plan: Plan, pretraining: str, epoch: str) -> Expected:
    wildcards = SimpleNamespace(pretraining=pretraining, epoch=epoch)

    def made() -> Made:
        spec = plan.published_spec(wildcards)
        return spec, plan.stage_code("read_weights"), tuple(plan.file_of_published(wildcards))

    return Expected(plan.paths.file("published", pretraining=pretraining, epoch=epoch), made)


def _start(plan: Plan, wildcards: SimpleNamespace, seed: int) -> Expected:
    key = {**vars(wildcards), "seed": seed}

    def made() -> Made:
        block = _of_seed(plan, seed)
        checkpoint = plan.paths.file("checkpoint", **key)
        inputs = (*plan.card(wildcards), checkpoint, *block.references(wildcards))
        return block.treat_spec(wildcards), plan.treat_code(wildcards), inputs

    return Expected(plan.paths.file("start", **key), made)


def _bank(plan: Plan, architecture: str, seed: int) -> Expected:
    def made() -> Made:
        block, wildcards = _of_seed(plan, seed), SimpleNamespace(architecture=architecture)
        inputs = (*plan.card(wildcards), *block.banked(wildcards))
        return block.bank_spec(wildcards), plan.stage_code("pool_kernels"), inputs

    return Expected(plan.paths.file("bank", architecture=architecture, seed=seed), made)


def _collected(plan: Plan, table: str) -> Expected:
    def made() -> Made:
        inputs = tuple(plan.files_of_table(SimpleNamespace(table=table)))
        return plan.specs.collect(SimpleNamespace(table=table)), plan.stage_code("collect_table"), inputs

    return Expected(plan.paths.file("table", table=table), made)


def _summary(plan: Plan, table: str) -> Expected:
    def made() -> Made:
        spec = plan.specs.claims() if table in ("verdicts", "stability") else plan.specs.collect()
        return spec, plan.stage_code(MADE_BY.get(table, "summarise_curves")), _named(plan, MADE_FROM[table])

    return Expected(plan.paths.file("table", table=table), made)


def _figure(plan: Plan, kind: str, study: str, figure: str) -> Expected:
    def made() -> Made:
        wildcards = SimpleNamespace(study=study)
        inputs = (*plan.figures.tables(figure), *plan.figures.weights(figure)(wildcards))
        return plan.figures.spec(figure)(wildcards), plan.figure_code(figure), inputs

    return Expected(plan.paths.file(kind, study=study, figure=figure), made)


def _named(plan: Plan, tables: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(plan.paths.file("table", table=table) for table in tables)


def every(plan: Plan) -> Iterator[Expected]:
    """Yield every result that a config has."""
    yield from computed(plan)
    yield from (_collected(plan, table) for table in collected_tables())
    yield from (_summary(plan, table) for table in plan.summaries())
    for study, settings in plan.config.studies.items():
        for figure in settings.figures:
            yield from (_figure(plan, kind, study, figure) for kind in ("figure_svg", "figure_png"))
    yield Expected(plan.paths["summary"], lambda: _page(plan, plan.figures.summary_spec(), "write_summary", OF_SUMMARY))
    for path in plan.figures.advice_files():
        yield Expected(path, lambda: _page(plan, plan.figures.advice_spec(), "write_advice", OF_ADVICE))


def _page(plan: Plan, spec: str, stage: str, tables: tuple[str, ...]) -> Made:
    return spec, plan.stage_code(stage), _named(plan, tables)


def _starts(plan: Plan) -> Iterator[tuple[SimpleNamespace, int]]:
    """Yield the wildcards of each start with each seed that begins with it, pilots included."""
    for grid, seeds in ((plan.grid, plan.config.seeds), (plan.grid.pilots, plan.config.pilot_seeds)):
        for start in grid.starts:
            for seed in seeds:
                yield SimpleNamespace(**dict(zip(OF_STARTS, start, strict=True))), seed


def _asked_by_the_way(plan: Plan) -> set[str]:
    """Return the checkpoints and banks that starts and read-outs take from."""
    asked: set[str] = set()
    for wildcards, seed in _starts(plan):
        asked.add(plan.paths.file("checkpoint", **vars(wildcards), seed=seed))
        asked.update(_of_seed(plan, seed).references(wildcards))
    for _, arm, seed in plan.measured_starts():
        asked.update(_of_seed(plan, seed).untrained(arm))
    for measure in plan.grid.measures:
        for _, arm, _, seed in plan.measured_runs(measure) if measure != START else ():
            asked.update(_of_seed(plan, seed).initials(arm))
    return asked


def computed(plan: Plan) -> Iterator[Expected]:
    """Yield every result but tables, figures and pages."""
    for wildcards in plan.datasets():
        yield from (_dataset(plan, kind, wildcards) for kind in ("dataset", "card"))
    asked, seeds = _asked_by_the_way(plan), plan.grid.all_seeds
    for architecture in sorted(plan.config.architectures):
        for seed in seeds:
            if (untrained := _untrained(plan, architecture, seed)).path in asked:
                yield untrained
            if plan.config.bank and (bank := _bank(plan, architecture, seed)).path in asked:
                yield bank
    yield from (_published(plan, name, epoch) for name in plan.pretrainings() for epoch in plan.published(name))
    for path, wildcards, annealed in plan.histories(pilots=True):
        yield source(plan, path, wildcards, annealed)
        if annealed:
            yield source(plan, plan.paths.file("annealed", **vars(wildcards)), wildcards, True)
            continue
        for epoch in plan.checkpoints(plan.config.sources[wildcards.source].pretraining):
            checkpoint = plan.paths.file("checkpoint", **vars(wildcards), epoch=epoch)
            yield source(plan, checkpoint, wildcards, False)
    yield from (_start(plan, wildcards, seed) for wildcards, seed in _starts(plan))
    yield from (selection(plan, study) for study in plan.config.studies)
    for arm, rate, seed in chain(plan.runs(), plan.pilots()):
        kinds = [kind for kind in (*KINDS, "final") if kind not in OF_STEPS or moding.by_steps(arm.mode)]
        yield from (run(plan, kind, arm, rate, seed) for kind in kinds)
    for path, arm, seed in plan.measured_starts():
        yield measured_start(plan, path, arm, seed)
    for measure in plan.grid.measures:
        if measure != START:
            for path, arm, rate, seed in plan.measured_runs(measure):
                yield measured_run(plan, measure, path, arm, rate, seed)
    for kind in PAIR_TABLES.values():
        yield from (measured_pair(plan, path, wildcards) for path, wildcards in plan.measured_pairs(kind))
