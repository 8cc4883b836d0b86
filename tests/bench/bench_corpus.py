"""How long stage 1 takes on a large corpus, and `--show`: one of names alone, one of a table.

The corpora are made up: FLAC files of noise, ten to a folder of each speaker and class. Each
program is run as local/data.sh runs it, with its start, in turns. Nothing is asserted about times.

    python -m tests.bench.bench_corpus --files 100000 --dir /tmp/large --json bench.json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.bench import processes, timing
from tests.support.data_files import write_audio

CLASSES = ("ang", "hap", "neu", "sad")
PER_FOLDER = 10
PAGES: dict[str, dict[str, Any]] = {
    "files": {
        "files": {"glob": "*/*/*.flac", "name": r"(?P<speaker>\d+)/(?P<label>\w+)/\d+"},
        "columns": {"text": "said by {speaker}"},
    },
    "table": {
        "table": "labels.csv",
        "columns": {
            "audio": "{file}", "speaker": "{speaker}", "label": "{label}", "text": "{text}",
        },
    },
}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time stage 1 and --show on a large corpus.",
        epilog="example: python -m tests.bench.bench_corpus --files 10000",
    )
    parser.add_argument("--files", type=int, default=10000, help="utterances (default: 10000)")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each (default: 0.5)")
    parser.add_argument("--dir", type=Path, help="keep the corpus there (default: nowhere)")
    timing.add_arguments(parser)
    args = parser.parse_args()
    figures = timing.Figures(args.json)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.dir or Path(temporary)
        corpus = make(work / "corpus", args.files, args.seconds)
        for way in PAGES:
            for result in measure(work, corpus, way, args.time_limit):
                figures.add(result)


def make(corpus: Path, n_files: int, seconds: float) -> Path:
    """Write the files that are not there yet, and a table of them."""
    rows = ["file,speaker,label,text"]
    for i in range(n_files):
        folder = i // PER_FOLDER
        speaker, label = f"{folder // len(CLASSES):05d}", CLASSES[folder % len(CLASSES)]
        file = f"{speaker}/{label}/{i:06d}.flac"
        rows.append(f"{file},{speaker},{label},said by {speaker}")
        if not (corpus / file).exists():
            write_audio(corpus / file, seconds)
    (corpus / "labels.csv").write_text("\n".join(rows) + "\n")
    return corpus


def measure(work: Path, corpus: Path, way: str, time_limit: float) -> Iterator[dict[str, Any]]:
    """Run the program on one page: --show, making, and once more."""
    conf = work / f"conf_{way}"
    (conf / "labels").mkdir(parents=True, exist_ok=True)
    (conf / "corpus.yaml").write_text(yaml.safe_dump(PAGES[way]))
    (conf / "labels" / "4.yaml").write_text("".join(f"{c}: {c}\n" for c in CLASSES))
    data = str(work / f"data_{way}")
    runs = {
        "show": ["--show", "5", str(corpus)],
        "make": ["--force", "true", str(corpus), data],
        "again": [str(corpus), data],
    }
    program = [sys.executable, "-m", "cfia.bin.prepare", "--conf", str(conf)]
    sides = {
        what: partial(processes.run, [*program, *arguments], stderr=subprocess.DEVNULL)
        for what, arguments in runs.items()
    }
    turns = timing.in_turns(sides, time_limit)
    for what in runs:
        (seconds, cpu), peak = turns.least(what), turns.fastest(what).found
        print(f"{way:<6}{what:<6}{seconds:7.1f} s {cpu:7.1f} s of processors, peak {peak:5.0f} MiB")
        yield {"way": way, "what": what, "seconds": seconds, "cpu": cpu, "peak_mib": peak,
               "conditions": turns.conditions.record()}  # fmt: skip
    print(turns.conditions.words(), end="", flush=True)


if __name__ == "__main__":
    main()
