"""Corpora as their owners publish them, with what is odd in them, as stage 1 understands them."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import pytest
import yaml

from cfia.errors import UserError
from tests.support.data_files import ROOT
from tests.support.published import Published
from tests.support.small_corpus import POINTER

# RAVDESS


def ravdess_names(actors: range) -> list[str]:
    """The names of all spoken files of these actors; neutral is never strong."""
    return [
        f"Actor_{actor:02}/03-01-{emotion:02}-{strength:02}-{text:02}-{take:02}-{actor:02}.wav"
        for actor in actors
        for emotion, strength, text, take in itertools.product(range(1, 9), *[(1, 2)] * 3)
        if (emotion, strength) != (1, 2)
    ]


@pytest.mark.parametrize(
    "folders",
    [
        [""],
        ["Audio_Speech_Actors_01-24/"],
        ["", "audio_speech_actors_01-24/"],  # everything twice
    ],
)
def test_ravdess(tmp_path: Path, folders: list[str]) -> None:
    whole = len(folders) == 2
    made = Published(tmp_path, "ravdess", 48000, whole=whole)
    actors = range(1, 25) if whole else range(7, 24, 13)
    for folder in folders:
        made.lay(*(folder + name for name in ravdess_names(actors)))
    made.lay(f"{folders[0]}Actor_20/03-01-06-01-01-02-20.wav", channels=2)
    made.lay("Actor_01/03-02-01-01-01-01-01.wav", "Actor_01/01-01-01-01-01-01-01.mp4")  # sung; film
    data = made.prepare()
    assert len(data.utterances) == (1440 if whole else 120)
    strong = "20-03-01-06-02-02-01-20"
    assert data.utt2spk[strong] == "20"
    assert (data.spk2gender["20"], data.spk2gender["07"]) == ("f", "m")
    assert data.text[strong] == "Dogs are sitting by the door."
    assert made.table("utt2split")[strong].split() == ["test", *["train"] * (5 if whole else 1)]
    assert (made.table("utt2emo")[strong], made.table("utt2intensity")[strong]) == ("fea", "strong")


def test_ravdess_that_is_not_whole(tmp_path: Path) -> None:
    made = Published(tmp_path, "ravdess", 48000, whole=True)
    made.lay(*ravdess_names(range(1, 3)))
    with pytest.raises(UserError, match=r"total: 1440 expected, 120 found; classes ang: 192 exp"):
        made.prepare()


# CREMA-D

ACTORS = """"ActorID","Age","Sex","Race","Ethnicity"
1001,51,"Male","Caucasian","Not Hispanic"
1040,42,"Female","African American","Not Hispanic"
1076,25,"Female","Unknown","Not Hispanic"
"""
TEXTS = ("IEO", "TIE", "IOM", "IWW", "TAI", "IWL", "TSI", "ITS")
ODD = (
    "1001_DFA_ANG_XX", "1001_IEO_HAP_LO", "1040_ITH_SAD_X", "1040_IEO_DIS_HI", "1076_MTI_NEU_XX",
    "1076_WSI_FEA_XX",
)  # fmt: skip
CLIPS = (*ODD, *(f"{actor}_{text}_NEU_XX" for actor in (1001, 1040) for text in TEXTS))


@pytest.fixture
def cremad(tmp_path: Path) -> Published:
    made = Published(tmp_path, "cremad")
    made.lay(*(f"AudioWAV/{name}.wav" for name in (*CLIPS, "1076_MTI_SAD_XX")))
    made.write("VideoDemographics.csv", ACTORS)
    return made


def test_cremad(cremad: Published) -> None:
    data = cremad.prepare()
    assert set(data.utterances) == {*CLIPS}  # without the silent one
    assert data.spk2gender == {"1001": "m", "1040": "f", "1076": "f"}
    assert cremad.table("spk2age") == {"1001": "51", "1040": "42", "1076": "25"}
    assert cremad.table("utt2race")["1040_IEO_DIS_HI"] == "African_American"
    assert cremad.table("utt2level") == {"1001_IEO_HAP_LO": "low", "1040_IEO_DIS_HI": "high"}
    assert data.text["1040_ITH_SAD_X"] == "I think I have a doctor's appointment."
    emotions = [cremad.table("utt2emo")[name] for name in ODD]
    assert emotions == ["ang", "hap", "sad", "dis", "neu", "fea"]


def test_cremad_of_pointers(cremad: Published) -> None:
    cremad.lay("AudioWAV/1001_DFA_ANG_XX.wav", data=POINTER)
    with pytest.raises(UserError, match=r"1001_DFA_ANG_XX\.wav is a pointer of Git LFS and no aud"):
        cremad.prepare()
    cremad.lay(*(f"AudioWAV/{name}.wav" for name in CLIPS), data=POINTER)
    with pytest.raises(UserError, match=r"22 of 22 utterances have unreadable audio"):
        cremad.prepare("--skip_bad", "true")


def test_cremad_with_an_actor_who_is_not_listed(cremad: Published) -> None:
    cremad.lay("AudioWAV/1099_DFA_ANG_XX.wav")
    with pytest.raises(
        UserError, match=r"1099_DFA_ANG_XX\.wav: VideoDemographics\.csv has no row whose ActorID"
    ):
        cremad.prepare()


# MELD

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
    "StartTime,EndTime"
)
ROWS = {
    "train": [
        "1,It’s me… “me”.,Chandler,neutral,neutral,0,0,8,21,\"00:16:16,059\",\"00:16:21,731\"",
        "1,No!,Richard’s Date,anger,negative,0,2,8,21,\"0:16:16,059\",\"0:16:21,731\"",
        "3,Gone,Ross,sadness,negative,125,3,8,21,\"0:16:16,059\",\"0:16:21,731\"",
    ],
    "dev": [
        "1,Oh,Ross and Joey,surprise,positive,0,0,4,7,\"0:20:57,256\",\"0:21:00,049\"",
        "2,Gone,Ross,joy,positive,110,7,4,7,\"0:20:57,256\",\"0:21:00,049\"",
    ],
    "test": [
        "1,\"Well, yes.\",Chandler,disgust,negative,0,0,4,7,\"0:20:57,256\",\"0:20:57,256\"",
        "2,Aah,All,fear,negative,0,1,4,7,\"0:20:57,256\",\"0:21:00,049\"",
    ],
}  # fmt: skip
FOLDERS = {
    "train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test",
}  # fmt: skip
USED = {
    "train": ("dia0_utt0", "dia0_utt2"), "dev": ("dia0_utt0",), "test": ("dia0_utt0", "dia0_utt1"),
}  # fmt: skip


def lay_meld(made: Published, *, nested: bool, old: bool) -> None:
    """With the clips in train/train_splits or train_splits, and the tables of before or after 2020.

    Clips are WAV under the names of films, which ffmpeg does not mind.
    """
    for part, rows in ROWS.items():
        place = f"{part}/" if nested else ""
        text = "".join(f"{line}\n" for line in (HEADER, *rows))
        # Quotes of Windows-1252 that were taken for Latin-1, or the ends of Windows' lines.
        text = text.encode("cp1252").decode("latin-1") if old else text.replace("\n", "\r\n")
        made.write(f"{place * (part == 'train')}{part}_sent_emo.csv", text)
        clips = [f"{place}{FOLDERS[part]}/{clip}.mp4" for clip in USED[part]]
        made.lay(*clips, channels=6)
    made.lay(f"{place}{FOLDERS['test']}/final_videos_testdia0_utt0.mp4", channels=6)
    made.lay(f"{'train/' * nested}train_splits/dia125_utt3.mp4", data=b"\0\0\0 ftypisom")


@pytest.mark.usefixtures("ffmpeg")
@pytest.mark.parametrize(("nested", "old"), [(False, True), (True, False)])
def test_meld(tmp_path: Path, nested: bool, old: bool, caplog: pytest.LogCaptureFixture) -> None:
    made = Published(tmp_path, "meld")
    lay_meld(made, nested=nested, old=old)
    data = made.prepare()
    names = {f"{part}_{clip}" for part, clips in USED.items() for clip in clips}
    assert {utterance.split("-", 1)[1] for utterance in data.utterances} == names
    assert data.text["Chandler-train_dia0_utt0"] == "It’s me… “me”."
    assert data.utt2spk["Richard_s_Date-train_dia0_utt2"] == "Richard_s_Date"
    assert made.table("utt2split") == {
        "All-test_dia0_utt1": "test",
        "Chandler-test_dia0_utt0": "test",
        "Chandler-train_dia0_utt0": "train",
        "Richard_s_Date-train_dia0_utt2": "train",
        "Ross_and_Joey-dev_dia0_utt0": "valid",
    }
    assert made.table("utt2dialogue")["Ross_and_Joey-dev_dia0_utt0"] == "dev_0"
    assert set(data.utt2dur.values()) == {0.05}
    (said,) = [m for m in caplog.messages if "no table names it" in m]
    assert "final_videos_testdia0_utt0.mp4" in said


@pytest.mark.usefixtures("ffmpeg")
def test_meld_with_a_clip_that_is_missing_and_one_that_is_broken(tmp_path: Path) -> None:
    made = Published(tmp_path, "meld")
    lay_meld(made, nested=False, old=False)
    (made.corpus / "train_splits" / "dia0_utt2.mp4").unlink()
    with pytest.raises(UserError, match=r"1 of 5 utterances have no audio file \(train_dia0_utt2;"):
        made.prepare()
    made.lay("train_splits/dia0_utt2.mp4", data=b"\0\0\0 ftypisom")
    with pytest.raises(UserError, match=r"dia0_utt2\.mp4 cannot be read \(ffmpeg: "):
        made.prepare()


# ESD


@pytest.mark.parametrize("layout", ["A", "B"])
def test_esd(tmp_path: Path, layout: str, caplog: pytest.LogCaptureFixture) -> None:
    made = Published(tmp_path, "esd")
    place = "Emotion Speech Dataset/" if layout == "B" else ""
    parts = {1: "evaluation", 371: "test", 760: "train", 1071: "test", 1750: "train"}
    folders = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
    for speaker in ("0001", "0011", "0012", "0016", "0020"):
        for (number, part), folder in zip(parts.items(), folders, strict=True):
            inside = f"{folder}/{part}" if layout == "A" else folder
            made.lay(f"{place}{speaker}/{inside}/{speaker}_{number:06}.wav")
    texts = {
        "0001": "Ni hao.",
        "0011": "A sad song.",
        "0012": "Don’t.",
        "0016": "Café.",
        "0020": "I",
    }
    encodings = {"0001": "gbk", "0012": "utf-16", "0016": "cp1252"}
    for speaker, text in texts.items():
        lines = [
            f"{speaker}_{number:06}\t{text}\t{folder}\r\n"
            for number, folder in zip(parts, folders, strict=True)
        ]
        if speaker == "0020":  # blanks for tabs, and no emotion
            lines = [line.replace("\t", " ").replace(" Happy", "") for line in lines]
        made.write(
            f"{place}{speaker}/{speaker}.txt", "".join(lines), encodings.get(speaker, "ascii")
        )
    made.write("ReadMe.txt", "Licence\n")
    data = made.prepare()
    assert set(data.utt2spk.values()) == {"0011", "0012", "0016", "0020"}
    assert data.spk2gender == {"0011": "m", "0012": "m", "0016": "f", "0020": "m"}
    assert {u: data.text[u] for u in data.utterances} == {
        u: texts[data.utt2spk[u]] for u in data.utterances
    }
    emotions = [made.table("utt2emo")[f"0012_{number:06}"] for number in parts]
    assert emotions == ["neu", "ang", "hap", "sad", "sur"]
    official = {"evaluation": "valid"}
    assert made.table("utt2split") == {
        f"{speaker}_{number:06}": official.get(part, part)
        for speaker in set(data.utt2spk.values())
        for number, part in parts.items()
    }
    assert [m for m in caplog.messages if "white space" in m] == []


def test_esd_parts_by_the_number_of_the_sentence() -> None:
    codes = yaml.safe_load((ROOT / "egs/esd/conf/splits.yaml").read_text())
    for number in range(1, 1751):
        offset, digits = (number - 1) % 350, f"{number:04}"
        part = codes.get(digits if digits[-1] == "0" else digits[:-1], codes["*"])
        assert part == ("valid" if offset < 20 else "test" if offset < 50 else "train"), number


def test_esd_without_a_transcript(tmp_path: Path) -> None:
    made = Published(tmp_path, "esd")
    made.lay("0011/Sad/0011_001051.wav", "0011/Angry/0011_000351.wav")
    made.write("0011/0011.txt", "0011_000351\tI.\tAngry\n")
    with pytest.raises(
        UserError, match=r"001051\.wav: 00.*txt has no row whose id is '0011_001051'"
    ):
        made.prepare()


# SAVEE

SAVEE = {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}


@pytest.mark.parametrize(
    "name", ["AudioData/{}/{}", "AudioData/AudioData/{}/{}", "ALL/{}_{}", "{}{}", "{}/{}"]
)
def test_savee(tmp_path: Path, name: str) -> None:
    whole = name == "{}/{}"
    made = Published(tmp_path, "savee", 44100, whole=whole)
    for speaker, (code, n) in itertools.product(("DC", "JE", "JK", "KL"), SAVEE.items()):
        takes = range(1 if whole else n, n + 1)
        made.lay(*(name.format(speaker, f"{code}{take:02}.wav") for take in takes))
    made.write("AudioData/Info.txt", "Speakers\n")
    data = made.prepare()
    assert len(data.utterances) == (480 if whole else 28)
    assert not (made.data / "text").exists()
    assert data.spk2gender == dict.fromkeys(("DC", "JE", "JK", "KL"), "m")
    codes = [made.table("utt2emo")[f"KL_{code}{n}"] for code, n in SAVEE.items()]
    assert codes == ["ang", "dis", "fea", "hap", "neu", "sad", "sur"]


# MSP-Podcast

PODCAST = """FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1
MSP-PODCAST_0001_0009.wav,A,2.2,4.0,2.6,30,Male,Test2
MSP-PODCAST_0002_0001.wav,H,2.2,4.0,2.6,4,Female,Train
MSP-PODCAST_0002_0002.wav,X,2.2,4.0,2.6,4,Female,Train
MSP-PODCAST_0002_0003.wav,O,2.2,4.0,2.6,4,Female,Train
MSP-PODCAST_0003_0001.wav,C,2.2,4.0,2.6,Unknown,Unknown,Train
MSP-PODCAST_0004_0001.wav,U,2.2,4.0,2.6,100,Female,Development
"""


def lay_podcast(made: Published, labels: str, audios: str, transcripts: str) -> None:
    turns = [line.split(",")[0] for line in PODCAST.splitlines()[1:]]
    old = "concensus" in labels
    made.write(labels, PODCAST.replace("Development", "Validation") if old else PODCAST)
    made.lay(*(f"{audios}/{turn}" for turn in turns))
    for turn in turns:
        made.write(f"{transcripts}/{turn.replace('.wav', '.txt')}", f"Words of\n{turn}\n")


@pytest.mark.parametrize(
    ("labels", "audios", "transcripts"),
    [
        ("Labels/labels_consensus.csv", "Audios", "Transcripts"),
        ("label/labels_concensus.csv", "Audio", "Transcripts"),
        ("Labels/Labels/labels_consensus.csv", "Audios/Audios", "Transcripts/transcripts"),
    ],
)
def test_msp_podcast(
    tmp_path: Path, labels: str, audios: str, transcripts: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    made = Published(tmp_path, "msp_podcast")
    lay_podcast(made, labels, audios, transcripts)
    made.lay(f"{audios}/MSP-PODCAST_5000_0001.wav")  # of Test3
    made.write("Previous_releases_information/x/labels_concensus.csv", "FileName\nold.wav\n")
    data = made.prepare()
    unknown, podcast = "MSP-PODCAST_0003_0001", "MSP-PODCAST_"
    assert data.utt2spk == {
        f"30-{podcast}0001_0008": "30",
        f"30-{podcast}0001_0009": "30",
        f"4-{podcast}0002_0001": "4",
        f"100-{podcast}0004_0001": "100",
        unknown: unknown,
    }
    assert made.table("utt2split") == {
        f"30-{podcast}0001_0008": "test",
        f"30-{podcast}0001_0009": "-",
        f"4-{podcast}0002_0001": "train",
        f"100-{podcast}0004_0001": "valid",
        unknown: "train",
    }
    assert data.text[unknown] == f"Words of {unknown}.wav"
    assert made.table("utt2emo")[unknown] == "con"
    assert any("5000_0001.wav: no table names it" in message for message in caplog.messages)


def test_msp_podcast_with_a_row_whose_file_was_not_shipped(tmp_path: Path) -> None:
    made = Published(tmp_path, "msp_podcast")
    lay_podcast(made, "Labels/labels_consensus.csv", "Audios", "Transcripts")
    (made.corpus / "Audios" / "MSP-PODCAST_0002_0001.wav").unlink()
    with pytest.raises(
        UserError, match=r"1 of 5 utterances have no audio file \(MSP-PODCAST_0002_"
    ):
        made.prepare()
    data = made.prepare("--allow_partial", "true")
    assert len(data.utterances) == 4
