"""What a dump is made from: the directories that it may write, durations, layers, real weights."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cfia.bin import posteriors, train
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.upstream import build
from cfia.upstream.batches import durations
from cfia.upstream.choice import Choice
from tests.support import experiment, tiny_models
from tests.support.dump_data import features, noise, plan, run_dump, same, write_data

WHISPER = os.environ.get("CFIA_WHISPER", "")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", {f"s0-{i}": noise(0.5 + i / 4, seed=i) for i in range(3)})


# Directories.


def test_a_dump_replaces_nothing_that_is_not_a_dump(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is the data directory, which a dump would replace"):
        plan(data, data, "--force", "true")
    trained = experiment.make(tmp_path / "experiment")
    training = experiment.plan(trained, tmp_path / "exp" / "system" / "session", "epochs=1")
    train.main(experiment.command(training))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / ".raw_notes").write_text("mine")
    folds, notes = trained / "data" / "folds" / "session", tmp_path / "notes"
    for directory in (folds, training, training.parent, tmp_path / "exp", notes):
        before = sorted(directory.rglob("*"))
        for force in ("false", "true"):
            with pytest.raises(UserError, match="is there and was not made by a dump"):
                plan(directory, data, "--force", force)
        assert sorted(directory.rglob("*")) == before


# Durations.


def test_durations_come_from_headers_pipes_and_segments(data: Path, tmp_path: Path) -> None:
    run_dump(tmp_path / "given", data, plan(tmp_path / "given", data))
    (data / "utt2dur").unlink()
    (data / "text").unlink()
    scp = read_table(data / "wav.scp")
    calls = tmp_path / "calls"
    scp["s0-1"] = f"echo x >> '{calls}'; cat '{scp['s0-1']}' |"
    write_table(data / "wav.scp", scp)
    loaded = DataDir.load(data, ["wav.scp"])
    assert durations(loaded, skip_bad=False) == {"s0-0": 0.5, "s0-1": 0.75, "s0-2": 1.0}
    assert calls.read_text() == "x\n"
    run_dump(tmp_path / "found", data, plan(tmp_path / "found", data))
    assert same(features(tmp_path / "found"), features(tmp_path / "given"))
    segments = {"s0-0": "s0-0 0.1 0.3", "s0-1": "s0-1 0.25 -1", "s0-2": "s0-2 0 1"}
    write_table(data / "segments", segments)
    found = durations(DataDir.load(data, ["wav.scp"]), skip_bad=False)
    assert found == pytest.approx({"s0-0": 0.2, "s0-1": 0.5, "s0-2": 1.0})


def test_a_recording_without_a_readable_length_is_named(data: Path) -> None:
    (data / "utt2dur").unlink()
    Path(read_table(data / "wav.scp")["s0-2"]).write_bytes(b"RIFF")
    loaded = DataDir.load(data, ["wav.scp"])
    with pytest.raises(UserError, match=r"^recording s0-2: the audio file .* cannot be read"):
        durations(loaded, skip_bad=False)
    assert durations(loaded, skip_bad=True)["s0-2"] == 0


# Layers.


@pytest.mark.parametrize("upstream", ["wav2vec2", "whisper", "bert"])
def test_a_layer_that_is_not_there_is_found_before_anything_is_written(
    upstream: str, data: Path, tmp_path: Path
) -> None:
    getattr(tiny_models, f"save_{upstream}")(tmp_path / "model")
    flags = ["--model", str(tmp_path / "model"), "--layer", "99"]
    with pytest.raises(UserError, match=r"_layer 99: the layers of .* are 0 to \d, or all"):
        plan(tmp_path / "dump", data, *flags, upstream=upstream)
    assert not (tmp_path / "dump").exists()


# Stale features.


def test_features_of_other_transcripts_neither_train_nor_predict(tmp_path: Path) -> None:
    root = experiment.make(tmp_path / "root")
    data, dump = root / "data" / "all", root / "dump" / "text"
    tiny_models.save_bert(tmp_path / "bert")
    shutil.rmtree(dump)
    model = ["--model", str(tmp_path / "bert")]
    run_dump(dump, data, plan(dump, data, *model, upstream="bert"))
    exp, small = tmp_path / "exp", "epochs=1 hidden=4"
    training, other = (experiment.plan(root, exp / name, small) for name in ("a", "b"))
    train.main(experiment.command(training))
    posteriors.main(experiment.command(training))
    text = read_table(data / "text")
    write_table(data / "text", text | {next(iter(text)): "the mat sat"})
    wanted = r"dump/text was made from another text than .*stage 4"
    for program, begun in ((posteriors, training), (train, training), (train, other)):
        with pytest.raises(UserError, match=wanted):
            program.main(experiment.command(begun))
    with pytest.raises(UserError, match=wanted):
        experiment.plan(root, exp / "c", small)
    assert not other.exists()
    assert not (exp / "c").exists()


def test_features_of_another_encoder_do_not_predict(tmp_path: Path) -> None:
    root = experiment.make(tmp_path / "root")
    data, dump = root / "data" / "all", root / "dump" / "text"
    for seed in (1, 2):
        shutil.rmtree(tmp_path / "bert", ignore_errors=True)
        tiny_models.save_bert(tmp_path / "bert", seed)
        shutil.rmtree(dump)
        model = ["--model", str(tmp_path / "bert")]
        run_dump(dump, data, plan(dump, data, *model, upstream="bert"))
        if seed == 1:
            training = experiment.plan(root, tmp_path / "exp", "epochs=1 hidden=4")
            train.main(experiment.command(training))
    wanted = r"text features has changed.*--force true trains again from stage 5"
    with pytest.raises(UserError, match=wanted):
        posteriors.main(experiment.command(training))
    assert not (training / "posteriors.tsv").exists()


# Real weights.


@pytest.mark.skipif(
    not Path(WHISPER, "config.json").is_file(), reason="set CFIA_WHISPER to a model"
)
def test_a_real_whisper_encoder() -> None:
    waves = [noise(0.6), noise(31.0, seed=1), noise(4.2, seed=2)]
    whisper = build(Choice("audio", "whisper", WHISPER))
    together = whisper.extract(waves)
    assert [m.shape for m in together] == [(30, 384), (1550, 384), (210, 384)]
    for wave, matrix in zip(waves, together, strict=True):
        assert np.abs(whisper.extract([wave])[0] - matrix).max() < 1e-4
    assert np.std(together[0]) > 0.1
