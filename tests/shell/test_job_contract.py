"""What a recipe counts on in a job command, $cmd [options] [JOB=1:N] <log> <command> [args ...].

Each test is a rule in words, and is held against run.py, against slurm.py where there is a Slurm,
and against Kaldi's run.pl where it is on the path or below KALDI_ROOT. Where a rule is known not to
hold for run.pl, it says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.shell.jobs import RUN, output

DATE = r"[A-Z][a-z]{2} [A-Z][a-z]{2} [\d ]\d \d\d:\d\d:\d\d [^\n]+"
OPTIONS = ["--mem", "100M", "--num-threads", "1", "--time", "0:10:00", "--max-jobs-run", "2"]
WORDS = ["two  words", "", "a\tb"]


@dataclass
class Runner:
    """A program that runs jobs, and the environment that it needs."""

    name: str
    command: Sequence[str | Path]
    environment: dict[str, str]

    def run(self, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments], cwd=cwd, env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
        )  # fmt: skip


def kaldis() -> str | None:
    below = Path(os.environ.get("KALDI_ROOT", "/nowhere")) / "egs/wsj/s5/utils/parallel/run.pl"
    return shutil.which("run.pl") or (str(below) if below.exists() else None)


RUNNERS = ["run.py", "slurm.py", *(["run.pl"] if kaldis() else [])]


@pytest.fixture(scope="module", params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> Runner:
    name = request.param
    if name == "run.pl":
        return Runner(name, [kaldis() or name], {})
    env = request.getfixturevalue("slurm").environment if name == "slurm.py" else {}
    return Runner(name, [sys.executable, RUN.parent / name], env)


@dataclass
class Ran:
    """One job of three tasks that went well, under options before and after its range."""

    directory: Path
    result: subprocess.CompletedProcess[str]

    def log(self, task: int) -> Path:
        return self.directory / "exp" / f"part{task}" / f"a.{task}.log"


@pytest.fixture(scope="module")
def ran(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    directory = tmp_path_factory.mktemp("ran")
    command = ["printf", r"\<%s\>", *WORDS, "taskTASK", "a TASK", "|", "tr", r"\<", "[", ">&2"]
    result = runner.run(
        directory, *OPTIONS[:4], "TASK=2:4", *OPTIONS[4:], "exp/partTASK/a.TASK.log", *command
    )
    return Ran(directory, result)


def test_a_job_that_went_well_ends_with_0_and_says_nothing(ran: Ran) -> None:
    assert (ran.result.returncode, ran.result.stdout, ran.result.stderr) == (0, "", "")


def test_the_range_decides_which_tasks_run_and_directories_of_logs_are_made(ran: Ran) -> None:
    logs = sorted((ran.directory / "exp").rglob("*.log"))
    assert logs == [ran.log(task) for task in (2, 3, 4)]


def test_a_log_has_the_command_the_dates_the_output_and_the_code(ran: Ran) -> None:
    text = ran.log(3).read_text()
    assert re.fullmatch(
        rf"# printf [^\n]*\n# Started at {DATE}\n#\n[^\n]*"
        rf"# Accounting: time=\d+ threads=1\n"
        rf"# Ended \(code 0\) at {DATE}, elapsed time \d+ seconds\n",
        text,
    ), text


def test_the_name_of_the_range_is_replaced_in_the_log_and_in_every_argument(ran: Ran) -> None:
    for task in (2, 3, 4):
        assert output(ran.log(task)).endswith(f"[task{task}>[a {task}>")


def test_words_with_white_space_are_quoted_and_others_reach_bash_as_they_are(ran: Ran) -> None:
    assert output(ran.log(2)) == "[two  words>[>[a\tb>[task2>[a 2>"


@pytest.fixture(scope="module")
def failed(runner: Runner, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A job of five tasks, two of which fail."""
    directory = tmp_path_factory.mktemp("failed")
    script = "echo task JOB; exit $((JOB % 2 * (JOB / 3)))"
    return Ran(directory, runner.run(directory, "JOB=1:5", "a.JOB.log", "bash", "-c", script))


def test_all_tasks_run_though_some_fail_and_the_exit_status_is_1(failed: Ran) -> None:
    assert failed.result.returncode == 1
    for task in range(1, 6):
        assert output(failed.directory / f"a.{task}.log") == f"task {task}\n"


def test_it_says_how_many_failed_and_where_the_logs_are(runner: Runner, failed: Ran) -> None:
    first = failed.result.stderr.splitlines()[0]
    assert first == f"{runner.name}: 2 / 5 failed, log is in a.*.log"


def test_it_shows_the_end_of_the_first_failed_log(runner: Runner, failed: Ran) -> None:
    if runner.name == "run.pl":
        pytest.skip("run.pl names the log, and does not show it")
    lines = failed.result.stderr.splitlines()
    assert "task 3" in lines
    assert "task 5" not in lines


def test_a_job_need_not_be_an_array(runner: Runner, tmp_path: Path) -> None:
    result = runner.run(tmp_path, "log/a.log", "echo", "out;", "exit", "7")
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == f"{runner.name}: job failed, log is in log/a.log"
    assert output(tmp_path / "log" / "a.log") == "out\n"
    assert "# Ended (code 7) at" in (tmp_path / "log" / "a.log").read_text()


@pytest.mark.parametrize(
    ("tasks", "log"), [("JOB=0:2", "a.JOB.log"), ("JOB=3:2", "a.JOB.log"), ("JOB=1:2", "a.log")]
)
def test_a_range_without_tasks_or_without_logs_is_refused(
    runner: Runner, tmp_path: Path, tasks: str, log: str
) -> None:
    result = runner.run(tmp_path, tasks, log, "true")
    assert result.returncode != 0
    assert result.stderr.startswith(f"{runner.name}: ")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_is_an_error_that_names_it(runner: Runner, tmp_path: Path) -> None:
    if runner.name == "run.pl":
        pytest.skip("run.pl ignores all options of clusters, unknown ones too")
    result = runner.run(tmp_path, "JOB=1:2", "--no_such", "1", "a.JOB.log", "true")
    assert result.returncode == 2
    named = f"{runner.name}: unknown option --no_such"
    assert result.stderr.startswith(named), result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
