"""What a user has of the package where the repository is not: `pip install` of its wheel."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from cfia import __version__
from cfia.__main__ import STAGES, usage, verbs_of_users
from cfia.bin.compare import main as compare
from cfia.bin.score import main as score
from cfia.upstream.choice import Choice
from cfia.upstream.text import MINILM
from tests.support import made_up_experiments as made_up
from tests.support import tiny_packs
from tests.support.data_files import ROOT, tree, write_audio, write_tables
from tests.support.installed import SETUP, Installed, brought_by, top_level

# Printed by a Python of the environment: what it imports, reads and says.
ASKED = """\
import json, sys
before = set(sys.modules)
import cfia
imported = {name.partition(".")[0] for name in set(sys.modules) - before}
from pathlib import Path
from cfia import config, installation
from cfia.cli import explain
def said(name):
    try:
        __import__(name)
    except ImportError as error:
        return explain(error)
Path("mine.yaml").write_text("base: cfia_net_no_con\\nchannels: 8\\n")
print(json.dumps({
    "file": cfia.__file__,
    "imported": sorted(imported - sys.stdlib_module_names),
    "consistency": config.load([Path("mine.yaml")]).model.consistency,
    "said": {name: said(name) for name in sys.argv[1:]},
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"))


def test_the_wheel_has_the_package_and_what_it_reads(installed: Installed) -> None:
    read = {f"cfia/{path.relative_to(ROOT)}": path for path in (ROOT / "conf").rglob("*.*")}
    read |= {str(path.relative_to(ROOT)): path for path in (ROOT / "cfia").rglob("*.*")}
    files = {name: path for name, path in read.items() if "__pycache__" not in name}
    del files["cfia/README.md"]  # for those who change the code
    del files["cfia/conf/slurm.conf"]  # for recipes, which are not in the wheel
    with zipfile.ZipFile(installed.wheel) as wheel:
        held = [name for name in wheel.namelist() if ".dist-info/" not in name]
        assert sorted(held) == sorted(files)
        assert all(wheel.read(name) == path.read_bytes() for name, path in files.items())


def test_what_the_package_says_of_itself(installed: Installed) -> None:
    (information,) = installed.site.glob("cfia-*.dist-info")
    said = Distribution.at(information).metadata
    assert (said["Name"], said["Version"], said["License"]) == ("cfia", __version__, "MIT")
    assert said["Requires-Python"] == ">=3.11"
    description = (information / "METADATA").read_text().partition("\n\n")[2]
    assert description.strip() == (ROOT / "README.md").read_text().strip()
    assert "speech emotion recognition" in said["Summary"]
    assert {*said.get_all("Provides-Extra", [])} == {*SETUP["EXTRAS"], "minilm", "test"}
    assert (information / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_a_python_without_the_repository(installed: Installed, tmp_path: Path) -> None:
    lacking = {"kaldiio": "train", "tensorboard": "train", "matplotlib": "plot",
               "modelscope": "modelscope"}  # fmt: skip
    done = installed.run("python", "-c", ASKED, *lacking, "no_such", cwd=tmp_path)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert Path(found["file"]).parent == installed.site / "cfia"
    assert found["imported"] == ["cfia"]  # at no cost
    assert found["consistency"] == []  # as the shared configuration has it
    other = found["said"].pop("no_such")
    assert other.endswith("(No module named 'no_such'); install cfia in a new environment")
    for name, extra in lacking.items():
        way_out = f"(No module named '{name}'); install it with `pip install \"cfia[{extra}]\"`"
        assert found["said"][name].endswith(way_out)


def test_the_verbs_there_are(installed: Installed, tmp_path: Path) -> None:
    shown = installed.run("cfia", "--help", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    here = [line for line in usage().splitlines() if line.split()[:1]]
    lines = shown.stdout.splitlines()
    assert [line for line in lines if line and line not in here] == []
    named = [line.split()[0] for line in lines if line.startswith("  ") and "cfia" not in line[:12]]
    assert named == verbs_of_users()
    assert not {*named} & {*STAGES} - {"score"}
    assert installed.run("cfia", "--version", cwd=tmp_path).stdout == f"cfia {__version__}\n"
    refused = installed.run("cfia", "train", "--help", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "error: cfia train is part of a recipe's run.sh, and cfia is installed here without its "
        "recipes; call run.sh in a checkout of the repository\n"
    )


def test_scores_and_comparisons_are_those_of_a_checkout(
    installed: Installed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [made_up.run(tmp_path / name) / "fold1_seed1/posteriors.tsv" for name in ("a", "b")]
    arguments = ["--clusters", str(tmp_path / "a" / "data" / "all" / "utt2spk")]
    for verb, main, given in (("score", score, files[:1]), ("compare", compare, files)):
        line = [*map(str, given), *arguments]
        done = installed.run("cfia", verb, *line, cwd=installed.home)
        main(line)
        assert (done.stdout, done.stderr) == (capsys.readouterr().out, "")
    assert [*installed.home.iterdir()] == []


def test_a_model_is_applied(installed: Installed, tmp_path: Path) -> None:
    tiny_packs.write(tmp_path / "pack", tiny_packs.FBANK, Choice("text", "minilm"))
    texts = {"a": "so good to see you", "b": "go away"}
    for name in texts:
        write_audio(tmp_path / f"{name}.wav", 0.5)
    write_tables(tmp_path, {"text": texts})
    installed.bring(Distribution.from_name(MINILM))
    line = ["cfia", "predict", "--model", "pack", "--text_file", "text", "a.wav", "b.wav"]
    done = installed.run(*line, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = (line.split("\t") for line in done.stdout.splitlines())
    assert tuple(head[-4:]) == tiny_packs.CLASSES
    assert [row[0] for row in rows] == ["a.wav", "b.wav"]
    first, second = ([float(value) for value in row[-4:]] for row in rows)
    assert sum(first) == pytest.approx(1, abs=4 * 0.5e-6)  # four numbers of six decimals
    assert first != second


def test_a_program_whose_packages_are_an_extra_says_so(
    installed: Installed, tmp_path: Path
) -> None:
    data = write_tables(tmp_path / "all", {"utt2spk": {"a": "a"}, "wav.scp": {"a": "a.wav"}})
    (tmp_path / "feats.ark").write_bytes(b"a \0BFV \4\1\0\0\0\0\0\0\0")
    write_tables(tmp_path, {"feats.scp": {"a": f"{tmp_path}/feats.ark:2"}})
    before = tree(tmp_path)
    done = installed.run(
        "cfia", "import_features", "--scp", "feats.scp", "--name", "mine", "--modality", "audio",
        "--data", data, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith('install it with `pip install "cfia[train]"`\n')
    assert done.stderr.count("\n") == 1
    assert tree(tmp_path) == before


def test_no_module_needs_an_extra_when_it_is_imported() -> None:
    """Else a program that could do without it could not start."""
    extras = [need for needs in SETUP["EXTRAS"].values() for need in needs]
    base = {name for one in brought_by(SETUP["REQUIRES"]) for name in top_level(one)}
    only = {name for one in brought_by(extras) for name in top_level(one)} - base
    assert {"kaldiio", "matplotlib", "tensorboard", "modelscope"} <= only
    found = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / "cfia").rglob("*.py")
        for name in imported_at_once(ast.parse(path.read_text(encoding="utf-8")).body)
    }
    assert {(path, name) for path, name in found if name in only} == set()


def imported_at_once(statements: list[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield (statement.module or "").partition(".")[0]
        elif isinstance(statement, ast.Try):
            yield from imported_at_once(statement.body)
