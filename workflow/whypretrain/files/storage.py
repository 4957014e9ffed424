"""Files of results: written whole or not at all, each with the spec and the code that made it."""

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from whypretrain.files.origins import BLANK, Origin, Unreadable, canonical, check_seal, sealed

Weights = dict[str, np.ndarray]


class DamagedFile(Exception):
    """A file that can't be read; the message names it and the command that rebuilds it."""

    def __init__(self, path: str | Path, reason: object) -> None:
        self.reason = str(reason)
        super().__init__(
            f"{path} is damaged ({reason}). Rebuild it: snakemake --cores 1 --force {path} "
            "(with the --configfile that you use, if any); then snakemake --cores all goes on."
        )


def write_whole(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path` and move it into place once it is on the disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    temporary.touch(exist_ok=False)
    mode = temporary.stat().st_mode  # as the umask says; safetensors puts a file of its own, closed to others, there
    try:
        try:
            write(temporary)
        except Exception as error:
            if isinstance(error, OSError) or shutil.disk_usage(path.parent).free > 1 << 20:
                raise
            # libraries hide the reason in errors of their own
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_parts(path: str | Path) -> None:
    """Remove what a killed job left of a file that it hadn't finished."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


def write_sealed(path: str | Path, write: Callable[[Path], None]) -> None:
    """Write as `write_whole` does what `write` fills with one blank seal, and seal it."""

    def write_and_seal(temporary: Path) -> None:
        write(temporary)
        temporary.write_bytes(sealed(temporary.read_bytes()))

    write_whole(path, write_and_seal)


def text_writer(text: str) -> Callable[[Path], None]:
    """Return what writes a text, as `write_whole` and `write_sealed` take it."""

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write indented JSON."""
    write_whole(path, text_writer(json.dumps(content, indent=2, ensure_ascii=False) + "\n"))


def write_card(path: str | Path, content: Mapping[str, Any], origin: Origin) -> None:
    """Write indented JSON with its origin, the spec as JSON too, sealed."""
    told = {**content, **origin.columns(), "spec": json.loads(origin.spec), "seal": BLANK.decode()}
    write_sealed(path, text_writer(json.dumps(told, indent=2, ensure_ascii=False) + "\n"))


def checksum(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, types, shapes and values, independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], origin: Origin) -> None:
    """Write a safetensors file that holds its origin and its checksum."""
    from safetensors.numpy import save_file

    plain = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    # one entry: safetensors writes several in an order that differs from call to call
    told = canonical({**origin.columns(), "sha256": checksum(plain)})
    write_whole(path, lambda temporary: save_file(plain, temporary, {"origin": told}))


def read_tensors(path: str | Path) -> Weights:
    """Read a safetensors file and check its values against its checksum.

    Raises DamagedFile where it is cut, empty, foreign or has a changed byte.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = json.loads((file.metadata() or {}).get("origin", "{}")).get("sha256")
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        raise DamagedFile(path, error) from error
    if expected != checksum(tensors):
        raise DamagedFile(path, "its values don't match its checksum")
    return tensors


def write_columns(
    path: str | Path, columns: Mapping[str, Any], origin: Origin, descriptions: Mapping[str, str] | None = None
) -> None:
    """Write a Parquet file from named columns, with its origin as metadata, sealed.

    `descriptions` become metadata of their columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns))
    fields = [field.with_metadata({"description": (descriptions or {}).get(field.name, "")}) for field in table.schema]
    table = table.cast(pa.schema(fields, metadata={**origin.columns(), "seal": BLANK}))
    write_sealed(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_columns(path: str | Path) -> tuple[Any, Origin]:
    """Read a Parquet file: its pyarrow table and its origin. Raises DamagedFile."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = Path(path).read_bytes()
        check_seal(content)
        table = pq.ParquetFile(pa.BufferReader(content)).read()
        metadata = table.schema.metadata or {}
        return table, Origin.of({name.decode(): value.decode() for name, value in metadata.items()})
    except (Unreadable, pa.ArrowException, OSError) as error:
        raise DamagedFile(path, error) from error
