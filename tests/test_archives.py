"""Archives of images: whatever is in them, nothing is written but plain files below one folder, and that whole."""

import io
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import Project, fresh
from PIL import Image

from whypretrain.data import archives
from whypretrain.data.problems import UnusableFiles

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}


def picture(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), level).save(file, "PNG")
    return file.getvalue()


FILES = {
    f"{label}/{number}.png": picture(10 * number + len(label)) for label in ("cat", "horse") for number in range(6)
}


def packed(path: Path, files: dict[str, bytes], *members: tarfile.TarInfo) -> Path:
    """Write an archive with some files, and, where it is a tar, with some members that aren't files."""
    suffix = next(suffix for suffix in (".zip", *MODES) if path.name.endswith(suffix))
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name, content in files.items():
                zipped.writestr(name, content)
        return path
    with tarfile.open(path, MODES[suffix]) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in members:
            tar.addfile(info)
    return path


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def found(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name[0] != "."}


def refusal(archive: Path, tmp_path: Path) -> str:
    """Return why an archive isn't unpacked; nothing may be left of it, neither inside nor outside the folder."""
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / "results").mkdir(exist_ok=True)
    with pytest.raises(UnusableFiles) as caught:
        archives.unpacked(archive, tmp_path / "results" / "images")
    assert list((tmp_path / "results").iterdir()) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    message = str(caught.value)
    assert message.startswith(f"'{archive}'")
    assert "\n" not in message
    return message


# --- what is well --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".zip", *MODES, ".ZIP"])
@pytest.mark.parametrize("top", ["", "my pets/", "a/b/"])
def test_the_classes_are_found_in_every_kind_of_archive_below_one_folder_or_none(suffix: str, top: str, tmp_path: Path):
    files = {f"{top}{name}": content for name, content in FILES.items()}
    litter = {"__MACOSX/._a": b"", ".DS_Store": b""}
    archive = packed(tmp_path / f"pets{suffix.lower()}", files | litter).rename(tmp_path / f"pets{suffix}")
    assert archives.is_archive(archive)
    assert found(archives.unpacked(archive, tmp_path / "images")) == FILES


def test_a_folder_that_isnt_one_of_folders_is_no_top(tmp_path: Path):
    one = {name: content for name, content in FILES.items() if name.startswith("cat")}
    assert archives.unpacked(packed(tmp_path / "a.zip", one), tmp_path / "a") == tmp_path / "a"
    both = FILES | {"notes.txt": b"two"}
    assert archives.unpacked(packed(tmp_path / "b.zip", both), tmp_path / "b") == tmp_path / "b"


def test_it_is_unpacked_again_only_where_the_archive_has_changed(tmp_path: Path):
    archive = packed(tmp_path / "pets.tar.gz", FILES)
    folder = archives.unpacked(archive, tmp_path / "images")
    (folder / "cat" / "0.png").write_bytes(b"mine")
    os.utime(archive)
    archives.unpacked(archive, tmp_path / "images")
    assert (folder / "cat" / "0.png").read_bytes() == b"mine", "touched, not changed"
    less = {name: content for name, content in FILES.items() if name != "cat/5.png"}
    archives.unpacked(packed(archive, less), tmp_path / "images")
    assert found(folder) == less
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "pets.tar.gz"]


def test_a_new_archive_that_is_refused_leaves_what_the_one_before_gave(tmp_path: Path):
    archive = packed(tmp_path / "pets.tar", FILES)
    archives.unpacked(archive, tmp_path / "images")
    packed(archive, FILES | {"../up.png": b""})
    with pytest.raises(UnusableFiles):
        archives.unpacked(archive, tmp_path / "images")
    assert found(tmp_path / "images") == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "pets.tar"]


def test_links_within_become_copies_and_no_mode_or_owner_is_taken(tmp_path: Path):
    hard, soft = (
        member("cat/6.png", tarfile.LNKTYPE, "cat/1.png"),
        member("cat/7.png", tarfile.SYMTYPE, "../horse/2.png"),
    )
    script = member("cat/run.sh", tarfile.REGTYPE)
    script.mode = 0o6777
    folder = archives.unpacked(packed(tmp_path / "pets.tar.gz", FILES, hard, soft, script), tmp_path / "images")
    assert found(folder) == FILES | {
        "cat/6.png": FILES["cat/1.png"],
        "cat/7.png": FILES["horse/2.png"],
        "cat/run.sh": b"",
    }
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        if path.is_file():
            assert path.stat().st_nlink == 1
            assert not stat.S_IMODE(path.stat().st_mode) & 0o6111


# --- what leads out, or is no file ---------------------------------------------------------

OUT = [
    "../up.png",
    "cat/../../up.png",
    "/tmp/up.png",
    "//tmp/up.png",
    "..",
    "cat/..",
    "C:/up.png",
    "c:up.png",
    "\\up.png",
]
OUT += ["..\\up.png", "cat\\..\\..\\up.png", "C:\\up.png"]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
@pytest.mark.parametrize("name", OUT)
def test_a_member_that_leads_out_is_named_and_nothing_is_unpacked(name: str, suffix: str, tmp_path: Path):
    message = refusal(packed(tmp_path / f"pets{suffix}", {**FILES, name: b"out"}), tmp_path)
    assert repr(name.replace("\\", "/") if suffix == ".zip" else name) in message
    assert "leads upwards" in message or "is an absolute path" in message
    assert "Nothing was unpacked" in message


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["soft", "hard"])
@pytest.mark.parametrize(
    "target", ["../../secret", "/etc/passwd", "../secret", "nowhere", "cat/x.png", "x.png", ".", "cat"]
)
def test_a_link_to_anything_but_a_file_of_the_archive_is_named(kind: bytes, target: str, tmp_path: Path):
    (tmp_path / "secret").write_text("secret")
    message = refusal(packed(tmp_path / "pets.tar", FILES, member("cat/x.png", kind, target)), tmp_path)
    assert "'cat/x.png' is a link to what is no file of the archive" in message


def test_a_link_to_a_folder_is_never_written_through(tmp_path: Path):
    (tmp_path / "outside").mkdir()
    for target in (str(tmp_path / "outside"), "../../outside"):
        with tarfile.open(tmp_path / "pets.tar", "w") as tar:
            tar.addfile(member("cat", tarfile.SYMTYPE, target))
            info = member("cat/0.png", tarfile.REGTYPE)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"out"))
        assert "'cat' is a link" in refusal(tmp_path / "pets.tar", tmp_path)
        assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE], ids=["pipe", "character", "block"]
)
def test_devices_and_pipes_are_named(kind: bytes, tmp_path: Path):
    message = refusal(packed(tmp_path / "pets.tgz", FILES, member("cat/x.png", kind)), tmp_path)
    assert "'cat/x.png' is a device or a pipe" in message


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_named(kind: int, tmp_path: Path):
    archive = packed(tmp_path / "pets.zip", FILES)
    with zipfile.ZipFile(archive, "a") as zipped:
        info = zipfile.ZipInfo("cat/x.png")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        zipped.writestr(info, "/etc/passwd")
    assert "'cat/x.png' is a link or a device" in refusal(archive, tmp_path)


def test_a_name_that_moves_the_terminal_is_told_in_plain_letters(tmp_path: Path):
    message = refusal(packed(tmp_path / "pets.tar", {"../\x1b[2Jä\n.png": b""}), tmp_path)
    assert message.isprintable()


# --- too large, or damaged -----------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.xz", ".tar.bz2"])
def test_more_bytes_than_the_limit_are_counted_as_they_come(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(archives, "MOST_BYTES", 10_000_000)
    bomb = packed(tmp_path / f"pets{suffix}", FILES | {"cat/bomb.png": bytes(10_000_000)})
    assert "holds more than 10,000,000 bytes" in refusal(bomb, tmp_path)
    if suffix != ".tar":
        assert bomb.stat().st_size < 100_000


def test_a_zip_that_lies_about_its_size_is_damaged(tmp_path: Path):
    archive = packed(tmp_path / "pets.zip", {"cat/bomb.png": bytes(1_000_000)})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert "is damaged" in refusal(archive, tmp_path)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_more_files_than_the_limit(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "MOST_FILES", len(FILES) - 1)
    message = refusal(packed(tmp_path / f"pets{suffix}", FILES), tmp_path)
    assert f"holds more than {len(FILES) - 1} files" in message
    assert "unpack it yourself and give the folder" in message


@pytest.mark.parametrize("suffix", [".zip", *MODES])
@pytest.mark.parametrize("share", [0, 0.1, 0.5])
def test_a_cut_archive_is_told(suffix: str, share: float, tmp_path: Path):
    archive = packed(tmp_path / f"pets{suffix}", FILES)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    assert "is damaged, or no archive of its suffix" in refusal(archive, tmp_path)


@pytest.mark.parametrize("suffix", [".zip", *MODES])
def test_an_archive_cut_near_its_end_is_told_or_has_all_its_files(suffix: str, tmp_path: Path):
    archive = packed(tmp_path / f"pets{suffix}", FILES)
    content = archive.read_bytes()
    for share in (0.6, 0.7, 0.8, 0.9, 0.99):  # a tar ends in zeros, which may be cut
        archive.write_bytes(content[: int(len(content) * share)])
        folder = tmp_path / f"images-{share}"
        try:
            archives.unpacked(archive, folder)
        except UnusableFiles:
            assert not folder.exists()
        else:
            assert found(folder) == FILES


def test_a_tar_cut_between_two_files_is_told_as_well(tmp_path: Path):
    archive = packed(tmp_path / "pets.tar", FILES)
    archive.write_bytes(archive.read_bytes()[: 4 * tarfile.BLOCKSIZE])  # two members of one block each
    assert "cut short" in refusal(archive, tmp_path)


@pytest.mark.parametrize("suffix", [".zip", *MODES])
def test_a_flipped_byte_is_told_or_does_no_harm(suffix: str, tmp_path: Path):
    for place in range(0, 2000, 97):
        archive = packed(tmp_path / f"pets{suffix}", FILES)
        content = bytearray(archive.read_bytes())
        if place >= len(content):
            break
        content[place] ^= 0x40
        archive.write_bytes(content)
        folder = tmp_path / f"images-{place}"
        try:
            archives.unpacked(archive, folder)
        except UnusableFiles:
            assert not folder.exists()
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} <= {"images", f"pets{suffix}"}


def test_what_is_encrypted_not_there_or_no_archive(tmp_path: Path):
    archive = packed(tmp_path / "pets.zip", FILES)
    content = bytearray(archive.read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):  # the flag of encryption, in both headers of each file
        start = -1
        while (start := content.find(mark, start + 1)) >= 0:
            content[start + place] |= 1
    archive.write_bytes(content)
    assert "password required" in refusal(archive, tmp_path)
    (tmp_path / "text.zip").write_text("no archive")
    assert "no archive of its suffix" in refusal(tmp_path / "text.zip", tmp_path)
    (tmp_path / "text.tar.gz").write_text("no archive")
    assert "no archive of its suffix" in refusal(tmp_path / "text.tar.gz", tmp_path)
    assert "No such file" in refusal(tmp_path / "nowhere.zip", tmp_path)
    assert "File exists" in refusal(packed(tmp_path / "two.tar", {"cat": b"", "cat/0.png": b""}), tmp_path)
    assert "File name too long" in refusal(packed(tmp_path / "long.tar", {f"cat/{'x' * 300}.png": b""}), tmp_path)


# --- make advise ---------------------------------------------------------------------------


def advise(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    # a stand-in for snakemake, found first in the folder called from: what is shown here is what precedes the call
    stand_in = project.path / "snakemake.py"
    stand_in.write_text("raise SystemExit(3)\n")
    command = [sys.executable, "workflow/advise.py", "--config", "tests/config/advise.yaml", *arguments]
    try:
        return subprocess.run(command, cwd=project.path, env=project.environment(), capture_output=True, text=True)
    finally:
        stand_in.unlink()


def test_advise_looks_at_what_it_unpacks_into_its_own_results(tmp_path: Path):
    project = fresh(tmp_path / "project")
    archive = packed(tmp_path / "My Pets.zip", {f"pets/{name}": content for name, content in FILES.items()})
    done = advise(project, str(archive))
    assert done.returncode == 3, done.stderr
    assert "12 images of 2 classes" in done.stdout
    (results,) = (project.path / "results/advise").iterdir()
    assert results.name.startswith("my-pets-zip-")
    assert found(results / "images/pets") == FILES
    command = [sys.executable, "-m", "snakemake", "--configfile", str(results / "config.yaml"), "--cores", "1"]
    dataset = f"results/advise/{results.name}/datasets/yours.safetensors"
    text = subprocess.run(
        [*command, "--", dataset], cwd=project.path, env=project.environment(), capture_output=True, text=True
    )
    assert text.returncode == 0, text.stdout + text.stderr
    assert (project.path / dataset).exists()


def test_advise_says_in_one_line_what_is_wrong_with_an_archive(tmp_path: Path):
    project = fresh(tmp_path / "project")
    archive = packed(tmp_path / "pets.tar.gz", FILES | {"../../../../up.png": b"out"})
    done = advise(project, str(archive))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"Can't use these images: '{archive}': '../../../../up.png' leads upwards")
    assert not list(tmp_path.rglob("up.png"))
    assert not list((project.path / "results").rglob("*.png"))


def test_what_is_an_archive_is_told_by_its_suffix(tmp_path: Path):
    for name in ("a.zip", "a.tar", "a.tar.gz", "a.TGZ", "a.tar.xz", "a.txz", "a.tar.bz2", "a.tbz2"):
        assert archives.is_archive(tmp_path / name)
    for name in ("a", "a.gz", "zip", "a.rar", "a.zip.png"):
        assert not archives.is_archive(tmp_path / name)
    (tmp_path / "folder.zip").mkdir()
    assert not archives.is_archive(tmp_path / "folder.zip")
