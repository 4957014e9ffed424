"""What one job takes on: the blocks of seeds and learning rates, with what the rules of each are made of.

Every method that takes `wildcards` can stand as an input or params function.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from whypretrain.grid.coordinates import BANK, NO_RECIPE, UNTRAINED, Arm, write_rate
from whypretrain.jobs.specs import Rates
from whypretrain.treatments import treating

if TYPE_CHECKING:
    from whypretrain.jobs.plan import Plan

OF_STEPS = ("history", "kernels")  # what a mode that doesn't learn by steps has none of


@dataclass(frozen=True)
class TrainingBlock:
    """What one training job takes on for an arm: some learning rates of a recipe, and some seeds.

    Pilot seeds train all rates of a block of the grid. Of seeds that decide the rate is a wildcard: `rates` is None.

    The recipe stands in the paths of its rule and is no wildcard of it. With one, Snakemake would hold every file of a
    run against every output of every recipe's rules, which took most of a dry run.
    """

    plan: "Plan"
    recipe: str
    name: str
    rates: Rates | None
    seeds: tuple[int, ...]

    @property
    def priority(self) -> int:
        """The longest runs first, so that none is left alone at the end."""
        return 0 if self.recipe == NO_RECIPE else self.plan.config.recipes[self.recipe].min_steps

    def outputs(self, kind: str) -> list[str]:
        """Return one kind of file for each run of the block, in the order of the stage; none of what they lack."""
        if self.recipe == NO_RECIPE and kind in OF_STEPS:
            return []
        rates = ["{learning_rate}"] if self.rates is None else map(write_rate, self.rates)
        return [
            self.plan.paths.open(kind, recipe=self.recipe, learning_rate=rate, seed=seed)
            for rate in rates
            for seed in self.seeds
        ]

    def dataset(self, wildcards: Any) -> list[str]:
        """Return the dataset file of the target for each seed, or the one of all."""
        return self.plan.dataset_of_target(wildcards.target, self.seeds)

    def spec(self, wildcards: Any) -> str:
        """Spec of the job that trains this block for the arm of the wildcards."""
        rates = (float(wildcards.learning_rate),) if self.rates is None else self.rates
        return self.plan.specs.train(self._arm(wildcards), rates, self.seeds)

    @property
    def log(self) -> str:
        """Return the name of a job's log and benchmark, without its ending."""
        name = "{architecture}.{source}.epoch-{epoch}.{treatment}.{span}.{target}.{mode}"
        rate = ".lr-{learning_rate}" if self.rates is None else ""
        return f"{name}.{self.recipe}{rate}.{self.name}"

    def code(self, wildcards: Any) -> str:
        """Fingerprint of the job that trains this block for the arm of the wildcards."""
        return self.plan.train_code(self._arm(wildcards))

    def _arm(self, wildcards: Any) -> SimpleNamespace:
        return SimpleNamespace(**{**vars(wildcards), "recipe": self.recipe})


@dataclass(frozen=True)
class SeedBlock:
    """What one job takes on of anything but training on a target: some seeds."""

    plan: "Plan"
    name: str
    seeds: tuple[int, ...]

    def files(self, kind: str) -> list[str]:
        """Return one kind of file for each seed, its other wildcards open."""
        return [self.plan.paths.open(kind, seed=seed) for seed in self.seeds]

    def dataset_of_source(self, wildcards: Any) -> list[str]:
        """Return the dataset file of the source for each seed, or the one of all; none without a source."""
        return self.plan.dataset_of_source(wildcards.source, self.seeds)

    def dataset_of_target(self, wildcards: Any) -> list[str]:
        """Return the dataset file of the target for each seed, or the one of all."""
        return self.plan.dataset_of_target(wildcards.target, self.seeds)

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
        """Return the checkpoints of another source that a source starts from, one for each seed; or none."""
        start = self.plan.config.sources[wildcards.source].start
        if start is None:
            return []
        key = {"architecture": wildcards.architecture, "source": start, "epoch": self.plan.grid.end(start)}
        return [self.plan.paths.file("checkpoint", **key, seed=seed) for seed in self.seeds]

    def published(self, wildcards: Any) -> list[str]:
        """Return what somebody published, all of it for all seeds; none of most sources."""
        name = self.plan.config.sources[wildcards.source].pretraining
        return [self.plan.paths.file("published", pretraining=name, epoch=epoch) for epoch in self.plan.published(name)]

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
        """Spec of the job that pools the kernels of the sources of the bank."""
        return self.plan.specs.bank(wildcards.architecture, self.seeds)

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

    def finals(self, run: Any) -> list[str]:
        """Return the final weights of each seed of an arm, at the rate of the wildcards."""
        return self._files("final", run, run.learning_rate)

    def scores(self, run: Any) -> list[str]:
        """Return the scores of each seed of an arm, at the rate of the wildcards: made with its final weights."""
        return self._files("scores", run, run.learning_rate)

    def _files(self, kind: str, arm: Any, rate: str) -> list[str]:
        coordinates = {name: getattr(arm, name) for name in Arm.__dataclass_fields__}
        return [self.plan.paths.file(kind, **coordinates, learning_rate=rate, seed=seed) for seed in self.seeds]

    def weights(self, place: int, kind: str = "final") -> Callable[[Any], list[str]]:
        """Return the weights of one network of a pair, for each seed, as a function of the wildcards.

        With another `kind` (`scores`) return that file of each run; none of a network that isn't trained.
        """

        def files(wildcards: Any) -> list[str]:
            side = self.plan.grid.compared[wildcards.pair, wildcards.architecture][place]
            if side.trained:
                return self._files(kind, side.arm, (wildcards.first_rate, wildcards.second_rate)[place])
            if kind != "final":
                return []
            return [self.plan.paths.file("start", **side.arm.columns(), seed=seed) for seed in self.seeds]

        return files

    def dataset_of_pair(self, wildcards: Any) -> list[str]:
        """Return the dataset file of the images that a pair is compared on for each seed, or the one of all."""
        return self.plan.dataset_of_target(self.plan.config.pairs[wildcards.pair].images, self.seeds)
