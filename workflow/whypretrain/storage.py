"""Files of results: written whole or not at all, each with the spec and the code that made it."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Weights = dict[str, np.ndarray]


class DamagedFile(Exception):
    """A file that can't be read; the message names it and the command that rebuilds it."""

    def __init__(self, path: str | Path, reason: object) -> None:
        super().__init__(
            f"{path} is damaged ({reason}). Rebuild it: snakemake --cores 1 --force {path} "
            "(with the --configfile that you use, if any); then snakemake --cores all goes on."
        )


def canonical(spec: Any) -> str:
    """Return the one JSON text of a spec: sorted keys, plain types, numbers as Python writes them."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def write_whole(path: str | Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path` and move it into place once it is on the disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
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
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write indented JSON."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_whole(path, write)


def checksum(tensors: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, types, shapes and values, independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def write_tensors(path: str | Path, tensors: Mapping[str, np.ndarray], spec: str, code: str) -> None:
    """Write a safetensors file that holds its spec, its code and its checksum."""
    from safetensors.numpy import save_file

    plain = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    # one entry: safetensors writes several in an order that differs from call to call
    origin = canonical({"spec": spec, "code": code, "sha256": checksum(plain)})
    write_whole(path, lambda temporary: save_file(plain, temporary, {"origin": origin}))


def _origin(metadata: Mapping[str, str] | None) -> dict[str, str]:
    return json.loads((metadata or {}).get("origin", "{}"))


def read_tensors(path: str | Path) -> Weights:
    """Read a safetensors file and check its values against its checksum.

    Raises DamagedFile where it is cut, empty, foreign or has a changed byte.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = _origin(file.metadata()).get("sha256")
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFile(path, error) from error
    if expected != checksum(tensors):
        raise DamagedFile(path, "its values don't match its checksum")
    return tensors


def write_columns(
    path: str | Path,
    columns: Mapping[str, Any],
    spec: str,
    code: str,
    descriptions: Mapping[str, str] | None = None,
) -> None:
    """Write a Parquet file from named columns, with its spec and code as metadata.

    `descriptions` become metadata of their columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns))
    fields = [field.with_metadata({"description": (descriptions or {}).get(field.name, "")}) for field in table.schema]
    table = table.cast(pa.schema(fields, metadata={"spec": spec, "code": code}))

    def write(temporary: Path) -> None:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)

    write_whole(path, write)


def read_columns(path: str | Path) -> tuple[Any, str, str]:
    """Read a Parquet file: its pyarrow table, its spec and its code. Raises DamagedFile."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (pa.ArrowException, OSError) as error:
        raise DamagedFile(path, error) from error
    metadata = table.schema.metadata or {}
    return table, metadata.get(b"spec", b"").decode(), metadata.get(b"code", b"").decode()
