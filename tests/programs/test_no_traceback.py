"""An environment that is not as it should be: programs that are started say it in a sentence.

`tests/slow/test_wrong_kinds.py` has every program, and every file of the wrong kind.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from cfia.bin import score
from cfia.cli import explain, run
from cfia.files import write_json
from tests.support.data_files import ROOT
from tests.support.dump_data import noise, write_data
from tests.support.made_up_experiments import run_fold

FOREIGN = 'raise ImportError("\\nnumpy.core.multiarray failed to import\\nand more")\n'


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A posteriors.tsv."""
    return run_fold(tmp_path_factory.mktemp("scored")) / "fold1_seed1" / "posteriors.tsv"


def started(
    *arguments: object, limit: tuple[int, int] | None = None, stdout: IO[Any] | int = -1, **env: str
) -> subprocess.CompletedProcess[str]:
    """Start a program as the stages do, where a resource may be limited."""
    # -B: under a limit of file sizes Python itself leaves a cut .pyc, for all tests that follow.
    command = [sys.executable, "-B", "-m", *map(str, arguments)]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=os.environ | env,
        preexec_fn=limit and (lambda: resource.setrlimit(limit[0], (limit[1], limit[1]))),
    )  # fmt: skip


def check_said(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    for word in ("error: ", *words):
        assert word in line


@pytest.mark.parametrize("program", ["score none.tsv", "train exp/none --fold 1 --seed 1"])
def test_packages_of_another_python(tmp_path: Path, program: str) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(FOREIGN)
    name, *arguments = program.split()
    done = started(f"cfia.bin.{name}", *arguments, PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}")
    check_said(done, f"{tmp_path}/numpy/__init__.py is on PYTHONPATH", "multiarray", "unset PYTH")


def test_a_full_disk_behind_stdout() -> None:
    with open("/dev/full", "w") as full:
        done = started("cfia", "--help", stdout=full)
    check_said(done, "No space left on device; free some space, and run it again")


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """Nothing half-written is left, which a later run would trust."""
    data = write_data(tmp_path / "data", {f"s-{i:02d}": noise(0.1) for i in range(9)})
    limit = (resource.RLIMIT_FSIZE, 50)
    done = started("cfia.bin.copy_data_dir", data, tmp_path / "copy", limit=limit)
    check_said(done, "File too large; raise the limit on the size of files (ulimit -f)")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_limit_on_memory(scored: Path) -> None:
    done = started("cfia.bin.score", scored, limit=(resource.RLIMIT_AS, 100 << 20))
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")


def test_a_notebooks_backend_changes_no_figure() -> None:
    draw = "from cfia.figures.style import *\nwith style(): print(finish(new_figure(1, 1)).png[:4])"
    command = [sys.executable, "-c", draw]
    env = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout) == (0, "b'\\x89PNG'\n"), done.stderr


def test_a_reader_of_the_help_who_has_gone() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = started("cfia", "--help", stdout=gone)
    assert (done.returncode, done.stderr) == (141, "")


def refused(capsys: pytest.CaptureFixture[str], arguments: Sequence[object]) -> str:
    with pytest.raises(SystemExit) as stopped:
        run(score.main, [*map(str, arguments)])
    assert stopped.value.code == 1
    return capsys.readouterr().err


def test_an_output_that_cannot_be_written(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is named is what the user has named, not the temporary file."""
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    places = {
        "there": f"{tmp_path}/there: Is a directory; move the directory away or name another",
        "file/x": f"{tmp_path}/file: Not a directory; name another path",
        "none/x": f"{tmp_path}/none: No such file or directory; make it, or name another path",
        "loop/x": f"{tmp_path}/loop/x: Too many levels of symbolic links; correct that",
        "n" * 300: "File name too long; correct that",
    }
    for place, message in places.items():
        said = refused(capsys, [scored, "--json", tmp_path / place])
        assert message in said
        assert len(said.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_an_input_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([tmp_path], ["--expdir", __file__], [__file__, "--clusters", tmp_path]):
        assert refused(capsys, arguments).startswith("error: ")


def test_an_error_of_another_file_in_the_block_keeps_its_name(tmp_path: Path) -> None:
    from cfia.files import atomic_write

    with pytest.raises(FileNotFoundError, match="another"), atomic_write(tmp_path / "out"):
        (tmp_path / "another").read_text()
    write_json(tmp_path / "out", {})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "there is not enough memory; close other programs, give fewer jobs"),
        (
            RuntimeError("[alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
            "there is not enough memory",
        ),
        (OSError(errno.EMFILE, "Too many open files", "a"), "a: Too many open files; raise the"),
        (ImportError("libx.so: cannot open\nmore"), "(libx.so: cannot open); delete .venv"),
        (RuntimeError("a bug"), None),
        (KeyError("a bug"), None),
    ],
)  # fmt: skip
def test_what_is_explained_and_what_is_a_fault(error: Exception, sentence: str | None) -> None:
    explained = explain(error)
    assert explained is None if sentence is None else sentence in (explained or "")
