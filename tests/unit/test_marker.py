"""Markers and whole-or-nothing files."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfia import marker
from cfia.errors import UserError
from cfia.files import atomic_directory, atomic_write, stat_digest, write_json
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


def test_a_directory_that_lost_a_file_is_not_finished(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    (directory / "log").mkdir(parents=True)
    for name in ("feats.scp", "log/dump.1.log"):
        (directory / name).write_text("x")
    marker.finish(directory, OPTIONS, INPUTS)
    before = marker.output_digest(directory, "stage 3")
    (directory / "log" / "dump.1.log").unlink()
    assert marker.check(directory, OPTIONS, INPUTS) is State.DONE
    (directory / "feats.scp").unlink()
    with pytest.raises(UserError, match=r"its file feats\.scp is gone.*--force true"):
        marker.check(directory, OPTIONS, INPUTS)
    with pytest.raises(UserError, match=r"feats\.scp is gone; run stage 3 with --force true"):
        marker.output_digest(directory, "stage 3")
    assert marker.check(directory, OPTIONS, INPUTS, force=True) is State.FRESH
    directory.mkdir()
    (directory / "raw.2.ark").write_text("x")  # another number of jobs, the same features
    marker.finish(directory, OPTIONS, INPUTS)
    assert marker.output_digest(directory, "stage 3") == before


def test_force_removes_what_differs_and_nothing_else(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "old").write_text("x")
    marker.finish(directory, OPTIONS, INPUTS)
    assert marker.check(directory, OPTIONS, INPUTS, force=True) is State.DONE
    assert (directory / "old").exists()
    assert marker.check(directory, {}, INPUTS, force=True) is State.FRESH
    assert not directory.exists()


def test_a_marker_of_another_name_stands_for_one_file(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_text("x")
    marker.finish(tmp_path, OPTIONS, INPUTS, name=".posteriors.json")
    with pytest.raises(UserError, match="posteriors was made differently"):
        marker.check(tmp_path, {}, INPUTS, name=".posteriors.json")
    assert marker.check(tmp_path, {}, INPUTS, force=True, name=".posteriors.json") is State.FRESH
    assert (tmp_path / "checkpoint.pt").exists()


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
    assert [path.name for path in (tmp_path / "dir").iterdir()] == ["two"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir", "ä file"]


def test_json_that_is_damaged_is_named(tmp_path: Path) -> None:
    (tmp_path / marker.NAME).write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        marker.check(tmp_path, OPTIONS, INPUTS)
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "nan.json", float("nan"))


def test_audio_is_told_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"1234")
    before = stat_digest([path], tmp_path)
    assert stat_digest([path], tmp_path) == before
    path.write_bytes(b"12345")
    assert stat_digest([path], tmp_path) != before
