"""What a full disk leaves of files and directories: nothing, and a sentence on what was to be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cfia.cli import explain
from cfia.directories import MARKER, atomic_directory
from cfia.files import atomic_write, naming
from tests.support.disks import PAGE, Disk, mounted_disk

FULL = "No space left on device; free some space, and run it again"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    yield from mounted_disk(tmp_path / "disk", "64k")


def make_again(directory: Path) -> None:
    with atomic_directory(directory) as new:
        (new / "inside").mkdir()
        with naming(new / "inside" / "log"), open(new / "inside" / "log", "w") as handle:
            handle.write("words")
        (new / "table").write_text(PAGE * 2 * "a")


@pytest.mark.parametrize(("pages", "named"), [(1, "all/inside/log"), (2, "all"), (3, "all")])
def test_a_directory_stays_as_it_was(disk: Disk, pages: int, named: str) -> None:
    target = disk.path / "all"
    target.mkdir()
    (target / MARKER).write_text("old")
    with disk.full(pages), pytest.raises(OSError, match="No space left") as raised:
        make_again(target)
    assert explain(raised.value) == f"{disk.path}/{named}: {FULL}"
    assert [path.name for path in disk.path.rglob("*")] == ["all", MARKER]
    make_again(target)
    assert (target / "table").stat().st_size == PAGE * 2


def test_a_file_stays_as_it_was(disk: Disk) -> None:
    path = disk.path / "scores.json"
    path.write_text("old")
    full = pytest.raises(OSError, match="No space left")
    with disk.full(1), full as raised, atomic_write(path) as handle:
        handle.write(PAGE * 2 * "a")
    assert explain(raised.value) == f"{path}: {FULL}"
    assert (path.read_text(), [path.name for path in disk.path.iterdir()]) == ("old", [path.name])
