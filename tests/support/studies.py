"""A recipe with a small experiment and a study for tests: what run.sh would call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cfia.bin import posteriors, train
from cfia.study import tasks
from cfia.study.request import Request, read_request
from cfia.study.study_plan import StudyPlan
from tests.support.experiment import make

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
        (conf.parent / "labels").mkdir()
        (conf.parent / "labels" / "4.yaml").touch()
        (conf.parent / "models.yaml").write_text("fbank:\nminilm:\n")
        if data:
            make(self.directory, dims={"fbank": 6, "minilm": 5})

    def request(self, study: str = "toy", **options: str) -> Request:
        d = self.directory
        values = {
            "corpus_dir": "none", "audio_upstream": "fbank", "text_upstream": "minilm",
            "datadir": str(d / "data"), "dumpdir": str(d / "dump"), "expdir": str(self.exp),
        }  # fmt: skip
        return read_request({**values, "study": study, **self.options, **options}, d, d)

    def plan(self, study: str = "toy", **options: str) -> StudyPlan:
        return StudyPlan(self.request(study, **options))

    def list_trainings(self, **options: str) -> int:
        """What stage 5 does before its jobs: returns over how many the trainings are spread."""
        plan = self.plan(**options)
        tasks.write_experiments(plan)
        return tasks.list_trainings(plan)

    def train(self, job: int = 1, jobs: int = 1) -> None:
        train.main(self.job("train", job, jobs))

    def test(self, **options: str) -> None:
        """Stage 6, in one job."""
        tasks.list_posteriors(self.plan(**options))
        posteriors.main(self.job("posteriors", 1, 1))

    def job(self, program: str, job: int, jobs: int) -> list[str]:
        """The arguments of a job of the list of `program`."""
        path = self.exp / "study" / "toy" / f"{program}.list"
        return ["--list", str(path), "--job", str(job), "--jobs", str(jobs)]

    def listed(self) -> Sequence[str]:
        return (self.exp / "study" / "toy" / "train.list").read_text().splitlines()

    def results(self) -> dict[str, bytes]:
        """The bytes that a training and its test leave, by path."""
        kept = ("*.pt", "posteriors.tsv", "history.csv")
        paths = [path for kind in kept for path in self.exp.glob(f"*/*/*/{kind}")]
        return {str(path.relative_to(self.exp)): path.read_bytes() for path in paths}


def entry(plan: StudyPlan, **row: Any) -> Any:
    """The one entry whose row has these values."""
    (found,) = [e for e in plan.entries if all(getattr(e.row, k) == v for k, v in row.items())]
    return found
