"""Dumps of unusual audio and pipes, and what a fault leaves: a sentence, and nothing to trust."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from cfia.bin import dump, dump_merge
from cfia.errors import UserError
from cfia.kaldi.table import read_table, write_table
from cfia.upstream.loading import ahead
from tests.signals import heed_signals
from tests.support import tiny_models
from tests.support.data_files import mounted
from tests.support.dump_data import (
    NGPU,
    contents,
    failing_job,
    features,
    noise,
    plan,
    run_dump,
    run_job,
    same,
    write_data,
)
from tests.support.processes import left_of_group

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve utterances of 0.5 s: six batches under `small_batches`."""
    return write_data(tmp_path / "data", {f"s0-{i:02d}": noise(0.5, seed=i) for i in range(12)})


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfia.upstream.dump_plan.BATCH_SECONDS", 1.0)


def wav(data: Path, utterance: str) -> Path:
    return Path(read_table(data / "wav.scp")[utterance])


def replace(path: Path, content: bytes) -> None:
    """Other bytes at another time, however coarse the clock."""
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))


# Decoding ahead.


def test_the_next_batch_is_loaded_meanwhile_and_no_more_than_that() -> None:
    begun = [threading.Event() for _ in range(4)]

    def load(number: int) -> int:
        begun[number].set()
        return number

    loaded = ahead(load, range(4))
    assert next(loaded) == 0
    assert begun[1].wait(10)
    assert not begun[2].wait(0.05)
    assert list(loaded) == [1, 2, 3]


def test_an_error_of_loading_comes_in_its_turn_and_ends_the_thread() -> None:
    def load(number: int) -> int:
        if number == 2:
            raise UserError("the third")
        return number

    loaded = ahead(load, range(5))
    assert [next(loaded), next(loaded)] == [0, 1]
    with pytest.raises(UserError, match="the third"):
        next(loaded)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load")]


def test_closing_stops_the_thread() -> None:
    stop = threading.Event()
    loaded = ahead(lambda n: stop.wait(60) if n else False, range(3), stop)
    assert next(loaded) is False
    loaded.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load")]


def test_nothing_to_load() -> None:
    assert list(ahead(lambda n: n, [])) == []


@NGPU
@pytest.mark.usefixtures("small_batches")
def test_warnings_come_in_the_order_of_batches_and_errors_after_what_is_before_them(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str], ngpu: str,
) -> None:  # fmt: skip
    for utterance in ("s0-03", "s0-08"):
        wav(data, utterance).write_bytes(b"")
    directory = tmp_path / "dump"
    caplog.set_level("INFO")
    run_job(directory, data, plan(directory, data, "--skip_bad", "true"), ngpu)
    said = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert [line.split(":")[0] for line in said] == ["skipping s0-03", "skipping s0-08"]
    other = tmp_path / "other"
    plan(other, data)
    said_at_last = failing_job(other, data, capsys, ngpu)
    assert said_at_last.startswith("error: utterance s0-03: the audio file")
    # The batch before the bad one is kept.
    assert (other / ".raw_fbank.1.journal").read_bytes().count(b"\n") == 2
    assert not (other / "raw_fbank.1.ark").exists()


@NGPU
def test_an_interrupt_ends_all_and_the_dump_goes_on(data: Path, tmp_path: Path, ngpu: str) -> None:
    directory = tmp_path / "dump"
    plan(directory, data)
    commands = dict.fromkeys(read_table(data / "wav.scp"), f"echo > '{data}/at work'; sleep 60 |")
    slow = Path(shutil.copytree(data, tmp_path / "slow"))
    write_table(slow / "wav.scp", commands)
    process = subprocess.Popen(
        [sys.executable, "-m", "cfia.bin.dump",
         f"--dir={directory}", f"--data={slow}", "--job=1", ngpu],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )  # fmt: skip
    while not (data / "at work").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert said.splitlines() == ["interrupted; run the same command again to go on"]
    assert left_of_group(process.pid) == []
    run_dump(directory, data, plan(directory, data))
    assert len(features(directory)) == 12


def test_the_gpu_is_no_part_of_what_a_dump_is(data: Path, tmp_path: Path) -> None:
    for name, flags in (("cpu", []), ("gpu", ["--ngpu", "1"])):
        plan(tmp_path / name, data)
        # fbank has no network, so it needs no GPU.
        dump.main([f"--dir={tmp_path / name}", f"--data={data}", "--job=1", *flags])
        dump_merge.main([f"--dir={tmp_path / name}"])
        assert plan(tmp_path / name, data) == 0
    assert contents(tmp_path / "cpu") == contents(tmp_path / "gpu")


# Formats and pipes.


def test_eight_bits_and_two_channels_are_converted(data: Path, tmp_path: Path) -> None:
    run_dump(tmp_path / "plain", data, plan(tmp_path / "plain", data))
    samples, _ = soundfile.read(wav(data, "s0-00"), dtype="float32")
    soundfile.write(wav(data, "s0-00"), samples, 16000, subtype="PCM_U8")
    soundfile.write(wav(data, "s0-01"), np.stack([samples, samples], axis=1), 16000, "PCM_16")
    run_dump(tmp_path / "other", data, plan(tmp_path / "other", data))
    plain, other = features(tmp_path / "plain"), features(tmp_path / "other")
    assert np.corrcoef(plain["s0-00"].ravel(), other["s0-00"].ravel())[0, 1] > 0.999
    assert np.array_equal(other["s0-01"], plain["s0-00"])


def decoder(source: Path) -> str:
    """A command that writes a FLAC file as WAV into a pipe, where no length can be known."""
    return f"'{imageio_ffmpeg.get_ffmpeg_exe()}' -loglevel error -i '{source}' -f wav -"


def test_segments_of_what_a_decoder_writes_into_a_pipe(tmp_path: Path) -> None:
    cut = write_data(tmp_path / "cut", {"s0-1": noise(1), "s0-2": noise(2, seed=2)})
    piped = Path(shutil.copytree(cut, tmp_path / "piped"))
    parts = [soundfile.read(wav(cut, u), dtype="int16")[0] for u in ("s0-1", "s0-2")]
    long = np.concatenate([np.zeros(8000, np.int16), *parts])
    soundfile.write(tmp_path / "long.flac", long, 16000)
    write_table(piped / "wav.scp", {"rec": f"{decoder(tmp_path / 'long.flac')} |"})
    write_table(piped / "segments", {"s0-1": "rec 0.5 1.5", "s0-2": "rec 1.5 -1"})
    for name, source in (("x", cut), ("y", piped)):
        run_dump(tmp_path / name, source, plan(tmp_path / name, source))
    assert same(features(tmp_path / "x"), features(tmp_path / "y"))


def test_silence_is_said_when_the_stage_ends(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for utterance in ("s0-03", "s0-08"):
        soundfile.write(wav(data, utterance), np.zeros(8000), 16000, subtype="PCM_16")
    run_dump(tmp_path / "dump", data, plan(tmp_path / "dump", data))
    said = "the audio is silent: all of its samples are 0"
    assert f"s0-08: {said}" in caplog.messages  # in the job's log
    assert f"{tmp_path / 'dump'}: s0-03: {said}; 1 more are in its logs" in caplog.messages


# Faults.


def test_audio_that_vanishes_after_the_plan(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "dump"
    plan(directory, data)
    gone = wav(data, "s0-05")
    gone.unlink()
    assert f"utterance s0-05: no such audio file {gone}" in failing_job(directory, data, capsys)
    assert not (directory / "feats.scp").exists()
    assert not list(directory.glob("raw_*"))


def test_a_checkpoint_without_a_key_leaves_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_models.save_whisper(tmp_path / "whisper")
    tiny_models.edit_weights(tmp_path / "whisper", encoder__layers__1__fc1__weight=None)
    directory = tmp_path / "dump"
    plan(directory, data, "--model", str(tmp_path / "whisper"), upstream="whisper")
    assert "encoder.layers.1.fc1.weight" in failing_job(directory, data, capsys)
    assert not list(directory.glob("*raw_whisper*"))


def test_a_model_of_another_dimension_is_refused(data: Path, tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    tiny_models.save_bert(tmp_path / "bert")
    directory, flags = tmp_path / "dump", ["--model", str(tmp_path / "bert")]
    run_dump(directory, data, plan(directory, data, *flags, upstream="bert"))
    before = contents(directory)
    config = BertConfig.from_pretrained(tmp_path / "bert", hidden_size=32)
    BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match=r"input model has changed.*--force true"):
        plan(directory, data, *flags, upstream="bert")
    assert contents(directory) == before
    run_dump(directory, data, plan(directory, data, *flags, "--force=true", upstream="bert"))
    assert {matrix.shape[1] for matrix in features(directory).values()} == {32}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB; the features need about 190."""
    yield from mounted(tmp_path / "disk", "128k")


@NGPU
@pytest.mark.usefixtures("small_batches")
def test_a_full_disk(
    data: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ngpu: str
) -> None:
    directory = small_disk / "dump"
    plan(directory, data)
    said = failing_job(directory, data, capsys, ngpu)
    assert "No space left on device" in said
    assert "free some space" in said
    assert not list(directory.glob("raw_*"))
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    run_dump(directory, data, plan(directory, data))
    plan(tmp_path / "plain", data)
    run_dump(tmp_path / "plain", data, 1)
    assert contents(directory) == contents(tmp_path / "plain")


# Audio that is mended after a dump has stopped on it.


def test_where_nothing_was_finished_nobody_is_asked(data: Path, tmp_path: Path) -> None:
    good = wav(data, "s0-04").read_bytes()
    wav(data, "s0-04").write_bytes(good[:3000])
    directory = tmp_path / "dump"
    with pytest.raises(UserError, match="s0-04"):
        run_dump(directory, data, plan(directory, data))
    replace(wav(data, "s0-04"), good)
    run_dump(directory, data, plan(directory, data, "--compression_method", "3"))
    assert len(features(directory)) == 12


@pytest.mark.usefixtures("small_batches")
def test_finished_batches_stay_if_their_own_audio_does(data: Path, tmp_path: Path) -> None:
    good = wav(data, "s0-04").read_bytes()
    wav(data, "s0-04").write_bytes(good[:3000])
    directory = tmp_path / "dump"
    with pytest.raises(UserError, match="s0-04"):
        run_dump(directory, data, plan(directory, data))
    journal = (directory / ".raw_fbank.1.journal").read_bytes()
    assert journal.count(b"\n") == 3
    with pytest.raises(UserError, match=r"--num_threads was 1, now 2.*--force true"):
        plan(directory, data, "--num_threads", "2")
    replace(wav(data, "s0-04"), good)
    assert plan(directory, data) == 1
    run_job(directory, data, 1)
    assert (directory / ".raw_fbank.1.journal").read_bytes().startswith(journal)
    # From here on s0-01 is in a finished batch.
    replace(wav(data, "s0-01"), wav(data, "s0-02").read_bytes())
    with pytest.raises(UserError, match=r"its input audio has changed.*--force true"):
        plan(directory, data)


def test_a_model_that_was_moved_during_a_dump(data: Path, tmp_path: Path) -> None:
    write_table(data / "text", dict.fromkeys(read_table(data / "text"), "the" + " cat" * 200))
    tiny_models.save_bert(tmp_path / "here" / "bert")
    directory = tmp_path / "dump"
    flags = [f"--model={tmp_path / 'here' / 'bert'}", "--hub=hf"]
    assert plan(directory, data, *flags, upstream="bert", nj=2) == 2
    run_job(directory, data, 1)
    (tmp_path / "here").rename(tmp_path / "there")
    flags = [f"--model={tmp_path / 'there' / 'bert'}", "--hub=ms"]
    assert plan(directory, data, *flags, upstream="bert") == 2
    run_dump(directory, data, 2)
    assert len(features(directory)) == 12
