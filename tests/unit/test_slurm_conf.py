"""conf/slurm.conf: what sbatch gets for the options of a job."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from job_command import Job
from slurm_conf import DEFAULTS, read_conf

ROOT = Path(__file__).resolve().parents[2]


def sbatch(tmp_path: Path, text: str | None, **options: str) -> list[str]:
    """What a job with these options is submitted by, where a site's file has this text."""
    if text is not None:
        options["config"] = str(tmp_path / "site.conf")
        Path(options["config"]).write_text(text)
    job = Job("a.log", ["true"], options=options)
    return read_conf(job).sbatch(job)


def test_without_a_file_there_are_options_for_all_that_a_stage_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sbatch(tmp_path, None, gpu="0") == ["sbatch", "--export=ALL"]
    words = sbatch(tmp_path, None, mem="4G", time="4:00:00", num_threads="2", gpu="1")
    assert words[2:] == ["--mem-per-cpu=4G", "--time=4:00:00", "--cpus-per-task=2", "--gres=gpu:1"]


def test_the_file_in_conf_is_taken_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "slurm.conf").write_text("command mybatch -A speech\n")
    monkeypatch.chdir(tmp_path)
    assert sbatch(tmp_path, None) == ["mybatch", "-A", "speech"]


SITE = """\
command sbatch --account=a  # all of us
option gpu=* -p gpu --gres=gpu:a100:$0
option gpu=0 -p "cpu only"
default gpu=0
default mem=8G
option exclude=* --exclude=$0
"""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["-p", "cpu only", "--mem-per-cpu=8G"]),
        ({"gpu": "0"}, ["-p", "cpu only", "--mem-per-cpu=8G"]),
        ({"gpu": "2"}, ["-p", "gpu", "--gres=gpu:a100:2", "--mem-per-cpu=8G"]),
        ({"mem": "1G"}, ["-p", "cpu only", "--mem-per-cpu=1G"]),
        ({"exclude": "n7"}, ["-p", "cpu only", "--mem-per-cpu=8G", "--exclude=n7"]),
        ({"max_jobs_run": "4", "requeue": "3"}, ["-p", "cpu only", "--mem-per-cpu=8G"]),
    ],
)
def test_an_exact_value_wins_over_a_star_and_a_job_over_a_default(
    tmp_path: Path, options: dict[str, str], words: list[str]
) -> None:
    assert sbatch(tmp_path, SITE, **options) == ["sbatch", "--account=a", *words]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("queue all\n", 1, "site.conf: line 1 is 'queue all'; expected command ..."),
        ("\n# x\noption mem\n", 1, "site.conf: line 3 is 'option mem'"),
        ("default gpu=0 1\n", 1, "line 1 is 'default gpu=0 1'"),
        ("command sbatch 'x\n", 1, "site.conf: line 1: no closing quotation"),
        ("default nodes=2\n", 2, "unknown option --nodes 2; try --help (`option nodes=* ...` in"),
    ],
)
def test_a_line_that_says_nothing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        sbatch(tmp_path, text)
    assert ended.value.code == code
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_a_file_that_is_named_and_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        sbatch(tmp_path, None, config=str(tmp_path / "none.conf"))
    assert "cannot read" in capsys.readouterr().err


def test_the_examples_of_the_repository_can_be_used(tmp_path: Path) -> None:
    lines = (ROOT / "conf" / "slurm.conf").read_text().splitlines()
    assert all(line.startswith("#") or not line for line in lines), "examples alone"
    examples = [x[2:] for x in lines if re.match("# (command|option|default) [a-z]+[= ]", x)]
    assert len(examples) >= 8
    for example in examples:
        name = re.search(r" (\w+)=", example) if example.startswith("option") else None
        words = sbatch(tmp_path, example + "\n", **({name[1]: "1"} if name else {}))
        assert words[0] == "sbatch"


def test_the_repositorys_file_says_what_holds_without_it() -> None:
    text = (ROOT / "conf" / "slurm.conf").read_text()
    assert "".join(f"#   {line}\n" for line in DEFAULTS.splitlines()) in text
