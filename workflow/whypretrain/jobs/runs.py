"""Runs: batches of an arm's trainings on a target, and the selection of its learning rate."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from whypretrain import registry
from whypretrain.grid.claim_arms import ClaimArms
from whypretrain.grid.coordinates import NO_RECIPE, Arm, write_rate
from whypretrain.jobs.form import At, Block, Form, Reads, Seeds, named
from whypretrain.registry import constants
from whypretrain.training import moding

if TYPE_CHECKING:
    from whypretrain.jobs.plan import Plan

KINDS = ("history", "scores", "kernels", "predictions", "final", "provenance")  # a batch's files
OF_STEPS = ("history", "kernels")  # what a mode that doesn't learn by steps has none of
Rates = tuple[float | None, ...]


class TrainRun(Form):
    """A batch of runs: an arm with a block of seeds, and a block of rates of its recipe or the one selected.

    torch's start-up is a third of a short run. Blocks are append-only, so a new seed or rate trains nothing that was
    trained before. The recipe stands in the paths of its rule and is no wildcard of it: with one, Snakemake would hold
    every file of a run against every output of every recipe's rules, which took most of a dry run.
    """

    stage = "train_run"
    needs = "train"
    of_block = True

    def __init__(self, plan: "Plan", recipe: str, block: Block, rates: Rates | None = None, number: int = 0) -> None:
        super().__init__(plan, block, recipe)
        self.recipe = recipe
        self.rates = (None,) if recipe == NO_RECIPE else rates  # None where the rate is a wildcard
        self.temporary = () if plan.config.keep_weights else ("final",)
        self.number = number

    @property
    def batch(self) -> str:
        """The name of its batches, in which the rate may be a wildcard."""
        if self.rates is None:
            return f"lr-{{learning_rate}}.{self.block.name}"
        return f"r{self.number}.{self.block.name}" if self.block.selects else f"lr-{write_rate(None)}.{self.block.name}"

    @property
    def name(self) -> str:
        number = f"r{self.number}_" if self.rates is not None and self.block.selects else ""
        return f"{super().name.removesuffix(self.block.name)}{number}{self.block.name}"

    def inputs(self) -> dict[str, Reads]:
        return {"card": self.card, "dataset": self.dataset_of_target, "starts": self.each("start")}

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        kinds = [kind for kind in KINDS if self.recipe != NO_RECIPE or kind not in OF_STEPS]
        return {kind: [self.plan.paths.open(kind, recipe=self.recipe, batch=self.batch)] for kind in kinds}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        values, by_steps = self.plan.values, moding.by_steps(at.mode)
        packages = constants("modes", moding.parse(at.mode).name).get("PACKAGES", ())
        return {
            **values.environment(at.architecture, *packages),
            **values.on_target(at.architecture, at.target),
            "mode": at.mode,
            "recipe": values.recipe(self.recipe),
            "replicas": values.replicas(at.architecture) if by_steps else 1,
            "precision": self.plan.config.precision if by_steps else "float32",
            "learning_rates": self.rates_of(at),
            "seeds": seeds,
        }

    def rates_of(self, at: At) -> Rates:
        """Return the rates of a batch."""
        return (float(at.learning_rate),) if self.rates is None else self.rates

    def modules(self, at: At) -> list[str]:
        modules = [registry.module_name("modes", moding.parse(at.mode).name)]
        recipe = self.plan.config.recipes.get(self.recipe)  # a probe has none
        if recipe and recipe.regulariser:
            modules.append(registry.module_name("regularisers", recipe.regulariser.name))
        return modules

    @property
    def priority(self) -> int:  # type: ignore[override]
        """The longest runs first, so that none is left alone at the end."""
        return 0 if self.recipe == NO_RECIPE else self.plan.config.recipes[self.recipe].min_steps

    def of_arm(self, arm: Arm) -> Iterator[SimpleNamespace]:
        """Yield the coordinates of an arm's batches; none before its rate is selected."""
        if self.rates is not None:
            yield named(**arm.columns(), batch=self.batch)
            return
        for rate in self.plan.rates(arm):
            text = write_rate(rate)
            yield named(**arm.columns(), learning_rate=text, batch=self.batch.format(learning_rate=text))

    def every(self) -> Iterator[SimpleNamespace]:
        for arm in sorted(self.block.grid.arms):
            if arm.recipe == self.recipe:
                yield from self.of_arm(arm)


class SelectRates(Form):
    """The learning rate of each arm of a study, which its pilots select: known when they are trained."""

    stage = "select_rates"
    kinds = (("selection", "selection"),)
    priority = 1000

    def inputs(self) -> dict[str, Reads]:
        return {"scores": self._scores}

    def _scores(self, at: At, seeds: Seeds) -> list[str]:
        studies = self.plan.grid.pilots.arms
        pilots = self.plan.batches(pilots=True)
        return [form.one("scores", batch).path for form, batch, arm in pilots if at.study in studies[arm]]

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return each recipe's grid; the rates that claims name for an arm, and arms that they compare it with.

        An arm stands by its place. Those are arms that are compared at common rates.
        """
        grid, config = self.plan.grid, self.plan.config
        study, arms = config.studies[at.study], grid.arms_of(at.study)
        place = {arm: number for number, arm in enumerate(arms)}
        named_rates: dict[int, set[float]] = {}
        shared: dict[int, set[int]] = {}
        for about in (ClaimArms(grid, at.study, claim) for claim in study.claims):
            for arm, rate in about.at_named_rates():
                named_rates.setdefault(place[arm], set()).add(rate)
            for arm, others in ((arm, group - {arm}) for group in about.at_common_rates() for arm in group):
                shared.setdefault(place[arm], set()).update(place[other] for other in others)
        return {
            "criterion": study.criterion,
            "selection": study.selection,
            "seeds": config.pilot_seeds,
            "draws": config.selection_draws,
            "arms": [list(arm.columns().values()) for arm in arms],
            "rates": {arm.recipe: grid.rates(arm) for arm in arms},
            "named": {str(number): sorted(rates) for number, rates in named_rates.items()},
            "shared": {str(number): sorted(others) for number, others in shared.items()},
            "versions": self.plan.values.versions("numpy", "pyarrow"),
        }

    def every(self) -> Iterator[SimpleNamespace]:
        yield from (named(study=study) for study in sorted(self.plan.config.studies))
