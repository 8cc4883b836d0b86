"""utils/run.py: the command line, logs, quoting, arrays and failures, with real jobs."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shell.jobs import output, run, run_well
from tests.support.disks import Disk, mounted_disk

DATE = r"[A-Z][a-z]{2} [A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d \S+ \d{4}"


# Logs


def test_a_log_has_the_command_the_dates_the_output_and_the_code(tmp_path: Path) -> None:
    log = tmp_path / "exp of Müller" / "log" / "a.log"
    run_well(tmp_path, "--num-threads", "3", str(log), "echo", "out;", "echo", "error", ">&2")
    assert re.fullmatch(
        rf"# echo out; echo error >&2\n# Started at {DATE}\n#\nout\nerror\n"
        rf"# Accounting: time=\d+ threads=3\n"
        rf"# Ended \(code 0\) at {DATE}, elapsed time \d+ seconds\n",
        log.read_text(encoding="utf-8"),
    )


def test_a_second_run_replaces_the_log(tmp_path: Path) -> None:
    for word in ("first", "second"):
        run_well(tmp_path, "a.log", "echo", word)
    assert output(tmp_path / "a.log") == "second\n"


def test_a_job_reads_nothing_from_the_terminal(tmp_path: Path) -> None:
    run_well(tmp_path, "a.log", "cat;", "echo", "ended")
    assert output(tmp_path / "a.log") == "ended\n"


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -KILL $$", 137)])
def test_the_log_has_the_code_as_bash_gives_it(tmp_path: Path, command: str, code: int) -> None:
    result = run(tmp_path, "a.log", "bash", "-c", command)
    assert result.returncode == 1
    assert f"# Ended (code {code}) at" in (tmp_path / "a.log").read_text()


# Words


def test_shell_syntax_without_white_space_works(tmp_path: Path) -> None:
    run_well(
        tmp_path,
        "JOB=1:2",
        "a.JOB.log",
        *["printf", "JOB$X\\n%s", "|", "tr", "1", "I", ">", "out.JOB"],
    )
    assert (tmp_path / "out.1").read_text() == "In"
    assert (tmp_path / "out.2").read_text() == "2n"


def test_words_with_white_space_and_empty_words_arrive_as_one_argument(tmp_path: Path) -> None:
    words = ["two words", "", "a\tb", "new\nline", 'it\'s "$HOME" * \\', "zwölf Wörter"]
    run_well(tmp_path, "a.log", "printf", "'[%s]'", *words)
    assert output(tmp_path / "a.log") == "".join(f"[{word}]" for word in words)
    head = (tmp_path / "a.log").read_text(encoding="utf-8").partition("# Started")[0]
    assert all(line.startswith("# ") for line in head.splitlines())


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20))
def test_any_word_with_white_space_arrives_unchanged(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    directory = tmp_path_factory.mktemp("word")
    run_well(directory, "a.log", "printf", "%s", f"JOB {text}")
    assert output(directory / "a.log") == f"JOB {text}"


# Arrays


@settings(max_examples=10, deadline=None)
@given(
    name=st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True).filter(
        lambda name: name not in "echo"
    ),
    first=st.integers(1, 1000),
    size=st.integers(1, 3),
)
def test_the_name_of_an_array_is_replaced_everywhere(
    tmp_path_factory: pytest.TempPathFactory, name: str, first: int, size: int
) -> None:
    directory = tmp_path_factory.mktemp("array")
    last = first + size - 1
    run_well(
        directory,
        f"{name}={first}:{last}",
        f"{name}/.{name}",
        "echo",
        f"-{name}-",
        f"{name} {name}",
    )
    numbers = range(first, last + 1)
    assert {path.name for path in directory.iterdir()} == {str(number) for number in numbers}
    for number in numbers:
        assert output(directory / str(number) / f".{number}") == f"-{number}- {number} {number}\n"


def test_a_range_may_be_one_number(tmp_path: Path) -> None:
    run_well(tmp_path, "JOB=3", "a.JOB.log", "echo", "JOB")
    assert [path.name for path in tmp_path.iterdir()] == ["a.3.log"]


def test_options_stand_before_and_after_the_range_with_either_spelling(tmp_path: Path) -> None:
    before = ["--mem", "4G", "--num_threads", "2", "--gpu", "0", "--time=4:00:00"]
    after = ["--max-jobs-run", "8", "--jobs_per_gpu", "2", "--config", "conf/slurm.conf"]
    run_well(tmp_path, *before, "JOB=1:2", *after, "a.JOB.log", "echo", "--gpu")
    assert output(tmp_path / "a.2.log") == "--gpu\n"
    assert "threads=2\n" in (tmp_path / "a.2.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--queue", "all.q", "a.log", "true"], "--queue"),
        (["JOB=1:2", "--wrong=1", "a.JOB.log", "true"], "--wrong"),
        (["-q", "a.log", "true"], "-q"),
        (["--mem"], "--mem"),
        (["--gpu", "-1", "a.log", "true"], "--gpu"),
        (["--gpu", "two", "a.log", "true"], "--gpu"),
        (["--max-jobs-run", "0", "a.log", "true"], "--max-jobs-run"),
        (["JOB=0:2", "a.JOB.log", "true"], "JOB=0:2"),
        (["JOB=0", "a.JOB.log", "true"], "JOB=0"),
        (["JOB=3:2", "a.JOB.log", "true"], "JOB=3:2"),
        (["JOB=1:", "a.JOB.log", "true"], "JOB=1:"),
        (["JOB=1:x", "a.JOB.log", "true"], "JOB=1:x"),
        (["JOB=1:99999999999999999999", "a.JOB.log", "true"], "JOB=1:99999999999999999999"),
        (["JOB=1:1000001", "a.JOB.log", "true"], "JOB=1:1000001"),
        ([f"JOB={'9' * 5000}", "a.JOB.log", "true"], "is not a range"),
        (["--jobs-per-gpu", "9" * 5000, "a.log", "true"], "--jobs-per-gpu"),
        (["JOB=1:2", "I=1:2", "a.JOB.I.log", "true"], "I=1:2"),
        (["JOB=1:2", "a.log", "true"], "JOB"),
        (["JOB=1", "a.log", "true"], "JOB"),
        (["a.log"], "log"),
        ([], "log"),
    ],
)
def test_usage_errors_name_what_is_wrong(tmp_path: Path, arguments: list[str], named: str) -> None:
    result = run(tmp_path, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch(rf"run\.py: [^\n]*{re.escape(named)}[^\n]*\n", result.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_log_may_have_an_equals_sign(tmp_path: Path) -> None:
    run_well(tmp_path, "lr=0.1.log", "true")
    run_well(tmp_path, "lr=1/a.log", "true")
    assert (tmp_path / "lr=0.1.log").exists()
    assert (tmp_path / "lr=1" / "a.log").exists()


def test_help_has_an_example(tmp_path: Path) -> None:
    result = run(tmp_path, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "run.py JOB=1:4" in result.stdout


# Failures


def test_a_failed_job_that_is_no_array_has_kaldis_words(tmp_path: Path) -> None:
    result = run(tmp_path, "log/a.log", "seq", "100;", "false")
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert lines[0] == "run.py: job failed, log is in log/a.log"
    assert "100" in lines
    assert "1" not in lines, "the tail, not all of the log"


def test_a_huge_line_of_a_failed_log_is_shown_by_its_beginning_and_end(tmp_path: Path) -> None:
    script = 'import sys; print("begin" + "\\t文x" * 9999 + "end"); sys.exit(1)'
    result = run(tmp_path, "a.log", sys.executable, "-c", script)
    assert result.returncode == 1
    shown = next(text for text in result.stderr.splitlines() if text.startswith("begin"))
    assert shown.endswith("文xend")
    assert "…" in shown
    assert len(shown) <= 500


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(tmp_path, "file/a.log", "true")
    assert result.returncode == 1
    assert re.fullmatch(r"run\.py: [^\n]*file[^\n]*\n", result.stderr)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    yield from mounted_disk(tmp_path / "disk", "64k")


def test_a_log_that_run_py_cannot_write(disk: Disk) -> None:
    """Neither before the task nor after it, when it has filled the disk itself."""
    full = "No space left on device; mend that, and run it again"
    with disk.full(0):
        before = run(disk.path, "a.log", "true")
    with disk.full(1):
        after = run(disk.path, "b.log", "head", "-c4000", "/dev/zero")
    assert before.stderr == f"run.py: cannot run the job: a.log: {full}\n"
    assert after.stderr.startswith(f"run.py: b.log cannot be written: {full}\n")
    assert before.returncode == after.returncode == 1
