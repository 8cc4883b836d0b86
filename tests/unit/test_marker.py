"""Markers and whole-or-nothing files."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfia import directories, marker
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.files import atomic_write, digest, digest_each, stat_digest, write_json
from cfia.marker import State

OPTIONS = {"labels": "4", "skip_bad": False}
INPUTS = {"wav.scp": "aa"}


def test_states(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    assert marker.check(directory, OPTIONS, INPUTS) is State.FRESH
    marker.start(directory, OPTIONS, INPUTS)
    assert marker.check(directory, OPTIONS, INPUTS) is State.RESUME
    with pytest.raises(UserError, match="not finished; run stage 3 first"):
        marker.output_digest(directory, "stage 3")
    marker.finish(directory, OPTIONS, INPUTS)
    assert marker.check(directory, OPTIONS, INPUTS) is State.DONE
    assert marker.output_digest(directory, "stage 3")


def test_a_difference_stops_and_names_the_ways_out(tmp_path: Path) -> None:
    marker.finish(tmp_path, OPTIONS, INPUTS)
    with pytest.raises(UserError) as error:
        marker.check(tmp_path, {**OPTIONS, "labels": "6"}, INPUTS, suggest_tag=True)
    for part in (str(tmp_path), "--labels was 4, now 6", "--force true", "--tag"):
        assert part in str(error.value)
    with pytest.raises(UserError, match=r"its input wav\.scp has changed"):
        marker.check(tmp_path, OPTIONS, {"wav.scp": "bb"})
    with pytest.raises(UserError, match="--extra was not set, now 1") as error:
        marker.check(tmp_path, {**OPTIONS, "extra": 1}, INPUTS)
    assert "--tag" not in str(error.value)


def finished(directory: Path) -> Path:
    """A finished dump: an archive, a table, a log."""
    (directory / "log").mkdir(parents=True)
    for name in ("feats.scp", "raw.1.ark", "log/dump.1.log"):
        (directory / name).write_text("some text\n")
    marker.finish(directory, OPTIONS, INPUTS)
    return directory


@pytest.mark.parametrize("name", ["feats.scp", "raw.1.ark"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "{} is gone"),
        (lambda path: path.write_text("some"), "{} has 4 bytes where 10 were written"),
        (lambda path: path.write_text("some test\n"), "{} was changed after it was made"),
    ],
)
def test_a_file_that_was_changed_is_named(
    tmp_path: Path, name: str, change: Callable[[Path], Any], message: str
) -> None:
    directory = finished(tmp_path / "d")
    (directory / "log" / "dump.1.log").unlink()  # a log is nobody's input
    assert marker.check(directory, OPTIONS, INPUTS, archives=True) is State.DONE
    change(directory / name)
    message = message.format(name)
    with pytest.raises(UserError, match=f"{message}.*--force true makes it and what follows"):
        marker.check(directory, OPTIONS, INPUTS, archives=True)
    with pytest.raises(UserError, match=f"{message}; run stage 3 with --force true"):
        marker.output_digest(directory, "stage 3", archives=True)
    assert marker.check(directory, OPTIONS, INPUTS, force=True) is State.FRESH
    if "after" in message and name == "raw.1.ark":  # once a stage is enough for gigabytes
        assert marker.output_digest(directory, "stage 3")


def test_the_output_is_the_same_whatever_the_number_of_archives(tmp_path: Path) -> None:
    directory = finished(tmp_path / "d")
    before = marker.output_digest(directory, "stage 3")
    (directory / "raw.2.ark").write_text("x")
    marker.finish(directory, OPTIONS, INPUTS)
    assert marker.output_digest(directory, "stage 3") == before


@pytest.mark.parametrize("position", range(0, 600, 7))
def test_a_marker_that_was_changed_is_no_marker(tmp_path: Path, position: int) -> None:
    path = finished(tmp_path / "d") / marker.NAME
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"\.done\.json was cut or edited"):
        marker.check(path.parent, OPTIONS, INPUTS)
    os.truncate(path, position % len(data))
    with pytest.raises(UserError, match=r"\.done\.json was cut or edited"):
        marker.verify(path.parent, "stage 3")


def test_force_asks_for_all_again_and_removes_nothing(tmp_path: Path) -> None:
    directory = finished(tmp_path / "d")
    for options in (OPTIONS, {}):
        assert marker.check(directory, options, INPUTS, force=True) is State.FRESH
    assert (directory / "feats.scp").exists()


def test_files_of_unknown_origin_are_not_gone_on_with(tmp_path: Path) -> None:
    directory = finished(tmp_path / "d")
    (directory / marker.NAME).unlink()
    for force in (False, True):
        with pytest.raises(UserError, match=r"holds feats\.scp but no marker"):
            marker.check(directory, OPTIONS, INPUTS, force=force)
    for name in ("feats.scp", "raw.1.ark"):
        (directory / name).unlink()  # a log alone is what a job that failed leaves
    assert marker.check(directory, OPTIONS, INPUTS) is State.FRESH


@pytest.mark.parametrize("survived", range(6))
def test_a_killed_rewrite_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    directory, count, rename = finished(tmp_path / "d"), 0, os.replace
    (directory / "frontend.yaml").write_text("dim: 1\n")
    marker.finish(directory, OPTIONS, INPUTS)

    def replace(source: str | Path, target: str | Path) -> None:
        nonlocal count
        count += 1
        if count > survived:
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(Path, "replace", lambda path, target: replace(path, target))
    with contextlib.suppress(KeyboardInterrupt):
        marker.rewrite(directory, {"frontend.yaml": "dim: 2\n", "feats.scp": "others\n"})
    monkeypatch.undo()
    assert marker.check(directory, OPTIONS, INPUTS) is State.DONE
    found = [(directory / name).read_text() for name in ("frontend.yaml", "feats.scp")]
    assert found in (["dim: 1\n", "some text\n"], ["dim: 2\n", "others\n"])
    assert not list(directory.glob(".*.next"))


def test_what_lies_near_a_directory_is_found_after_a_move(tmp_path: Path) -> None:
    old, new = tmp_path / "old place", tmp_path / "new" / "place"
    for path in (old / "recipe" / "data" / "all" / "utt2spk", old / "recipe" / "a.wav"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    elsewhere = tmp_path / "b.wav"
    marker.finish(old / "recipe/data/all", {}, {}, located=old / "recipe/data/all")
    new.parent.mkdir()
    old.rename(new)
    find = marker.finder(new / "recipe" / "data" / "all")
    assert find(str(old / "recipe" / "a.wav")) == str(new / "recipe" / "a.wav")
    for path in (old / "recipe" / "c.wav", elsewhere):  # one that is nowhere, one of other places
        assert find(str(path)) == str(path)


def test_only_what_a_program_made_is_removed(tmp_path: Path) -> None:
    ours, link, others = finished(tmp_path / "d"), tmp_path / "link", tmp_path / "others"
    others.mkdir()
    (others / "precious").touch()
    for remove in (directories.remove, lambda path: directories.atomic_directory(path).__enter__()):
        with pytest.raises(UserError, match="no program of cfia made it"):
            remove(others)
    (tmp_path / ".d.old.7").mkdir()  # of a killed process, and of somebody else
    shutil.copytree(others, tmp_path / ".d.old.user")
    link.symlink_to(ours)
    directories.remove(link)
    assert (list(ours.iterdir()), link.resolve()) == ([], ours)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".d.old.user", "d", "link", "others"]


def test_a_marker_of_another_name_stands_for_one_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_text("x")
    marker.finish(tmp_path, OPTIONS, INPUTS, name=".posteriors.json")
    with pytest.raises(UserError, match=r"checkpoint\.pt was made differently"):
        marker.check(tmp_path, {}, INPUTS, name=".posteriors.json")
    assert marker.check(tmp_path, {}, INPUTS, force=True, name=".posteriors.json") is State.FRESH


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "ä file"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as handle:
        handle.write("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with pytest.raises(RuntimeError), atomic_directory(tmp_path / "dir") as directory:
        (directory / "half").write_text("x")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["ä file"]
    (tmp_path / ".dir.tmp.killed").mkdir()  # what SIGKILL leaves
    for content in ("one", "two"):
        with atomic_directory(tmp_path / "dir") as directory:
            (directory / content).write_text(content)
            marker.finish(directory, {}, {})
    assert sorted(path.name for path in (tmp_path / "dir").iterdir()) == [marker.NAME, "two"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir", "ä file"]


def test_numbers_that_are_none_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "nan.json", float("nan"))


@given(st.lists(st.dictionaries(st.text(), st.lists(st.text())), max_size=4))
def test_a_list_is_digested_value_by_value_as_at_once(values: list[dict[str, list[str]]]) -> None:
    assert digest_each(iter(values)) == digest(values)


def test_audio_is_told_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"1234")
    before = stat_digest([path], tmp_path)
    assert stat_digest([path], tmp_path) == before
    path.write_bytes(b"12345")
    assert stat_digest([path], tmp_path) != before
