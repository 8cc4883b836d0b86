"""utils/parse_options.sh, sourced by a small script as recipes do it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PARSE_OPTIONS = Path(__file__).resolve().parents[2] / "utils" / "parse_options.sh"

SCRIPT = f"""\
set -euo pipefail
nj=1
some_name=default
force=false
keep=true
help_message="usage: train.sh [options] <dir>"
. "{PARSE_OPTIONS}"
printf '%s\\0' "$nj" "$some_name" "$force" "$keep" "$@"
"""
DEFAULTS = ("1", "default", "false", "true")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a recipe of Müller") / "train.sh"
    path.write_text(SCRIPT, encoding="utf-8")
    return path


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        ["bash", script, *arguments],
        cwd=script.parent,
        capture_output=True,
        timeout=20,
        check=False,
    )
    # Decoded here, since text=True would turn a carriage return into a new line.
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


def values(script: Path, *arguments: str) -> tuple[str, ...]:
    """The four variables, then the positional arguments, after a run that went well."""
    result = run(script, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return tuple(result.stdout.split("\0")[:-1])


def usage_error(script: Path, *arguments: str) -> str:
    """The one line that a usage error prints."""
    result = run(script, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--some-name", "x"), ("--some_name", "x"), ("--some-name=x",), ("--some_name=x",)],
)
def test_every_spelling_of_an_option_sets_its_variable(
    script: Path, arguments: tuple[str, ...]
) -> None:
    assert values(script, *arguments) == ("1", "x", "false", "true")


def test_without_arguments_the_defaults_stay(script: Path) -> None:
    assert values(script) == DEFAULTS


def test_parsing_stops_at_the_first_positional_argument(script: Path) -> None:
    found = values(script, "--nj", "3", "data/all", "--nj", "4", "--help", "")
    assert found == ("3", "default", "false", "true", "data/all", "--nj", "4", "--help", "")


def test_the_last_of_two_wins_and_a_value_may_look_like_an_option(script: Path) -> None:
    assert values(script, "--nj", "3", "--some-name", "--nj", "--nj=-4")[:2] == ("-4", "--nj")


@settings(max_examples=60, deadline=None)
@given(
    value=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    spelling=st.sampled_from(["two words", "one word"]),
)
@pytest.mark.parametrize("rest", [(), ("data dir",)])
def test_any_value_arrives_unchanged(
    script: Path, rest: tuple[str, ...], value: str, spelling: str
) -> None:
    option = ("--some-name", value) if spelling == "two words" else (f"--some-name={value}",)
    assert values(script, *option, *rest)[1] == value


def test_values_are_not_evaluated(script: Path, tmp_path: Path) -> None:
    value = f"$(touch {tmp_path}/made); `touch {tmp_path}/made` \"$HOME\" 'x' \\"
    assert values(script, "--some-name", value)[1] == value
    assert list(tmp_path.iterdir()) == []


def test_an_empty_value_is_a_value(script: Path) -> None:
    assert values(script, "--some-name", "")[1] == ""
    assert values(script, "--some-name=")[1] == ""


@pytest.mark.parametrize("option", ["--wrong", "--wrong=1", "--some", "--", "--=1", "--a;b", "--1"])
def test_an_unknown_option_is_named(script: Path, option: str) -> None:
    expected = f"train.sh: invalid option {option.partition('=')[0]}\n"
    assert usage_error(script, "--nj", "2", option, "1") == expected
    assert usage_error(script, option) == expected


def test_a_variable_of_bash_itself_is_no_option(script: Path) -> None:
    assert usage_error(script, "--UID", "3") == "train.sh: invalid option --UID\n"


@pytest.mark.parametrize("value", ["yes", "True", "1", "", "true "])
def test_a_boolean_takes_true_and_false_only(script: Path, value: str) -> None:
    message = f"train.sh: option --force takes true or false, not '{value}'\n"
    assert usage_error(script, "--force", value) == message
    assert usage_error(script, f"--force={value}") == message
    assert values(script, "--force", "true", "--keep=false")[2:4] == ("true", "false")


def test_a_last_option_without_value_is_an_error(script: Path) -> None:
    assert usage_error(script, "--nj") == "train.sh: option --nj needs a value\n"
    assert usage_error(script, "--nj", "2", "--force").endswith("--force needs a value\n")
    assert usage_error(script, "--config").endswith("--config needs a value\n")


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("--nj", "2", "--help", "x")])
def test_help_goes_to_stdout(script: Path, arguments: tuple[str, ...]) -> None:
    result = run(script, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "usage: train.sh [options] <dir>\n"


def test_help_can_show_what_the_options_are_set_to(tmp_path: Path) -> None:
    script, config = tmp_path / "train.sh", tmp_path / "train.conf"
    script.write_text(SCRIPT.replace("nj=1", "nj=1; usage() { echo nj=$nj some_name=$some_name; }"))
    config.write_text("some_name='from a file'\n")
    done = run(script, "--help", "--config", str(config), "--nj", "9")
    assert (done.returncode, done.stdout) == (0, "nj=9 some_name=from a file\n")
    assert "invalid option --x" in usage_error(script, "--help", "--x", "1")


@pytest.mark.parametrize("place", ["before", "between", "after"])
def test_the_command_line_wins_over_a_config_file(script: Path, tmp_path: Path, place: str) -> None:
    config = tmp_path / "my config.conf"
    config.write_text("nj=7\nsome_name='from a file'\nforce=true\n")
    options = ["--nj", "9", "--keep", "false"]
    index = {"before": 0, "between": 2, "after": 4}[place]
    options[index:index] = ["--config", str(config)]
    assert values(script, *options, "x") == ("9", "from a file", "true", "false", "x")


def test_a_config_file_from_windows(script: Path, tmp_path: Path) -> None:
    config = tmp_path / "windows.conf"
    config.write_bytes("\ufeffnj=7\r\n# von Zoë\r\nsome_name='a file'\r\nforce=true\r".encode())
    assert values(script, "--config", str(config))[:3] == ("7", "a file", "true")


def test_a_config_file_may_be_a_pipe(script: Path, tmp_path: Path) -> None:
    command = f"bash '{script}' --config <(echo nj=7)"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("7\0")


def test_a_clone_with_autocrlf_has_scripts_that_bash_reads(tmp_path: Path) -> None:
    root, source, clone = PARSE_OPTIONS.parents[1], tmp_path / "source", tmp_path / "clone"
    source.mkdir()
    for name in (".gitattributes", "utils/parse_options.sh", "utils/run.py"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(root / name, source / name)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-c", "core.autocrlf=true"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], cwd=source, check=True, capture_output=True)
    subprocess.run([*git, "clone", "-q", source, clone], check=True, capture_output=True)
    for name in ("utils/parse_options.sh", "utils/run.py"):
        assert (clone / name).read_bytes() == (root / name).read_bytes()


def test_config_files_are_those_of_the_directory_and_come_in_order(script: Path) -> None:
    (script.parent / "first.conf").write_text("nj=2 some_name=first\n")
    (script.parent / "second.conf").write_text("some_name=second\n")
    found = values(script, "--config", "first.conf", "--config=second.conf")
    assert found[:2] == ("2", "second")


def test_config_after_a_positional_argument_is_not_read(script: Path) -> None:
    assert values(script, "x", "--config", "missing")[:5] == (*DEFAULTS, "x")


def test_a_config_file_that_is_missing_or_no_file_is_named(script: Path, tmp_path: Path) -> None:
    expected = "train.sh: cannot read the config file 'missing'\n"
    assert usage_error(script, "--config", "missing") == expected
    assert str(tmp_path) in usage_error(script, "--config", str(tmp_path))


def test_a_config_file_keeps_booleans_too(script: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.conf"
    config.write_text("force=yes\n")
    message = usage_error(script, "--config", str(config))
    assert "force is 'yes'" in message
    assert str(config) in message


def test_a_script_that_marks_its_options_has_no_others(tmp_path: Path) -> None:
    script = tmp_path / "data.sh"
    script.write_text(
        "set -euo pipefail\nroot=/x\n# Options of this script\nnj=1 # jobs\n"
        f'# End of options.\nscript=/x\n. "{PARSE_OPTIONS}"\necho "${{option_names}}: ${{nj}}"\n'
    )
    assert run(script, "--nj", "2").stdout == "nj : 2\n"
    for name in ("root", "script", "PATH", "HOME", "n", "option_names", "nj "):
        assert usage_error(script, f"--{name}", "/none") == f"data.sh: invalid option --{name}\n"


def test_a_program_name_stands_in_messages(tmp_path: Path) -> None:
    inner = tmp_path / "ser.sh"
    inner.write_text(f'program_name=run.sh\n. "{PARSE_OPTIONS}"\n')
    assert usage_error(inner, "--x", "1") == "run.sh: invalid option --x\n"


@pytest.mark.skipif(shutil.which("dash") is None, reason="needs a shell that is not bash")
def test_another_shell_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "train.sh"
    script.write_text(f'. "{PARSE_OPTIONS}"\n')
    result = subprocess.run(["dash", script], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "needs bash" in result.stderr
