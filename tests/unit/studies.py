"""A recipe with a small experiment and a study for tests: what run.sh would call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cfia.bin import study as program
from cfia.bin import study_run
from cfia.study.study_plan import Plan
from tests.unit.experiment import make

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {
    "cv": "session", "validation": "random20", "selection": "valid", "labels": "4",
    "default_labels": "4", "text_tags": "strip", "text_file": "", "audio_upstream": "fbank",
    "audio_model": "", "audio_layer": "", "text_upstream": "minilm", "text_model": "",
    "text_layer": "", "hub": "hf", "feature_cache": "auto", "train_config": "cfia_net",
    "systems": "audio_text", "tag": "", "train_args": "", "ngpu": "0", "num_threads": "1",
    "force": "false",
}  # fmt: skip
TOY = """\
train_args: {epochs: 2, hidden: 4, channels: 4, features: 3, batch_size: 16, lr: 5e-3}
tables:
  table1:
    rows:
      - {under: session, cv: session, systems: [cfia_net]}
  table2:
    input: audio
    cv: session
    rows:
      - {under: wavlm, audio: wavlm, systems: [linear]}
      - {under: emotion2vec, systems: [linear]}
"""


class Recipe:
    """egs/toy under a directory, with data, folds and dumps of `experiment.make`."""

    def __init__(self, root: Path, study: str = TOY, *, data: bool = True, **options: str):
        self.directory = root / "egs" / "toy"
        self.exp = self.directory / "exp"
        self.options = options
        conf = self.directory / "conf" / "study"
        conf.mkdir(parents=True)
        (conf / "toy.yaml").write_text(study)
        (conf.parent / "models.yaml").write_text("fbank:\nminilm:\n")
        if data:
            make(self.directory, dims={"fbank": 6, "minilm": 5})

    def arguments(self, study: str = "toy", **options: str) -> list[str]:
        d = self.directory
        paths = {"recipe": d, "root": ROOT, "caller": d, "datadir": d / "data",
                 "dumpdir": d / "dump", "expdir": self.exp}  # fmt: skip
        values = {**OPTIONS, **paths, "study": study, **self.options, **options}
        return [f"--{name}={value}" for name, value in values.items()]

    def plan(self, study: str = "toy", **options: str) -> Plan:
        return program.make_plan(program.arguments().parse_args(
            ["plan", *self.arguments(study, **options)]))  # fmt: skip

    def step(self, name: str, *more: str, study: str = "toy", **options: str) -> None:
        program.main([name, *self.arguments(study, **options), *more])

    def work(self, job: int = 1, jobs: int = 1) -> None:
        tasks = self.exp / "study" / "toy" / "tasks"
        study_run.main(["--tasks", str(tasks), "--job", str(job), "--jobs", str(jobs)])

    def tasks(self) -> Sequence[str]:
        return (self.exp / "study" / "toy" / "tasks").read_text().splitlines()

    def results(self) -> dict[str, bytes]:
        """The bytes that a training and its test leave, by path."""
        kept = ("*.pt", "posteriors.tsv", "history.csv")
        paths = [path for kind in kept for path in self.exp.glob(f"*/*/*/{kind}")]
        return {str(path.relative_to(self.exp)): path.read_bytes() for path in paths}


def entry(plan: Plan, **row: Any) -> Any:
    """The one entry whose row has these values."""
    (found,) = [e for e in plan.entries if all(getattr(e.row, k) == v for k, v in row.items())]
    return found
