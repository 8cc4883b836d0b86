"""The commit that a result names, in real repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cfia.provenance import commit
from tests.support.data_files import ROOT

FILES = ("cfia/provenance.py", "conf/systems/a.yaml", "egs/emodb/run.sh", "README.md")


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", root, *who, *arguments], check=True, capture_output=True)


def write(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("it's R&D") / "project"
    for name in FILES:
        write(root, name)
    (root / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    git(root.parent, "init", "-q", str(root))
    git(root, "add", ".")
    git(root, "commit", "-qm", "a")
    return root


def dirty_with(root: Path, name: str) -> bool:
    path = write(root, name)
    dirty = commit(root).endswith("+dirty")
    path.unlink()
    return dirty


def test_what_decides_a_result_is_dirty_until_it_is_tracked(repository: Path) -> None:
    assert len(commit(repository)) == 12
    for name in ("egs/mine/run.sh", "egs/mine/conf/train.yaml", "egs/mine/local/prepare_mine.py",
                 "egs/emodb/conf/labels/6.yaml", "conf/systems/mine.yaml", "cfia/model/mine.py",
                 "utils/queue.pl"):  # fmt: skip
        assert dirty_with(repository, name), name


def test_what_stages_make_and_notes_are_not(repository: Path) -> None:
    for name in ("egs/emodb/exp/RESULTS.md", "egs/emodb/data/all/text", "egs/mine/dump/f/feats.scp",
                 "egs/emodb/downloads/a.wav", "egs/emodb/exp2/RESULTS.md", "notes.txt",
                 "cfia/__pycache__/a.pyc", ".venv/x.py"):  # fmt: skip
        assert not dirty_with(repository, name), name
    link = repository / "egs" / "iemocap" / "data"  # to a disk with space
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(repository.parent)
    assert len(commit(repository)) == 12


def test_a_modified_file_is(repository: Path) -> None:
    (repository / "README.md").write_text("y")
    assert commit(repository).endswith("+dirty")
    git(repository, "checkout", "README.md")


def test_the_repository_of_something_else_says_nothing(repository: Path) -> None:
    """An unpacked archive of the project within somebody's repository, where it is not tracked."""
    inside = repository / "egs" / "emodb" / "downloads" / "cfia"
    for name in FILES:
        write(inside, name)
    assert commit(inside) == "unknown"
    assert commit(repository.parent) == "unknown"
