"""Where scripts think they are: called through links, PATH and CDPATH, and where they cannot be."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cfia.corpus.corpus_conf import read_corpus_conf
from tests.support.data_files import RECIPES, ROOT

ENVIRONMENT = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def call(*command: str | Path, cwd: Path, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT | environment
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("script", "usage"),
    [
        ("egs/emodb/run.sh", "Usage: ./run.sh"),
        ("egs/mini_iemocap/ser.sh", "Usage: ./run.sh"),
        ("egs/emodb/local/data.sh", "Usage: local/data.sh"),
        ("egs/iemocap/local/import_emotion2vec_features.sh", "Usage: local/import_"),
        ("utils/combine_data.sh", "usage: combine_data.sh"),
        ("utils/publish_results.sh", "Usage: utils/publish"),
        ("tests/run.sh", "Usage: tests/run.sh"),
    ],
)
def test_cdpath_leads_no_script_elsewhere(script: str, usage: str, tmp_path: Path) -> None:
    # Were it used, `cd egs/emodb` would lead there, and print where it is.
    (tmp_path / script).parent.mkdir(parents=True)
    code, out, err = call(script, "--help", cwd=ROOT, CDPATH=f"{tmp_path}:.")
    assert code == 0, err
    assert usage in out


def test_a_recipe_through_links_and_the_path(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    recipe = tmp_path / "links" / "recipe"
    recipe.symlink_to(ROOT / "egs" / "emodb")
    (tmp_path / "links" / "mine").symlink_to(recipe / "run.sh")
    (tmp_path / "fix_data_dir.sh").symlink_to(ROOT / "utils" / "fix_data_dir.sh")
    for command in (
        ["links/recipe/run.sh"], ["bash", "links/recipe/run.sh"], ["links/mine"],
        ["./fix_data_dir.sh"],
    ):  # fmt: skip
        code, _, err = call(*command, "--help", cwd=tmp_path, CDPATH="links")
        assert (code, err) == (0, ""), command
    for command in (["run.sh"], ["bash", "run.sh"]):
        path = f"links/recipe:{os.environ['PATH']}"
        code, out, err = call(*command, "--help", cwd=tmp_path, PATH=path)
        assert (code, err) == (0, ""), command
        assert "[speaker]" in out  # --cv, as this recipe sets it


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs_the_standard_of_its_corpus(recipe: str) -> None:
    directory = ROOT / "egs" / recipe
    standard = read_corpus_conf(directory / "conf" / "corpus.yaml")["standard"]
    code, out, _ = call(directory / "run.sh", "--help", cwd=directory)
    assert code == 0
    for option, value in standard.items():
        assert re.search(rf"^  --{option} .*\[{value}\]$", out, re.MULTILINE)


def test_a_recipe_whose_run_sh_is_a_link_is_itself(tmp_path: Path) -> None:
    for name in ("emodb", "mine"):
        directory = tmp_path / "egs" / name
        directory.mkdir(parents=True)
        (directory / "ser.sh").write_text("#!/usr/bin/env bash\necho ${0} ${CFIA_COMMAND}\n")
        (directory / "ser.sh").chmod(0o755)
    shutil.copy(ROOT / "egs" / "emodb" / "run.sh", tmp_path / "egs" / "emodb")
    (tmp_path / "egs" / "mine" / "run.sh").symlink_to("../emodb/run.sh")
    out = call("egs/mine/run.sh", cwd=tmp_path)[1]
    assert out.split() == [f"{tmp_path}/egs/mine/ser.sh", "egs/mine/run.sh"]


def test_ci_finds_the_tests_that_it_runs(tmp_path: Path) -> None:
    for name, text in (("ci/run", (ROOT / ".ci" / "run").read_text()), ("tests/run.sh", "echo $0")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    assert call("ci/run", cwd=tmp_path, CDPATH=".") == (0, f"{tmp_path}/tests/run.sh\n", "")


@pytest.mark.parametrize("script", ["egs/emodb/run.sh", "utils/copy_data_dir.sh"])
def test_without_a_python3_that_starts_and_in_a_place_with_a_colon_it_says_so(
    script: str, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "dirname", "readlink", "grep", "sed", "tr"):
        (tools / name).symlink_to(shutil.which(name) or "")
    name = Path(script).name
    said = f"{name}: there is no python3 on the path; install Python 3.11 or newer\n"
    assert call(ROOT / script, "--help", cwd=tmp_path, PATH=str(tools)) == (1, "", said)
    for variable, value in (("PYTHONHOME", str(tools)), ("PYTHONHASHSEED", "abc")):
        code, _, err = call(ROOT / script, "--help", cwd=tmp_path, **{variable: value})
        assert (code, err.count("\n")) == (1, 1)
        assert err.startswith(f"{name}: {shutil.which('python3')} does not start with what the")
        assert err.endswith(f"{variable}; unset that and run it again\n")
    copy = tmp_path / "12:30"
    made = shutil.ignore_patterns("downloads", "data", "dump", "exp")
    for part in ("egs", "utils"):
        shutil.copytree(ROOT / part, copy / part, symlinks=True, ignore=made)
    code, _, err = call(copy / script, "--help", cwd=tmp_path)
    assert (code, err.count("\n")) == (1, 1)
    assert f"{name}: no directory with a colon in its name can be on the paths" in err


def test_what_python_prints_as_it_starts_is_no_command(tmp_path: Path) -> None:
    """A sitecustomize of a cluster's modules, and files of a user that are called as Python's."""
    (tmp_path / "site").mkdir()
    made = tmp_path / "made"
    (tmp_path / "site" / "sitecustomize.py").write_text(f"print('touch {made}')\n")
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns("downloads", "data", "dump", "exp", "__pycache__")
    for part in ("egs", "utils", "conf", "cfia"):
        shutil.copytree(ROOT / part, copy / part, symlinks=True, ignore=ignored)
    for file in ("setup.py", "requirements.txt"):
        shutil.copy(ROOT / file, copy / file)
    for name in ("copy", "inspect", "queue"):
        (copy / "egs" / "emodb" / f"{name}.py").write_text("print(open)\n")
    (tmp_path / "empty").mkdir()
    code, out, err = call(
        copy / "egs/emodb/run.sh", "--corpus_dir", tmp_path / "empty", "--stop_stage", "1",
        cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"),
    )  # fmt: skip
    assert code == 1
    assert "has no *.wav and no *.flac in wav or flac or ." in err.splitlines()[-1]
    assert "command not found" not in out + err
    assert not made.exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"M\xfcller", "is not UTF-8; rename it, or mount its disk"),
        (b"new\nline", "line break"),
    ],
)
def test_a_name_that_no_table_could_hold(name: bytes, why: str, tmp_path: Path) -> None:
    corpus = os.fsencode(tmp_path) + b"/" + name
    os.mkdir(corpus)  # noqa: PTH102
    script = os.fsencode(ROOT / "egs/emodb/run.sh")
    command = [script, b"--corpus_dir", corpus, b"--stop_stage", b"1"]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert why.encode() in done.stderr
