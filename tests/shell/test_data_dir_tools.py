"""utils/{fix,subset,copy}_data_dir.sh and utils/combine_data.sh, run as a user would."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cfia import marker
from tests.support.data_files import ROOT, tree, write_tables

PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"}
TOOLS = ("fix_data_dir", "subset_data_dir", "combine_data", "copy_data_dir")
UTTS = [f"{s}-{i}" for s in ("ä", "s1", "s2") for i in range(4)]


def tables(utterances: list[str]) -> dict[str, dict[str, str]]:
    speakers = sorted({u[:-2] for u in utterances})
    return {
        "wav.scp": {u: f"/x y/{u}.wav" for u in utterances},
        "text": {u: f"Hört  {u}." for u in utterances},
        "utt2spk": {u: u[:-2] for u in utterances},
        "spk2utt": {s: " ".join(u for u in sorted(utterances) if u[:-2] == s) for s in speakers},
        "utt2dur": {u: str(9 - int(u[-1])) for u in utterances},
        "utt2emo": dict.fromkeys(utterances, "neu"),
        "spk2gender": dict.fromkeys(speakers, "f"),
    }


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_fix_removes_what_windows_adds(data: Path, mark: str) -> None:
    before = (data / "text").read_bytes()
    text = mark + before.decode().replace("\n", "\r\n").removesuffix("\r\n")
    (data / "text").write_bytes(text.encode())
    assert "fix_data_dir.sh removes it" in error("validate_data_dir", data) or not mark
    assert tool("fix_data_dir", data).returncode == 0
    assert (data / "text").read_bytes() == before
    assert tool("validate_data_dir", "--no-feats", data).returncode == 0


def test_combine_says_that_the_utterances_of_others_are_unique(data: Path, tmp_path: Path) -> None:
    said("copy_data_dir", "--utt-suffix", "-noisy", data, tmp_path / "noisy")
    said("combine_data", tmp_path / "both", data, tmp_path / "noisy")
    unique = (tmp_path / "both" / "utt2uniq").read_text("utf-8").splitlines()
    assert unique == sorted(f"{u}{end} {u}" for u in UTTS for end in ("", "-noisy"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = write_tables(tmp_path / "data of Zoë" / "all", tables(UTTS))
    marker.finish(directory, {"labels": "4"}, {})
    return directory


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "utils" / f"{name}.sh", *map(str, arguments)],
        env=PATH,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def said(name: str, *arguments: object) -> str:
    """What a run that goes well prints."""
    done = tool(name, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def error(name: str, *arguments: object, code: int = 1) -> str:
    done = tool(name, *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def ids(directory: Path, name: str = "utt2spk") -> list[str]:
    return [line.split()[0] for line in (directory / name).read_text("utf-8").split("\n")[:-1]]


def check_valid(directory: Path) -> None:
    assert said("validate_data_dir", "--no-feats", directory)
    recorded = marker.read(directory)  # of a program, but of no stage
    assert recorded is not None
    assert recorded.options == {}


@pytest.mark.parametrize("name", TOOLS)
def test_help_usage_and_sh(name: str) -> None:
    help_text = said(name, "--help")
    assert f"example:\n  utils/{name}.sh " in help_text
    assert f"{name}.sh: error: " in error(name, code=2)
    assert f"{name}.sh: error: " in error(name, "--no-such-option", "a", "2", "b", code=2)
    done = subprocess.run(
        ["dash", ROOT / "utils" / f"{name}.sh"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"{name}.sh: this script needs bash\n")


def test_fix_drops_what_a_table_lacks(data: Path) -> None:
    path = data / "utt2emo"
    path.write_text("".join(reversed(path.read_text("utf-8").splitlines(True)[1:])))
    before = tree(data)
    done = tool("fix_data_dir", data)
    assert done.returncode == 0
    assert done.stdout == (
        "fix_data_dir.sh: kept 11 utterances out of 12\n"
        f"fix_data_dir.sh: old files are kept in {data}/.backup\n"
    )
    assert "warning: utterances not in utt2emo: 1, the first s1-0\n" in done.stderr
    assert f"{data} is no longer what stage 1 made; go on from --stage 2" in done.stderr
    check_valid(data)
    assert tree(data / ".backup") == before
    once = tree(data)
    assert said("fix_data_dir", data) == "fix_data_dir.sh: kept all 11 utterances.\n"
    assert tree(data) == once


def test_fix_leaves_a_good_directory_and_its_marker_alone(data: Path) -> None:
    before = tree(data)
    assert said("fix_data_dir", data) == "fix_data_dir.sh: kept all 12 utterances.\n"
    assert tree(data) == before


def test_fix_with_an_empty_intersection(data: Path) -> None:
    (data / "text").write_text("x y\n")
    before = tree(data)
    assert error("fix_data_dir", data) == (
        "fix_data_dir.sh: no utterances remained: not proceeding further "
        "(utterances not in text: 12, the first s1-0)\n"
    )
    assert tree(data) == before


@pytest.mark.parametrize(
    ("flag", "number", "expected"),
    [
        ("", 3, ["s2-1", "ä-0", "ä-3"]),
        ("--first", 2, ["s1-0", "s1-1"]),
        ("--last", 2, ["ä-2", "ä-3"]),
        ("--shortest", 3, ["s1-3", "s2-3", "ä-3"]),
        ("--per-spk", 2, ["s1-0", "s1-2", "s2-0", "s2-2", "ä-0", "ä-2"]),
    ],
)
def test_subset(data: Path, flag: str, number: int, expected: list[str]) -> None:
    small = data.parent / "small"
    assert said("subset_data_dir", *flag.split(), data, number, small) == (
        f"subset_data_dir.sh: reducing #utt from 12 to {len(expected)} in {small}\n"
    )
    assert ids(small) == ids(small, "text") == expected
    assert ids(small, "spk2gender") == sorted({u[:-2] for u in expected})
    check_valid(small)


def test_subset_by_speakers_and_by_lists(data: Path) -> None:
    small, listed = data.parent / "small", data.parent / "list"
    said("subset_data_dir", "--speakers", data, 5, small)
    assert len(ids(small)) == 8
    assert len(ids(small, "spk2utt")) == 2
    listed.write_text("ä x\n", encoding="utf-8")
    said("subset_data_dir", "--spk-list", listed, data, small)  # over the one that is there
    assert ids(small) == [f"ä-{i}" for i in range(4)]
    listed.write_text("s1-3\nnone\n")
    done = tool("subset_data_dir", f"--utt_list={listed}", data, small)
    assert f"warning: {data} lacks 1 of {listed}: none" in done.stderr
    assert ids(small) == ["s1-3"]
    check_valid(small)
    listed.write_text("none\n")
    assert f"{listed} names no utterances" in error(
        "subset_data_dir", "--utt-list", listed, data, small
    )


def test_subset_refuses(data: Path) -> None:
    new = data.parent / "new"
    assert error("subset_data_dir", data, 13, new) == (
        "subset_data_dir.sh: cannot subset to more utterances than you originally had: 13 of 12\n"
    )
    error("subset_data_dir", data, "x", new, code=2)
    error("subset_data_dir", "--first", "--last", data, 2, new, code=2)
    for line in ("s1-0 a\n", "s2-1 a\n"):  # none, or one, of the two that are chosen
        (data / "text").write_text(line)
        assert f"Run utils/fix_data_dir.sh on {data} first" in error(
            "subset_data_dir", data, 2, new
        )
    assert not new.exists()


@pytest.mark.parametrize("name", ["notes.txt", "sub"])
def test_a_destination_that_holds_other_things(data: Path, name: str) -> None:
    other = data.parent / "other"
    if name == "sub":
        (other / name).mkdir(parents=True)
    else:
        write_tables(other, {name: {"a": "b"}})
    assert "is neither empty nor a data directory" in error("copy_data_dir", data, other)
    write_tables(other, {"utt2spk": {"a": "b"}})
    before = tree(other)
    assert f"holds {name}, which does not belong to a data directory" in error(
        "copy_data_dir", data, other
    )
    assert (other / name).exists()
    assert tree(other) == before


def test_a_destination_that_is_the_source(data: Path) -> None:
    before = tree(data)
    link = data.parent / "link"
    link.symlink_to(data)
    for target in (data, f"{data}/", link):
        assert "source and destination are both" in error("copy_data_dir", data, target)
        assert "source and destination are both" in error("subset_data_dir", data, 2, target)
        assert "source and destination are both" in error("combine_data", target, data)
    assert "lies in the destination" in error("copy_data_dir", data, data.parent)
    assert tree(data) == before


def test_copy_renames(data: Path) -> None:
    new = data.parent / "new"
    options = ["--spk-prefix", "x_", "--utt-prefix", "x_", "--utt-suffix", "-noisy"]
    assert said("copy_data_dir", *options, "--validate-opts", "--non-print", data, new) == (
        f"copy_data_dir.sh: copied data from {data} to {new}\n"
    )
    assert ids(new) == [f"x_{u}-noisy" for u in sorted(UTTS)]
    assert ids(new, "spk2gender") == ["x_s1", "x_s2", "x_ä"]
    assert "x_s1-0-noisy s1-0\n" in (new / "utt2uniq").read_text("utf-8")
    assert (new / "text").read_text("utf-8").startswith("x_s1-0-noisy Hört  s1-0.\n")
    check_valid(new)
    assert "does not start with its speaker-id" in error(
        "copy_data_dir", "--utt-prefix", "y_", data, new
    )
    assert ids(new)[0] == "x_s1-0-noisy"
    said("copy_data_dir", "--utt-prefix", "y_", "--validate-opts", "--no-spk-sort", data, new)
    assert ids(new)[0] == "y_s1-0"
    error("copy_data_dir", "--validate-opts", "--no-such", data, new, code=2)


def test_copy_keeps_the_recordings_of_segments(data: Path) -> None:
    write_tables(data, {"segments": dict.fromkeys(UTTS, "rec 0 1"), "wav.scp": {"rec": "/x.wav"}})
    new = data.parent / "new"
    said("copy_data_dir", "--utt-suffix", "-a", data, new)
    assert (new / "wav.scp").read_text() == "rec /x.wav\n"
    assert (new / "segments").read_text().startswith("s1-0-a rec 0 1\n")
    check_valid(new)


def test_combine(data: Path) -> None:
    one, two, both = data.parent / "one", data.parent / "two", data.parent / "both"
    said("subset_data_dir", "--first", data, 8, one)
    said("subset_data_dir", "--last", data, 8, two)  # four stand in both, with the same lines
    assert said("combine_data", both, one, two) == (
        f"combine_data.sh: combined 2 data directories into {both}, 12 utterances\n"
    )
    expected = {k: v for k, v in tree(data).items() if k != ".done.json"}
    assert {k: v for k, v in tree(both).items() if k != ".done.json"} == expected
    (two / "utt2emo").unlink()
    done = tool("combine_data", both, one, two)
    assert (done.returncode, done.stderr) == (
        0,
        "combine_data.sh: warning: not combining utt2emo as it does not exist everywhere: "
        f"{two} lacks it\n",
    )
    assert not (both / "utt2emo").exists()
    check_valid(both)
    (two / "text").write_text((two / "text").read_text("utf-8").replace("s2-0.", "Ja"), "utf-8")
    before = tree(both)
    assert f"{one}/text and {two}/text have different lines for s2-0" in error(
        "combine_data", "--skip-fix", "true", both, one, two
    )
    assert tree(both) == before


def test_combine_of_segments_and_whole_recordings(data: Path) -> None:
    parts = tables(["t-0", "t-1"]) | {"segments": {"t-0": "rec 0 1", "t-1": "rec 1 2"}}
    other = write_tables(data.parent / "other", parts | {"wav.scp": {"rec": "/x.wav"}})
    both = data.parent / "both"
    said("combine_data", "--extra-files", "utt2x", both, data, other)
    assert "s1-0 s1-0 0 -1\n" in (both / "segments").read_text("utf-8")
    assert len(ids(both)) == 14
    check_valid(both)


def test_combine_mends_unless_told_not_to(data: Path) -> None:
    both = data.parent / "both"
    (data / "utt2emo").write_text("s1-0 neu\n")
    done = tool("combine_data", both, data)
    assert done.stdout.endswith("1 utterances\n")
    said("combine_data", "--skip-fix", both, data)
    assert len(ids(both)) == 12
