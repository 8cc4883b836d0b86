"""Advice of the stages about data, followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir, write_data_dir
from cfia.kaldi.table import read_table, write_table
from tests.support.stages import Outcome, Toy


def balanced(wav: Path) -> None:
    samples, rate = soundfile.read(wav)
    soundfile.write(wav, np.stack([samples, -samples], axis=1), rate)


def not_scaled(wav: Path) -> None:
    samples, rate = soundfile.read(wav)
    soundfile.write(wav, 32768 * samples, rate, subtype="FLOAT")


@pytest.mark.parametrize("damage", [balanced, not_scaled])
def test_bad_audio_behind_a_sound_header_is_left_out_by_the_same_command(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    toy = Toy(tmp_path)
    wav = next(toy.corpus.rglob("Ses01F_impro01_F000.wav"))
    damage(wav)
    stopped = toy.run(1, 3)
    assert stopped.code == 1
    assert str(wav) in stopped.said
    assert "leave it out with --skip_bad true" in stopped.said
    again = toy.run(1, 3, skip_bad="true")
    assert (again.code, again.said) == (0, "")
    assert "Ses01F_impro01_F000" in (toy.directory / "dump" / "fbank" / "skipped").read_text()


def test_ids_that_do_not_begin_with_the_speaker(tmp_path: Path) -> None:
    def write(utterance: str) -> None:
        values = {"text": "Ja.", "utt2spk": "anna", "utt2dur": "1", "utt2emo": "neu"}
        rows = {name: {utterance: value} for name, value in values.items()}
        write_data_dir(tmp_path / "data", rows, {}, {}, wav=False)

    with pytest.raises(UserError, match="begin utterance ids with the speaker's, such as") as error:
        write("s1")
    assert "specify" not in str(error.value)  # no flag of run.sh does
    write("anna-s1")
    assert DataDir.load(tmp_path / "data", ()).utterances == ["anna-s1"]


def test_a_broken_marker_of_the_data_is_replaced_as_the_message_says(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.run(1, 1)
    marker = toy.directory / "data" / "all" / ".done.json"
    marker.write_text(marker.read_text()[:40])
    stopped = toy.run(1, 1)
    assert "was cut or edited, or is of an earlier version of cfia; --force true" in stopped.said
    assert toy.run(1, 1, force="true") == toy.run(1, 1) == Outcome(0)


def test_a_corpus_that_was_moved(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.run(1, 2)
    moved = toy.corpus.rename(tmp_path / "disk2")
    stopped = toy.run(3, 3, skip_bad="true")
    assert "none of the audio files of data/all/wav.scp is there" in stopped.said
    assert "run stage 1 with --force true and the --corpus_dir that they are" in stopped.said
    assert toy.run(1, 3, force="true", corpus_dir=str(moved)) == Outcome(0)


def test_a_path_that_is_too_long_for_the_disk_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.run(1, 2)
    data = toy.directory / "data" / "all"
    (data / ".done.json").unlink()  # a user's own from now on
    wavs = read_table(data / "wav.scp")
    write_table(data / "wav.scp", {**wavs, min(wavs): f"/corpus/{'a' * 300}.wav"})
    stopped = toy.run(3, 3)
    assert "no such audio file" in stopped.said
    assert "or leave it out with --skip_bad true" in stopped.said
    assert toy.run(3, 3, skip_bad="true") == Outcome(0)
