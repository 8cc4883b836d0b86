"""Small corpora as data directories, and the three programs of a dump, for tests."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from cfia import cli
from cfia.bin import dump, dump_merge, dump_plan
from cfia.kaldi.table import read_table, write_table
from tests.support.archives import load_features

# How a job runs: all in one process; and as for a GPU, with processes that decode and a thread that
# writes. Filterbanks need no GPU for that.
NGPU = pytest.mark.parametrize("ngpu", ["--ngpu=0", "--ngpu=1"])
UTTERANCES = [f"s{i % 3}-{i:02d}" for i in range(12)]


def noise(seconds: float, rate: int = 16000, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.normal(size=round(seconds * rate))).astype(np.float32)


def write_data(directory: Path, waves: dict[str, NDArray[np.float32]], rate: int = 16000) -> Path:
    """A data directory with one WAV file per utterance."""
    (directory / "wav ü").mkdir(parents=True)
    tables: dict[str, dict[str, str]] = {name: {} for name in ("wav.scp", "text", "utt2spk")}
    durations = {}
    for utterance, wave in waves.items():
        path = directory / "wav ü" / f"{utterance}.wav"
        soundfile.write(path, wave, rate, subtype="PCM_16")
        tables["wav.scp"][utterance] = str(path)
        tables["text"][utterance] = f"the cat sat on {utterance}"
        tables["utt2spk"][utterance] = utterance.partition("-")[0]
        durations[utterance] = f"{len(wave) / rate:.3f}"
    for name, rows in {**tables, "utt2dur": durations}.items():
        write_table(directory / name, rows)
    return directory


def write_long_data(directory: Path) -> Path:
    """Twelve utterances of 16 to 21.5 s, at 8 kHz to keep the files small: five batches."""
    return write_data(
        directory, {u: noise(16 + i / 2, 8000, i) for i, u in enumerate(UTTERANCES)}, 8000
    )


# Two fixtures. A module that wants them says `data = pytest.fixture(scope="module")(long_data)`,
# and the same of `whole` with `undisturbed`.


def long_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long_data(tmp_path_factory.mktemp("a corpus") / "data")


def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data's features, dumped without a disturbance by one job."""
    directory = tmp_path_factory.mktemp("a dump") / "fbank"
    assert plan(directory, data) == 1
    run_dump(directory, data, 1)
    return directory


def plan(directory: Path, data: Path, *flags: str, upstream: str = "fbank", nj: int = 1) -> int:
    """Run dump_plan; the number of jobs that it prints, which is all that it prints."""
    modality = "text" if upstream in ("bert", "minilm") else "audio"
    printed = StringIO()
    with redirect_stdout(printed):
        dump_plan.main(
            [
                f"--modality={modality}",
                f"--upstream={upstream}",
                f"--data={data}",
                f"--dir={directory}",
                f"--nj={nj}",
                *flags,
            ]
        )
    return int(printed.getvalue())


def run_job(directory: Path, data: Path, job: int, *flags: str) -> None:
    dump.main(["--dir", str(directory), "--data", str(data), "--job", str(job), *flags])


def run_dump(directory: Path, data: Path, jobs: int, *flags: str) -> None:
    for job in range(1, jobs + 1):
        run_job(directory, data, job, *flags)
    dump_merge.main(["--dir", str(directory)])


def failing_job(
    directory: Path, data: Path, capsys: pytest.CaptureFixture[str], *flags: str
) -> str:
    """Run job 1 as the program does; its one line on stderr. It must exit with 1."""
    with pytest.raises(SystemExit) as caught:
        cli.run(dump.main, ["--dir", str(directory), "--data", str(data), "--job", "1", *flags])
    assert caught.value.code == 1
    lines = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def features(directory: Path) -> dict[str, NDArray[np.float32]]:
    return load_features(directory / "feats.scp", read_table(directory / "feats.scp"))


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a dump but those on its origin, with its own path replaced in scp files."""
    own = str(directory).encode()
    return {
        path.name: path.read_bytes().replace(own, b"DIR")
        for path in directory.iterdir()
        if path.is_file() and path.name not in (".done.json", "utt2origin", "taken_over")
    }


def same(first: dict[str, NDArray[np.float32]], second: dict[str, NDArray[np.float32]]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[u], second[u]) for u in first)
