"""Recognised text: the same however it is split or killed; its errors; and who reads it."""

from __future__ import annotations

import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cfia import experiment
from cfia.asr import word_errors
from cfia.asr.transformers import Transformers
from cfia.bin import asr, asr_merge, asr_plan
from cfia.errors import UserError
from cfia.kaldi.table import read_table, write_table
from tests.support.dump_data import features, noise, plan, run_dump, write_data
from tests.support.killed import Killed
from tests.support.stages import Toy
from tests.support.tiny_recognisers import save_ctc

UTTERANCES = [f"s{i % 2}-{i}" for i in range(6)]
SILENT = UTTERANCES[3]


@pytest.fixture(scope="module")
def ctc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_ctc(tmp_path_factory.mktemp("models") / "ctc")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six utterances of noise, one of them silent, with labels."""
    waves = {utt: noise(0.3 + i / 10, seed=i) for i, utt in enumerate(UTTERANCES)}
    waves[SILENT] = np.zeros(16000, np.float32)
    made = write_data(tmp_path / "data", waves)
    write_table(made / "utt2emo", {utt: "ang" if "s0" in utt else "sad" for utt in UTTERANCES})
    return made


def recognise(data: Path, model: Path | str, *flags: str, nj: int = 1) -> Path:
    """Run the three programs; the recogniser's directory."""
    printed = StringIO()
    with redirect_stdout(printed):
        asr_plan.main(["--data", str(data), "--model", str(model), "--nj", str(nj), *flags])
    directory = data / "asr" / Path(model).name
    where = ["--data", str(data), "--dir", str(directory)]
    jobs = int(printed.getvalue())
    for job in range(1, jobs + 1):
        asr.main([*where, "--job", str(job)])
    if jobs:
        asr_merge.main(where)
    return directory


def bytes_of(directory: Path) -> dict[str, bytes]:
    names = ("text", "wer.json", "wer.md")
    return {name: (directory / name).read_bytes() for name in names}


def test_jobs_and_a_kill_change_no_word(
    data: Path, ctc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recognise(shutil.copytree(data, tmp_path / "whole" / "data"), ctc)
    assert sorted(path.name for path in whole.iterdir()) == [
        ".done.json", "plan.json", "text", "wer.json", "wer.md"
    ]  # fmt: skip
    text = read_table(whole / "text", allow_empty=True)
    assert list(text) == sorted(UTTERANCES)
    assert [utt for utt in text if not text[utt]] == [SILENT]
    assert f"\n{SILENT}\n" in (whole / "text").read_text()  # an id alone, as in Kaldi

    heard = []
    transcribe = Transformers.transcribe

    def transcribe_and_die(self: Transformers, samples: np.ndarray) -> str:
        heard.append(len(samples))
        if len(heard) == 3:
            raise Killed
        return transcribe(self, samples)

    with monkeypatch.context() as context, pytest.raises(Killed):
        context.setattr(Transformers, "transcribe", transcribe_and_die)
        recognise(data, ctc, nj=2)
    with monkeypatch.context() as context:
        context.setattr(Transformers, "transcribe", transcribe_and_die)
        resumed = recognise(data, ctc, nj=4)  # the plan of two jobs holds
    assert len(heard) == 3 + len(UTTERANCES) - 1 - 2  # nothing twice but what was killed
    assert bytes_of(resumed) == bytes_of(whole)
    times = {path: path.stat().st_mtime_ns for path in resumed.iterdir()}
    assert recognise(data, ctc) == resumed
    assert times == {path: path.stat().st_mtime_ns for path in resumed.iterdir()}


def test_text_that_was_made_otherwise_stops_and_audio_that_was_corrected_goes_on(
    data: Path, ctc: Path, tmp_path: Path
) -> None:
    path = Path(read_table(data / "wav.scp")[UTTERANCES[0]])
    good = path.read_bytes()
    path.write_bytes(good[:30])
    with pytest.raises(UserError, match=rf"^utterance {UTTERANCES[0]}: .*cannot be read"):
        recognise(data, ctc)
    path.write_bytes(good)
    made = recognise(data, ctc)
    other = save_ctc(tmp_path / "other" / "ctc", seed=1)
    with pytest.raises(UserError, match=r"was made differently \(its input model has changed\)"):
        recognise(data, other)
    before = bytes_of(made)
    assert bytes_of(recognise(data, other, "--force", "true")) != before
    (made / "text").write_text("s0-0 mine\n")
    with pytest.raises(UserError, match="its file text has"):
        recognise(data, other)


def test_bad_audio_is_left_out_of_text_and_features(data: Path, ctc: Path, tmp_path: Path) -> None:
    for i in range(20):  # of which one is under 5 %
        utt, wav = f"s2-{i:02d}", tmp_path / f"{i}.wav"
        soundfile.write(wav, noise(0.2, seed=i), 16000)
        rows = {"wav.scp": wav, "text": "the cat", "utt2spk": "s2", "utt2dur": "0.200",
                "utt2emo": "ang"}  # fmt: skip
        for name, value in rows.items():
            write_table(data / name, {**read_table(data / name), utt: str(value)})
    bad = UTTERANCES[0]
    Path(read_table(data / "wav.scp")[bad]).write_bytes(b"RIFF")
    made = recognise(data, ctc, "--skip_bad", "true")
    assert list(read_table(made / "skipped")) == [bad]
    with pytest.raises(UserError, match="lacks bad audio, which it lists in the file skipped"):
        recognise(data, ctc)

    from tests.support import tiny_models

    tiny_models.save_bert(tmp_path / "bert")
    dump, flags = tmp_path / "dump", ["--model", str(tmp_path / "bert"), "--text", f"{made}/text"]
    assert plan(dump, data, *flags, upstream="bert") == 1
    with pytest.raises(UserError, match=rf"utterance {bad}: .*asr/ctc/text lacks it"):
        run_dump(dump, data, 1)
    plan(dump, data, *flags, "--skip_bad", "true", upstream="bert")
    run_dump(dump, data, 1)
    assert list(read_table(dump / "skipped")) == [bad]
    # What silence is to an encoder of text.
    write_table(data / "text", dict.fromkeys(read_table(data / "text"), "..."))
    gold = tmp_path / "gold"
    plan(gold, data, "--model", str(tmp_path / "bert"), upstream="bert")
    run_dump(gold, data, 1)
    assert np.array_equal(features(dump)[SILENT], features(gold)[SILENT])


def test_a_recipe_reads_recognised_text_and_says_how_wrong_it_is(ctc: Path, tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    options = {"text_source": "asr", "asr_model": str(ctc), "systems": "text"}
    assert toy.run(1, 8, **options).code == 0
    exp, text = toy.directory / "exp", toy.directory / "data" / "all" / "asr" / "ctc" / "text"
    made = experiment.read(exp / "cfia_net_bert_asr-ctc" / "session")
    assert (made.protocol["text_source"], made.recogniser) == ("asr", "ctc")
    found = word_errors.read(text.parent)
    assert found is not None
    results = (exp / "RESULTS.md").read_text()
    assert "| text of ctc |" in results
    assert f"Text of ctc: word error rate {found.whole}" in results
    # Features of other words than there are now.
    toy.run(4, 4, **options)
    text.write_text(text.read_text().replace("a", "b"))
    said = toy.run(5, 5, **options, tag="again").said
    assert "asr/ctc" in said
    assert "run stage 4" in said


def test_a_corpus_without_transcripts_has_text_and_no_error_rate(
    data: Path, ctc: Path, tmp_path: Path
) -> None:
    (data / "text").unlink()
    made = recognise(data, ctc)
    assert not (made / "wer.json").exists()
    toy = Toy(tmp_path)
    (toy.directory / "conf" / "corpus.yaml").write_text("transcripts: false\n")
    assert toy.run(1, 1).code == 2
    assert toy.run(1, 4, text_source="asr", asr_model=str(ctc)).code == 0
    assert (toy.directory / "dump" / "bert_asr-ctc" / "feats.scp").exists()


def test_a_recogniser_that_hears_nothing_is_another_languages(data: Path, ctc: Path) -> None:
    for path in read_table(data / "wav.scp").values():
        soundfile.write(path, np.zeros(4000, np.int16), 16000)
    with pytest.raises(UserError, match="the recogniser ctc heard no word in any of 6 utterances"):
        recognise(data, ctc)
