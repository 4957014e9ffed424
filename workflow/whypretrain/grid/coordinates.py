"""The coordinates of the grid, and the paths that carry them.

A coordinate that can't matter is made canonical (`Grid.canonical`), so that nothing is
trained twice under two names.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

UNTRAINED = "none"  # the source that is no pre-training
ANNEAL = "+anneal"
NO_RECIPE = "none"  # of a mode that doesn't learn by steps
NO_RATE = "none"  # of such a mode, and of a network that hasn't learnt the target
BANK = "bank"  # the reference of treatments that draw from a bank of kernels


@dataclass(frozen=True, order=True)
class Arm:
    """All runs that differ only in learning rate and seed."""

    architecture: str
    source: str
    epoch: str
    treatment: str
    span: str
    target: str
    mode: str
    recipe: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Arm":
        """Return the arm whose coordinates stand among other entries."""
        return cls(**{name: told[name] for name in cls.__dataclass_fields__})

    def columns(self) -> dict[str, str]:
        """Return the key columns of the tables that an arm gives."""
        return dict(vars(self))

    @property
    def start(self) -> tuple[str, str, str, str, str]:
        """Return the coordinates of the start: all that comes before the target."""
        return (self.architecture, self.source, self.epoch, self.treatment, self.span)

    @property
    def task(self) -> str:
        """Return the target's task: its name without the shots."""
        return self.target.rpartition(".")[0]

    @property
    def shots(self) -> str:
        """Return the training images per class: a number, or `full`."""
        return self.target.rpartition(".")[2]


ARM_KEYS = ["architecture", "source", "epoch", "treatment", "span", "target", "shots", "mode", "recipe"]
KEYS = (*ARM_KEYS, "learning_rate", "seed")


def key_columns(arm: Arm) -> dict[str, str]:
    """Return an arm's key columns as the tables have them: task and shots apart."""
    columns = arm.columns() | {"target": arm.task, "shots": arm.shots}
    return {key: columns[key] for key in ARM_KEYS}


def key_of(arm: Arm) -> tuple[str, ...]:
    """Return the values of an arm's key columns."""
    return tuple(key_columns(arm).values())


def without_size(name: str) -> str:
    """Return a task or dataset without the size that a target asked for: its images, parts and draws are the same."""
    return name.partition("@")[0]


def write_number(value: float) -> str:
    """Write a number as paths have it: `repr(float)`, without the point of a whole one."""
    return repr(int(value)) if float(value).is_integer() else repr(float(value))


def write_rate(rate: float | None) -> str:
    """Write a learning rate as paths have it: `repr(float)`, or `none`."""
    return NO_RATE if rate is None else repr(float(rate))


def write_run(rate: float | None, seed: int) -> str:
    """Write which run of a batch something is of."""
    return f"lr-{write_rate(rate)}.s{seed}"


def split_epoch(epoch: str) -> tuple[float, bool]:
    """Return the epoch's number and whether it is the annealed branch."""
    return float(epoch.removesuffix(ANNEAL)), epoch.endswith(ANNEAL)


class Paths:
    """Where each file lies: patterns that Snakemake and Python's format fill alike.

    A batch is named by what it holds: `r0.p0` all pilots of a block of rates and a block of seeds, `lr-0.12.s0` a block
    of seeds at a selected rate. What is shown of a study that isn't complete lies in a folder of its own, `shown`.
    """

    def __init__(self, results: str, *, partial: bool = False) -> None:
        start = "{architecture}/{source}/epoch-{epoch}/{treatment}.{span}"
        run = f"{results}/runs/{start}/{{target}}/{{mode}}/{{recipe}}/{{batch}}"
        source = f"{results}/sources/{{architecture}}/{{source}}/s{{seed}}"
        starts = f"{results}/starts/{{architecture}}/{{source}}/s{{seed}}"
        pair = f"{results}/measures/pairs/{{pair}}/{{architecture}}/lr-{{first_rate}}-{{second_rate}}"
        self.results = results
        self.shown = shown = f"{results}/partial" if partial else results
        self.patterns = {
            "dataset": f"{results}/datasets/{{dataset}}.safetensors",
            "card": f"{results}/datasets/{{dataset}}.json",
            "dataset_of_seed": f"{results}/datasets/{{dataset}}/s{{seed}}.safetensors",
            "card_of_seed": f"{results}/datasets/{{dataset}}/s{{seed}}.json",
            "checkpoint": f"{source}/epoch-{{epoch}}.safetensors",
            "untrained": f"{results}/sources/{{architecture}}/{UNTRAINED}/s{{seed}}/epoch-0.safetensors",
            "annealed": f"{source}/epoch-{{epoch}}{ANNEAL}.safetensors",
            "source_history": f"{source}/history.parquet",
            "anneal_history": f"{source}/history-{{epoch}}{ANNEAL}.parquet",
            "network": f"{results}/networks/{{architecture}}.json",
            "published": f"{results}/published/{{pretraining}}.epoch-{{epoch}}.safetensors",
            "bank": f"{results}/banks/{{architecture}}/s{{seed}}.safetensors",
            "start": f"{starts}/epoch-{{epoch}}/{{treatment}}.{{span}}.safetensors",
            "measured_start": f"{results}/measures/start/{start}/{{target}}/{{block}}.parquet",
            "measured_run": f"{results}/measures/{{measure}}/{start}/{{target}}/{{mode}}/{{recipe}}/{{batch}}.parquet",
            "pair_layers": f"{pair}/layers.{{block}}.parquet",
            "pair_barriers": f"{pair}/barriers.{{block}}.parquet",
            "selection": f"{results}/selections/{{study}}.json",
            **{kind: f"{run}/{kind}.parquet" for kind in ("history", "scores", "kernels", "predictions")},
            "final": f"{run}/final.safetensors",
            "provenance": f"{run}/provenance.json",
            "table": f"{shown}/tables/{{table}}.parquet",
            "figure_svg": f"{shown}/figures/{{study}}/{{figure}}.svg",
            "figure_png": f"{shown}/figures/{{study}}/{{figure}}.png",
            "report": f"{shown}/report.html",
            "advice": f"{shown}/advice.rst",
            "blocks": f"{results}/blocks.json",
            "failures": f"{shown}/failures.txt",
        }

    def __getitem__(self, name: str) -> str:
        """Return a pattern, its wildcards open."""
        return self.patterns[name]

    def match(self, path: str) -> dict[str, str] | None:
        """Return the coordinates that a file carries in its path; None where it is no file of a result."""
        found = next(filter(None, (pattern.fullmatch(path) for pattern in self._expressions)), None)
        return found.groupdict() if found else None

    @cached_property
    def _expressions(self) -> list[re.Pattern[str]]:
        patterns = map(re.escape, self.patterns.values())
        return [re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+?)", pattern)) for pattern in patterns]

    def file(self, name: str, **coordinates: object) -> str:
        """Return the path of one file."""
        return self.patterns[name].format(**coordinates)

    def open(self, name: str, **coordinates: object) -> str:
        """Return a pattern with some wildcards filled and the others left open."""
        pattern = self.patterns[name]
        for key, value in coordinates.items():
            pattern = pattern.replace(f"{{{key}}}", str(value))
        return pattern
