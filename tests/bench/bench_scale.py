"""What handles a corpus of a million utterances without its samples: seconds, and peak memory.

The corpus is invented: tables of 2000 speakers in ten sessions; a thousand short audio files, each
of which stands under many names; features of two numbers a frame; posteriors. Each row is a program
as the stages call it, with its start, in a process of its own, once. "growth" is the time for each
utterance over that at the size before: 1 where the time grows as the corpus does. Nothing is
asserted about times.

    python -m tests.bench.bench_scale --utterances 10000 100000 1000000 --json bench.json
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cfia.kaldi.archive import entries, entry
from cfia.kaldi.archives import Archives
from cfia.kaldi.table import read_ids
from cfia.training.folds import read_fold
from cfia.training.inputs import measure_folds
from tests.bench import processes, timing
from tests.bench.processes import ROOT
from tests.support.data_files import write_audio

SPEAKERS, SESSIONS = 2000, 10
FILES = 1000  # of audio
ARCHIVES = 100  # of features
JOBS = 1000  # of a dump
CLASSES = ("ang", "hap", "neu", "sad")
WORDS = ("I", "told", "you", "not", "to", "call", "me", "here", "again", "because", "of", "him")


def main() -> None:
    """Measure and print; with `--do`, be a process that is measured."""
    parser = argparse.ArgumentParser(
        description="Time what handles all utterances of a large corpus.",
        epilog="example: python -m tests.bench.bench_scale --utterances 10000 100000",
    )
    parser.add_argument(
        "--utterances", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="some rows alone")
    parser.add_argument("--dir", type=Path, help="keep the corpora there (default: nowhere)")
    timing.add_arguments(parser, turns=False)
    parser.add_argument("--do", choices=OURS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.do:
        OURS[args.do]()
        return
    figures = timing.Figures(args.json)
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for n in args.utterances:
            work = (args.dir or Path(temporary)).absolute() / str(n)
            invent(work, n)
            for result in measure(work, n, args.only, {row["row"]: row for row in results}):
                results.append(result)
                figures.add(result)
    print(table(results, args.utterances))


def table(results: list[dict[str, Any]], sizes: list[int]) -> str:
    """Lay the figures out as SCALE.md has them: a row for each program, a column for each size."""
    rows = [["what", *(f"{n:,}" for n in sizes)], ["---"] * (1 + len(sizes))]
    for name in dict.fromkeys(result["row"] for result in results):
        of_row = {r["utterances"]: r for r in results if r["row"] == name}
        cells = (
            f"{of_row[n]['seconds']:.1f} s, {of_row[n]['peak_mib'] * 2**20 / 1e9:.2f} GB"
            for n in sizes
        )
        rows.append([name, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


# The corpus


def names(n: int) -> Iterator[tuple[str, str, int]]:
    """Give ids in C-locale order, with their speakers and the numbers of these."""
    for speaker in range(SPEAKERS):
        name = f"speaker{speaker:04d}"
        for i in range(speaker * n // SPEAKERS, (speaker + 1) * n // SPEAKERS):
            yield f"{name}-{i:07d}", name, speaker


def invent(work: Path, n: int) -> None:
    """Write data/all, audio/, dump/invented/ and posteriors.tsv, where they are not there yet."""
    if (work / "posteriors.tsv").exists():
        return
    for directory in ("data/all", "dump/invented", "audio/files"):
        (work / directory).mkdir(parents=True, exist_ok=True)
    for i in range(FILES):
        write_audio(work / f"audio/files/{i:03d}.wav", 0.1)
    for i in range(-(-n // FILES)):  # so that each utterance has a path of its own
        link = work / f"audio/{i:04d}"
        if not link.is_symlink():
            link.symlink_to("files")
    write_tables(work, n)
    write_features(work / "dump/invented", n)
    write_posteriors(work / "posteriors.tsv", n)


def write_tables(work: Path, n: int) -> None:
    """Write the data directory, line by line, so that this process stays small."""
    rng = random.Random(1)
    tables = ("wav.scp", "text", "utt2spk", "utt2dur", "utt2emo", "utt2session", "spk2utt")
    with ExitStack() as stack:
        files = {t: stack.enter_context(open(work / "data/all" / t, "w")) for t in tables}
        before = ""
        for i, (utt, name, speaker) in enumerate(names(n)):
            audio = work / f"audio/{i // FILES:04d}/{i % FILES:03d}.wav"
            files["wav.scp"].write(f"{utt} {audio}\n")
            files["text"].write(f"{utt} {' '.join(rng.choices(WORDS, k=rng.randint(1, 20)))}\n")
            files["utt2spk"].write(f"{utt} {name}\n")
            files["utt2dur"].write(f"{utt} {rng.lognormvariate(1.28, 0.67):.3f}\n")
            files["utt2emo"].write(f"{utt} {rng.choice(CLASSES)}\n")
            files["utt2session"].write(f"{utt} session{speaker * SESSIONS // SPEAKERS:02d}\n")
            line_break = "\n" if before else ""
            files["spk2utt"].write(f" {utt}" if name == before else f"{line_break}{name} {utt}")
            before = name
        files["spk2utt"].write("\n")


def write_features(dump: Path, n: int) -> None:
    """Write feats.scp and archives of tiny matrices, as many in each."""
    matrix = np.zeros((3, 2), np.float32)
    with ExitStack() as stack:
        paths = [dump / f"raw_invented.{job}.ark" for job in range(1, ARCHIVES + 1)]
        arks = [stack.enter_context(open(path, "wb")) for path in paths]
        scp = stack.enter_context(open(dump / "feats.scp", "w"))
        for i, (utt, _, _) in enumerate(names(n)):
            job = i % ARCHIVES
            data, offset = entry(utt, matrix)
            scp.write(f"{utt} {paths[job]}:{arks[job].tell() + offset}\n")
            arks[job].write(data)


def write_posteriors(path: Path, n: int) -> None:
    """Write posteriors of four classes; written last, they say that the corpus is whole."""
    rng = np.random.default_rng(1)
    part = path.with_suffix(".part")
    with open(part, "w") as file:
        file.write("\t".join(["utt", "ref", *CLASSES]) + "\n")
        for i, (utt, _, _) in enumerate(names(n)):
            probs = rng.dirichlet((1, 1, 1, 1))
            numbers = "\t".join(f"{p:.9g}" for p in probs)
            file.write(f"{utt}\t{CLASSES[i % 4]}\t{numbers}\n")
    part.rename(path)


# The measurements


def commands(n: int) -> dict[str, list[str]]:
    """Give what is measured, by the name of its row, in an order in which it can be run."""

    def program(name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", f"cfia.bin.{name}", *arguments]

    def tool(name: str, *arguments: str) -> list[str]:
        return [str(ROOT / "utils" / name), *arguments]

    folds = ("folds", "--data", "data/all", "--out", "data/folds", "--force", "true")
    dump = ("--data", "data/all", "--dir", "dump/fbank")
    plan = ("dump_plan", "--modality", "audio", "--upstream", "fbank", "--nj", str(JOBS), *dump)
    return {
        "validate": tool("validate_data_dir.sh", "--no-feats", "data/all"),
        "folds session": program(*folds, "session"),
        "folds kfold10": program(*folds, "kfold10"),
        "folds again": program(*folds[:-2], "session"),
        "fix": tool("fix_data_dir.sh", "data/all"),
        "subset": tool("subset_data_dir.sh", "data/all", str(n // 2), "data/half"),
        "copy": tool("copy_data_dir.sh", "--utt-suffix", "-b", "data/all", "data/copy"),
        "dump plan": program(*plan, "--force", "true"),
        "dump job": program("dump", *dump, "--job", "1"),
        **{row: [sys.executable, "-m", "tests.bench.bench_scale", "--do", row] for row in OURS},
        "score": program("score", "posteriors.tsv", "--clusters", "data/all/utt2spk"),
        "score alone": program("score", "posteriors.tsv"),
    }


def read_lists() -> None:
    """Measure the fold lists as stage 5 and each training do, and read those of one fold."""
    folds = Path("data/folds/session")
    measure_folds(folds, Path("data/all"))
    read_fold(folds, 1)


def open_features() -> None:
    """Open the features as a training does, and ask for all their shapes."""
    feats_scp = Path("dump/invented/feats.scp")
    scp = entries(feats_scp, read_ids(feats_scp))
    with Archives(scp) as archives:
        for utt in scp:
            archives.shape(utt)


OURS = {"lists": read_lists, "features": open_features}


def measure(
    work: Path, n: int, only: list[str], smaller: dict[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Run each program once; print and give its figures, and its growth from the size before."""
    print(f"{n} utterances", flush=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for row, command in commands(n).items():
        if only and row not in only:
            continue
        taken, conditions = timing.once(partial(processes.run, command, cwd=work, env=environment))
        growth = None
        if row in smaller:
            growth = taken.seconds / n / (smaller[row]["seconds"] / smaller[row]["utterances"])
        print(
            f"{row:<14}{taken.seconds:7.1f} s{taken.cpu:8.1f} s of processors, "
            f"peak {taken.found:6.0f} MiB"
            + (f", growth {growth:.2f}" if growth else "")
            + f"\n{conditions.words()}",
            end="",
            flush=True,
        )
        yield {"row": row, "utterances": n, "seconds": taken.seconds, "cpu": taken.cpu,
               "peak_mib": taken.found, "growth": growth,
               "conditions": conditions.record()}  # fmt: skip


if __name__ == "__main__":
    main()
