"""What each result should say of itself, from config and code alone: what the collectors and the audit compare with."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from whypretrain.coordinates import Arm
from whypretrain.origins import Origin, digest_of
from whypretrain.plan import KINDS, PAIR_TABLES, SUMMARIES, Plan, SeedBlock, collected_tables

MADE_FROM = {  # the tables that a summary is made from
    "design": ("runs",),
    "arms": ("runs",),
    "contrasts": ("runs",),
    **dict.fromkeys(("transfer", "maturity", "correlations", "modes", "advice"), ("runs", "sources")),
    "verdicts": ("runs", "kernels", "sources", "parts", "pairs", "history"),
}
OF_SUMMARY = ("verdicts", "arms", "sources", "advice")
OF_ADVICE = ("advice", "provenance")


@dataclass(frozen=True)
class Expected:
    """One result: its path, the spec and code of its job, and the files it is made from, in the order of its digest."""

    path: str
    spec: str
    code: str
    inputs: tuple[str, ...] = ()


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
    inputs = (plan.dataset_of_target(arm), plan.paths.file("start", **arm.columns(), seed=seed))
    path = plan.run_file(kind, arm, rate, seed)
    return Expected(path, plan.specs.train(arm, (rate,), (seed,)), plan.train_code(arm), inputs)


def source(plan: Plan, path: str, wildcards: Any, annealed: bool) -> Expected:
    """Return a file of a source's training, or of the branch of the wildcards' epoch."""
    seed, dataset = int(wildcards.seed), plan.dataset_of_source(wildcards)
    if annealed:
        raw = plan.paths.file("checkpoint", **vars(wildcards))
        code = plan.source_code("anneal_source")(wildcards)
        return Expected(path, plan.specs.anneal(wildcards, (seed,)), code, (dataset, raw))
    inputs = (dataset, *_of_seed(plan, seed).parents(wildcards))
    code = plan.source_code("pretrain_source")(wildcards)
    return Expected(path, plan.specs.pretrain(wildcards, (seed,)), code, inputs)


def measured_start(plan: Plan, path: str, arm: Arm, seed: int) -> Expected:
    """Return the read-out of a start on a target."""
    start = plan.paths.file("start", **arm.columns(), seed=seed)
    inputs = (*plan.datasets_of_start(arm), start, *_of_seed(plan, seed).untrained(arm))
    return Expected(path, plan.specs.measure_start(arm, (seed,)), plan.stage_code("measure_start"), inputs)


def measured_run(plan: Plan, measure: str, path: str, arm: Arm, seed: int) -> Expected:
    """Return one read-out of an arm."""
    block, start = _of_seed(plan, seed), plan.paths.file("start", **arm.columns(), seed=seed)
    inputs = (*plan.datasets_of_start(arm), start, *block.initials(arm), *block.scores(arm))
    code = plan.measure_code(SimpleNamespace(measure=measure))
    return Expected(path, plan.specs.measure(measure, arm, (seed,)), code, inputs)


def measured_pair(plan: Plan, path: str, pair: str, architecture: str, seed: int) -> Expected:
    """Return the comparison of two networks."""
    block, wildcards = _of_seed(plan, seed), SimpleNamespace(pair=pair, architecture=architecture)
    inputs = [block.dataset_of_pair(wildcards)]
    for place, side in enumerate(plan.grid.compared[pair, architecture]):
        inputs += (block.weights_scores if side.trained else block.weights)(place)(wildcards)
    code = plan.stage_code("measure_pair")
    return Expected(path, plan.specs.pair(pair, architecture, (seed,)), code, tuple(inputs))


def every(plan: Plan) -> Iterator[Expected]:
    """Yield every result that a config has."""
    yield from computed(plan)
    yield from _tables(plan)
    yield from _pages(plan)


def computed(plan: Plan) -> Iterator[Expected]:
    """Yield every result but tables, figures and pages."""
    yield from _datasets(plan)
    yield from _sources(plan)
    yield from _starts(plan)
    for kind in (*KINDS, "final"):
        for found in plan.runs() if kind == "final" else plan.runs_with(kind):
            yield run(plan, kind, *found)
    for path, arm, seed in plan.measured_starts():
        yield measured_start(plan, path, arm, seed)
    for measure in plan.grid.measures:
        if measure != "start":
            for path, arm, seed in plan.measured_runs(measure):
                yield measured_run(plan, measure, path, arm, seed)
    for kind in PAIR_TABLES.values():
        for path, pair, architecture, seed in plan.measured_pairs(kind):
            yield measured_pair(plan, path, pair, architecture, seed)


def _datasets(plan: Plan) -> Iterator[Expected]:
    for name in plan.specs.datasets():
        wildcards = SimpleNamespace(dataset=name)
        for kind in ("dataset", "card"):
            yield Expected(
                plan.paths.file(kind, dataset=name),
                plan.specs.dataset(wildcards),
                plan.dataset_code(wildcards),
                tuple(plan.files_of_dataset(wildcards)),
            )


def _sources(plan: Plan) -> Iterator[Expected]:
    for architecture in sorted(plan.config.architectures):
        for seed in plan.config.seeds:
            key = {"architecture": architecture, "seed": seed}
            spec = plan.specs.initialise(SimpleNamespace(**key))
            yield Expected(plan.paths.file("untrained", **key), spec, plan.stage_code("initialise_network"))
    for pretraining in plan.pretrainings():
        wildcards = SimpleNamespace(pretraining=pretraining)
        if plan.config.pretraining[pretraining].file:
            path, spec = plan.paths.file("foreign", **vars(wildcards)), plan.specs.foreign(wildcards)
            yield Expected(path, spec, plan.stage_code("read_weights"), (plan.file_of_pretraining(wildcards),))
    for path, wildcards, annealed in plan.histories():
        yield source(plan, path, wildcards, annealed)
        if annealed:
            yield source(plan, plan.paths.file("annealed", **vars(wildcards)), wildcards, True)
            continue
        pretraining = plan.config.sources[wildcards.source].pretraining
        for epoch in plan.checkpoints(pretraining):
            checkpoint = plan.paths.file("checkpoint", **vars(wildcards), epoch=epoch)
            yield source(plan, checkpoint, wildcards, False)


def _starts(plan: Plan) -> Iterator[Expected]:
    names = ("architecture", "source", "epoch", "treatment", "span")
    for start in plan.grid.starts:
        wildcards = SimpleNamespace(**dict(zip(names, start, strict=True)))
        for seed in plan.config.seeds:
            block, key = _of_seed(plan, seed), {**vars(wildcards), "seed": seed}
            inputs = (plan.paths.file("checkpoint", **key), *block.references(wildcards))
            yield Expected(
                plan.paths.file("start", **key), block.treat_spec(wildcards), plan.treat_code(wildcards), inputs
            )
    for architecture in sorted(plan.config.architectures) if plan.config.bank else ():
        for seed in plan.config.seeds:
            block, wildcards = _of_seed(plan, seed), SimpleNamespace(architecture=architecture)
            path = plan.paths.file("bank", architecture=architecture, seed=seed)
            code = plan.stage_code("pool_kernels")
            yield Expected(path, block.bank_spec(wildcards), code, tuple(block.banked(wildcards)))


def _tables(plan: Plan) -> Iterator[Expected]:
    for table in collected_tables():
        inputs = tuple(plan.files_of_table(SimpleNamespace(table=table)))
        path, code = plan.paths.file("table", table=table), plan.stage_code("collect_table")
        yield Expected(path, plan.specs.collect(), code, inputs)
    stages = {"contrasts": "contrast_arms", "verdicts": "judge_claims", "design": "summarise_arms"}
    stages["arms"] = stages["design"]
    for table in SUMMARIES:
        spec = plan.specs.claims() if table == "verdicts" else plan.specs.collect()
        code = plan.stage_code(stages.get(table, "summarise_curves"))
        yield Expected(plan.paths.file("table", table=table), spec, code, _named(plan, MADE_FROM[table]))


def _named(plan: Plan, tables: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(plan.paths.file("table", table=table) for table in tables)


def _pages(plan: Plan) -> Iterator[Expected]:
    figures = plan.figures
    for study, settings in plan.config.studies.items():
        for figure in settings.figures:
            wildcards = SimpleNamespace(study=study)
            inputs = (*figures.tables(figure), *figures.weights(figure)(wildcards))
            for kind in ("figure_svg", "figure_png"):
                path = plan.paths.file(kind, study=study, figure=figure)
                yield Expected(path, figures.spec(figure)(wildcards), plan.figure_code(figure), inputs)
    pages: list[tuple[str, str, str, tuple[str, ...]]] = [
        (plan.paths["summary"], figures.summary_spec(), "write_summary", OF_SUMMARY)
    ]
    pages += [(path, figures.advice_spec(), "write_advice", OF_ADVICE) for path in figures.advice_files()]
    for path, spec, stage, tables in pages:
        yield Expected(path, spec, plan.stage_code(stage), _named(plan, tables))
