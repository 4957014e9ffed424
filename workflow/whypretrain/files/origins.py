"""What a result says of itself: what it was made from, so that nobody need remember it.

Every result carries its origin: the spec and the code of its job, and a digest of what its inputs hold. Files
that aren't safetensors or PNG, which have checksums of their own, are sealed: a digest of all their bytes, their
seal blank, stands in them.
"""

import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BLANK = b"seal" + b"0" * 64
END_OF_PNG = b"\x00\x00\x00\x00IEND\xaeB`\x82"
FINAL = "final.safetensors"
SEAL = re.compile(rb"seal([0-9a-f]{64})")


def canonical(spec: Any) -> str:
    """Return the one JSON text of a spec: sorted keys, plain types, numbers as Python writes them."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Unreadable(ValueError):
    """Why a file can't be what its name says."""


@dataclass(frozen=True)
class Origin:
    """The spec and code of the job that made a result, and the digest of its inputs (see `digest_of`)."""

    spec: str
    code: str
    inputs: str

    def columns(self) -> dict[str, str]:
        """Return the origin as text by name."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Origin":
        """Return the origin that stands among other entries. Raises Unreadable where it doesn't."""
        try:
            return cls(*(content[name] for name in cls.__dataclass_fields__))
        except KeyError as missing:
            raise Unreadable(f"it doesn't say of itself what it was made from: no {missing}") from None


def sealed(content: bytes) -> bytes:
    """Return a content with its blank seal filled in. Raises ValueError unless it has one blank seal."""
    if content.count(BLANK) != 1:
        raise ValueError(f"{content.count(BLANK)} blank seals; one is needed")
    return content.replace(BLANK, b"seal" + hashlib.sha256(content).hexdigest().encode())


def check_seal(content: bytes) -> None:
    """Raise Unreadable where a content isn't what was sealed."""
    found = list(SEAL.finditer(content))
    if len(found) != 1:
        raise Unreadable("empty" if not content else "it has no seal: cut short, or not made by this pipeline")
    start, end = found[0].span()
    blank = content[:start] + BLANK + content[end:]
    if hashlib.sha256(blank).hexdigest().encode() != found[0][1]:
        raise Unreadable("its bytes don't match its seal")


def lasting(paths: Iterable[str]) -> list[str]:
    """Return the files that an origin tells of: not final weights, which go where config says so.

    The scores that are made with them stand for them.
    """
    return [path for path in paths if Path(path).name != FINAL]


def digest_of(contents: Iterable[str]) -> str:
    """Return the digest of several inputs from the digests of what each holds, in their order."""
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()[:32]


def _of_tensors(path: Path) -> dict[str, Any]:
    """Return what stands in a safetensors file's header, without reading its tensors."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= path.stat().st_size - 8:
            raise Unreadable("empty" if not path.stat().st_size else "cut short")
        header = json.loads(file.read(length))
    return _object(json.loads(_object(_object(header).get("__metadata__", {})).get("origin", "{}")))


def content_digest(path: str | Path) -> str:
    """Return a digest of what a file holds: of safetensors the checksum of their values, else of all bytes.

    Raises Unreadable, or OSError where there is none.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    try:
        return str(_of_tensors(path)["sha256"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise Unreadable(str(error)) from None


def read_origin(path: str | Path) -> Origin:
    """Return what a result says of itself, its seal checked. Raises Unreadable, or OSError where there is none."""
    path = Path(path)
    try:
        if path.suffix in (".safetensors", ".png"):
            return Origin.of(_of_png(path) if path.suffix == ".png" else _of_tensors(path))
        content = path.read_bytes()
        check_seal(content)
        return {".parquet": _of_parquet, ".json": _of_json, ".svg": _of_svg}.get(path.suffix, _of_page)(content)
    except Unreadable:
        raise
    except (ValueError, AttributeError, SyntaxError, TypeError) as error:
        raise Unreadable(str(error)) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise Unreadable(str(error)) from None  # Pillow's own, of a damaged image


def _of_parquet(content: bytes) -> Origin:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = pq.read_metadata(pa.BufferReader(content)).metadata
    return Origin.of({name.decode(): value.decode() for name, value in found.items() if name != b"ARROW:schema"})


def _of_json(content: bytes) -> Origin:
    found = json.loads(content)
    return Origin.of({**found, "spec": canonical(found.get("spec"))})


def _of_png(path: Path) -> dict[str, Any]:
    from PIL import Image

    if not path.read_bytes().endswith(END_OF_PNG):
        raise Unreadable("cut short")
    with Image.open(path) as image:
        image.verify()  # the checksums of all its parts, which `load` doesn't look at
    with Image.open(path) as image:
        image.load()
        return _object(json.loads(image.info.get("Description", "{}")))


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Unreadable("what it says of itself is no JSON object")
    return found


def _of_svg(content: bytes) -> Origin:
    found = re.search(rb"<dc:description>(.*?)</dc:description>", content, re.DOTALL)
    return Origin.of(json.loads(html.unescape(found[1].decode())) if found else {})


def _of_page(content: bytes) -> Origin:
    """Return the origin of a page, which stands in the comments on its top."""
    found = dict(re.findall(r"^\.\. (\w+): (.*)$", content.decode(), re.MULTILINE))
    return Origin.of(found | ({"spec": canonical(json.loads(found["spec"]))} if "spec" in found else {}))
