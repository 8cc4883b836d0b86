"""Dumps that take features over from others: the same bytes as without, and never wrong ones."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cfia.kaldi.table import read_table, write_table
from cfia.upstream import dump, registry
from cfia.upstream.base import Upstream
from cfia.upstream.emotion2vec import Emotion2vec
from cfia.upstream.fbank import Fbank
from tests.support import tiny_emotion2vec, tiny_models
from tests.support.dump_data import contents, noise, plan, run_dump, run_job, write_data

SEVEN = [f"s{i % 3}-{i:02d}" for i in range(21)]
FOUR = [utterance for i, utterance in enumerate(SEVEN) if i % 7 in (0, 2, 3, 6)]
SHARED = ("wav.scp", "text", "utt2spk", "utt2dur")
# From where the features of a dump are.
OWN = "taken_over"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data directories `seven` and `four`, the latter a part of the former."""
    work = tmp_path_factory.mktemp("corpus")
    waves = {u: noise(0.3 + 0.07 * (i * 5 % 21), seed=i) for i, u in enumerate(SEVEN)}
    write_data(work / "seven", waves)
    texts = {u: f"the {'cat ' * (i * 5 % 7)}sat{' on' * (i % 2)}" for i, u in enumerate(SEVEN)}
    write_table(work / "seven" / "text", texts)
    subset(work / "seven", work / "four", FOUR)
    return work


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    tiny_models.save_whisper(directory / "whisper")
    tiny_models.save_bert(directory / "bert")
    tiny_models.save_wavlm(directory / "wavlm")
    tiny_emotion2vec.save(directory / "emotion2vec")
    return directory


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_SECONDS", 5)
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_CHARACTERS", 120)


def subset(source: Path, target: Path, utterances: list[str]) -> Path:
    target.mkdir()
    for name in SHARED:
        rows = read_table(source / name)
        write_table(target / name, {utterance: rows[utterance] for utterance in utterances})
    return target


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many utterances each call of an encoder had."""
    counts: list[int] = []
    build: Callable[..., Upstream] = registry.build

    def counting(*arguments: object) -> Upstream:
        upstream = build(*arguments)
        extract = upstream.extract

        def counted(batch: list[object]) -> list[object]:
            counts.append(len(batch))
            return list(extract(batch))

        upstream.extract = counted  # type: ignore[assignment, method-assign]
        return upstream

    monkeypatch.setattr(dump, "build", counting)
    return counts


def make(directory: Path, data: Path, *flags: str, upstream: str = "fbank", nj: int = 1) -> Path:
    run_dump(directory, data, plan(directory, data, *flags, upstream=upstream, nj=nj))
    return directory


def flags_of(models: Path, upstream: str) -> list[str]:
    return [] if upstream == "fbank" else ["--model", str(models / upstream)]


@pytest.mark.parametrize("upstream", ["fbank", "wavlm", "emotion2vec", "bert"])
def test_seven_classes_after_four_encode_what_is_new(
    corpus: Path,
    models: Path,
    tmp_path: Path,
    encoded: list[int],
    caplog: pytest.LogCaptureFixture,
    upstream: str,
) -> None:
    caplog.set_level("INFO")
    flags = flags_of(models, upstream)
    alone = make(tmp_path / "alone" / "x_7", corpus / "seven", *flags, upstream=upstream, nj=2)
    make(tmp_path / "dump" / "x", corpus / "four", *flags, upstream=upstream)
    assert sum(encoded) == len(SEVEN) + len(FOUR)
    encoded.clear()
    seven = make(tmp_path / "dump" / "x_7", corpus / "seven", *flags, upstream=upstream, nj=2)
    assert contents(seven) == contents(alone)
    assert read_table(seven / "utt2origin") == read_table(alone / "utt2origin")
    assert read_table(seven / OWN) == dict.fromkeys(FOUR, str(tmp_path / "dump" / "x"))
    assert sum(encoded) == len(SEVEN) - len(FOUR) + 2 * dump.COMPARED
    said = f"x_7: took over {len(FOUR)} of {len(SEVEN)} utterances from {tmp_path / 'dump' / 'x'}"
    assert said in caplog.text


@pytest.mark.parametrize("upstream", ["whisper", "wavlm", "bert"])
def test_a_layer_out_of_all(corpus: Path, models: Path, tmp_path: Path, upstream: str) -> None:
    flags = flags_of(models, upstream)
    few = subset(corpus / "seven", tmp_path / "few", SEVEN[:4])
    make(tmp_path / "dump" / "all", few, *flags, "--layer=all", upstream=upstream)
    for layer in ("0", "1", ""):
        one = [*flags, f"--layer={layer}"]
        alone = make(tmp_path / "alone" / f"l{layer}", few, *one, upstream=upstream)
        taken = make(tmp_path / "dump" / f"l{layer}", few, *one, upstream=upstream)
        assert contents(taken) == contents(alone)
        assert list(read_table(taken / OWN)) == sorted(SEVEN[:4])


def nothing_taken(dumps: Path, data: Path, *flags: str, upstream: str = "fbank") -> bool:
    made = make(dumps / "new", data, *flags, upstream=upstream)
    return not (made / OWN).exists()


def test_other_weights_are_not_taken(corpus: Path, tmp_path: Path) -> None:
    flags = ["--model", str(tmp_path / "bert")]
    tiny_models.save_bert(tmp_path / "bert")
    make(tmp_path / "dump" / "old", corpus / "four", *flags, upstream="bert")
    tiny_models.save_bert(tmp_path / "bert", seed=1)
    assert nothing_taken(tmp_path / "dump", corpus / "seven", *flags, upstream="bert")


@pytest.mark.parametrize("change", ["threads", "compressed", "force", "other libraries", "pipe"])
def test_what_may_change_a_bit_is_encoded(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    data, flags = corpus / "four", {"threads": ["--num_threads=2"], "force": ["--force=true"]}
    if change == "pipe":
        data = Path(shutil.copytree(corpus / "four", tmp_path / "data"))
        pipes = {u: f"cat '{path}' |" for u, path in read_table(data / "wav.scp").items()}
        write_table(data / "wav.scp", pipes)
    make(tmp_path / "dump" / "old", data, *["--compression_method=3"] * (change == "compressed"))
    if change == "other libraries":
        monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert nothing_taken(tmp_path / "dump", data, *flags.get(change, []))


def test_audio_and_transcripts_that_changed_are_encoded(corpus: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(corpus / "four", tmp_path / "data"))
    path = tmp_path / "other.wav"
    shutil.copy(read_table(data / "wav.scp")[FOUR[1]], path)
    write_table(data / "wav.scp", read_table(data / "wav.scp") | {FOUR[1]: str(path)})
    make(tmp_path / "dump" / "old", data)
    make(tmp_path / "dump" / "minilm", data, upstream="minilm")
    before = path.stat()
    samples = (before.st_size - 44) // 2
    soundfile.write(path, noise(samples / 16000, seed=99), 16000, subtype="PCM_16")
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    write_table(data / "text", read_table(data / "text") | {FOUR[2]: "another one"})
    for upstream, changed in (("fbank", FOUR[1]), ("minilm", FOUR[2])):
        alone = make(tmp_path / "alone" / upstream, data, upstream=upstream)
        new = make(tmp_path / "dump" / f"new_{upstream}", data, upstream=upstream)
        assert contents(new) == contents(alone)
        assert set(FOUR) - read_table(new / OWN).keys() == {changed}


def test_a_damaged_dump_is_named_and_not_taken(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = make(tmp_path / "dump" / "old", corpus / "four")
    archive = old / "raw_fbank.1.ark"
    archive.write_bytes(archive.read_bytes()[:-1] + b"!")
    assert nothing_taken(tmp_path / "dump", corpus / "seven")
    assert f"{old}: no features are taken over from it (its file raw_fbank.1.ark was" in caplog.text


def test_a_dump_that_changes_behind_the_plan_is_not_taken(corpus: Path, tmp_path: Path) -> None:
    old = make(tmp_path / "dump" / "old", corpus / "four")
    jobs = plan(tmp_path / "dump" / "new", corpus / "four")
    make(old, corpus / "seven", "--force=true")
    run_dump(tmp_path / "dump" / "new", corpus / "four", jobs)
    assert not (tmp_path / "dump" / "new" / OWN).exists()
    plan(tmp_path / "dump" / "third", corpus / "four")
    shutil.rmtree(old)
    shutil.rmtree(tmp_path / "dump" / "new")
    alone = make(tmp_path / "alone", corpus / "four")
    run_dump(tmp_path / "dump" / "third", corpus / "four", 1)
    assert contents(tmp_path / "dump" / "third") == contents(alone)


def test_features_that_are_others_now_are_not_taken(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old = make(tmp_path / "dump" / "old", corpus / "four")
    frames = Fbank._frames
    monkeypatch.setattr(Fbank, "_frames", lambda self, x: frames(self, x) + np.float32(1e-5))
    assert nothing_taken(tmp_path / "dump", corpus / "seven")
    assert f"{old} has other features of" in caplog.text


def test_killed_and_run_again_it_goes_on(corpus: Path, tmp_path: Path) -> None:
    alone = make(tmp_path / "alone" / "new", corpus / "seven", nj=2)
    make(tmp_path / "dump" / "old", corpus / "four")
    new = tmp_path / "dump" / "new"
    jobs = plan(new, corpus / "seven", nj=2)
    run_job(new, corpus / "seven", 1)
    (new / "raw_fbank.1.ark").rename(new / ".raw_fbank.1.ark")
    journal = new / ".raw_fbank.1.journal"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:2]) + b"{")
    assert plan(new, corpus / "seven", nj=1) == jobs
    run_dump(new, corpus / "seven", jobs)
    assert contents(new) == contents(alone)
    assert list(read_table(new / OWN)) == sorted(FOUR)


def test_an_encoder_that_depends_on_the_batch_gives_whole_batches(
    corpus: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the batches that both dumps have are taken, and no other."""
    flags = flags_of(models, "emotion2vec")
    dependent = property(lambda self: False, lambda self, value: None)
    monkeypatch.setattr(Emotion2vec, "independent", dependent)
    seconds = {u: float(x) for u, x in read_table(corpus / "seven" / "utt2dur").items()}
    missing = sorted(SEVEN, key=seconds.__getitem__)[8]
    few = subset(corpus / "seven", tmp_path / "few", [u for u in SEVEN if u != missing])
    make(tmp_path / "dump" / "few", few, *flags, upstream="emotion2vec")
    new = make(tmp_path / "dump" / "new", corpus / "seven", *flags, upstream="emotion2vec")
    alone = make(tmp_path / "alone", corpus / "seven", *flags, upstream="emotion2vec")
    assert contents(new) == contents(alone)
    assert 0 < len(read_table(new / OWN)) < len(SEVEN) - 1
