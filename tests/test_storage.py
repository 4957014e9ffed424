"""Files of results: whole or not there, damage told, the same bytes from the same content."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import NOWHERE, ROOT
from hypothesis import given
from hypothesis import strategies as st

from whypretrain.files.origins import Origin, canonical, read_origin
from whypretrain.files.storage import (
    DamagedFile,
    checksum,
    read_columns,
    read_tensors,
    write_columns,
    write_json,
    write_tensors,
    write_whole,
)

TENSORS = {
    "layer1.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3),
    "labels": np.array([3, 1], np.int64),
    "images": np.arange(6, dtype=np.uint8).reshape(2, 3),
}
COLUMNS = {"seed": [0, 1], "top1": [0.25, float("nan")], "span": ["all", "top-1"]}
ORIGIN = Origin('{"a":"ü"}', "0123456789abcdef", "fedcba")


def write(path: Path) -> None:
    if path.suffix == ".safetensors":
        write_tensors(path, TENSORS, ORIGIN)
    else:
        write_columns(path, COLUMNS, ORIGIN, {"top1": "fraction of 1"})


def read(path: Path) -> object:
    return read_tensors(path) if path.suffix == ".safetensors" else read_columns(path)


KINDS = pytest.mark.parametrize("name", ["epoch-0.safetensors", "scores.parquet"])


def test_tensors_come_back_as_they_were_with_their_origin(tmp_path: Path):
    path = tmp_path / "deep" / "epoch-0.safetensors"
    write(path)
    found = read_tensors(path)
    assert found.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert read_origin(path) == ORIGIN


def test_columns_come_back_as_they_were_with_their_origin_and_descriptions(tmp_path: Path):
    path = tmp_path / "scores.parquet"
    write(path)
    table, origin = read_columns(path)
    assert origin == read_origin(path) == ORIGIN
    assert table.column_names == list(COLUMNS)
    assert table["seed"].to_pylist() == [0, 1]
    assert table.schema.field("top1").metadata[b"description"] == b"fraction of 1"


@KINDS
def test_the_same_content_is_the_same_bytes(tmp_path: Path, name: str):
    # Snakemake compares inputs by checksum: other bytes would run again all that follows
    written = set()
    for number in range(8):
        path = tmp_path / str(number) / name
        write(path)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_tensors_that_are_views_are_written_by_value(tmp_path: Path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_tensors(tmp_path / "x.safetensors", {"turned": array.T, "part": array[::2]}, ORIGIN)
    found = read_tensors(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(found["turned"], array.T)
    np.testing.assert_array_equal(found["part"], array[::2])


@KINDS
@pytest.mark.parametrize("damage", ["cut", "cut to a few bytes", "emptied", "foreign", "a byte flipped"])
def test_damage_is_told_with_the_file_and_the_command_that_rebuilds_it(tmp_path: Path, name: str, damage: str):
    path = tmp_path / name
    write(path)
    whole = path.read_bytes()
    # the values stand behind safetensors' header, and behind Parquet's first four bytes
    place = len(whole) - 3 if name.endswith("safetensors") else 30
    flipped = bytearray(whole)
    flipped[place] ^= 0x10
    path.write_bytes(
        {
            "cut": whole[: len(whole) * 2 // 3],
            "cut to a few bytes": whole[:5],
            "emptied": b"",
            "foreign": b"PK\x03\x04" + bytes(200),
            "a byte flipped": bytes(flipped),
        }[damage]
    )
    with pytest.raises(DamagedFile) as found:
        read(path)
    message = str(found.value)
    assert message.startswith(f"{path} is damaged")
    assert f"--force {path}" in message
    assert "\n" not in message


@pytest.mark.parametrize("place", range(0, 100, 7))
def test_no_flipped_byte_of_values_passes_as_whole(tmp_path: Path, place: int):
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"weight": np.arange(25, dtype=np.float32)}, ORIGIN)
    content = bytearray(path.read_bytes())
    content[-1 - place] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DamagedFile):
        read_tensors(path)


def test_the_checksum_sees_names_types_and_shapes():
    a = np.zeros(4, np.float32)
    others = [{"y": a}, {"x": a.astype(np.float64)}, {"x": a.reshape(2, 2)}, {"x": a, "y": a}, {"x": a + 1}]
    assert len({checksum(each) for each in [{"x": a}, *others]}) == 6
    assert checksum({"x": a, "y": a + 1}) == checksum({"y": a + 1, "x": a})


def test_a_writer_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path):
    path = tmp_path / "scores.parquet"
    path.write_text("whole")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        write_whole(path, fail)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("scores.parquet", "whole")]


def test_a_full_disk_ends_in_one_message_and_no_file(tmp_path: Path):
    # a limit on the size of files stands in for the full disk: both end a write in the middle
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "from whypretrain.command import run_stage; from whypretrain.files.storage import write_whole\n"
        "def main(job):\n"
        "    write_whole(job.file('out'), lambda part: part.write_bytes(bytes(10**6)))\n"
        "run_stage(main)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--spec", "{}", "--code", "0", "--out", "out", str(tmp_path / "final")],
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_kill_in_the_middle_of_writing_leaves_no_file_of_that_name(tmp_path: Path):
    program = (
        "import sys, time; from whypretrain.files.storage import write_whole\n"
        "def write(part):\n"
        "    with part.open('wb') as file:\n"
        "        file.write(bytes(1000)); file.flush(); print('half', flush=True); time.sleep(60)\n"
        "write_whole(sys.argv[1], write)\n"
    )
    final = tmp_path / "final.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(final)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not final.exists()
    write_tensors(final, TENSORS, ORIGIN)  # what is left beside it disturbs nothing
    assert read_tensors(final).keys() == TENSORS.keys()


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path):
    path = tmp_path / "card.json"
    write_json(path, {"version": 0})
    program = (
        "import sys; from whypretrain.files.storage import write_json\n"
        "for n in range(300): write_json(sys.argv[1], {'version': n, 'filling': 'x' * 20000})\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    )
    seen = 0
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        assert json.loads(path.read_text())["version"] >= 0
        seen += 1
    assert process.wait() == 0
    assert seen > 10


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.randoms())
def test_canonical_text_does_not_depend_on_the_order_of_keys(spec: dict[str, object], random: object):
    items = list(spec.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert canonical(dict(items)) == canonical(spec)
    assert json.loads(canonical(spec)) == spec


def test_canonical_numbers():
    assert canonical({"a": 1e-5}) == canonical({"a": 0.00001}) == '{"a":1e-05}'
    assert canonical({"a": (1, 2)}) == canonical({"a": [1, 2]})
    assert canonical({"a": 1, "b": 2}) != canonical({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_file_may_be_read_and_written_by_whom_the_umask_lets(umask: int, mode: int, tmp_path: Path):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "file.json", {})
        write_tensors(tmp_path / "file.safetensors", TENSORS, NOWHERE)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}
