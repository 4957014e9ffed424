"""Datasets, sources and starts: all that comes before the target."""

import re
from abc import abstractmethod
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from whypretrain import registry
from whypretrain.grid.coordinates import ANNEAL, BANK, UNTRAINED, split_epoch, write_number
from whypretrain.grid.spans import span_layers
from whypretrain.jobs.form import At, Form, Reads, Seeds, by_wildcard, named
from whypretrain.jobs.values import WHEEL
from whypretrain.registry import constants
from whypretrain.treatments import treating


class PrepareDataset(Form):
    """A dataset: one file for all seeds, or, of what is drawn anew for each, one for each seed."""

    stage = "prepare_dataset"
    told_apart = False
    silent = ("files",)

    @property
    def _names(self) -> list[str]:
        grid, of_seed = self.plan.grid, bool(self.parts)
        return [name for name in self.plan.values.datasets if (name in grid.per_seed) == of_seed]

    def inputs(self) -> dict[str, Reads]:
        return {"files": self._files}

    def _files(self, at: At, seeds: Seeds) -> list[str]:
        """Return the files of the user's own that a dataset is made from; none of most."""
        module, parameters = self._module(at.dataset)
        return [str(file) for file in module.files(parameters)] if hasattr(module, "files") else []

    def _module(self, dataset: str) -> tuple[Any, Any]:
        return self.plan.grid.dataset_module(dataset), self.plan.grid.dataset_parameters(dataset)

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        ending = "_of_seed" if self.parts else ""
        return {kind: [self.plan.paths[f"{kind}{ending}"]] for kind in ("dataset", "card")}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return its module, parameters and size; where it has any, its seed or the digest of its files."""
        module, parameters = self._module(at.dataset)
        spec = {
            "dataset": at.dataset,
            "module": self.plan.config.datasets[at.dataset].module,
            "parameters": parameters.model_dump(),
            "versions": self.plan.values.versions("numpy", *module.PACKAGES),
            "size": self.plan.values.size(at.dataset),
        }
        if self.parts:
            spec["seed"] = int(at.seed)
        return spec | ({"files": module.digest(parameters)} if hasattr(module, "digest") else {})

    def modules(self, at: At) -> list[str]:
        return [registry.module_name("datasets", self.plan.config.datasets[at.dataset].module)]

    def every(self) -> Iterator[SimpleNamespace]:
        if not self.parts:
            yield from (named(dataset=name) for name in self._names)
            return
        pilots = self.plan.grid.pilots
        tasks = {arm.task for arm in pilots.arms}
        tasks |= {task for _, source in pilots.trained_sources for task in self.plan.grid.tasks_of(source)}
        of_pilots = {self.plan.config.tasks[task].dataset for task in tasks}
        for name in self._names:
            seeds = self.plan.grid.all_seeds if name in of_pilots else self.plan.config.seeds
            yield from (named(dataset=name, seed=seed) for seed in seeds)

    @property
    def constraints(self) -> dict[str, str]:
        return {"dataset": by_wildcard(dict.fromkeys(self._names))}

    @property
    def priority(self) -> int:  # type: ignore[override]
        """Before all that trains: an image that can't be used is told of first. What is drawn waits until needed."""
        return 0 if self.parts else 1_000_000


class InitialiseNetwork(Form):
    """An untrained network: the source `none`."""

    stage = "initialise_network"
    kinds = (("checkpoint", "untrained"),)

    def inputs(self) -> dict[str, Reads]:
        return {"card": self.card}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        values, libraries = self.plan.values, self.plan.values.libraries(at.architecture)
        versions = values.versions("numpy", *(["torch", *libraries] if libraries else []))
        return {"architecture": values.architecture(at.architecture), "seed": int(at.seed), "versions": versions}

    def every(self) -> Iterator[SimpleNamespace]:
        yield from (named(architecture=name, seed=seed) for name, seed in self.plan.asked["untrained"])


class ReadWeights(Form):
    """Weights that somebody else trained."""

    stage = "read_weights"
    kinds = (("weights", "published"),)

    def inputs(self) -> dict[str, Reads]:
        return {"file": self._file}

    def _weights(self, at: At) -> str:
        return self.plan.published(at.pretraining)[at.epoch]

    def _file(self, at: At, seeds: Seeds) -> list[str]:
        """Return the user's own file that they are read from; none of others."""
        weights = self._weights(at)
        return [weights] if weights in self.plan.config.pretraining[at.pretraining].files else []

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return the weights' name; a file of the user's is an input, its path is no part of a result."""
        weights, own = self._weights(at), self._file(at, seeds)
        library = {"timm": ["timm", "torchvision"], "efficientnet-lite0": [WHEEL, "timm", "torchvision"]}
        packages = library.get(weights.partition("/")[0], [] if own else ["torchvision"])
        versions = self.plan.values.versions("torch", "numpy", *packages)
        return {"pretraining": at.pretraining, "weights": None if own else weights, "versions": versions}

    def every(self) -> Iterator[SimpleNamespace]:
        for name in self.plan.pretrainings():
            yield from (named(pretraining=name, epoch=epoch) for epoch in self.plan.published(name))


class _Source(Form):
    needs, outputs_as, may_be_shared = "pretrain", "outputs", True

    def _spec(self, at: At) -> dict[str, Any]:
        values, pretraining = self.plan.values, self.plan.grid.pretraining(at.source)
        alone = constants("objectives", pretraining.objective).get("ALONE")
        return {
            **values.environment(at.architecture),
            "architecture": values.architecture(at.architecture),
            "source": at.source,
            "task": values.source_task(at.source),
            "pretraining": pretraining.model_dump(exclude={"weights"}),
            "normalisation": values.normalisation(at.architecture, "source", at.source),
            "replicas": 1 if alone else values.replicas(at.architecture),
        }

    def modules(self, at: At) -> list[str]:
        return [registry.module_name("objectives", self.plan.grid.pretraining(at.source).objective)]

    def inputs(self) -> dict[str, Reads]:
        return {"card": self.card, "dataset": self.dataset_of_source, **self.starts}

    @property
    @abstractmethod
    def starts(self) -> dict[str, Reads]:
        """How the weights that it starts from are found."""


class PretrainSource(_Source):
    """A source: the raw checkpoints of each seed and their history. A rule for each list of checkpoints."""

    stage = "pretrain_source"
    told_apart = False

    @property
    def starts(self) -> dict[str, Reads]:
        """Where it starts from another source, that one's end; or what somebody published."""
        return {"parents": self._parents, "published": self._published}

    def _parents(self, at: At, seeds: Seeds) -> list[str]:
        start = self.plan.config.sources[at.source].start
        if start is None:
            return []
        end = named(architecture=at.architecture, source=start, epoch=self.plan.grid.end(start))
        return self.each("checkpoint")(end, seeds)

    def _published(self, at: At, seeds: Seeds) -> list[str]:
        name = self.parts[0]
        return [self.plan.paths.file("published", pretraining=name, epoch=epoch) for epoch in self.plan.published(name)]

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        found = {}
        for seed in seeds:
            for epoch in map(write_number, self.plan.config.pretraining[self.parts[0]].checkpoints):
                name = f"s{seed}_epoch_{re.sub(r'[^0-9]', '_', epoch)}"
                found[name] = [self.plan.paths.open("checkpoint", seed=seed, epoch=epoch)]
            found[f"s{seed}_history"] = [self.plan.paths.open("source_history", seed=seed)]
        return found

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        start = self.plan.config.sources[at.source].start
        parent = None if start is None else {"source": start, "epoch": self.plan.grid.end(start)}
        return {**self._spec(at), "parent": parent, "seeds": seeds}

    def every(self) -> Iterator[SimpleNamespace]:
        for architecture, source in self.block.grid.trained_sources:
            if self.plan.config.sources[source].pretraining == self.parts[0]:
                yield named(architecture=architecture, source=source)

    @property
    def constraints(self) -> dict[str, str]:
        trained = (name for _, name in self.plan.grid.trained_sources)
        own = (name for name in trained if self.plan.config.sources[name].pretraining == self.parts[0])
        return {"source": by_wildcard(dict.fromkeys(sorted(own)))}


class AnnealSource(_Source):
    """The annealed branch of one checkpoint of each seed, and its one row of history."""

    stage = "anneal_source"

    @property
    def starts(self) -> dict[str, Reads]:
        """The checkpoints that are annealed."""
        return {"checkpoints": self.each("checkpoint")}

    def outputs(self, seeds: Seeds) -> dict[str, list[str]]:
        kinds = {"weights": "annealed", "history": "anneal_history"}
        return {f"s{s}_{name}": [self.plan.paths.open(kind, seed=s)] for s in seeds for name, kind in kinds.items()}

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        """Return its source's spec, without the list of checkpoints."""
        spec = self._spec(at)
        del spec["pretraining"]["checkpoints"]
        return {**spec, "epoch": split_epoch(at.epoch)[0], "seeds": seeds}

    def every(self) -> Iterator[SimpleNamespace]:
        for architecture, source, epoch in self.plan.annealed(self.block.grid):
            yield named(architecture=architecture, source=source, epoch=epoch.removesuffix(ANNEAL))

    @property
    def constraints(self) -> dict[str, str]:
        return {"epoch": "[0-9.]+"}


class PoolKernels(Form):
    """A bank of kernels, which some treatments draw from."""

    stage = "pool_kernels"
    kinds = (("banks", "bank"),)

    def inputs(self) -> dict[str, Reads]:
        return {"card": self.card, "checkpoints": self._banked}

    def _banked(self, at: At, seeds: Seeds) -> list[str]:
        """Return the checkpoints whose kernels are in a bank, all of one seed after all of another."""
        return [
            self.plan.paths.file("checkpoint", architecture=at.architecture, source=source, epoch=epoch, seed=seed)
            for seed in seeds
            for source, epoch in self.plan.grid.banked
        ]

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        bank, values = self.plan.config.bank, self.plan.values
        return {
            "sources": self.plan.grid.banked,
            "prune": bank.prune if bank else None,
            "seeds": seeds,
            "architecture": values.architecture(at.architecture),
            "versions": values.versions("numpy"),
        }

    def every(self) -> Iterator[SimpleNamespace]:
        first = self.block.seeds[0]
        yield from (named(architecture=name) for name, seed in self.plan.asked["bank"] if seed == first)


class TreatCheckpoint(Form):
    """The starts: a checkpoint of each seed, treated."""

    stage = "treat_checkpoint"
    kinds = (("starts", "start"),)

    def inputs(self) -> dict[str, Reads]:
        return {"card": self.card, "checkpoints": self.each("checkpoint"), "references": self.references}

    def references(self, at: At, seeds: Seeds) -> list[str]:
        """Return the checkpoints or banks that a treatment takes from, one for each seed; none for most."""
        reference = treating.reference_of(at.treatment)
        if reference is None:
            return []
        if reference == BANK:
            return self.each("bank")(at, seeds)
        return self.at_zero(at.architecture, UNTRAINED if reference == UNTRAINED else at.source, seeds)

    def spec(self, at: At, seeds: Seeds) -> dict[str, Any]:
        values = self.plan.values
        keeping = at.treatment.startswith("permute-channels")  # it alone looks at the network
        packages = ["torch", "torch-pruning", *values.libraries(at.architecture)] if keeping else []
        return {
            "treatment": at.treatment,
            "layers": span_layers(at.span, self.plan.grid.card(at.architecture)),
            "seeds": seeds,
            "architecture": values.architecture(at.architecture),
            "versions": values.versions("numpy", *packages),
        }

    def modules(self, at: At) -> list[str]:
        name, _ = treating.parse(at.treatment)
        return [registry.module_name("treatments", name)]

    def every(self) -> Iterator[SimpleNamespace]:
        for architecture, source, epoch, treatment, span in self.block.grid.starts:
            yield named(architecture=architecture, source=source, epoch=epoch, treatment=treatment, span=span)
