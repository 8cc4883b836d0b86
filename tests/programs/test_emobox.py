"""A corpus by EmoBox's lists, in the forms that they have: folds, speakers, classes, audio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.kaldi.data_dir import speakers_known
from cfia.training.folds import make_folds
from tests.support.data_files import write_audio
from tests.support.emobox_tree import CONF, SCRIPT, EmoBox, one_fold, row


def emodb(root: Path) -> EmoBox:
    """Two folds, an older list of the same names beside them, and a label of another case."""
    names = ("03a01Wa", "03a02Na", "08a01Wa", "08a02Na")
    rows = [row("emodb", n, f"wav/{n}.wav", {"W": "anger", "N": "neutral"}[n[5]]) for n in names]
    stale = [{"key": r["key"], "audio": r["wav"], "label": "anger"} for r in rows]
    lists = {
        "train_fold_1": rows[2:], "test_fold_1": rows[:2], "train_fold_2": rows[:2],
        "test_fold_2": rows[2:], "train_fold1": stale[:3], "test_fold1": stale[3:],
    }  # fmt: skip
    return EmoBox(root, "emodb", lists, {"anger": "Angry", "Neutral": "Neutral"})


def test_folds_are_the_lists_and_older_ones_beside_them_count_for_nothing(tmp_path: Path) -> None:
    data = emodb(tmp_path).prepare()
    assert data.table("utt2split") == {
        "03a01Wa": "test train", "03a02Na": "test train",
        "08a01Wa": "train test", "08a02Na": "train test",
    }  # fmt: skip
    assert data.table("utt2emo")["03a02Na"] == "Neutral"
    assert data.utt2spk == {u: u[:2] for u in data.table("utt2split")}
    assert data.wav_scp["03a01Wa"].endswith("/EmoBox ß/downloads/emodb/wav/03a01Wa.wav")
    assert not (tmp_path / "data" / "text").exists()


def test_a_corpus_whose_label_map_has_another_name(tmp_path: Path) -> None:
    rows = [row("emovo", f"{e}-f1-b{i}", f"f1/{e}{i}.wav", e) for e in ("gio", "rab") for i in "12"]
    lists = {"train_fold_1": rows[::2], "test_fold_1": rows[1::2]}
    labels = {"gio": "Happy", "rab": "Angry"}
    data = EmoBox(tmp_path, "emovo", lists, labels, "label_dict.json").prepare()
    assert data.table("utt2emo")["f1-gio-f1-b1"] == "Happy"
    assert set(data.utt2spk.values()) == {"f1"}


def test_a_list_for_validation_is_a_part(tmp_path: Path) -> None:
    names = [f"dia{i}_utt0-{part}" for part in ("train", "dev", "test") for i in range(2)]
    rows = [row("meld", n, f"{n}.wav", ("joy", "anger")[i % 2]) for i, n in enumerate(names)]
    lists = {"train_fold_1": rows[:2], "valid_fold_1": rows[2:4], "test_fold_1": rows[4:]}
    data = EmoBox(tmp_path, "meld", lists, {"joy": "Happy", "anger": "Angry"}).prepare()
    (fold,) = make_folds(data, "given", "given").values()
    assert (fold.train, fold.valid, fold.test) == (
        sorted(names[:2]), sorted(names[2:4]), sorted(names[4:])
    )  # fmt: skip
    assert not speakers_known(data.utt2spk)


def test_times_are_parts_of_recordings(tmp_path: Path) -> None:
    rows = [
        row("pavoque", f"m{i}-poker", "pavoque-poker.flac", ("poker", "sad")[i % 2],
            start_time=i / 4, end_time=i / 4 + 0.2)
        for i in range(4)
    ]  # fmt: skip
    lists = {"train_fold_1": rows[:2], "test_fold_1": rows[2:]}
    emobox = EmoBox(tmp_path, "pavoque", lists, {"poker": "Poker", "sad": "Sad"})
    write_audio(emobox.audio / "pavoque-poker.flac", seconds=1)
    data = emobox.prepare()
    segments = (tmp_path / "data" / "segments").read_text().splitlines()
    assert [line.split()[2:] for line in segments] == [
        ["0", "0.2"], ["0.25", "0.45"], ["0.5", "0.7"], ["0.75", "0.95"]
    ]  # fmt: skip
    assert len(data.wav_scp) == 1
    assert set(data.utt2spk.values()) == {"pavoque"}


def test_keys_with_endings_and_blanks(tmp_path: Path) -> None:
    names = ["08_sadness_anger a_010.wav", "32_h_e_h_120.wav", "33_a.wav", "34_h.wav"]
    data = EmoBox(tmp_path, "resd", one_fold("resd", names, ending="")).prepare()
    assert sorted(data.wav_scp)[0] == "08_sadness_anger_a_010.wav"
    assert data.wav_scp["08_sadness_anger_a_010.wav"].endswith("/08_sadness_anger a_010.wav")


def test_paths_of_any_letters_are_those_of_the_disk(tmp_path: Path) -> None:
    paths = ["ColŠre/a.wav", "D‚go–t/b.wav", "Ore\N{COMBINING ACUTE ACCENT}auFR/c.wav", "é/d.wav"]
    rows = [row("cafe", f"0{i}-C-1", p, ("c", "d")[i % 2]) for i, p in enumerate(paths)]
    lists = {"train_fold_1": rows[:2], "test_fold_1": rows[2:]}
    emobox = EmoBox(tmp_path, "cafe", lists, {"c": "Angry", "d": "Disgust"})
    assert emobox.list("train_fold_1").read_text().isascii()
    scp = emobox.prepare().wav_scp
    assert [Path(scp[u]).relative_to(emobox.audio).as_posix() for u in sorted(scp)] == paths


def test_codes_that_differ_in_their_case_alone(tmp_path: Path) -> None:
    rows = [row("ased", f"{i}-{i}", f"{i}.wav", code) for i, code in enumerate("sSaN")]
    lists = {"train_fold_1": rows[:2], "test_fold_1": rows[2:]}
    labels = {"s": "Sad", "S": "Surprise", "a": "Angry", "n": "Neutral"}
    read = EmoBox(tmp_path, "ased", lists, labels).read()
    assert [u.label for u in read.utterances] == ["Sad", "Surprise", "Angry", "Neutral"]


def test_a_name_of_two_words_is_a_class_of_one(tmp_path: Path) -> None:
    names = [f"03-01-09-01-06-0{i}-02" for i in range(4)]
    labels = {"ang": "pain, groan", "hap": "UnKnown"}
    data = EmoBox(tmp_path, "asvpesd", one_fold("asvpesd", names), labels).prepare()
    assert set(data.table("utt2emo").values()) == {"pain", "UnKnown"}


def test_audio_elsewhere(tmp_path: Path) -> None:
    emobox = emodb(tmp_path)
    (tmp_path / "my emodb").mkdir()
    (emobox.audio / "wav").rename(tmp_path / "my emodb" / "wav")
    with pytest.raises(UserError, match="4 of 4 utterances have no audio file"):
        emobox.prepare()
    data = emobox.prepare("--audio_dir", str(tmp_path / "my emodb"))
    assert data.wav_scp["03a01Wa"] == str(tmp_path / "my emodb" / "wav" / "03a01Wa.wav")


# A key of each corpus that says who speaks, what it has instead of the key where that says it, and
# the speaker.
KEYS = [
    ("aesdd", "a03-3", "", "3"), ("aesdd", "d01-5b", "", "5"), ("aesdd", "h02-01", "", "1"),
    ("ased", "a5-02-01-01-33", "", "33"),
    ("asvpesd", "03-01-09-01-06-36-02-02-01-39", "", "36"),
    ("asvpesd", "03-02-04-01-52-150-04-01-00-14 -02", "", "150"),
    ("cafe", "12-P-2-5", "", "12"), ("casia", "239-wangzhe-neutral", "", "wangzhe"),
    ("cremad", "1087-IWL-ANG-XX", "", "1087"), ("emns", "recorded_audio_RF6OuQ4", "", "emns"),
    ("emodb", "03a01Wa", "", "03"), ("emovdb", "jenie-Amused-0057", "", "jenie"),
    ("emovo", "gio-f2-b2", "", "f2"), ("emozionalmente", "1613655062436", "", ""),
    ("enterface", "s_3_fe_5.avi", "subject 3/fear/sentence 5/s_3_fe_5.avi", "3"),
    ("esd", "0005-000001", "", "0005"), ("iemocap", "Ses01F_impro04_M000", "", "Ses01M"),
    ("jlcorpus", "male2-concerned-6b-1", "", "male2"), ("m3ed", "rucikeaidewomen_1_1", "", ""),
    ("mead", "W019-neutral-level-1-020", "", "W019"), ("meld", "dia0_utt0-train", "", ""),
    ("mer2023", "sample_00002721", "", ""), ("mesd", "Anger_F_A_tarde", "", ""),
    ("msppodcast", "MSP-PODCAST_0001_0008", "", ""), ("oreau", "10a02Ja", "", "10"),
    ("pavoque", "poker_n0010-poker", "", "pavoque"), ("polish", "m3.s_trzymaj_5", "", "m3"),
    ("ravdess", "03-01-05-01-02-01-18", "", "18"), ("resd", "32_h_120.wav", "", ""),
    ("savee", "JE-n23", "", "JE"), ("shemo", "M36S02", "", "M36"),
    ("subesco", "F_10_FAHMEE_S_6_FEAR_5", "", "F_10"), ("tess", "OAF-lid-fear", "", "OAF"),
    ("turevdb", "1984_sk_eger.wav", "", "1984"), ("urdu", "SM20_F8_N012", "", "SM20"),
]  # fmt: skip


@pytest.mark.parametrize(("corpus", "name", "wav", "speaker"), KEYS)
def test_who_speaks(corpus: str, name: str, wav: str, speaker: str, tmp_path: Path) -> None:
    rows = [row(corpus, name, wav or f"{name}.wav", "ang")]
    (utterance,) = EmoBox(tmp_path, corpus, {"train_fold_1": rows}, audio=False).read().utterances
    assert utterance.speaker == speaker


def test_every_corpus_of_the_table_is_tried() -> None:
    assert set(yaml.safe_load((CONF / "corpora.yaml").read_text())) == {k[0] for k in KEYS}


# Each corpus has its folds, of which each utterance is in some.
assignments = st.integers(1, 4).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from(["train", "valid", "test", "-"]), min_size=n, max_size=n),
        min_size=1,
        max_size=6,
    )
)


@settings(max_examples=25)
@given(assignments)
def test_any_folds_are_those_of_the_lists(
    tmp_path_factory: pytest.TempPathFactory, assigned: list[list[str]]
) -> None:
    used = [words for words in assigned if set(words) != {"-"}]
    lists: dict[str, list[dict[str, Any]]] = {}
    for i, words in enumerate(used):
        for fold, part in enumerate(words, start=1):
            if part != "-":
                at = lists.setdefault(f"{part}_fold_{fold}", [])
                at.append(row("savee", f"JE-{i}", "JE.wav", "ang"))
    emobox = EmoBox(tmp_path_factory.mktemp("any"), "savee", lists, audio=False)
    for fold in range(1, len(assigned[0]) + 1):
        (emobox.root / "data" / "savee" / f"fold_{fold}").mkdir(exist_ok=True)
    found = {u.name: u.split.split() for u in emobox.read().utterances}
    assert found == {f"JE-{i}": words for i, words in enumerate(used)}


def test_a_list_that_is_not_there_is_named(tmp_path: Path) -> None:
    emobox = emodb(tmp_path)
    emobox.list("train_fold_2").unlink()
    with pytest.raises(UserError, match=r"there is no data/emodb/fold_2/emodb_train_fold_2\.jsonl"):
        emobox.prepare()


@pytest.mark.parametrize(
    ("stem", "change", "why"),
    [
        ("train_fold_1", {"emo": ""}, r"train_fold_1\.jsonl, line 1: the row has no emo"),
        ("train_fold_1", {"key": "emodb-03a01Wa"}, "emodb-03a01Wa is in this fold twice"),
        ("train_fold_2", {"emo": "neutral"}, "emodb-03a01Wa is another in .*test_fold_1"),
        ("test_fold_1", {"key": "emodb-x", "wav": "x"}, "names no speaker by the pattern of"),
    ],
)
def test_what_is_wrong_with_a_list_is_one_sentence(
    stem: str, change: dict[str, str], why: str, tmp_path: Path
) -> None:
    emobox = emodb(tmp_path)
    first, *others = map(json.loads, emobox.list(stem).read_text().splitlines())
    emobox.write(stem, [first | change, *others])
    with pytest.raises(UserError, match=why) as error:
        emobox.prepare()
    assert "\n" not in str(error.value)


def test_a_code_that_the_map_lacks_may_be_left_out(tmp_path: Path) -> None:
    emobox = EmoBox(tmp_path, "savee", one_fold("savee", [f"JE-{i:02}" for i in range(30)]))
    rows = [json.loads(line) for line in emobox.list("test_fold_1").read_text().splitlines()]
    emobox.write("test_fold_1", [rows[0] | {"emo": "odd"}, *rows[1:]])
    with pytest.raises(UserError, match="line 1: its emo is 'odd', which the label map of savee"):
        emobox.prepare()
    assert len(emobox.prepare("--skip_bad", "true").utterances) == 29


def test_the_label_map_is_looked_for(tmp_path: Path) -> None:
    emobox = emodb(tmp_path)
    path = emobox.root / "data" / "emodb" / "label_map.json"
    path.write_text('["anger"]')
    with pytest.raises(UserError, match=r"label_map\.json: it is .*take the file of EmoBox's"):
        emobox.prepare()
    path.unlink()
    with pytest.raises(UserError, match=r"has no label_map\.json or label_dict\.json"):
        emobox.prepare()


def test_a_directory_that_is_not_emobox(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no data/.*, as EmoBox has"):
        SCRIPT.prepare(["--labels", "all", "--conf", str(CONF), str(tmp_path), str(tmp_path / "d")])
