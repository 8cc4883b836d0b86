"""What corpora lack or bring: transcripts, speakers, parts of recordings, columns, rare classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from cfia import marker
from cfia.corpus.prepare import Corpus, main
from cfia.corpus.utterances import Utterance
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir, speakers_known
from cfia.kaldi.table import read_table, write_table
from cfia.options import EVERY
from cfia.study.request import Request, read_request
from cfia.study.study_plan import StudyPlan
from cfia.training.folds import make_folds, make_scheme
from cfia.training.schemes import ImpossibleError
from tests.support.data_files import RATE, tree, write_audio
from tests.support.dump_data import features, noise, plan, run_dump

LABELS = {"ang": "ang", "hap": "hap", "neu": "neu", "bored": "bored", "sick": "sick"}
SEEN = ("ang", "hap", "neu")


class Recipe:
    """conf/ and a corpus of nine utterances of three speakers, as a reader has them.

    Attributes:
        corpus: what the reader gives; a test replaces it.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data" / "all"
        (root / "conf" / "labels").mkdir(parents=True)
        (root / "conf" / "labels" / "4.yaml").write_text(yaml.safe_dump(LABELS))
        names = [(f"s{i // 3}", f"s{i // 3}-{i}", SEEN[i % 3]) for i in range(9)]
        self.corpus = Corpus(
            [
                Utterance(
                    id=name,
                    name=name,
                    speaker=speaker,
                    label=label,
                    source=root / "labels.csv",
                    audio=write_audio(root / "wavs" / f"{name}.wav"),
                    transcript=f"words of {name}",
                )
                for speaker, name, label in names
            ]
        )

    def change(self, **fields: Any) -> None:
        """Give all utterances other fields."""
        changed = [replace(u, **fields) for u in self.corpus.utterances]
        self.corpus = replace(self.corpus, utterances=changed)

    def set(self, **fields: Sequence[Any]) -> None:
        """Give each utterance a field of its own."""
        utterances = self.corpus.utterances
        for name, values in fields.items():
            pairs = zip(utterances, values, strict=True)
            utterances = [replace(u, **{name: value}) for u, value in pairs]
        self.corpus = replace(self.corpus, utterances=utterances)

    def page(self, **values: Any) -> None:
        """Write conf/corpus.yaml."""
        (self.root / "conf" / "corpus.yaml").write_text(yaml.safe_dump(values))

    def prepare(self, *options: str) -> DataDir:
        """Run stage 1."""
        arguments = ["--conf", str(self.root / "conf"), *options, str(self.root / "wavs")]
        main("made up", lambda _, __: self.corpus, [*arguments, str(self.data)])
        return DataDir.load(self.data, needed=())


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(tmp_path)


# Transcripts


def test_without_transcripts_there_is_no_text(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    recipe.corpus = replace(recipe.corpus, has_text=False)
    recipe.change(transcript=None)
    data = recipe.prepare()
    assert not (recipe.data / "text").exists()
    assert len(data.utterances) == 9
    assert "no transcripts: for systems of audio alone" in caplog.text
    with pytest.raises(UserError, match="text; the corpus has no transcripts; use audio alone, or"):
        DataDir.load(recipe.data, needed=("text",))


def test_a_text_file_brings_what_the_corpus_lacks(recipe: Recipe) -> None:
    recipe.corpus = replace(recipe.corpus, has_text=False)
    recipe.change(transcript=None)
    words = {u.id: f"heard {u.id}" for u in recipe.corpus.utterances}
    write_table(recipe.root / "asr.txt", words)
    assert recipe.prepare("--text_file", str(recipe.root / "asr.txt")).text == words


def request(root: Path, **options: str) -> Request:
    """The options of a recipe whose conf/ is that of `Recipe`."""
    defaults = {option.name: option.default for option in EVERY}
    return read_request({**defaults, "corpus_dir": "/x", **options}, root, root)


def test_systems_with_text_are_refused_where_there_is_none(recipe: Recipe) -> None:
    root = recipe.root
    request(root)  # nobody knows before stage 1
    recipe.page(transcripts=False)
    why = (
        r"which takes text, but the corpus has no transcripts \(conf/corpus.yaml\); give --systems "
    )
    with pytest.raises(UserError, match=f"names cfia_net_emotion2vec_bert, {why}audio, tran"):
        request(root)
    request(root, systems="audio")
    write_table(root / "asr.txt", {"s0-0": "heard"})
    request(root, text_file="asr.txt")
    assert recipe.prepare().text == {}
    (root / "conf" / "corpus.yaml").unlink()
    with pytest.raises(UserError, match="which takes text, but data/all has no text; give"):
        request(root, systems="linear_text", stage="5")
    request(root, force="true")  # stage 1 makes it again
    recipe.page(transcripts=False)
    write_table(recipe.data / "text", {u.id: "heard" for u in recipe.corpus.utterances})
    request(root)  # somebody added what the corpus lacks


def test_a_study_leaves_out_its_rows_with_text(recipe: Recipe) -> None:
    study = recipe.root / "conf" / "study"
    study.mkdir()
    rows = [{"input": given, "systems": ["linear"]} for given in ("audio", "audio_text")]
    table = {"cv": "speaker", "rows": rows}
    (study / "mine.yaml").write_text(yaml.safe_dump({"tables": {"t": table}}))
    (recipe.root / "conf" / "models.yaml").write_text("fbank:\nminilm:\n")
    recipe.page(transcripts=False)
    both = StudyPlan(
        request(recipe.root, study="mine", audio_upstream="fbank", text_upstream="minilm")
    ).entries
    assert [e.reason for e in both] == ["", "the corpus has no transcripts (conf/corpus.yaml)"]


def test_folds_share_no_transcripts_that_there_are_not(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    recipe.corpus = replace(recipe.corpus, has_text=False)
    folds = recipe.root / "data" / "folds" / "speaker"
    make_scheme(recipe.prepare(), folds, "speaker", "random20")
    said = (folds / "folds.log").read_text().splitlines()
    assert said[0] == "fold 1 (tests s0): train 5, valid 1, test 3"


# Speakers


def test_who_speaks_is_not_known(recipe: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recipe.change(speaker="")
    data = recipe.prepare()
    assert data.utt2spk == {u.id: u.id for u in recipe.corpus.utterances}
    assert not speakers_known(data.utt2spk)
    assert "speakers not known" in caplog.text
    for cv in ("speaker", "session"):
        why = f"needs speakers, and those of|so --cv {cv} cannot keep"
        with pytest.raises(ImpossibleError, match=why):
            make_folds(data, cv, "random20")


def test_some_speakers_are_known(recipe: Recipe) -> None:
    recipe.set(speaker=["s0", "s0", "", *["s1"] * 3, *["s2"] * 3])
    data = recipe.prepare()
    assert data.utt2spk["s0-2"] == "s0-2"
    assert speakers_known(data.utt2spk)
    assert len(make_folds(data, "speaker", "random20")) == 4


# Parts of recordings


def cut(recipe: Recipe, seconds: Sequence[tuple[float | None, float | None]]) -> None:
    """Make the utterances parts of three recordings of 1.5 s, one a speaker."""
    for i in range(3):
        path = recipe.root / "wavs" / f"day {i}" / "tape.wav"
        path.parent.mkdir()
        soundfile.write(path, noise(1.5, RATE, i), RATE, subtype="FLOAT")
    tapes = [recipe.root / "wavs" / f"day {i // 3}" / "tape.wav" for i in range(9)]
    recipe.set(audio=tapes, start=[a for a, _ in seconds], end=[b for _, b in seconds])


def test_parts_of_recordings_are_encoded_as_if_they_were_cut_out(recipe: Recipe) -> None:
    cut(recipe, [(None, 0.5), (0.5, 1.0), (1.0, None)] * 3)
    data = recipe.prepare()
    assert sorted(data.wav_scp) == ["day_0_tape", "day_1_tape", "day_2_tape"]
    assert read_table(recipe.data / "segments")["s1-4"] == "day_1_tape 0.5 1"
    assert data.utt2dur == dict.fromkeys(data.utterances, 0.5)
    run_dump(recipe.root / "parts", recipe.data, plan(recipe.root / "parts", recipe.data))
    wholes = recipe.root / "wholes"
    wholes.mkdir()
    for i, u in enumerate(data.utterances):
        samples, _ = soundfile.read(data.wav_scp[f"day_{i // 3}_tape"], dtype="float32")
        part = samples[i % 3 * RATE // 2 : (i % 3 + 1) * RATE // 2]
        soundfile.write(wholes / f"{u}.wav", part, RATE, subtype="FLOAT")
    write_table(wholes / "wav.scp", {u: str(wholes / f"{u}.wav") for u in data.utterances})
    for name in ("utt2spk", "utt2dur"):
        write_table(wholes / name, read_table(recipe.data / name))
    run_dump(recipe.root / "whole", wholes, plan(recipe.root / "whole", wholes))
    parts, expected = features(recipe.root / "parts"), features(recipe.root / "whole")
    assert parts.keys() == expected.keys()
    assert all(np.array_equal(parts[u], expected[u]) for u in parts)


@pytest.mark.parametrize(("start", "end"), [(1.0, 9.5), (1.5, None), (1.0, 0.5), (-0.5, 1.0)])
def test_a_part_that_its_recording_does_not_have(
    recipe: Recipe, start: float, end: float | None
) -> None:
    cut(recipe, [(0.0, 1.0)] * 8 + [(start, end)])
    until = 1.5 if end is None else end
    message = (
        rf"s2-8 in .*labels\.csv is from {start:g} to {until:g} s of .*day 2/tape\.wav, which has "
        r"1\.500 s; correct it"
    )
    with pytest.raises(UserError, match=message):
        recipe.prepare()
    assert not recipe.data.exists()


def test_recordings_have_names_of_their_own(recipe: Recipe) -> None:
    cut(recipe, [(0.0, 1.0)] * 9)
    other = write_audio(recipe.root / "wavs" / "day 0" / "tape.flac", 1.5)
    recipe.set(audio=[other, *[u.audio for u in recipe.corpus.utterances[1:]]])
    with pytest.raises(
        UserError, match=r"tape\.flac and .*tape\.wav would both be the recording .*;"
    ):
        recipe.prepare()


def test_an_end_that_was_rounded_is_the_recordings(recipe: Recipe) -> None:
    cut(recipe, [(1.0, 1.75)] * 9)  # within what the dump, as Kaldi, takes for the end
    assert set(recipe.prepare().utt2dur.values()) == {0.5}


# Columns


def test_columns_become_tables(recipe: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    speakers = {"spk2gender": {"s0": "m", "s1": "f", "s2": "f", "s9": "f"}, "spk2age": {"s1": "30"}}
    recipe.corpus = replace(recipe.corpus, speakers=speakers)
    recipe.set(
        columns=[{"level": "high"}, {"level": ""}, *[{"lang": "two words"}] * 7],
        split=["train -", "", *["test valid"] * 7],
    )
    recipe.prepare()
    assert read_table(recipe.data / "spk2gender") == {"s0": "m", "s1": "f", "s2": "f"}
    assert read_table(recipe.data / "spk2age") == {"s1": "30"}
    assert read_table(recipe.data / "utt2level") == {"s0-0": "high"}
    split = read_table(recipe.data / "utt2split")
    assert (split["s0-0"], split["s0-1"], split["s2-8"]) == ("train -", "- -", "test valid")
    assert not caplog.messages


def test_genders_are_of_all_speakers_or_none(
    recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    genders = {"spk2gender": {"s0": "m", "s1": "unknown"}}
    recipe.corpus = replace(recipe.corpus, speakers=genders)
    recipe.prepare()
    assert not (recipe.data / "spk2gender").exists()
    assert "must say m or f of every speaker: 2 of 3 differ (s1, s2)" in caplog.text


@pytest.mark.parametrize("name", ["spk", "emo", "two words", "num_frames"])
def test_a_column_that_would_be_another_table(recipe: Recipe, name: str) -> None:
    recipe.change(columns={name: "x"})
    with pytest.raises(UserError, match=f"a column cannot be called '{name}'"):
        recipe.prepare()


def test_official_parts_are_of_as_many_folds(recipe: Recipe) -> None:
    recipe.set(split=["train test", *["train"] * 8])
    with pytest.raises(UserError, match=r"s0-1 in .* has the official parts 'train', and s0-0"):
        recipe.prepare()


# Rare classes


def rare(recipe: Recipe) -> None:
    recipe.set(label=["ang"] * 3 + ["hap"] * 3 + ["neu", "bored", "sick"])


def test_rare_classes_are_merged(recipe: Recipe, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rare(recipe)
    recipe.page(min_class={"count": 2, "into": "other"})
    labels = recipe.prepare().table("utt2emo")
    assert [labels[u] for u in sorted(labels)[6:]] == ["other"] * 3
    said = "fewer than 2 utterances, merged into other (3): bored 1, neu 1, sick 1"
    assert said in caplog.text
    recorded = marker.read(recipe.data)
    assert recorded is not None
    assert said in recorded.inputs["min_class"]
    before = tree(recipe.data)
    recipe.prepare()
    assert tree(recipe.data) == before
    recipe.page()
    with pytest.raises(UserError, match="min_class"):
        recipe.prepare()


def test_rare_classes_are_left_out(recipe: Recipe) -> None:
    rare(recipe)
    recipe.page(min_class={"count": 2, "into": "-"})
    assert set(recipe.prepare().table("utt2emo").values()) == {"ang", "hap"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"count": 4, "into": "neu"}, "at least, so get more"),  # all are one class then
        ({"count": 4, "into": "-"}, "has nothing among the utterances to use"),
        ({"count": 3, "into": "ang"}, ""),
        ({"count": 2}, "min_class must have a count from 1, and into, a class or '-'"),
        ({"count": 0, "into": "x"}, "min_class must have a count from 1"),
        ({"count": "many", "into": "x"}, "corpus.yaml: min_class.count is 'many', not a whole"),
    ],
)
def test_rules_for_rare_classes(recipe: Recipe, rule: dict[str, Any], message: str) -> None:
    rare(recipe)
    recipe.page(min_class=rule)
    if message:
        with pytest.raises(UserError, match=message):
            recipe.prepare()
    else:
        labels = recipe.prepare().table("utt2emo")
        assert sorted(labels.values()) == ["ang"] * 6 + ["hap"] * 3


def test_what_is_merged_and_still_rare(recipe: Recipe) -> None:
    recipe.set(label=["ang"] * 4 + ["hap"] * 4 + ["sick"])
    recipe.page(min_class={"count": 2, "into": "other"})
    with pytest.raises(UserError, match="sick 1 into other, which has 1 utterances then, still"):
        recipe.prepare()


def test_a_text_that_was_lost_is_not_taken_for_none(recipe: Recipe) -> None:
    recipe.prepare()
    (recipe.data / "text").unlink()
    request(recipe.root, stage="5")  # no mistake of usage: the stage says what is gone
    with pytest.raises(UserError, match="text is gone; run stage 1 with --force true"):
        DataDir.load(recipe.data)
