"""The list of verbs that `cfia --help` prints, and how a verb is called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cfia import cli
from cfia.__main__ import STAGES, usage, verbs
from cfia.bin import folds
from tests.support.data_files import ROOT

IN_THE_LIST = re.compile(r"^  (\w+) +(.*)$", re.MULTILINE)
# What the first lines of programs may begin with; a new one is to be added here.
VERBS = (
    "Check", "Copy", "Draw", "Extract", "Hold", "Import", "List", "Make", "Merge", "Plan",
    "Predict", "Put", "Recognise", "Score", "Serve", "Sort", "Test", "Train", "Write",
)  # fmt: skip


def cfia(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cfia", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_stages_are_programs_in_the_order_of_ser_sh() -> None:
    script = (ROOT / "egs" / "TEMPLATE" / "ser.sh").read_text()
    calls = re.findall(r"-m cfia\.bin\.(\w+)|work_off (\w+)", script)
    assert list(STAGES) == list(dict.fromkeys(name or listed for name, listed in calls))
    assert set(STAGES) <= set(verbs())


def test_a_user_is_shown_every_other_program() -> None:
    users, stages = (dict(IN_THE_LIST.findall(part)) for part in usage().split("the stages of"))
    assert set(users) == {*verbs()} - {*STAGES} | {"score"}
    assert tuple(stages) == STAGES


@pytest.mark.parametrize("verb", verbs())
def test_a_first_line_is_a_sentence_that_begins_with_a_verb(verb: str) -> None:
    sentence = dict(IN_THE_LIST.findall(usage()))[verb]
    assert sentence.split()[0] in VERBS
    assert sentence.endswith(".")


def until(output: int, *arguments: str) -> tuple[int, str]:
    """Exit code and stderr of a program that writes its text where it cannot be kept."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "program", [["-m", "cfia"], ["-m", "cfia.bin.score"], [str(ROOT / "utils" / "run.py")]]
)
def test_a_reader_that_has_gone_is_no_error(program: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    code, said = until(write, *program, "--help")
    os.close(write)
    assert (code in (141, -13), said) == (True, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        code, said = until(full.fileno(), "-m", "cfia.bin.folds", "--help")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("error: No space left on device")


def test_help_usage_and_a_verb() -> None:
    assert cfia("--help").stdout == usage() + "\n"
    nothing = cfia()
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (2, "", usage() + "\n")
    wrong = cfia("no_such")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "cfia: there is no verb 'no_such'; cfia --help lists them\n"
    assert "usage: cfia folds" in cfia("folds", "--help").stdout
    assert re.fullmatch(
        r"cfia [\d.]+( \(commit [0-9a-f]{12}(\+dirty)?\))?\n", cfia("--version").stdout
    )


def test_the_level_of_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(level: str) -> tuple[int, str]:
        monkeypatch.setenv("CFIA_LOG", level)
        with pytest.raises(SystemExit) as ended:
            cli.run(folds.main, ["--help"])
        return int(ended.value.code or 0), capsys.readouterr().err

    assert said("debug") == said("") == (0, "")
    code, message = said("loud")
    assert code == 2
    assert message.startswith("error: CFIA_LOG is 'loud'; legal values are ")
    for word in re.findall("[A-Z]{4,}", message.partition("legal")[2]):
        assert said(word) == (0, "")
