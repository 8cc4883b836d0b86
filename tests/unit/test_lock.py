"""Locks on directories: who waits, who is refused, and that no dead process holds anything."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import multiprocessing
import os
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cfia import directories, lock, marker
from cfia.errors import UserError
from tests.support.lock_holder import holder, release


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A finished directory."""
    directory = tmp_path / "dump" / "fbank"
    directory.mkdir(parents=True)
    (directory / "feats.scp").write_text("some text\n")
    marker.finish(directory, {}, {})
    return directory


def after(seconds: float, work: Callable[[], None]) -> None:
    threading.Timer(seconds, work).start()


@pytest.mark.parametrize("hold", [lock.making, lock.alone, directories.reading])
def test_who_comes_second_waits_and_says_for_whom(
    hold: Callable[[Path], contextlib.AbstractContextManager[None]],
    made: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(lock, "PATIENCE", 0.0)
    with holder("making", made) as process:
        after(0.4, lambda: release(process))
        with hold(made):
            assert process.wait() == 0
    (said,) = caplog.messages
    who = f"{made} is being made by -c, process {process.pid} on {socket.gethostname()}"
    assert said.startswith(f"{who} since 20")
    assert said.endswith("; waiting for its end")
    assert [path.name for path in made.parent.iterdir()] == ["fbank"], "no file of a lock is left"


@pytest.mark.parametrize("kind", ["making", "reading"])
def test_a_killed_process_holds_nobody(kind: str, made: Path) -> None:
    with holder(kind, made) as process:
        process.kill()
        process.wait()
    assert lock.file_of(made).exists(), "what a reboot would leave, too"
    began = time.monotonic()
    with lock.alone(made, wait=False):
        assert time.monotonic() - began < lock.PATIENCE
    assert not lock.file_of(made).exists()


def replace(directory: Path) -> None:
    with directories.atomic_directory(directory) as new:
        marker.finish(new, {}, {})


def rewrite(directory: Path) -> None:
    marker.rewrite(directory, {"feats.scp": "others\n"})


def begin(directory: Path) -> None:
    marker.start(directory, {}, {})


def force(directory: Path) -> None:
    with lock.making(directory, force=True):
        pass


def find_made_differently(directory: Path) -> None:
    with lock.making(directory):
        directories.remove(directory)


@pytest.mark.parametrize(
    "work", [replace, directories.remove, rewrite, begin, force, find_made_differently]
)
def test_what_others_read_is_not_changed(work: Callable[[Path], None], made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    with holder("reading", made) as process:
        with lock.making(made), directories.reading(made):
            pass  # who finds it made, or reads it, goes on beside the reader
        who = rf"fbank is in use by -c, process {process.pid} on .*; wait for its end, or"
        with pytest.raises(UserError, match=who):
            work(made)
        assert {path.name: path.read_bytes() for path in made.iterdir()} == before
        release(process)
        process.wait()
    work(made)
    assert not lock.file_of(made).exists()


def test_who_forces_or_removes_does_not_wait(made: Path) -> None:
    with holder("making", made) as process:
        for work in (force, directories.remove):
            with pytest.raises(UserError, match=f"is being made by .* process {process.pid} on"):
                work(made)
    assert (made / "feats.scp").exists()


def test_a_link_has_the_lock_of_its_target(made: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made)
    with (
        holder("making", tmp_path / "link"),
        pytest.raises(UserError, match="fbank is being made by"),
    ):
        force(made)


def test_what_is_not_ours_is_read_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text").touch()
    with directories.reading(tmp_path / "data", tmp_path / "none"):
        assert [path.name for path in tmp_path.iterdir()] == ["data"]
    with lock.beside_readers(Path("/proc/self")), lock.making(Path("/proc/self")):
        pass  # where not even root can make a file


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    for name in ("a", "b"):
        with lock.making(tmp_path / name), lock.alone(tmp_path / name):
            (tmp_path / name).mkdir()
    (said,) = caplog.messages
    assert said.startswith(f"files in {tmp_path} cannot be locked (No locks available); let no two")


def work_at_random(root: Path, seed: int, errors: Path) -> None:
    """Make, read and remove two directories, whose two files must always be the same."""
    rng = random.Random(seed)
    for _ in range(40):
        directory = root / rng.choice("ab")
        try:
            kind = rng.choice(["make", "read", "read", "remove"])
            if kind == "make":
                with lock.making(directory), directories.atomic_directory(directory) as new:
                    for name in "xy":
                        (new / name).write_text(f"{seed}")
                        time.sleep(rng.random() / 1000)
                    marker.finish(new, {}, {})
            elif kind == "read":
                with lock.beside_readers(directory):
                    if (directory / marker.NAME).exists():
                        first = (directory / "x").read_text()
                        time.sleep(rng.random() / 1000)
                        assert (directory / "y").read_text() == first
            elif directory.exists():
                with lock.alone(directory):
                    if directory.exists():
                        directories.remove(directory)
        except UserError as error:
            assert "is in use by" in str(error)  # noqa: PT017 - no other sentence is right
        except Exception as error:
            errors.write_text(f"{kind}: {error!r}")
            raise


def test_nobody_sees_the_half_of_anothers_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.05)
    monkeypatch.setattr(lock, "_POLL", 0.002)
    root, errors = tmp_path / "root", tmp_path / "errors"
    root.mkdir()
    processes = multiprocessing.get_context("fork")
    started = [
        processes.Process(target=work_at_random, args=(root, seed, errors)) for seed in range(4)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert not errors.exists(), errors.read_text()
    assert [process.exitcode for process in started] == [0] * 4
    shutil.rmtree(root / "a", ignore_errors=True)
    shutil.rmtree(root / "b", ignore_errors=True)
    assert list(root.iterdir()) == [], "neither locks nor temporary directories are left"
