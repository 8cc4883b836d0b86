"""The recipes' command line: help and usage errors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cfia.options import EVERY

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ("mini_iemocap", "emodb", "iemocap")

# What every recipe must have, and later names are added to (not taken from).
FLAGS = {
    "stage", "stop_stage", "skip_stages", "corpus_dir", "nj", "ngpu", "num_threads", "cv",
    "validation", "selection", "labels", "seeds", "systems", "tag", "audio_upstream",
    "audio_model", "audio_layer", "hub", "text_upstream", "text_model", "text_layer", "text_file",
    "text_tags", "train_config", "train_args", "datadir", "dumpdir", "expdir", "feature_cache",
    "skip_bad", "allow_partial", "allow_contaminated", "force", "study", "dry_run", "verbose",
    "text_source", "asr_model",
}  # fmt: skip


def run(
    *arguments: str, recipe: str = "mini_iemocap", shell: str = "bash", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a recipe where no environment can be found or made: PATH has only the system's tools."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(
        [shell, str(ROOT / "egs" / recipe / "run.sh"), *arguments],
        capture_output=True, text=True, cwd=cwd, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_lists_every_flag_and_stage(recipe: str, tmp_path: Path) -> None:
    done = run("--help", recipe=recipe, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  --(\w+)", done.stdout, re.MULTILINE)
    assert listed == [option.name for option in EVERY]
    assert set(listed) >= FLAGS
    assert "./run.sh --stage 5" in done.stdout
    for stage in range(10):
        assert re.search(rf"^  {stage} \w", done.stdout, re.MULTILINE), stage


def test_help_shows_the_recipes_values_and_the_users() -> None:
    shown = run("--nj", "7", "--help", "--tag", "new").stdout
    assert re.search(r"--tag .*\[new\]", shown)
    assert re.search(r"--audio_upstream .*\[fbank\]", shown)
    assert re.search(r"--nj .*\[7\]", shown)
    assert re.search(r"--audio_upstream .*\[emotion2vec\]", run("--help", recipe="iemocap").stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_such", "1"], "run.sh: invalid option --no_such"),
        (["--root_dir", "/none"], "run.sh: invalid option --root_dir"),
        (["--data_script=x"], "run.sh: invalid option --data_script"),
        (["--PATH", "/none"], "run.sh: invalid option --PATH"),
        (["--stage"], "--stage"),
        (["--stage", "two"], "--stage is 'two'; expected a whole number from 0"),
        (["--stage", "9", "--pack_dir", "x"], "--pack_dir is the place of one pack, and there is"),
        (["--tag", "v1>v2"], "--tag is 'v1>v2'; it becomes part of a directory's name, but"),
        (["--ngpu", "2"], "--ngpu is '2'"),
        (["--stage", "5", "--stop_stage", "3"], "--stage 5 is after --stop_stage 3"),
        (["--nj", "0"], "--nj is '0'"),
        (["--train_args", "epochs"], "--train_args: expected key=value, not 'epochs'"),
        (["--train_args", "epoch=3"], "--train_args: unknown key 'epoch'; the keys are align"),
        (["--train_args", "lr='"], "expected words such as lr=5e-4, every quotation mark closed"),
        (["--train_args", "lr=.inf"], "--train_args: lr is '.inf'; expected a number, above 0"),
        (["--train_args", "consistency=[1e-3]"], "3 CFIA modules have 3 pairs"),
        (["--force", "yes"], "--force"),
        (["--seeds", "a b"], "--seeds is 'a b'"),
        (["--study", "all"], "--study is 'all'; there is asr fusion paper peers"),
        (["--study_seeds", "one"], "--study_seeds is 'one'; expected numbers"),
        (["--hub", "gh"], "--hub is 'gh'; legal values are hf, ms"),
        (
            ["--feature_cache", "disk"],
            "--feature_cache is 'disk'; legal values are auto, gpu, ram, mmap",
        ),
        (["--feature_cache", "gpu"], "--feature_cache gpu needs --ngpu 1: features are kept on"),
        (
            ["--audio_upstream", "bert"],
            "--audio_upstream is 'bert'; legal values are fbank, whisper",
        ),
        (["--audio_layer", "3"], "--audio_layer is '3', but fbank has no layers to choose from"),
        (["--text_layer", "last"], "--text_layer is 'last'; expected a number from 0, or all"),
        (["--compression_method", "5"], "--compression_method is '5'; legal values are 0, 2, 3"),
        (["--cv", "dialogue"], "--cv is 'dialogue'; expected session, speaker, kfold<k>, given"),
        (["--validation", "partner"], "--validation partner needs --cv speaker"),
        (["--systems", "nonsense"], "no system 'nonsense'"),
        (["--labels", "5"], "--labels is '5'; this recipe has 4"),
        (["--text_file", "none.txt"], "--text_file: no such file"),
        (["--text_source", "asr"], "--text_source asr needs --asr_model: pocketsphinx, or the hub"),
        (["--text_source", "both"], "--text_source is 'both'; legal values are gold, asr"),
        (["--asr_model", "pocketsphinx"], "--asr_model goes with --text_source asr"),
        (["--audio_model", "./none"], "--audio_model: no such directory"),
        (["--config", "none.sh"], "none.sh"),
        (["--train_config", "none.yaml"], "no such file"),
        (["positional"], "unexpected argument 'positional'"),
    ],
)
def test_usage_errors_exit_2_with_one_sentence(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_values_of_a_configuration_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: .inf\n")
    made = ("--datadir", "data", "--dumpdir", "dump", "--expdir", "exp")
    arguments = [word if word.startswith("-") else str(tmp_path / word) for word in made]
    done = run("--train_config", "mine.yaml", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    wanted = f"run.sh: {tmp_path}/mine.yaml: epochs is inf; expected a whole number, above 0\n"
    assert done.stderr == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize("text", ["lr=.inf", "consistency=[-1,0,0]", "epochs=true", "align=cut"])
def test_a_python_without_packages_checks_the_values_of_train_args(text: str) -> None:
    recipe = ROOT / "egs" / "mini_iemocap"
    command = [sys.executable, "-S", "-m", "cfia.bin.plan", "check", "--recipe", str(recipe)]
    environment = {"PYTHONPATH": str(ROOT), "train_args": text, "stage": "5"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"run.sh: --train_args: {text.partition('=')[0]} is ")


def test_no_environment_is_made_or_looked_for_before_the_command_line_is_right(
    tmp_path: Path,
) -> None:
    copy = tmp_path / "a copy ü"
    shutil.copytree(
        ROOT / "egs",
        copy / "egs",
        symlinks=True,
        ignore=shutil.ignore_patterns("downloads", "data", "dump", "exp"),
    )
    for name in ("utils", "conf", "cfia"):
        shutil.copytree(ROOT / name, copy / name)
    for arguments, code in ((["--help"], 0), (["--stage", "x"], 2), (["--cv", "x"], 2)):
        done = subprocess.run(
            ["bash", str(copy / "egs" / "emodb" / "run.sh"), *arguments],
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
    assert not (copy / ".venv").exists()


def test_stage_0_says_where_a_corpus_is_to_be_had(tmp_path: Path) -> None:
    done = run("--stop_stage", "0", "--corpus_dir", str(tmp_path), recipe="savee", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()[1:]
    assert [line.split()[0] for line in said] == ["from", "licence", "layout", "differs"]
    assert "surrey.ac.uk/savee" in said[0]
    done = run("--stop_stage", "0", recipe="savee", cwd=tmp_path)
    assert done.stdout.splitlines()[1:] == said[:3]


def test_nothing_that_a_user_types_is_run(tmp_path: Path) -> None:
    for arguments in (
        ["--help", "--stage[$(touch x)]", "3"],
        ["--help", "--stage", "a[$(touch x)]"],
        ["--dry_run", "true", "--train_args", "lr='$(touch x)'", "--corpus_dir", "';touch x;'"],
    ):
        run(*arguments, cwd=tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    "bash" in Path(os.path.realpath("/bin/sh")).name, reason="here sh is bash, which runs it"
)
@pytest.mark.parametrize("recipe", RECIPES)
def test_under_sh_it_says_that_it_needs_bash(recipe: str) -> None:
    done = run("--help", recipe=recipe, shell="sh")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "run.sh: this script needs bash; run it as ./run.sh or bash run.sh"
    )


def test_a_copied_recipe_records_its_own_command(tmp_path: Path) -> None:
    """RESULTS.md prints CFIA_COMMAND; a copy of a recipe must not be taken for the original."""
    for recipe in RECIPES:
        copy = tmp_path / "egs" / f"{recipe} of mine"
        copy.mkdir(parents=True)
        shutil.copy(ROOT / "egs" / recipe / "run.sh", copy)
        (copy / "ser.sh").write_text("#!/usr/bin/env bash\necho ${CFIA_COMMAND}\n")
        (copy / "ser.sh").chmod(0o755)
        done = subprocess.run(
            ["bash", str(copy / "run.sh"), "--tag", "a b"], capture_output=True, text=True
        )
        assert done.stdout.strip() == rf"egs/{recipe}\ of\ mine/run.sh --tag a\ b", done.stderr
