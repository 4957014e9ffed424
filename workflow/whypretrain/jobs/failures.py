"""What went wrong: the jobs of a run that failed, told shortly at its end and all of them in a file.

Each with its rule, its coordinates, the last lines of its log and the command that runs it again.
"""

import argparse
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whypretrain.grid.coordinates import Paths
from whypretrain.running.slurm import KINDS

LINES = 5  # of a log
MESSAGE = 24  # of a message
WIDTH = 1000  # of a line of it
SHOWN = 5  # groups of failures that ended alike
NAMED = 4  # failures of a group
TAIL = 16_000  # bytes of a log that are looked at
PROGRESS = re.compile(r"\d\d:\d\d:\d\d ")  # what a stage says while all is well
WORDS = {"epoch": "epochs", "batch": "batches", "seed": "seeds"}  # of coordinates in the plural
KEPT_OPTIONS = ("--snakefile -s", "--directory -d", "--profile", "--workflow-profile", "--executor -e", "--cores -c")


@dataclass(frozen=True)
class Failure:
    """A job that failed: its rule, its files, the log it left, and how many jobs could not run because of it."""

    rule: str
    outputs: tuple[str, ...]
    log: str
    blocked: int


@dataclass(frozen=True)
class Ended:
    """How a run of the workflow ended, in counts: `blocked` jobs could not run, `unreached` ones never had a turn."""

    failures: tuple[Failure, ...]
    blocked: int
    unreached: int
    complete: int
    runs: int


def coordinates(paths: Paths, files: Iterable[str]) -> dict[str, list[str]]:
    """Return the coordinates that files carry in their paths, each with all its values, in the order of the files."""
    found: dict[str, list[str]] = {}
    for file in files:
        for name, value in (paths.match(file) or {}).items():
            if value not in found.setdefault(name, []):
                found[name].append(value)
    return found


def in_words(coordinates: Mapping[str, Sequence[str]]) -> str:
    """Say coordinates: `source letters, epoch 1+anneal, learning rates 0.01 and 0.1, seed 0`."""
    told = []
    for name, values in coordinates.items():
        words = WORDS.get(name, f"{name}s") if len(values) > 1 else name.replace("_", " ")
        told.append(f"{words} {', '.join(values[:-1])}{' and ' if len(values) > 1 else ''}{values[-1]}")
    return ", ".join(told)


def ending(log: str) -> list[str]:
    """Return the last lines of a log, or its message alone where it ends in one; none of an empty or missing log."""
    try:
        with Path(log).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line[:WIDTH].rstrip() for line in text.splitlines() if line.strip()][-MESSAGE:]
    message = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return lines[message[-1] :] if message else lines[-LINES:]


def without_message(failure: Failure, lines: Sequence[str]) -> str:
    """Say what to think of a log whose last line tells of progress, or that has none; nothing of any other."""
    if lines and not PROGRESS.match(lines[-1]):
        return ""
    kind = KINDS.get(failure.rule.split("_")[0])
    told = "It ended without a message: killed from outside, perhaps out of memory or past its time limit"
    return f"{told}; see execution.{kind}.mem_mb and .runtime in config." if kind else f"{told}."


def command(arguments: Sequence[str], *targets: str, partial: bool = False, by_make: bool = False) -> str:
    """Return the command that makes some targets as the call with these arguments would have, or what is `partial`.

    Of the call it keeps the config and where and by what jobs run. A call by make has the environment active, which
    the user's shell may not have.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for names in KEPT_OPTIONS:
        parser.add_argument(*names.split())
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    parser.add_argument("--config", "-C", nargs="+", default=[])
    given = vars(parser.parse_known_args(list(arguments))[0])
    given["config"] = [*given["config"], *(["partial=true"] if partial else [])]
    # the targets first: --configfile and --config take all that follows
    words = ["snakemake", *targets]
    for name, value in given.items():
        if value:
            words += [f"--{name.replace('_', '-')}", *([value] if isinstance(value, str) else value)]
    return ('PATH="$PWD/.venv/bin:$PATH" ' if by_make else "") + shlex.join(words)


def _alike(line: str) -> str:
    """Return what lines have in common that differ in paths and numbers alone."""
    return re.sub(r"\d+", "0", re.sub(r"\S*/\S*", "/", line))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def headline(ended: Ended) -> str:
    """Say in numbers how a run ended."""
    failed = len(ended.failures)
    told = [f"{_count(failed, 'job')} failed" if failed else "The run was stopped before its end"]
    if ended.blocked:
        told.append(f"{_count(ended.blocked, 'other job')} could not run because of {'it' if failed == 1 else 'them'}")
    if ended.unreached:
        told.append(f"{_count(ended.unreached, 'job')} had no turn yet")
    runs = f"{_count(ended.runs, 'run')} {'is' if ended.runs == 1 else 'are'}"
    return f"{'; '.join(told)}. {ended.complete} of {runs} complete."


def _name(failure: Failure, paths: Paths) -> str:
    return ": ".join(filter(None, (failure.rule, in_words(coordinates(paths, failure.outputs)))))


def _tell(group: Sequence[Failure], paths: Paths, command: str, number: int) -> str:
    """Tell of failures that ended alike by the first of them."""
    first = group[0]
    lines = ending(first.log)
    told = [f"{number}. {_name(first, paths)}"]
    others = [f"   also {_name(other, paths)}" for other in group[1:]]
    told += others if len(group) <= NAMED else [*others[: NAMED - 1], f"   and {len(group) - NAMED} more alike"]
    if first.blocked:
        told.append(f"   {_count(first.blocked, 'other job')} could not run because of {first.rule}")
    told.append(f"   {first.log} ends:" if lines else f"   {first.log or 'its log'} is empty or missing")
    told += [f"     | {line}" for line in lines]
    if missing := without_message(first, lines):
        told.append(f"   {missing}")
    return "\n".join([*told, f"   retry: {command}"])


def report(ended: Ended, paths: Paths, arguments: Sequence[str], *, by_make: bool = False) -> tuple[str, str]:
    """Return what to print and what to write: failures that ended alike told as one, and all of them.

    `arguments` are those of the call of Snakemake. What holds up most stands first.
    """
    failures = sorted(ended.failures, key=lambda failure: (-failure.blocked, failure.rule, failure.outputs))
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        lines = ending(failure.log)
        groups.setdefault(without_message(failure, lines) or _alike(lines[-1]), []).append(failure)

    def tell(group: Sequence[Failure], number: int) -> str:
        return _tell(group, paths, command(arguments, group[0].outputs[0], by_make=by_make), number)

    short = [tell(group, number) for number, group in enumerate([*groups.values()][:SHOWN], 1)]
    if left := sum(len(group) for group in [*groups.values()][SHOWN:]):
        short.append(f"{_count(left, 'more job')} ended in other ways.")
    last = "The same call again goes on from here."
    if failures:
        last = f"All of this, job by job, is in {paths['failures']}. {last}"
    if ended.complete < ended.runs and paths.shown == paths.results:
        last += f"\nTables and figures of what is there: {command(arguments, partial=True, by_make=by_make)}"
    everything = [tell([failure], number) for number, failure in enumerate(failures, 1)]
    return "\n\n".join([headline(ended), *short, last]), "\n\n".join([headline(ended), *everything]) + "\n"
