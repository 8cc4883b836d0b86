"""IEMOCAP to a data directory: labels, speakers, transcripts, and trees that are not whole."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from tests.support.data_files import write_audio
from tests.support.iemocap_tree import DIALOGUES, FIRST, RECIPE, TURNS, SmallIemocap, edit


@pytest.fixture
def small(tmp_path: Path) -> SmallIemocap:
    return SmallIemocap(tmp_path)


def test_the_standard_set(small: SmallIemocap) -> None:
    data = DataDir.load(small.prepare())
    four = {turn for turn, (label, _) in TURNS.items() if label in ("ang", "exc", "neu", "sad")}
    names = {f"{d.format(s)}_{turn}" for s in (1, 2) for d in DIALOGUES for turn in four}
    # The speaker is the letter of the last token, whoever stands in front.
    assert set(data.utterances) == {f"{n[:5]}{n.split('_')[-1][0]}-{n}" for n in names}
    assert data.utt2spk["Ses01F-Ses01M_impro05a_F000"] == "Ses01F"
    assert data.utt2spk["Ses02M-Ses02M_script01_1b_M001"] == "Ses02M"
    assert Counter(data.table("utt2emo").values()) == {"ang": 6, "hap": 6, "neu": 6, "sad": 6}
    assert data.table("utt2emo")["Ses01F-Ses01F_impro01_F001"] == "hap"  # excited
    assert Counter(data.table("utt2session").values()) == {"Ses01": 12, "Ses02": 12}
    assert Counter(data.table("utt2type").values()) == {"impro": 16, "script": 8}
    assert data.table("utt2dialogue")["Ses02M-Ses02M_script01_1b_M001"] == "Ses02M_script01_1b"
    assert data.spk2gender == {"Ses01F": "f", "Ses01M": "m", "Ses02F": "f", "Ses02M": "m"}
    assert set(data.utt2dur.values()) == {0.1}
    assert data.wav_scp[f"Ses01F-{FIRST}"] == str(small.wav_file())


def test_transcripts(small: SmallIemocap) -> None:
    path = small.transcripts_file
    path.write_bytes(path.read_bytes().replace(b"Excuse me.", b"Caf\xe9, it\x92s  fine.\r"))
    text = DataDir.load(small.prepare()).text
    assert text["Ses01F-Ses01F_impro01_F000"] == "I told you twice."
    assert text["Ses01F-Ses01F_impro01_F001"] == "..."  # nothing but tags
    assert text["Ses01M-Ses01F_impro01_M000"] == "Café, it’s fine."
    assert text["Ses01M-Ses01F_impro01_M001"] == "It is over."


def test_tags_may_be_kept(small: SmallIemocap) -> None:
    text = DataDir.load(small.prepare("--text_tags", "keep")).text
    assert text["Ses01F-Ses01F_impro01_F000"] == "I told you [LAUGHTER] twice."
    assert text["Ses01F-Ses01F_impro01_F001"] == "[BREATHING] [GARBAGE]"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("4noexc", {"ang": 6, "neu": 6, "sad": 6}),
        ("6", {"ang": 6, "exc": 6, "fru": 6, "neu": 6, "sad": 6}),
    ],
)
def test_other_label_sets(small: SmallIemocap, labels: str, classes: dict[str, int]) -> None:
    assert (
        Counter(DataDir.load(small.prepare("--labels", labels)).table("utt2emo").values())
        == classes
    )


def test_every_label_map_lists_every_label() -> None:
    for path in (RECIPE / "conf" / "labels").glob("*.yaml"):
        labels = yaml.safe_load(path.read_text())
        assert " ".join(sorted(labels)) == "ang dis exc fea fru hap neu oth sad sur xxx"
        assert labels["xxx"] == "-"


def test_the_recipe_expects_the_published_counts() -> None:
    expect = yaml.safe_load((RECIPE / "conf" / "corpus.yaml").read_text())["expect"]["4"]
    assert expect["total"] == 5531
    for group in ("classes", "sessions", "speakers"):
        assert sum(expect[group].values()) == 5531
    for session, count in expect["sessions"].items():
        assert count == expect["speakers"][f"{session}F"] + expect["speakers"][f"{session}M"]


DAMAGE: list[tuple[str, Callable[[SmallIemocap], object], str]] = [
    (
        "a label outside the map",
        lambda c: edit(c.labels_file, "F000\tang", "F000\tjoy"),
        rf"1 of 36 utterances have the label 'joy' \(the first is {FIRST} in .*_impro01\.txt\), "
        r"which .*4\.yaml does not list",
    ),
    (
        "no transcript",
        lambda c: edit(c.transcripts_file, f"{FIRST} [", "nobody ["),
        rf"1 of 24 utterances have no transcript \({FIRST}\)",
    ),
    (
        "no wav",
        lambda c: c.wav_file().rename(c.corpus / "elsewhere"),
        rf"1 of 24 utterances have no audio file \({FIRST}\); .* --allow_partial true",
    ),
    ("empty wav", lambda c: c.wav_file().write_bytes(b""), rf"{FIRST}\.wav cannot be read"),
    ("broken wav", lambda c: c.wav_file().write_bytes(b"RIFF"), rf"{FIRST}\.wav cannot be read"),
    (
        "the same utterance twice",
        lambda c: edit(c.labels_file, "Ses01F_impro01_F001\texc", f"{FIRST}\txxx"),
        f"{FIRST} is in .* and again in",
    ),
    (
        "a label line that is none",
        lambda c: edit(c.labels_file, f"[6.2901 - 8.2357]\t{FIRST}", f"[6.2901\t{FIRST}"),
        r"Ses01F_impro01\.txt, line 4: .* is not",
    ),
    (
        "a name that is none",
        lambda c: edit(c.labels_file, FIRST, "Ses01F_impro01_X000"),
        r"line 4: 'Ses01F_impro01_X000' is not the name of an utterance",
    ),
    (
        "no label files",
        lambda c: [p.rename(c.corpus / p.name) for p in c.labels_file.parent.glob("*.txt")],
        r"there is no Session1/dialog/EmoEvaluation/\*\.txt",
    ),
    (
        "no transcript files",
        lambda c: c.transcripts_file.parent.rename(c.corpus / "elsewhere"),
        rf"12 of 24 utterances have no transcript \({FIRST}, Ses01F_impro01_F001, .*, \.\.\.\)",
    ),
    (
        "another directory",
        lambda c: [(c.corpus / s).rename(c.corpus.parent / s) for s in ("Session1", "Session2")],
        "is not IEMOCAP",
    ),
    ("no directory", lambda c: c.corpus.rename(c.corpus.parent / "elsewhere"), "no such directory"),
]


@pytest.mark.parametrize(
    ("what", "damage", "message"), DAMAGE, ids=[damage[0] for damage in DAMAGE]
)
def test_a_corpus_that_is_not_as_it_should_be(
    small: SmallIemocap,
    what: str,
    damage: Callable[[SmallIemocap], object],
    message: str,
) -> None:
    damage(small)
    with pytest.raises(UserError, match=message) as error:
        small.prepare()
    assert "\n" not in str(error.value)
    assert not small.data.exists()


def test_of_two_transcripts_the_first_is_taken(
    small: SmallIemocap, caplog: pytest.LogCaptureFixture
) -> None:
    with small.transcripts_file.open("a") as handle:
        handle.write(f"{FIRST} [006.2901-008.2357]: I told you once.\n")
    assert DataDir.load(small.prepare()).text[f"Ses01F-{FIRST}"] == "I told you twice."
    assert f"{small.transcripts_file}: {FIRST} has two transcripts" in "\n".join(caplog.messages)


def test_what_is_left_out_by_its_label_need_not_be_whole(small: SmallIemocap) -> None:
    small.wav_file("Ses01F_impro01_M002").unlink()  # frustrated
    edit(small.transcripts_file, "Ses01F_impro01_M002 [", "nobody [")
    assert len(DataDir.load(small.prepare()).utterances) == 24


def test_a_partial_corpus(small: SmallIemocap, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    expect = {"sessions": {"Ses01": 12, "Ses02": 12, "Ses03": 9}, "total": 33, "sha256": "d77e"}
    (small.conf / "corpus.yaml").write_text(yaml.safe_dump({"expect": {"4": expect}}))
    small.wav_file().unlink()
    edit(small.transcripts_file, "Ses01F_impro01_F001 [", "nobody [")
    differs = (
        "is not the complete release: sessions absent: Ses03 (9 expected); total: 33 expected, "
        f"24 found; 1 of 24 utterances have no audio file ({FIRST}); 1 of 24 utterances have no "
        "transcript (Ses01F_impro01_F001);"
    )
    with pytest.raises(UserError) as error:
        small.prepare()
    assert differs in str(error.value)
    data = DataDir.load(small.prepare("--allow_partial", "true"))
    assert any(differs in message for message in caplog.messages)
    assert len(data.utterances) == 22
    assert data.skipped == {
        f"Ses01F-{FIRST}": "no audio file in the corpus",
        "Ses01F-Ses01F_impro01_F001": "no transcript in the corpus",
    }
    with pytest.raises(UserError, match="--allow_partial was true, now false"):
        (small.conf / "corpus.yaml").unlink()
        write_audio(small.wav_file())
        edit(small.transcripts_file, "nobody [", "Ses01F_impro01_F001 [")
        small.prepare()


def test_missing_audio_may_be_skipped_as_bad(small: SmallIemocap) -> None:
    small.wav_file().unlink()
    data = DataDir.load(small.prepare("--skip_bad", "true"))
    assert list(data.skipped) == [f"Ses01F-{FIRST}"]
    assert "no such audio file" in data.skipped[f"Ses01F-{FIRST}"]


def test_a_session_without_labels_may_be_missing(small: SmallIemocap) -> None:
    shutil.copytree(small.corpus / "Session2" / "sentences", small.corpus / "Session3/sentences")
    with pytest.raises(UserError, match="no Session3/dialog/EmoEvaluation"):
        small.prepare()
    assert len(DataDir.load(small.prepare("--allow_partial", "true")).utterances) == 24


def test_too_little_of_a_corpus(small: SmallIemocap) -> None:
    shutil.rmtree(small.corpus / "Session2" / "sentences")
    with pytest.raises(UserError, match="has one session only, Ses01, among"):
        small.prepare("--allow_partial", "true")
    for path in (small.corpus / "Session1").glob("dialog/EmoEvaluation/Ses*.txt"):
        for label in ("exc", "neu", "sad"):
            edit(path, f"\t{label}\t", "\txxx\t")
    shutil.rmtree(small.corpus / "Session2")
    with pytest.raises(UserError, match="has one class only, ang, among"):
        small.prepare()
    assert not small.data.exists()


def test_empty_transcripts_are_told(small: SmallIemocap, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    edit(small.transcripts_file, "Excuse me.\n", "\n")
    text = DataDir.load(small.prepare()).text
    assert text["Ses01M-Ses01F_impro01_M000"] == "..."
    said = "\n".join(caplog.messages)
    assert "1 transcripts in the corpus are empty (Ses01M-Ses01F_impro01_M000)" in said
    assert "transcripts without words, whose text is ...: 7" in said
