"""utils/run.py: what a person sees of a job while it runs, on a terminal and in a log."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_progress import cut, last_line

from tests.shell.jobs import RUN, output, run_well
from tests.shell.terminal import Terminal, on_terminal

EPOCH = (
    "epoch 14/100  loss 0.8123  consistency 1.0e-03 of the gradient  valid loss 1.0123 WA 65.10"
    " UA 66.50  best UA at epoch 9  12.3 s an epoch, at most 12:50 left"
)
EPOCH_IN_79 = "epoch 14/100 …0 UA 66.50 best UA at epoch 9 12.3 s an epoch, at most 12:50 left"


def says(*lines: str) -> list[str]:
    """A command that prints some lines, and then waits for the file `end`."""
    text = r"\n".join(lines)
    return ["bash", "-c", f"printf '{text}'; while [ ! -e end ]; do sleep 0.05; done"]


# On a terminal.


def test_a_job_shows_the_last_line_of_its_log(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "a.log", *says("begins", EPOCH)) as (terminal, process):
        state, line = terminal.wait_for(lambda lines: "UA 66.50" in lines[-1])
        assert state.startswith("running, 0:00:0")
        assert state.endswith(" so far:")
        assert line == EPOCH_IN_79
        (tmp_path / "end").touch()
        assert process.wait(timeout=30) == 0
        terminal.read()
        assert terminal.lines() == [""], "cleared at the end"


def test_an_array_shows_its_counts_and_the_task_that_runs_longest(tmp_path: Path) -> None:
    script = f"[ JOB = 1 ] || [ JOB = 3 ] && exit $((JOB == 3)); {says('task JOB')[2]}"
    job = ["JOB=1:5", "--max-jobs-run", "2", "a.JOB.log", "bash", "-c", script]
    with on_terminal(tmp_path, *job) as (terminal, process):
        state, line = terminal.wait_for(lambda lines: lines[0].startswith("2/5 done, 2 running, 1"))
        assert line == "task 2"
        assert state.startswith("2/5 done, 2 running, 1 failed, about 0:00:")
        assert state.endswith(" left; task 2:")
        (tmp_path / "end").touch()
        assert process.wait(timeout=30) == 1
        terminal.read()
        assert terminal.lines()[0] == "run.py: 1 / 5 failed, log is in a.*.log"


def test_a_job_without_output_shows_that_it_runs(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "a.log", *says("")) as (terminal, _):
        (state,) = terminal.wait_for(lambda lines: "0:00:01" in lines[0])
        assert state == "running, 0:00:01 so far"


def test_a_signal_leaves_nothing_but_its_message(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "a.log", *says(EPOCH)) as (terminal, process):
        terminal.wait_for(lambda lines: len(lines) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        terminal.read()
        assert terminal.lines()[0].startswith("run.py: stopped by SIGINT")


@pytest.mark.parametrize("columns", [1, 2, 7, 30])
def test_a_window_made_narrower_still_holds_the_lines(tmp_path: Path, columns: int) -> None:
    with on_terminal(tmp_path, "a.log", *says(EPOCH), columns=120) as (terminal, _):
        wide = terminal.wait_for(lambda lines: len(lines) == 2)
        assert len(wide[1]) == 119
        terminal.resize(columns)
        terminal.read(0.1)
        begin = len(terminal.sent)
        narrow = terminal.wait_for(lambda lines: len(lines) == 2, begin)
        assert [len(line) for line in narrow] == [min(columns - 1, len(wide[0])), columns - 1]


def test_no_sequence_of_a_log_reaches_the_terminal(tmp_path: Path) -> None:
    line = r"\033[2J\033]0;title\007\033[31m50%%\033[0m\b\t\233 \377 \302\205x\033"
    with on_terminal(tmp_path, "a.log", *says(line)) as (terminal, _):
        _, shown = terminal.wait_for(lambda lines: len(lines) == 2)
    assert shown.startswith("50%")
    assert shown.split() == ["50%", "\N{REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}", "x"]


def test_a_job_in_the_background_leaves_the_terminal_alone(tmp_path: Path) -> None:
    terminal = Terminal(80)

    def control() -> None:
        os.setsid()
        fcntl.ioctl(terminal.theirs, termios.TIOCSCTTY, 0)

    job = f"{sys.executable} {RUN} a.log sleep 1.2"
    for shell, shown in ((job, True), (f"set -m; {job} & wait", False)):
        subprocess.run(
            ["bash", "-c", shell],
            cwd=tmp_path, check=True, stderr=terminal.theirs, preexec_fn=control, timeout=30,
        )  # fmt: skip
        terminal.read()
        assert (b"so far" in terminal.sent) == shown
        assert (b"\x1b" in terminal.sent) == shown
        terminal.sent = b""
    terminal.close()


# In a log.

SOON = "import run, run_progress, sys; run_progress.EVERY = 0.5; sys.argv[0] = 'run.py'; run.main()"


@pytest.mark.parametrize("command", [[], ["nohup"]])
def test_elsewhere_a_line_now_and_then_shows_life(tmp_path: Path, command: list[str]) -> None:
    job = ["JOB=1:2", "--max-jobs-run", "1", "a.JOB.log", "echo", EPOCH, ";", "sleep", "1.3"]
    result = subprocess.run(
        [*command, sys.executable, "-c", SOON, *job],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(RUN.parent)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    lines = [line for line in result.stderr.splitlines() if not line.startswith("nohup:")]
    assert 2 <= len(lines) <= 4
    assert lines[0].startswith("run.py: 0/2 done, 1 running, 0:00:0")
    assert lines[0].endswith(f" so far; task 1: {EPOCH}")
    assert lines[-1].startswith("run.py: 1/2 done, 1 running, about 0:00:0")
    assert lines[-1].endswith(f" left; task 2: {EPOCH}")


def test_a_short_job_says_nothing(tmp_path: Path) -> None:
    run_well(tmp_path, "JOB=1:2", "a.JOB.log", "echo", "out")


# Where it is called from.


def test_it_runs_through_a_link_and_without_its_directory_on_pythons_path(tmp_path: Path) -> None:
    link = tmp_path / "bin" / "run.pl"
    link.parent.mkdir()
    link.symlink_to(RUN)
    for options in ([], ["-I"]):
        subprocess.run([sys.executable, *options, link, "a.log", "echo", "out"],
                       cwd=tmp_path, check=True, timeout=30)  # fmt: skip
        assert output(tmp_path / "a.log") == "out\n"


# The line itself.


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"", ""),
        (b"\n \n\t\n", ""),
        (b"one\ntwo\n", "two"),
        (b"one\n  two", "two"),
        (b"one\ntwo\n\n \r\n", "two"),
        (b"\r 10%|1 \r 20%|2  \r", "20%|2"),
        (b"outer\n\rinner 5%\x1b[A\r", "inner 5%"),
        (b"# the log's own # comment", "# the log's own # comment"),
        ("zwölf\u2028Wörter\u200b".encode(), "zwölf Wörter"),
        (b"x" * 10**5, "x" * 8192),
    ],
)
def test_the_last_line_is_the_last_that_says_something(
    tmp_path: Path, log: bytes, line: str
) -> None:
    head = b"# command\n#\n"
    (tmp_path / "a.log").write_bytes(head + log)
    assert last_line(str(tmp_path / "a.log"), len(head)) == line


def test_a_log_that_is_gone_says_nothing(tmp_path: Path) -> None:
    assert last_line(str(tmp_path / "a.log"), 0) == ""


@given(st.text("ab 日ｗä…", max_size=40), st.integers(-1, 50))
def test_a_cut_line_fits_and_keeps_its_ends(line: str, width: int) -> None:
    def columns(text: str) -> int:
        return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)

    short = cut(line, width)
    if columns(line) <= width:
        assert short == line
        return
    assert columns(short) <= max(width, 0)
    if "…" not in line and "…" in short:
        begin, end = short.split("…")
        assert " ".join(line.split()).startswith(begin)
        assert " ".join(line.split()).endswith(end)
        assert columns(short) >= width - 2, "of a wide character half a place may be left"
