"""Validation of data directories, by the module and by utils/validate_data_dir.sh."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cfia.errors import UserError
from cfia.kaldi.validate import Checks, validate
from tests.support.data_files import ROOT, write_tables

SCRIPT = ROOT / "utils" / "validate_data_dir.sh"
UTTS = ["s1-a", "s1-b", "s2-a"]
TABLES = {
    "wav.scp": {u: f"/x/{u}.wav" for u in UTTS},
    "text": {"s1-a": "Ja.", "s1-b": "Hört, hört!", "s2-a": "..."},
    "utt2spk": {u: u[:2] for u in UTTS},
    "spk2utt": {"s1": "s1-a s1-b", "s2": "s2-a"},
    "utt2dur": dict.fromkeys(UTTS, "1.5"),
    "utt2emo": dict.fromkeys(UTTS, "neu"),
    "utt2session": dict.fromkeys(UTTS, "ses"),
    "feats.scp": {u: f"/x/raw.1.ark:{i}" for i, u in enumerate(UTTS)},
    "utt2num_frames": dict.fromkeys(UTTS, "74"),
    "spk2gender": {"s1": "f", "s2": "m"},
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tables(tmp_path / "data ä" / "all", TABLES)


def problem(data: Path, checks: Checks | None = None) -> str:
    """The message about a directory that is not valid."""
    with pytest.raises(UserError) as error:
        validate(data, checks or Checks(), flags=True)
    return str(error.value)


def script(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script as someone without any of our settings would."""
    return subprocess.run(
        [str(SCRIPT), *arguments],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_valid_directory(data: Path) -> None:
    validate(data, Checks())
    done = script(str(data))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"validate_data_dir.sh: Successfully validated data-directory {data}\n"


def test_the_script_works_from_any_directory_and_by_a_link(data: Path, tmp_path: Path) -> None:
    (tmp_path / "utils").symlink_to(SCRIPT.parent)
    done = subprocess.run(
        ["utils/validate_data_dir.sh", "--no-feats", "data ä/all"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Successfully validated data-directory data ä/all\n")


def test_exit_codes_of_the_script(data: Path) -> None:
    (data / "feats.scp").unlink()
    done = script(str(data))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"validate_data_dir.sh: no such file {data}/feats.scp "
        "(if this is by design, specify --no-feats)\n"
    )
    assert script("--no-feats", str(data)).returncode == 0
    assert script().returncode == 2
    assert script("--no-such-flag", str(data)).returncode == 2
    assert script("--help").returncode == 0


@pytest.mark.parametrize(
    ("name", "flag", "checks"),
    [
        ("feats.scp", "--no-feats", Checks(feats=False)),
        ("text", "--no-text", Checks(text=False)),
        ("wav.scp", "--no-wav", Checks(wav=False)),
    ],
)
def test_files_that_may_be_missing_by_design(
    data: Path, name: str, flag: str, checks: Checks
) -> None:
    validate(data, checks)  # the file is there: that is no fault
    (data / name).unlink()
    assert problem(data) == (
        f"validate_data_dir.sh: no such file {data}/{name} (if this is by design, specify {flag})"
    )
    validate(data, checks)


@pytest.mark.parametrize("name", ["utt2spk", "spk2utt"])
def test_files_that_must_be_there(data: Path, name: str) -> None:
    (data / name).unlink()
    assert problem(data) == f"validate_data_dir.sh: no such file {data}/{name}"


def test_no_such_directory(tmp_path: Path) -> None:
    assert problem(tmp_path / "x") == f"validate_data_dir.sh: no such directory {tmp_path / 'x'}"


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_file_is_sorted_without_duplicates(data: Path, name: str) -> None:
    path = data / name
    good = path.read_text()
    lines = good.splitlines(keepends=True)
    expected = f"validate_data_dir.sh: file {path} is not sorted or has duplicates"
    path.write_text("".join(reversed(lines)))
    assert problem(data) == expected
    path.write_text(lines[0] + good)
    assert problem(data) == expected


@pytest.mark.parametrize("name", sorted(TABLES))
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:-1], "does not end in a newline"),
        (lambda b: b + b"\xff\xfe x\n", ": not UTF-8; convert the file with iconv"),
        (lambda b: b + b"\n", "has an empty line"),
        (lambda b: b"", "empty file"),
        (lambda b: b"\xef\xbb\xbf" + b, "a byte order mark, which Kaldi takes for a part of the"),
        (lambda b: "\u200e".encode() + b, "has the invisible character U+200E"),
    ],
)
def test_every_file_is_text(
    data: Path, name: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    (data / name).write_bytes(damage((data / name).read_bytes()))
    found = problem(data)
    assert message in found
    assert f"{data}/{name}" in found


@pytest.mark.parametrize("name", sorted({*TABLES} - {"text"}))
def test_every_line_has_a_value(data: Path, name: str) -> None:
    first, rest = (data / name).read_text().split("\n", 1)
    key = first.split()[0]
    (data / name).write_text(f"{key}\n{rest}")
    assert problem(data) == (
        f"validate_data_dir.sh: file {data}/{name} has a line without a value: {key}"
    )


@pytest.mark.parametrize("name", ["utt2spk", "utt2dur", "utt2emo", "utt2session", "spk2gender"])
def test_a_line_with_a_column_too_many(data: Path, name: str) -> None:
    first, rest = (data / name).read_text().split("\n", 1)
    (data / name).write_text(f"{first} extra\n{rest}")
    found = problem(data)
    assert found == (
        f"validate_data_dir.sh: file {data}/{name} has a line that is not two columns: "
        f"{first} extra"
    )


PER_UTTERANCE = sorted({*TABLES} - {"utt2spk", "spk2utt", "spk2gender"})


@pytest.mark.parametrize("name", PER_UTTERANCE)
def test_all_tables_name_the_same_utterances(data: Path, name: str) -> None:
    rows = {**TABLES[name], "s2-x": "1"}
    del rows["s1-b"]
    write_tables(data, {name: rows})
    assert problem(data).splitlines() == [
        f"validate_data_dir.sh: Error: in {data}, utterance lists extracted from utt2spk and "
        f"{name} differ, partial diff is:",
        "< s1-b",
        "> s2-x",
        f"[Lengths are utt2spk=3 versus {name}=3]",
    ]


def test_a_diff_is_short(data: Path) -> None:
    write_tables(data, {"text": {f"s1-{i:03d}": "x" for i in range(500)}})
    assert len(problem(data).splitlines()) < 15


def test_an_utterance_id_starts_with_its_speaker(data: Path) -> None:
    write_tables(data, {"utt2spk": {**TABLES["utt2spk"], "s2-a": "x2"}})
    write_tables(data, {"spk2utt": {"s1": "s1-a s1-b", "x2": "s2-a"}, "spk2gender": {}})
    (data / "spk2gender").unlink()
    assert "the utterance-id s2-a does not start with its speaker-id x2" in problem(data)
    validate(data, Checks(spk_sort=False))


def test_speakers_sort_as_their_utterances_do(tmp_path: Path) -> None:
    # "ab1" sorts before "az1", but its speaker "ab" after the speaker "a" of "az1".
    utts = {"ab1": "ab", "az1": "a"}
    tables = {
        "utt2spk": utts, "spk2utt": {"a": "az1", "ab": "ab1"},
        "text": dict.fromkeys(utts, "x"), "wav.scp": dict.fromkeys(utts, "x"),
    }  # fmt: skip
    write_tables(tmp_path, tables)
    assert "not in sorted order when sorted first on speaker-id" in problem(
        tmp_path, Checks(feats=False)
    )
    validate(tmp_path, Checks(feats=False, spk_sort=False))


def test_spk2utt_is_the_inverse_of_utt2spk(data: Path) -> None:
    write_tables(data, {"spk2utt": {"s1": "s1-a", "s2": "s2-a"}})
    assert problem(data) == (
        f"validate_data_dir.sh: spk2utt and utt2spk in {data} do not seem to match"
    )


def test_empty_transcripts(data: Path) -> None:
    (data / "text").write_text("s1-a Ja.\ns1-b \ns2-a ...\n")
    assert problem(data) == f"validate_data_dir.sh: {data}/text has an empty transcript: s1-b"


def test_characters_that_do_not_print(data: Path) -> None:
    write_tables(data, {"text": {**TABLES["text"], "s1-b": "be\u0007ll"}})
    assert "contains 1 lines with non-printable characters, the first of s1-b" in problem(data)
    validate(data, Checks(printable=False))
    assert script("--non-print", str(data)).returncode == 0


def test_the_joiners_of_persian_and_indic_words_are_printed(data: Path) -> None:
    write_tables(data, {"text": {**TABLES["text"], "s1-b": "می\u200cدانم क्\u200dष"}})
    validate(data, Checks())


def test_a_value_that_looks_like_another(data: Path) -> None:
    write_tables(data, {"utt2emo": {**TABLES["utt2emo"], "s1-b": "neu\u200b"}})
    assert "utt2emo: the id neu has the invisible character U+200B" in problem(data)


def test_flags_are_advised_to_those_who_can_give_them(data: Path) -> None:
    write_tables(data, {"utt2spk": {u: u[1] for u in UTTS}, "spk2utt": {"1": "s1-a s1-b"}})
    assert "specify --no-spk-sort" in problem(data)
    with pytest.raises(UserError, match="begin utterance ids with the speaker's") as error:
        validate(data, Checks())
    assert "--no-spk-sort" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("utt2dur", value) for value in ("0", "-1", "nan", "x")),
        *(("utt2num_frames", value) for value in ("0", "7.5")),
    ],
)
def test_lengths_are_positive(data: Path, name: str, value: str) -> None:
    write_tables(data, {name: {**TABLES[name], "s1-b": value}})
    found = problem(data)
    assert f"{data}/{name} has a value that is not a positive" in found
    assert found.endswith(f"s1-b {value}")


def test_genders(data: Path) -> None:
    write_tables(data, {"spk2gender": {"s1": "f", "s2": "male"}})
    assert "must say m or f, not male: speaker s2" in problem(data)
    write_tables(data, {"spk2gender": {"s1": "f"}})
    assert "speaker lists extracted from spk2utt and spk2gender differ" in problem(data)


def test_segments(data: Path) -> None:
    write_tables(
        data,
        {
            "wav.scp": {"rec": "/x/rec.wav"},
            "segments": {"s1-a": "rec 0 1.5", "s1-b": "rec 1.5 -1", "s2-a": "rec 2 3"},
        },
    )
    validate(data, Checks())
    write_tables(data, {"wav.scp": {"other": "/x/rec.wav"}})
    assert "recording-ids lists extracted from segments and wav.scp differ" in problem(data)
    write_tables(data, {"segments": {"s1-a": "rec 2 1"}})
    assert problem(data) == f"validate_data_dir.sh: bad line in {data}/segments: s1-a rec 2 1"
