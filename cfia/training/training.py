"""One training of one fold and seed: from names of files to what the trainer and predict need.

Imports torch only where something is computed, so that a finished job says so at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia import marker
from cfia.config import Config, build
from cfia.errors import UserError
from cfia.files import digest, read_yaml, sha256, write_yaml
from cfia.frontend import Frontend
from cfia.kaldi.table import read_table
from cfia.training import fold_check
from cfia.training.folds import PARTS, Fold, read_folds

if TYPE_CHECKING:
    from torch import nn

    from cfia.training.dataset import Dataset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What identifies a training, as config.yaml in its directory records it.

    Attributes:
        data: the data directory; folds: the directory of the scheme's fold lists.
        dumps: the dump directory of each modality used, of "audio" and "text".
        facts: what the tables print besides: system, scheme, cv, validation, corpus, ...
        cache: where features are kept meanwhile; changes nothing, so no file records it.
    """

    directory: Path
    config: Config
    data: Path
    folds: Path
    fold: int
    seed: int
    selection: str
    num_threads: int
    dumps: dict[str, Path]
    facts: dict[str, Any]
    cache: str = "auto"

    def classes(self) -> list[str]:
        """The labels of the data directory, in C-locale order."""
        return sorted(set(self.utt2emo().values()))

    def utt2emo(self) -> dict[str, str]:
        """Utterance to class."""
        return read_table(self.data / "utt2emo")

    def options(self) -> dict[str, Any]:
        """What can change the bytes of the checkpoint, for the marker."""
        flat = {f"train_args {key}": value for key, value in self.config.flat().items()}
        return {
            **flat,
            "seeds": self.seed,
            "selection": self.selection,
            "num_threads": self.num_threads,
        }

    def inputs(self) -> dict[str, str]:
        """Digests of what is read, for the marker.

        Raises:
            UserError: features are not there, or were made from other data than there is now.
        """
        fold = self.lists()
        lists = [getattr(fold, part) for part in PARTS]
        dumps = {}
        for name, path in self.dumps.items():
            dumps[f"{name} features"] = marker.output_digest(path, MADE_BY[name])
            self._check_current(path, MADE_BY[name])
        return {"fold lists": digest(lists), "utt2emo": sha256(self.data / "utt2emo"), **dumps}

    def _check_current(self, dump: Path, made_by: str) -> None:
        """Features of other audio or transcripts than the data directory has now are stale."""
        for table, digest_then in marker.recorded_inputs(dump).items():
            path = self.data / table
            if table in TABLES and not (path.exists() and sha256(path) == digest_then):
                raise UserError(
                    f"{dump} was made from another {table} than {path} is now; run {made_by} again "
                    "with --force true"
                )

    def lists(self) -> Fold:
        """The fold's lists of utterances."""
        folds = read_folds(self.folds)
        if self.fold not in folds:
            raise UserError(
                f"{self.folds} has no fold {self.fold}; its folds are 1 to {len(folds)}"
            )
        return folds[self.fold]

    def dataset(self, part: str) -> Dataset:
        """The utterances of the fold's "train", "valid" or "test" list."""
        from cfia.training.dataset import load

        utts = getattr(self.lists(), part)
        return load(utts, self.utt2emo(), self.classes(), self.dumps, self.config, self.cache)

    def layers(self) -> dict[str, int]:
        """How many layers of a frozen encoder stand side by side in each modality's features."""
        return {name: Frontend.read(path).layers for name, path in self.dumps.items()}

    def write_config(self) -> None:
        """Write config.yaml: every option of the run, resolved."""
        self.directory.mkdir(parents=True, exist_ok=True)
        values = {
            **self.facts,
            "data": str(self.data),
            "folds_dir": str(self.folds),
            "folds": len(read_folds(self.folds)),
            "fold": self.fold,
            "seed": self.seed,
            "selection": self.selection,
            "num_threads": self.num_threads,
            "classes": self.classes(),
            "dumps": {name: str(path) for name, path in self.dumps.items()},
            **self.config.flat(),
        }
        write_yaml(self.directory / "config.yaml", values)


MADE_BY = {"audio": "stage 3", "text": "stage 4"}
TABLES = ("wav.scp", "segments", "utt2dur", "text")  # those that features are made from
FACTS = ("system", "scheme", "cv", "validation", "labels", "corpus", "text_tags")


def read_job(directory: Path, cache: str = "auto") -> Job:
    """The job that a training directory's config.yaml records.

    Raises:
        UserError: there is no config.yaml, or it is not one of ours.
    """
    path = directory / "config.yaml"
    if not path.exists():
        raise UserError(f"{path} is not there; run stage 5 (training) first")
    values = read_yaml(path)
    keys = build({}).flat()
    try:
        return Job(
            directory=directory,
            config=build({key: values[key] for key in keys}, str(path)),
            data=Path(values["data"]),
            folds=Path(values["folds_dir"]),
            fold=values["fold"],
            seed=values["seed"],
            selection=values["selection"],
            num_threads=values["num_threads"],
            dumps={name: Path(dump) for name, dump in values["dumps"].items()},
            facts={key: values[key] for key in FACTS},
            cache=cache,
        )
    except KeyError as error:
        raise UserError(f"{path} lacks the key {error}; train again with --force true") from None


def train(job: Job, ngpu: int, checkpoint_seconds: float, *, force: bool) -> None:
    """Train a job's network, or go on with it, or say that it is there."""
    options, inputs = job.options(), job.inputs()
    state = marker.check(job.directory, options, inputs, force=force, tag=True)
    if state is marker.State.DONE:
        log.info("%s: already trained, skipping", job.directory)
        return
    if state is marker.State.FRESH:
        job.write_config()
        marker.start(job.directory, options, inputs)
    # Lists that were edited after stage 2 must not let a speaker train and be tested.
    fold_check.check(job.data, job.folds, job.facts["cv"], job.facts["validation"])
    _fit(job, ngpu, checkpoint_seconds)
    marker.finish(job.directory, options, inputs)


def _fit(job: Job, ngpu: int, checkpoint_seconds: float) -> None:
    from cfia.provenance import provenance
    from cfia.training.determinism import set_up
    from cfia.training.trainer import Run, Trainer

    device = set_up(job.num_threads, ngpu)
    front = {name: Frontend.read(path).values() for name, path in job.dumps.items()}
    made = provenance(job.num_threads, str(device))
    write_yaml(job.directory / "provenance.yaml", {**made, "audio": None, "text": None, **front})
    parts = {part: job.dataset(part) for part in PARTS}
    _check(job, parts)
    run = Run(
        directory=job.directory,
        config=job.config,
        seed=job.seed,
        selection=job.selection,
        classes=job.classes(),
        train=parts["train"],
        select=parts["test" if job.selection == "test" else "valid"],
        device=device,
        checkpoint_seconds=checkpoint_seconds,
        layers=job.layers(),
    )
    Trainer(run).fit()


def _check(job: Job, parts: dict[str, Dataset]) -> None:
    from cfia.training.dataset import skipped

    left_out = skipped(job.dumps)
    if left_out:
        log.warning(
            "%d utterances have no features and are left out: %s",
            len(left_out), ", ".join(sorted(left_out)),
        )  # fmt: skip
    for part, data in parts.items():
        kept = ", ".join(
            f"{name} {4e-9 * of.dim * int(of.lengths.sum()):.2f} GB {of.kept}"
            for name, of in data.features.items()
        )
        log.info("%s: %d utterances; %s", part, len(data), kept)
        if not len(data):
            raise UserError(f"{job.folds / str(job.fold) / part} names no utterance with features")
        missing = set(range(len(job.classes()))) - set(data.targets.tolist())
        names = ", ".join(job.classes()[i] for i in sorted(missing))
        if missing and part == "train":
            raise UserError(
                f"{job.folds / str(job.fold) / part} has no utterance of the class {names}; "
                "choose another --validation or --labels"
            )
        if missing:
            log.warning("%s: no utterance of the class %s; UA is over the others", part, names)


def predict(job: Job, ngpu: int, *, force: bool) -> None:
    """Write the posteriors of a job's test fold, or say that they are there."""
    name = ".posteriors.json"
    options = {"num_threads": job.num_threads}
    inputs = {"checkpoint": _trained(job)}
    state = marker.check(job.directory, options, inputs, force=force, name=name)
    if state is marker.State.DONE and (job.directory / "posteriors.tsv").exists():
        log.info("%s: posteriors already made, skipping", job.directory)
        return
    _write_posteriors(job, ngpu)
    marker.finish(job.directory, options, inputs, name=name)


def _trained(job: Job) -> str:
    marker.output_digest(job.directory, "stage 5 (training)")
    difference = marker.difference(job.directory, job.options(), job.inputs())
    if difference:
        raise UserError(
            f"{job.directory} was trained differently ({difference}); run stage 5 with --force true"
        )
    return sha256(job.directory / "best.pt")


def trained_network(job: Job, dims: dict[str, int]) -> tuple[nn.Module, list[str]]:
    """The network that a job has selected, for features of these widths, and its classes.

    Raises:
        UserError: there is none, or it was made by another network.
    """
    from cfia.model import registry
    from cfia.training import checkpoint

    path = job.directory / "best.pt"
    best = checkpoint.load(path)
    model = registry.build(dims, len(best["classes"]), job.config.model, job.layers())
    checkpoint.load_state(model, best["model"], path)
    return model, best["classes"]


def _write_posteriors(job: Job, ngpu: int) -> None:
    import torch

    from cfia.posteriors import write_posteriors
    from cfia.training.determinism import set_up
    from cfia.training.evaluate import logits

    device = set_up(job.num_threads, ngpu)
    data = job.dataset("test")
    model, classes = trained_network(job, data.dims())
    if classes != job.classes():
        path = job.directory / "best.pt"
        raise UserError(f"{path} was trained on {classes}, the data has {job.classes()}")
    found = logits(model.to(device), data, job.config.train.batch_size, device)
    write_posteriors(
        job.directory / "posteriors.tsv",
        classes,
        data.utts,
        [classes[i] for i in data.targets.tolist()],
        torch.softmax(found, dim=1).numpy(),
    )
