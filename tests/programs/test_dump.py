"""Dumps: the same features however they are split, killed or resumed; every fault is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cfia.bin import dump_merge, dump_plan
from cfia.errors import UserError
from cfia.kaldi.table import read_table, write_table
from cfia.upstream import build
from cfia.upstream.batches import make_batches, split_jobs
from cfia.upstream.choice import Choice
from tests.support import tiny_emotion2vec, tiny_models
from tests.support.dump_data import (
    UTTERANCES,
    contents,
    features,
    long_data,
    noise,
    plan,
    run_dump,
    run_job,
    same,
    undisturbed,
    write_data,
)

data = pytest.fixture(scope="module")(long_data)
whole = pytest.fixture(scope="module")(undisturbed)


# What a dump holds.


def test_a_dump_holds_what_design_says(whole: Path) -> None:
    assert sorted(contents(whole)) == [
        "feats.scp",
        "frontend.yaml",
        "plan.json",
        "raw_fbank.1.ark",
        "raw_fbank.1.scp",
        "utt2num_frames",
    ]
    assert list(read_table(whole / "feats.scp")) == sorted(UTTERANCES)
    assert all(Path(v).is_absolute() for v in read_table(whole / "feats.scp").values())
    frames = {u: str(len(m)) for u, m in features(whole).items()}
    assert read_table(whole / "utt2num_frames") == frames
    frontend = yaml.safe_load((whole / "frontend.yaml").read_text())
    assert frontend == build(Choice("audio", "fbank")).description.values() | {
        "exposure": "unknown"
    }


def test_the_features_are_those_of_the_resampled_audio(whole: Path, data: Path) -> None:
    found = features(whole)
    fbank = build(Choice("audio", "fbank"))
    for utterance in UTTERANCES[:3]:
        samples, _ = soundfile.read(read_table(data / "wav.scp")[utterance], dtype="float32")
        (expected,) = fbank.extract([soxr.resample(samples, 8000, 16000)])
        assert np.array_equal(found[utterance], expected)


def test_stereo_is_averaged(tmp_path: Path) -> None:
    left, right = noise(2, seed=1), noise(2, seed=2)
    data = write_data(tmp_path / "data", {"s0-mono": 0.5 * left + 0.5 * right, "s0-stereo": left})
    stereo = np.stack([left, right], axis=1)
    soundfile.write(read_table(data / "wav.scp")["s0-stereo"], stereo, 16000, subtype="FLOAT")
    run_dump(tmp_path / "dump", data, plan(tmp_path / "dump", data))
    found = features(tmp_path / "dump")
    assert np.abs(found["s0-stereo"] - found["s0-mono"]).max() < 0.1  # 16 bits against float
    assert np.corrcoef(found["s0-stereo"].ravel(), found["s0-mono"].ravel())[0, 1] > 0.9999


def test_segments_of_files_and_pipes(tmp_path: Path) -> None:
    waves = {"s0-a": noise(2, seed=1), "s0-b": noise(3, seed=2)}
    cut = write_data(tmp_path / "cut", {"s0-1": waves["s0-a"][8000:24000], "s0-2": waves["s0-b"]})
    data = write_data(tmp_path / "data", {"s0-1": waves["s0-a"], "s0-2": waves["s0-b"]})
    paths = read_table(data / "wav.scp")
    write_table(data / "wav.scp", {"rec-a": f"cat '{paths['s0-1']}' |", "rec-b": paths["s0-2"]})
    write_table(data / "segments", {"s0-1": "rec-a 0.5 1.5", "s0-2": "rec-b 0 -1"})
    write_table(data / "utt2dur", {"s0-1": "1.0", "s0-2": "3.0"})
    for name, source in (("x", cut), ("y", data)):
        run_dump(tmp_path / name, source, plan(tmp_path / name, source))
    assert same(features(tmp_path / "x"), features(tmp_path / "y"))


@pytest.mark.parametrize(("method", "tolerance"), [(2, 0.5), (3, 1e-3)])
def test_compression(
    whole: Path, data: Path, tmp_path: Path, method: int, tolerance: float
) -> None:
    run_dump(tmp_path, data, plan(tmp_path, data, "--compression_method", str(method)))
    plain, compressed = features(whole), features(tmp_path)
    assert plain.keys() == compressed.keys()
    difference = max(float(np.abs(plain[u] - compressed[u]).max()) for u in plain)
    assert 0 < difference < tolerance


def test_a_text_dump(tmp_path: Path, data: Path) -> None:
    run_dump(tmp_path, data, plan(tmp_path, data, upstream="minilm"))
    text = read_table(data / "text")
    minilm = build(Choice("text", "minilm"))
    found = features(tmp_path)
    assert list(found) == sorted(UTTERANCES)
    for utterance, matrix in found.items():
        assert np.abs(matrix - minilm.extract([text[utterance]])[0]).max() < 1e-4
    assert yaml.safe_load((tmp_path / "frontend.yaml").read_text())["frame_shift"] is None


def test_a_transcript_over_the_limit_is_named(
    tmp_path: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mine = Path(shutil.copytree(data, tmp_path / "data"))
    text = read_table(mine / "text") | {UTTERANCES[4]: "cat" + " cat" * 59}
    write_table(mine / "text", text)
    tiny_models.save_bert(tmp_path / "bert")
    flags = ["--model", str(tmp_path / "bert"), "--layer", "1"]
    run_dump(tmp_path / "dump", mine, plan(tmp_path / "dump", mine, *flags, upstream="bert"))
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    said = f"{UTTERANCES[4]}: only the first 40 of its 62 tokens are encoded"
    assert warnings == [said, f"{tmp_path / 'dump'}: {said}"]
    assert (tmp_path / "dump" / "raw_bert_l1.1.ark").exists()


# Plans.


@given(
    lengths=st.dictionaries(
        st.text("abc", min_size=1, max_size=4), st.floats(0.1, 90), min_size=1, max_size=40
    ),
    nj=st.integers(1, 50),
)
def test_every_utterance_is_in_one_batch_of_one_job(lengths: dict[str, float], nj: int) -> None:
    batches = make_batches(lengths, 60)
    assert sorted(u for batch in batches for u in batch) == sorted(lengths)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[u] for u in batch) <= 60
    weights = [sum(lengths[u] for u in batch) for batch in batches]
    jobs = split_jobs(weights, nj)
    assert sorted(b for job in jobs for b in job) == list(range(len(batches)))
    assert all(jobs)
    assert len(jobs) == min(nj, len(batches))
    loads = [sum(weights[b] for b in job) for job in jobs]
    assert max(loads) - min(loads) <= max(weights)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with tiny models under the names of their upstreams."""
    directory = tmp_path_factory.mktemp("models")
    tiny_models.save_whisper(directory / "whisper")
    tiny_models.save_bert(directory / "bert")
    for name in ("wav2vec2", "hubert", "wavlm"):
        getattr(tiny_models, f"save_{name}")(directory / name)
    tiny_emotion2vec.save(directory / "emotion2vec")
    return directory


@pytest.mark.parametrize(
    "upstream", ["fbank", "whisper", "bert", "emotion2vec", "wav2vec2", "hubert", "wavlm"]
)
def test_the_number_of_jobs_changes_no_feature(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: str
) -> None:
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_SECONDS", 3.5)
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_CHARACTERS", 60)
    waves = {f"s0-{i:02d}": noise(0.3 + 0.1 * i, seed=i) for i in range(16)}
    mine = write_data(tmp_path / "data", waves)
    write_table(mine / "text", {u: f"the {'cat ' * i}sat" for i, u in enumerate(waves)})
    model = ["--model", str(tiny / upstream)] if upstream != "fbank" else []
    for nj, jobs in ((1, 1), (2, 2), (7, 7), (50, 13 if upstream == "bert" else 7)):
        directory = tmp_path / str(nj)
        assert plan(directory, mine, *model, upstream=upstream, nj=nj) == jobs
        run_dump(directory, mine, jobs)
        assert same(features(tmp_path / "1"), features(directory))
        for name in ("utt2num_frames", "frontend.yaml"):
            assert (directory / name).read_bytes() == (tmp_path / "1" / name).read_bytes()


def test_a_resumed_dump_keeps_its_plan(data: Path, tmp_path: Path) -> None:
    assert plan(tmp_path, data, nj=3) == 3
    first = (tmp_path / "plan.json").read_bytes()
    run_job(tmp_path, data, 2)
    assert plan(tmp_path, data, nj=2) == 3
    assert (tmp_path / "plan.json").read_bytes() == first
    run_dump(tmp_path, data, 3)
    assert plan(tmp_path, data, nj=2) == 0


def test_jobs_that_none_has_begun_may_become_fewer(whole: Path, data: Path, tmp_path: Path) -> None:
    assert plan(tmp_path, data, nj=3) == 3  # and a scheduler refuses so many
    assert plan(tmp_path, data, nj=2) == 2
    assert plan(tmp_path, data, nj=3) == 2
    run_dump(tmp_path, data, 2)
    for name in ("utt2num_frames", "frontend.yaml"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert plan(tmp_path, data, nj=1) == 0


def test_a_finished_dump_is_skipped_and_a_different_one_refused(
    whole: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    mine, directory = tmp_path / "data", tmp_path / "dump"
    shutil.copytree(data, mine)
    write_table(
        mine / "wav.scp",
        {u: str(mine / "wav ü" / f"{u}.wav") for u in UTTERANCES},
    )
    run_dump(directory, mine, plan(directory, mine))
    before = contents(directory)
    assert plan(directory, mine, nj=3) == 0
    assert "already made, skipping" in caplog.text
    with pytest.raises(UserError, match=r"--num_threads was 1, now 2.*--force true"):
        plan(directory, mine, "--num_threads", "2")
    tiny_models.save_whisper(tmp_path / "w")
    with pytest.raises(UserError, match="--audio_upstream was fbank, now whisper"):
        plan(directory, mine, "--model", str(tmp_path / "w"), upstream="whisper")
    soundfile.write(mine / "wav ü" / f"{UTTERANCES[0]}.wav", noise(16, 8000, 99), 8000)
    with pytest.raises(UserError, match="input audio has changed"):
        plan(directory, mine)
    assert contents(directory) == before
    run_dump(directory, mine, plan(directory, mine, "--force", "true"))
    changed, original = features(directory), features(whole)
    assert [u for u in original if not np.array_equal(changed[u], original[u])] == UTTERANCES[:1]


def test_another_model_under_the_same_name_is_refused(data: Path, tmp_path: Path) -> None:
    flags = ["--model", str(tmp_path / "bert")]
    tiny_models.save_bert(tmp_path / "bert", seed=0)
    run_dump(tmp_path / "dump", data, plan(tmp_path / "dump", data, *flags, upstream="bert"))
    tiny_models.save_bert(tmp_path / "bert", seed=1)
    with pytest.raises(UserError, match="input model has changed"):
        plan(tmp_path / "dump", data, *flags, upstream="bert")


def test_a_model_that_changes_during_a_dump_is_noticed(data: Path, tmp_path: Path) -> None:
    flags = ["--model", str(tmp_path / "bert")]
    mine = Path(shutil.copytree(data, tmp_path / "data"))
    write_table(mine / "text", dict.fromkeys(UTTERANCES, "the" + " cat" * 200))
    tiny_models.save_bert(tmp_path / "bert", seed=0)
    assert plan(tmp_path / "dump", mine, *flags, upstream="bert", nj=2) == 2
    run_job(tmp_path / "dump", mine, 1)
    tiny_models.save_bert(tmp_path / "bert", seed=1)
    run_job(tmp_path / "dump", mine, 2)
    with pytest.raises(UserError, match=r"jobs of .* used different encoders"):
        dump_merge.main(["--dir", str(tmp_path / "dump")])
    assert not (tmp_path / "dump" / "feats.scp").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--upstream", "bert"],
        ["--nj", "0"],
        ["--layer", "-1"],
        ["--compression_method", "5"],
        ["--skip_bad", "yes"],
        ["--text", "data/asr/x/text"],
    ],
)
def test_usage_errors_exit_with_2(tmp_path: Path, flags: list[str]) -> None:
    usual = ["--modality", "audio", "--upstream", "fbank", "--data", "data", "--dir", str(tmp_path)]
    with pytest.raises(SystemExit) as caught:
        dump_plan.main([*usual, *flags])
    assert caught.value.code == 2


# Faults of the audio and of jobs.


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twenty short utterances: one may be bad, two are too many."""
    return write_data(tmp_path / "data", {f"s0-{i:02d}": noise(0.3, seed=i) for i in range(20)})


def spoil(data: Path, utterance: str, fault: str) -> None:
    path = Path(read_table(data / "wav.scp")[utterance])
    if fault == "missing":
        path.unlink()
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "noise":
        path.write_bytes(bytes(range(256)) * 40)
    elif fault == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        soundfile.write(path, noise(0.024), 16000)


@pytest.mark.parametrize("fault", ["missing", "empty", "noise", "cut", "short"])
def test_bad_audio_stops_the_job_or_is_listed(many: Path, tmp_path: Path, fault: str) -> None:
    spoil(many, "s0-07", fault)
    directory = tmp_path / "dump"
    with pytest.raises(UserError, match=r"s0-07.*--skip_bad true") as caught:
        run_dump(directory, many, plan(directory, many))
    assert "\n" not in str(caught.value)
    run_dump(directory, many, plan(directory, many, "--skip_bad", "true"))
    skipped = read_table(directory / "skipped")
    assert list(skipped) == ["s0-07"]
    assert "--skip_bad" not in skipped["s0-07"]
    assert len(read_table(directory / "feats.scp")) == 19
    assert "s0-07" not in read_table(directory / "feats.scp")
    assert plan(directory, many, "--skip_bad", "true") == 0


def test_what_was_skipped_is_not_left_out_silently(many: Path, tmp_path: Path) -> None:
    spoil(many, "s0-07", "empty")
    directory = tmp_path / "dump"
    run_job(directory, many, plan(directory, many, "--skip_bad", "true"))
    assert plan(directory, many) == 1
    with pytest.raises(UserError, match=r"skipped \(s0-07\); go on with --skip_bad true"):
        run_dump(directory, many, 1)
    run_dump(directory, many, plan(directory, many, "--skip_bad", "true"))
    with pytest.raises(UserError, match="lists in the file skipped; go on with --skip_bad true"):
        plan(directory, many)
    assert plan(directory, many, "--force", "true") == 1
    assert not (directory / "skipped").exists()


def test_a_dump_without_bad_audio_is_the_same_with_skip_bad(whole: Path, data: Path) -> None:
    assert plan(whole, data, "--skip_bad", "true") == 0


def test_too_much_bad_audio_is_an_error_all_the_same(many: Path, tmp_path: Path) -> None:
    for utterance in ("s0-07", "s0-11"):
        spoil(many, utterance, "empty")
    directory = tmp_path / "dump"
    with pytest.raises(UserError, match=r"2 of 20 .*\(s0-07, s0-11\), more than 5 %"):
        run_dump(directory, many, plan(directory, many, "--skip_bad", "true"))
    assert not (directory / "feats.scp").exists()


def test_features_that_are_not_finite_name_the_utterance(data: Path, tmp_path: Path) -> None:
    tiny_models.save_bert(tmp_path / "bert")
    nan = torch.full((16,), torch.nan)
    tiny_models.edit_weights(tmp_path / "bert", embeddings__LayerNorm__bias=nan)
    plan(tmp_path / "dump", data, "--model", str(tmp_path / "bert"), upstream="bert")
    with pytest.raises(UserError, match=r"utterance s0-00: bert gave features that are not finite"):
        run_job(tmp_path / "dump", data, 1)


def test_a_job_that_is_not_finished_names_its_utterances(data: Path, tmp_path: Path) -> None:
    plan(tmp_path, data, nj=6)
    for job in (1, 2, 3, 4):
        run_job(tmp_path, data, job)
    with pytest.raises(
        UserError, match=r"job 5 of .* is not finished: 2 utterances are missing"
    ) as e:
        dump_merge.main(["--dir", str(tmp_path)])
    assert sum(utterance in str(e.value) for utterance in UTTERANCES) == 2
    assert not (tmp_path / "feats.scp").exists()


def test_a_job_outside_the_plan_or_without_one(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `cfia dump_plan` first"):
        run_job(tmp_path / "dump", data, 1)
    plan(tmp_path / "dump", data)
    with pytest.raises(UserError, match="has the jobs 1 to 1"):
        run_job(tmp_path / "dump", data, 2)


def test_data_that_lost_an_utterance_since_the_plan(many: Path, tmp_path: Path) -> None:
    plan(tmp_path / "dump", many)
    for name in ("wav.scp", "text", "utt2spk", "utt2dur"):
        rows = read_table(many / name)
        del rows["s0-05"]
        write_table(many / name, rows)
    with pytest.raises(UserError, match="lacks s0-05, which the dump was planned with"):
        run_job(tmp_path / "dump", many, 1)
