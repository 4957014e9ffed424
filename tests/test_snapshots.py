"""Snapshots: a training that is stopped, anywhere and again and again, ends in the bits of one that wasn't."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_sources
import test_training
from conftest import put

from whypretrain.files import snapshots
from whypretrain.files.origins import Origin
from whypretrain.files.snapshots import Snapshot, State, Stopped

ORIGIN = Origin('{"a":1}', "0123", "4567")
digits = test_training.dataset
source_digits = test_sources.dataset
tensors = test_sources.tensors


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = [(each, signal.getsignal(each)) for each in (signal.SIGTERM, signal.SIGINT)]
    snapshots.listen()
    yield
    snapshots.told.clear()
    for each, handler in before:
        signal.signal(each, handler)


def files(folder: Path) -> dict[str, bytes]:
    """Return all results below a folder; times differ from call to call."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if "provenance" not in name}


def outputs_deleted(folder: Path, kept: tuple[str, ...] = ("start-",)) -> None:
    """Delete what Snakemake deletes before it runs a job again: all outputs, but not what it doesn't know."""
    for path in list(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(kept) and ".snapshot" not in str(path):
            path.unlink()


def stopped_at_every_step(
    monkeypatch: pytest.MonkeyPatch, folder: Path, call: Callable[[], Any], kept: tuple[str, ...] = ("start-",)
) -> int:
    """Call until it ends, with a real SIGTERM after each step of each training; return how often it was stopped."""
    offer = Snapshot.offer

    def offer_and_be_told(self: Snapshot, state: Callable[[], State]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        offer(self, state)

    monkeypatch.setattr(Snapshot, "offer", offer_and_be_told)
    for times in range(200):
        snapshots.told.clear()
        with contextlib.suppress(Stopped):
            call()
            return times
        outputs_deleted(folder, kept)
    raise AssertionError("it never ends")


@pytest.mark.parametrize("mode", ["finetune", "freeze-1", "lpft"])
def test_a_run_stopped_after_each_of_its_steps_ends_in_the_same_bits(
    tmp_path: Path, digits: Path, mode: str, monkeypatch: pytest.MonkeyPatch
):
    rates, seeds = (0.01, 0.1), (0, 1)
    test_training.run_block(tmp_path / "whole", digits, rates, seeds, mode)
    again = tmp_path / "again"
    times = stopped_at_every_step(
        monkeypatch, again, lambda: test_training.run_block(again, digits, rates, seeds, mode)
    )
    assert times == len(rates) * len(seeds) * 9, "once after each step but the last"
    assert files(again) == files(tmp_path / "whole")


@pytest.mark.parametrize("name", ["dropout", "gradient-noise", "augmentation", "l2-sp"])
def test_what_a_regulariser_draws_goes_on_where_it_was(
    tmp_path: Path, digits: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    request = test_training.request
    regulariser = {"name": name, "strength": 0.1}

    def regularised(**changes: Any) -> Any:
        found = request(**changes)
        return type(found)(**{**vars(found), "recipe": {**found.recipe, "regulariser": regulariser}})

    monkeypatch.setattr(test_training, "request", regularised)
    test_training.run_block(tmp_path / "whole", digits, (0.1,), (0,))
    again = tmp_path / "again"
    times = stopped_at_every_step(monkeypatch, again, lambda: test_training.run_block(again, digits, (0.1,), (0,)))
    assert times == 9
    assert files(again) == files(tmp_path / "whole")


@pytest.mark.parametrize("objective", ["labels", "random-labels", "reconstruction"])
def test_a_source_stopped_after_each_of_its_steps_ends_in_the_same_bits(
    tmp_path: Path, source_digits: Path, objective: str, monkeypatch: pytest.MonkeyPatch
):
    spec = put(test_sources.source_spec(), "pretraining.objective", objective)
    test_sources.run_stages(tmp_path / "whole", source_digits, spec, (0, 1))
    again, stages = tmp_path / "again", (test_sources.pretrain_source, test_sources.anneal_source)
    with monkeypatch.context() as patch:
        patch.setattr(stages[1], "main", lambda job: None)
        times = stopped_at_every_step(patch, again, lambda: test_sources.run_stages(again, source_digits, spec, (0, 1)))
    assert times > 10
    with monkeypatch.context() as patch:
        patch.setattr(stages[0], "main", lambda job: None)
        times = stopped_at_every_step(
            patch, again, lambda: test_sources.run_stages(again, source_digits, spec, (0, 1)), ("epoch-", "history")
        )
    assert (times > 1) == (objective != "reconstruction")
    assert files(again) == files(tmp_path / "whole")


def stopped(folder: Path, digits: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> Path:
    """Stop a block of two rates after some steps, delete its outputs, and return its snapshot."""
    offer, steps = Snapshot.offer, iter(range(1, 1000))

    def offer_and_be_told(self: Snapshot, state: Callable[[], State]) -> None:
        if next(steps) == after:
            os.kill(os.getpid(), signal.SIGTERM)
        offer(self, state)

    with monkeypatch.context() as patch:
        patch.setattr(Snapshot, "offer", offer_and_be_told)
        with pytest.raises(Stopped):
            test_training.run_block(folder, digits, (0.01, 0.1), (0,))
    snapshots.told.clear()
    outputs_deleted(folder)
    (found,) = folder.rglob("*.snapshot")
    return found


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1
    path.write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "flipped": bytes(flipped)}[how])


@pytest.mark.parametrize("how", ["cut", "emptied", "flipped"])
@pytest.mark.parametrize("place", ["state", "what is done", "its digests", "origin"])
def test_a_damaged_snapshot_is_told_and_what_it_held_made_again(
    tmp_path: Path,
    digits: Path,
    how: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    test_training.run_block(tmp_path / "whole", digits, (0.01, 0.1), (0,))
    snapshot = stopped(tmp_path / "again", digits, monkeypatch, after=13)
    path = {
        "state": snapshot / snapshots.STATE,
        "what is done": snapshot / "lr-0.01.s0/scores.parquet",
        "its digests": snapshot / "lr-0.01.s0" / snapshots.ITEM,
        "origin": snapshot / "origin.json",
    }[place]
    damage(path, how)
    caplog.clear()
    with caplog.at_level("WARNING"):
        test_training.run_block(tmp_path / "again", digits, (0.01, 0.1), (0,))
    (told,) = caplog.messages
    assert str(snapshot) in told
    assert "damaged" in told or "other code" in told
    assert files(tmp_path / "again") == files(tmp_path / "whole")


def test_a_snapshot_of_other_code_config_or_inputs_is_refused_and_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name, value in (("spec", "{}"), ("code", "other"), ("inputs", "other")):
        first = Snapshot(tmp_path / "out", ORIGIN, seconds=0)
        first.begin("run")
        first.offer(lambda: State({}, {"step": 1}))
        assert (first.folder / snapshots.STATE).exists()
        caplog.clear()
        other = Snapshot(tmp_path / "out", Origin(**{**vars(ORIGIN), name: value}), seconds=0)
        assert other.begin("run").state() is None
        assert "other code, config or inputs" in caplog.text
        assert not other.folder.exists()


def test_a_state_of_another_processor_is_not_taken_up(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    first = Snapshot(tmp_path / "out", ORIGIN, seconds=0, hardware="NVIDIA H100")
    first.begin("run")
    first.offer(lambda: State({}, {"step": 1}))
    same = Snapshot(tmp_path / "out", ORIGIN, seconds=0, hardware="NVIDIA H100").begin("run").state()
    assert same is not None
    assert same.values["step"] == 1
    assert Snapshot(tmp_path / "out", ORIGIN, seconds=0, hardware="a CPU").begin("run").state() is None
    assert "was on NVIDIA H100, not on a CPU; begins anew" in caplog.text


def test_a_finished_job_leaves_none_and_a_short_one_writes_no_state(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(snapshots.Snapshot, "_write", None)  # would raise
    test_training.run_block(tmp_path, digits, (0.01, 0.1), (0, 1))
    assert not list(tmp_path.rglob(".*"))


def test_states_are_written_as_often_as_config_says(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(snapshots.MINUTES, "0")
    written = []
    write = Snapshot._write
    monkeypatch.setattr(
        Snapshot, "_write", lambda self, state: written.append(state.values["step"]) or write(self, state)
    )
    test_training.run_block(tmp_path, digits, (0.1,), (0,))
    assert written == list(range(1, 10))


def test_what_is_done_comes_back_with_new_times_where_links_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(OSError("no links here")))
    output = tmp_path / "folder/scores.parquet"
    output.parent.mkdir()
    output.write_bytes(b"whole")
    os.utime(output, (1, 1))
    snapshot = Snapshot(output, ORIGIN, 60)
    snapshot.keep("run", [output])
    output.unlink()
    assert Snapshot(output, ORIGIN, 60).restore("run", [output])
    assert output.read_bytes() == b"whole"
    assert output.stat().st_mtime > 1_000_000
    assert not Snapshot(output, ORIGIN, 60).restore("run", [output, tmp_path / "another"])
    shutil.rmtree(output.parent)
