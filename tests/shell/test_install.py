"""utils/install.py, path.sh and cmd.sh, in a small repository whose installation takes seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.data_files import RECIPES

ROOT = Path(__file__).resolve().parents[2]

# A build backend that needs nothing, with which pip installs the small repository itself.
BACKEND = """\
import os, zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    name, info = "small-1.0-py3-none-any.whl", "small-1.0.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        # Python reads this file in the locale's encoding, which path.sh sets to C.
        wheel.writestr("small.pth", "import sys; sys.path.append(" + ascii(os.getcwd()) + ")")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def write_wheel(directory: Path, name: str) -> None:
    """Version 1.2 of a distribution that is one empty module."""
    info = f"{name}-1.2.dist-info"
    with zipfile.ZipFile(directory / f"{name}-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/RECORD", "")


class Repository:
    """A copy of the files under test, with needs of its own."""

    def __init__(self, root: Path, **lists: list[str]) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.marker = self.venv / ".installed"
        self.requirements = root / "requirements.txt"
        for name in ("utils/install.py", "egs/TEMPLATE/path.sh", "egs/TEMPLATE/cmd.sh"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
        (root / "egs/small").mkdir()
        (root / "egs/small/path.sh").symlink_to("../TEMPLATE/path.sh")
        (root / "backend.py").write_text(BACKEND)
        (root / "pyproject.toml").write_text(PYPROJECT)
        self.requirements.write_text("first==1.2\ntool==1.2\n")
        self.need(**lists)
        wheels = root.parent / "wheels"
        wheels.mkdir()
        for name in ("first", "alone", "tool"):
            write_wheel(wheels, name)
        # pip is to find these wheels and nothing else; this Python comes first on the path.
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(root.parent),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
        }

    def need(self, *, requires: list[str], alone: list[str], test: list[str]) -> None:
        """Write setup.py."""
        base, extra = requires[:1], {"extra": requires[1:]}
        lists = {"REQUIRES": base, "EXTRAS": extra, "REQUIRES_ALONE": alone, "REQUIRES_TEST": test}
        text = "".join(f"{name} = {value}\n" for name, value in lists.items())
        (self.root / "setup.py").write_text(text)

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, self.root / "utils/install.py", *arguments],
            cwd="/",
            env={**self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def install(self, *arguments: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **env)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def bash(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", f"cd /; {script}", "-", str(self.root)]
        return subprocess.run(
            command, env={**self.env, **env}, capture_output=True, text=True, check=False
        )


# A Python with all that is needed


@pytest.fixture
def complete(tmp_path: Path) -> Repository:
    """A repository that needs nothing but what runs this test."""
    return Repository(tmp_path / "my repo", requires=["pytest>=1.0"], alone=[], test=["absent"])


def test_an_environment_that_is_complete_is_used_as_it_is(complete: Repository) -> None:
    assert complete.install() == (0, f"{Path(sys.executable).parent}\n", "")
    assert not complete.venv.exists()


@pytest.mark.parametrize(
    ("requires", "lacks"),
    [
        (["pytest", "no-such-package>=1"], "no-such-package>=1"),
        (["pytest>=999"], f"pytest>=999 (it has {pytest.__version__})"),
        (["pytest==0.1"], f"pytest==0.1 (it has {pytest.__version__})"),
    ],
)
def test_what_is_missing_or_too_old_is_seen(
    complete: Repository, requires: list[str], lacks: str
) -> None:
    complete.need(requires=requires, alone=[], test=[])
    code, out, _ = complete.install("--state")
    assert (code, json.loads(out)["lacks"]) == (0, lacks)


def test_the_test_tools_are_needed_only_when_asked_for(complete: Repository) -> None:
    empty = complete.root.parent / "empty"
    empty.mkdir()
    assert complete.install(PATH=str(empty))[0] == 0
    code, out, err = complete.install("--test", PATH=str(empty))
    # There is no python3 on this path to make .venv with.
    assert (code, out) == (1, "")
    assert "Python 3.11 or newer" in err.splitlines()[-1]


def test_an_older_python_says_so_in_one_sentence(complete: Repository) -> None:
    program = complete.root / "utils/install.py"
    text = program.read_text()
    assert "OLDEST = (3, 11)" in text
    # This Python is too old for a project of the far future.
    program.write_text(text.replace("OLDEST = (3, 11)", "OLDEST = (99, 0)"))
    code, out, err = complete.install()
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("install.py: this needs Python 3.11 or newer")


# .venv


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    directory = tmp_path_factory.mktemp("small")
    lists = {"requires": ["first>=1"], "alone": ["alone==1.2"], "test": ["tool"]}
    return Repository(directory / "my repo of Müller", **lists)


@pytest.fixture(scope="module")
def made(small: Repository) -> tuple[str, list[tuple[int, str, str]]]:
    """The installation: a first start that is ended early, then two at once that make .venv.

    Gives what the first said on its way, and code, stdout and stderr of the two.
    """
    first = small.start()
    until = time.monotonic() + 60
    while not (small.venv / "bin").exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    first.terminate()
    _, said = first.communicate(timeout=60)
    assert first.returncode == 143
    assert not small.marker.exists()
    pair = [small.start(), small.start()]
    results = []
    for process in pair:
        out, err = process.communicate(timeout=120)
        results.append((process.returncode, out, err))
    return said, results


@pytest.fixture
def venv(small: Repository, made: object) -> Iterator[Repository]:
    """The repository with its .venv complete, and its files restored after the test."""
    marker, requirements = small.marker.read_text(), small.requirements.read_text()
    yield small
    small.marker.write_text(marker)
    small.requirements.write_text(requirements)


def test_the_installation_says_what_it_does(
    small: Repository, made: tuple[str, list[tuple[int, str, str]]]
) -> None:
    said, _ = made
    assert ".venv is not there yet" in said
    assert "about 2 minutes" in said
    assert said.splitlines()[1] == "install.py: making .venv"


def test_an_unfinished_venv_is_made_again_by_one_of_two_starts(
    small: Repository, made: tuple[str, list[tuple[int, str, str]]]
) -> None:
    _, results = made
    assert [(code, out) for code, out, _ in results] == [(0, f"{small.venv}/bin\n")] * 2
    waited, worked = sorted((err for _, _, err in results), key=len)
    assert waited == "install.py: another start is making .venv; waiting for it\n"
    assert ".venv was not finished" in worked
    assert worked.endswith("install.py: .venv is complete\n")


def test_all_that_is_needed_is_installed(venv: Repository) -> None:
    code = "import first, alone, tool, sys; print(sys.prefix, sys.path[-1])"
    found = subprocess.check_output([venv.venv / "bin/python", "-I", "-c", code], text=True)
    assert found == f"{venv.venv} {venv.root}\n"


def test_a_complete_venv_is_found_without_a_word(venv: Repository) -> None:
    before = venv.marker.stat().st_mtime_ns
    assert venv.install("--test") == (0, f"{venv.venv}/bin\n", "")
    # From within as well, as when path.sh is sourced a second time.
    inside = [venv.venv / "bin/python", venv.root / "utils/install.py"]
    assert subprocess.check_output(inside, env=venv.env, text=True) == f"{venv.venv}/bin\n"
    assert venv.marker.stat().st_mtime_ns == before


def uninstall(venv: Repository) -> None:
    command = [str(venv.venv / "bin/python"), "-m", "pip", "uninstall", "-qy", "first"]
    subprocess.run(command, env=venv.env, check=True, capture_output=True)


def test_a_missing_package_is_installed_again(venv: Repository) -> None:
    uninstall(venv)
    stray = venv.venv / "of the user"
    stray.touch()
    code, out, err = venv.install()
    assert (code, out) == (0, f"{venv.venv}/bin\n")
    assert ".venv lacks first>=1; installing what is missing" in err
    assert stray.exists(), "what is not broken stays"
    assert venv.install()[2] == ""


def test_who_sources_path_sh_at_a_prompt_is_asked_first(venv: Repository) -> None:
    uninstall(venv)
    for answer, code in (("", 1), ("no\n", 1), ("y\n", 0)):
        done = subprocess.run(
            ["bash", "--norc", "-i", "-c", '. "$0/egs/small/path.sh"', str(venv.root)],
            env=venv.env, input=answer, capture_output=True, text=True, check=False,
        )  # fmt: skip
        asked = ".venv lacks first>=1; installing what is missing\ninstall.py: do it now? [y/N] "
        assert asked in done.stderr
        assert (done.returncode, ".venv is complete" in done.stderr) == (code, code == 0)
        assert ("run.sh does it unasked" in done.stderr) == (code == 1)


def test_a_failed_installation_says_so_and_counts_as_unfinished(venv: Repository) -> None:
    venv.requirements.write_text("first==1.2\nno-such-package==7.7\n")
    code, out, err = venv.install()
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert ".venv was made from other requirements" in lines[0]
    assert any("no-such-package==7.7" in line for line in lines[1:-1])
    assert lines[-1] == "install.py: installing requirements.txt: failed; see above"
    assert not venv.marker.exists()


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("", "", "was not finished"),
        ("root", "/elsewhere", "was made in /elsewhere"),
        ("python", "3.4", "was made with Python 3.4, not "),
    ],
)
def test_a_venv_of_another_place_or_python_is_seen(
    venv: Repository, tmp_path: Path, key: str, value: str, reason: str
) -> None:
    marker = json.loads(venv.marker.read_text())
    venv.marker.write_text(json.dumps({**marker, key: value}) if key else "")
    # Without a python3 on the path, it ends where it would make .venv anew.
    code, _, err = venv.install(PATH=str(tmp_path))
    assert code == 1
    assert f".venv {reason}" in err


def test_a_python_that_does_not_run_is_seen(venv: Repository, tmp_path: Path) -> None:
    python = venv.venv / "bin/python"
    python.rename(tmp_path / "python")
    python.symlink_to("/no/such/python")
    code, _, err = venv.install(PATH=str(tmp_path / "none"))
    (tmp_path / "python").rename(python)
    assert code == 1
    assert ".venv has a Python that does not run" in err


# path.sh and cmd.sh

SHOW = 'printf "%s\\n" "$PATH" "$PYTHONPATH" "$LC_ALL" "$PYTHONIOENCODING" "$(command -v python)"'


@pytest.mark.parametrize("recipe", ["TEMPLATE", "small"])
def test_path_sh_sets_the_paths_from_any_directory(venv: Repository, recipe: str) -> None:
    script = f'set -euo pipefail; . "$1/egs/{recipe}/path.sh"; {SHOW}'
    result = venv.bash(script)
    assert (result.returncode, result.stderr) == (0, "")
    root, bin_directory = venv.root, venv.venv / "bin"
    path, python_path, *rest = result.stdout.splitlines()
    assert path == f"{root}/utils:{bin_directory}:{venv.env['PATH']}"
    assert python_path == str(root)
    assert rest == ["C", "UTF-8", f"{bin_directory}/python"]
    twice = venv.bash(f'. "$1/egs/{recipe}/path.sh"; {script}')
    assert twice.stdout == result.stdout


def test_path_sh_keeps_the_users_pythonpath(venv: Repository) -> None:
    result = venv.bash('. "$1/egs/small/path.sh"; echo "$PYTHONPATH"', PYTHONPATH="/mine:/too")
    assert result.stdout == f"{venv.root}:/mine:/too\n"


def test_path_sh_asks_for_test_tools_when_told(complete: Repository) -> None:
    # The installer's own answer is tested above; here, what path.sh tells it.
    program = complete.root / "utils/install.py"
    program.write_text('import sys; sys.exit(f"arguments: {sys.argv[1:]}")')
    source = '. "$1/egs/small/path.sh"'
    assert complete.bash(source).stderr == "arguments: []\n"
    told = complete.bash(source, CFIA_WITH_TESTS="true")
    assert (told.returncode, told.stderr) == (1, "arguments: ['--test']\n")


def test_a_failing_path_sh_leaves_the_users_shell_open(venv: Repository, tmp_path: Path) -> None:
    for tool in ("dirname", "readlink"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    bash = shutil.which("bash") or "bash"
    script = '. "$1/egs/small/path.sh"; echo "code $?"'
    result = subprocess.run(
        [bash, "-c", script, "-", str(venv.root)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "code 1\n"
    assert "no python3 on the path" in result.stderr


def test_cmd_sh_names_the_runners_of_a_backend_and_refuses_others(venv: Repository) -> None:
    source = '. "$1/egs/TEMPLATE/cmd.sh" && printf "%s\n" "$train_cmd" "$cuda_cmd" "$decode_cmd"'
    assert venv.bash(source).stdout == "run.py\n" * 3
    slurm = "slurm.py --config ../../conf/slurm.conf\n"
    assert venv.bash(source, cmd_backend="slurm").stdout == slurm * 3
    result = venv.bash(source, cmd_backend="pbs")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "cmd.sh: cmd_backend is 'pbs'; it must be local or slurm\n"


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["path.sh", "cmd.sh"])
def test_recipes_share_the_template(recipe: str, name: str) -> None:
    assert (ROOT / "egs" / recipe / name).resolve() == ROOT / "egs" / "TEMPLATE" / name
