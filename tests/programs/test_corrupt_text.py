"""Gold text with word errors as a file: made once, and again where what it is made of changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfia import marker
from cfia.asr import word_errors
from cfia.bin.corrupt_text import main
from cfia.errors import UserError
from cfia.kaldi.table import read_table, write_table

GOLD = {f"S{i % 2}-{i:02d}": text for i, text in enumerate(["Why, see the cat!", "No."] * 40)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data" / "all"
    data.mkdir(parents=True)
    write_table(data / "text", GOLD)
    write_table(data / "utt2spk", {utt: utt[:2] for utt in GOLD})
    return data


def recognise(data: Path, cat: str = "cap") -> Path:
    """What a recogniser made of it: in some it heard nothing, one it could not read."""
    directory = data / "asr" / "model"
    directory.mkdir(parents=True, exist_ok=True)
    heard = {utt: text.lower().strip(".!").replace("cat", cat) for utt, text in GOLD.items()}
    for utt in sorted(heard)[1::4]:
        heard[utt] = ""
    del heard[min(heard)]
    write_table(directory / "text", heard, allow_empty=True)
    marker.finish(directory, {}, {"cat": cat}, files=["text"])
    return directory


def corrupt(data: Path, percent: str = "25", force: str = "false") -> Path:
    directory = data / "asr" / f"model-errors{percent}"
    main(["--data", str(data), "--recognised", str(data / "asr" / "model"), "--percent", percent,
          "--dir", str(directory), "--force", force])  # fmt: skip
    return directory


def test_a_text_with_errors_is_one_of_kaldi_with_its_error_rate(data: Path) -> None:
    recognise(data)
    directory = corrupt(data)
    text = read_table(directory / "text", allow_empty=True)
    assert list(text) == sorted(GOLD)
    assert (directory / "text").read_text().endswith("\n")
    assert "cap" in " ".join(text.values())
    measured = word_errors.read(directory)
    assert measured is not None
    assert measured.whole.words == 200
    assert measured.whole.rate == pytest.approx(25, abs=0.5)
    assert list(measured.speakers) == ["S0", "S1"]
    assert corrupt(data, "0").joinpath("text").read_bytes() == (data / "text").read_bytes()
    assert "" in text.values()  # which has lost all its words


def test_it_is_made_once_and_again_by_force(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    recognise(data)
    before = {path.name: path.read_bytes() for path in corrupt(data).iterdir()}
    caplog.set_level("INFO")
    directory = corrupt(data)
    assert "already made, skipping" in caplog.text
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    recognise(data, "cab")
    with pytest.raises(UserError, match=r"input recognised text has changed.*--force true"):
        corrupt(data)
    assert "cab" in (corrupt(data, force="true") / "text").read_text()


def test_what_is_missing_or_wrong_is_said(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"model is not there or not finished; run stage 4"):
        corrupt(data)
    recognise(data)
    for wrong in ("101", "-1", "ten", ""):
        with pytest.raises(SystemExit) as stopped:
            corrupt(data, wrong)
        assert stopped.value.code == 2
    assert "expected a whole number from 0 to 100, not 'ten'" in capsys.readouterr().err
    (data / "text").unlink()
    with pytest.raises(UserError, match=r"no such file .*/text"):
        corrupt(data)
    assert not (data / "asr" / "model-errors25").exists()
