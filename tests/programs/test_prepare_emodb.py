"""EmoDB to a data directory, on a few files with its names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cfia.corpus import page
from cfia.corpus.prepare import main
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from tests.support.data_files import ROOT, write_audio

CONF = ROOT / "egs" / "emodb" / "conf"
NAMES = ("03a01Fa", "03a02Wc", "08b10Nb", "08b03Td", "16a05La", "16b01Ed", "10a07Ab")


def prepare(corpus: Path, *options: str) -> DataDir:
    data = corpus.parent / "data"
    main("EmoDB", page.read, ["--conf", str(CONF), *options, str(corpus), str(data)])
    return DataDir.load(data)


@pytest.mark.parametrize(("where", "ending"), [("wav", "wav"), ("flac", "flac"), (".", "wav")])
def test_the_name_says_everything(tmp_path: Path, where: str, ending: str) -> None:
    corpus = tmp_path / "Emo DB ß"
    for name in NAMES:
        write_audio(corpus / where / f"{name}.{ending}")
    write_audio(corpus / where / f"._03a01Fa.{ending}")
    data = prepare(corpus)
    assert data.table("utt2emo") == {
        "03a01Fa": "hap",
        "03a02Wc": "ang",
        "08b03Td": "sad",
        "08b10Nb": "neu",
    }
    assert data.utt2spk == {u: u[:2] for u in data.table("utt2emo")}
    assert data.spk2gender == {"03": "m", "08": "f"}
    assert data.text["03a01Fa"] == "Der Lappen liegt auf dem Eisschrank."
    assert data.text["08b10Nb"] == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."
    assert data.wav_scp["03a01Fa"] == str((corpus / where / f"03a01Fa.{ending}").resolve())
    assert (data.table("utt2session"), data.table("utt2type"), data.table("utt2dialogue")) == (
        {},
        {},
        {},
    )


def test_seven_classes_of_a_part_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = tmp_path / "emodb"
    for name in NAMES:
        write_audio(corpus / "wav" / f"{name}.wav")
    data = prepare(corpus, "--labels", "7")
    emotions = [data.table("utt2emo")[name] for name in NAMES]
    assert emotions == ["hap", "ang", "neu", "sad", "bor", "dis", "fea"]
    assert "is not the whole release: total: 535 expected, 7 found; classes ang" in caplog.text


def test_the_ten_sentences() -> None:
    texts = yaml.safe_load((CONF / "texts.yaml").read_text(encoding="utf-8"))
    assert " ".join(sorted(texts)) == "a01 a02 a04 a05 a07 b01 b02 b03 b09 b10"
    assert all(text[0].isupper() and text[-1] in ".?" for text in texts.values())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "03a01Xa",
            r"1 of 2 utterances have the label 'X' \(the first is 03a01Xa in .*03a01Xa\.wav\), "
            r"which .*4\.yaml does not list",
        ),
        ("3a01Fa", r"3a01Fa\.wav is not named as corpus\.yaml says"),
        ("03a01F", r"03a01F\.wav is not named as corpus\.yaml says"),
        ("04a01Fa", r"04a01Fa\.wav: its gender is the code '04', which corpus\.yaml .* lacks"),
        ("03c01Fa", r"03c01Fa\.wav: its text is the code 'c01', which .*texts\.yaml lacks"),
    ],
)
def test_a_wrong_name(tmp_path: Path, name: str, message: str) -> None:
    write_audio(tmp_path / "emodb" / "wav" / "03a01Fa.wav")
    write_audio(tmp_path / "emodb" / "wav" / f"{name}.wav")
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "emodb")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: None, "no such directory"),
        (lambda c: c.mkdir(), r"has no \*\.wav and no \*\.flac in wav or flac or \."),
        (lambda c: write_audio(c / "wav" / "16a05La.wav"), "no utterance has a label with a class"),
        (
            lambda c: [write_audio(c / f"03a01Fa.{ending}") for ending in ("wav", "flac")],
            "03a01Fa is in .* and again in",
        ),
    ],
)
def test_a_directory_that_is_not_the_corpus(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "emodb")
    with pytest.raises(UserError, match=message):
        prepare(tmp_path / "emodb")
