"""Read-outs: of starts, of runs at their selected rates, and of pairs of networks."""

from collections.abc import Iterable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

from whypretrain import registry
from whypretrain.grid.coordinates import UNTRAINED, write_rate
from whypretrain.grid.grid import START
from whypretrain.jobs.form import At, Form, Reads, Seeds, named
from whypretrain.registry import constants

PAIR_TABLES = {"pairs": "pair_layers", "barriers": "pair_barriers"}


class _Measure(Form):
    needs = "measure"
    of_block = True

    def arm_inputs(self) -> dict[str, Reads]:
        """Return what is read of an arm before its training."""
        datasets = {"target_dataset": self.dataset_of_target, "source_dataset": self.dataset_of_source}
        return {"card": self.card, **datasets, "starts": self.each("start")}

    def arm_spec(self, at: At, seeds: Seeds, packages: Iterable[str]) -> dict[str, Any]:
        """Return what a read-out of an arm is told in any case."""
        values = self.plan.values
        return {
            **values.environment(at.architecture, *packages),
            **values.on_target(at.architecture, at.target),
            "source_task": values.source_task(at.source),
            "seeds": seeds,
        }


class MeasureStart(_Measure):
    """What is read out of a start, on a target, before it is trained."""

    stage = "measure_start"
    kinds = (("measured", "measured_start"),)

    def inputs(self) -> dict[str, Reads]:
        return {**self.arm_inputs(), "untrained": self._untrained}

    def _untrained(self, at: At, seeds: Seeds) -> list[str]:
        """Return each seed's untrained network, on which tasks are compared; none where the start has no source."""
        return [] if at.source == UNTRAINED else self.at_zero(at.architecture, UNTRAINED, seeds)

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        return self.arm_spec(at, seeds, ["scikit-learn"])

    def every(self) -> Iterator[SimpleNamespace]:
        arms = sorted(self.plan.grid.measures.get(START, ()))
        seen = {(*arm.start, arm.target): arm for arm in reversed(arms)}
        yield from (named(**arm.columns()) for arm in sorted(seen.values()))


class MeasureRun(_Measure):
    """One read-out of an arm at a selected rate: its start and its final weights."""

    stage = "measure_run"

    def inputs(self) -> dict[str, Reads]:
        batch = {"finals": self.of_batch("final"), "scores": self.of_batch("scores")}
        return {**self.arm_inputs(), "initials": self._initials, **batch}

    def _initials(self, at: At, seeds: Seeds) -> list[str]:
        """Return each seed's initialisation of the source that an arm starts from."""
        return self.at_zero(at.architecture, at.source, seeds)

    def of_batch(self, kind: str) -> Reads:
        """Return how a file of the batch is found."""
        return lambda at, seeds: [self.plan.paths.file(kind, **{**vars(at), "batch": self._batch(at)})]

    def _batch(self, at: At) -> str:
        return f"lr-{at.learning_rate}.{self.block.name}"

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        batch = f"lr-{{learning_rate}}.{self.block.name}"
        return {"measured": [self.plan.paths.open("measured_run", batch=batch)]}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        own = {"measure": at.measure, "mode": at.mode, "learning_rate": at.learning_rate}
        return self.arm_spec(at, seeds, constants("measures", at.measure).get("PACKAGES", ())) | own

    def modules(self, at: At) -> list[str]:
        return [registry.module_name("measures", at.measure)]

    def every(self) -> Iterator[SimpleNamespace]:
        for measure in self.plan.grid.measures:
            yield from self.of_measure(measure) if measure != START else ()

    def of_measure(self, measure: str) -> Iterator[SimpleNamespace]:
        """Yield the coordinates of each job of one measure, each arm at its selected rates."""
        for arm in sorted(self.plan.grid.measures.get(measure, ())):
            for rate in self.plan.selected_rates(arm):
                yield named(**arm.columns(), measure=measure, learning_rate=write_rate(rate))


class MeasurePair(_Measure):
    """Two networks of each seed, compared: a rule for each pair, since a barrier needs two that are trained."""

    stage = "measure_pair"

    def inputs(self) -> dict[str, Reads]:
        return {
            "card": self.card,
            "dataset": self._dataset,
            "first": self._weights(0),
            "first_scores": self._scores(0),
            "second": self._weights(1),
            "second_scores": self._scores(1),
        }

    def _dataset(self, at: At, seeds: Seeds) -> list[str]:
        images = self.plan.config.pairs[self.parts[0]].images
        return self.plan.dataset_of_task(images.rpartition(".")[0], seeds)

    def _side(self, place: int, at: At, kind: str) -> list[str]:
        side = self.plan.grid.compared[self.parts[0], at.architecture][place]
        batch = f"lr-{(at.first_rate, at.second_rate)[place]}.{self.block.name}"
        return [self.plan.paths.file(kind, **side.arm.columns(), batch=batch)] if side.trained else []

    def _weights(self, place: int) -> Reads:
        """Return how one network is found: the final weights of its batch, or its start of each seed."""

        def reads(at: At, seeds: Seeds) -> list[str]:
            arm = self.plan.grid.compared[self.parts[0], at.architecture][place].arm
            return self._side(place, at, "final") or self.each("start")(arm, seeds)

        return reads

    def _scores(self, place: int) -> Reads:
        return lambda at, seeds: self._side(place, at, "scores")

    @property
    def trained(self) -> bool:
        """Whether both networks of the pair are trained."""
        pairs = self.plan.grid.compared.items()
        return all(side.trained for (name, _), both in pairs if name == self.parts[0] for side in both)

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        kinds = {"layers": "pair_layers", **({"barriers": "pair_barriers"} if self.trained else {})}
        key = {"pair": self.parts[0], "block": self.block.name}
        return {name: [self.plan.paths.open(kind, **key)] for name, kind in kinds.items()}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        sides, images = self.plan.grid.compared[self.parts[0], at.architecture], self.plan.config.pairs[self.parts[0]]
        told = self.plan.values.on_target(at.architecture, images.images)
        return {
            **self.plan.values.environment(at.architecture, "scipy", "torch-pruning"),
            **told,
            "pair": self.parts[0],
            "trained": [side.trained for side in sides],
            "rates": [at.first_rate, at.second_rate],
            "seeds": seeds,
        }

    def every(self) -> Iterator[SimpleNamespace]:
        for (pair, architecture), sides in sorted(self.plan.grid.compared.items()):
            if pair == self.parts[0]:
                rates = [self.plan.selected_rates(side.arm) if side.trained else [None] for side in sides]
                for first, second in product(*rates):
                    texts = {"first_rate": write_rate(first), "second_rate": write_rate(second)}
                    yield named(pair=pair, architecture=architecture, **texts)
