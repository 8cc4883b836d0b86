"""A toy recipe, and stages 1 to 9 of egs/TEMPLATE/ser.sh in this process.

The programs and their arguments are those of ser.sh; no shell and no interpreter is started, so
that a finished recipe goes through all its stages in a tenth of a second.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import soundfile

from cfia.bin import (
    asr,
    asr_merge,
    asr_plan,
    corrupt_text,
    dump,
    dump_merge,
    dump_plan,
    folds,
    pack,
    plan,
    posteriors,
    report,
    score,
    train,
)
from cfia.cli import explain
from cfia.corpus import prepare
from cfia.options import EVERY
from tests.support import tiny_models
from tests.support.data_files import RATE, ROOT
from tests.support.dump_data import noise
from tests.support.iemocap_tree import RECIPE, SCRIPT, TURNS, write_iemocap

CONF = "title: toy\nnote: of no use\n"
# Small and short, and yet no network that says the same of all utterances.
NETWORK = "hidden=4 channels=2 features=2 frame_rate=25 dropout=0 normalisation=global"
TRAINING = f"{NETWORK} batch_size=4 lr=5e-2 epochs=2"
NOW = time.struct_time((2026, 1, 2, 3, 4, 5, 4, 2, 0))  # of all trainings, for equal bytes
FAULT = 70  # the code of what no sentence explains


@dataclass(frozen=True)
class Outcome:
    """How stages ended: 0, the exit code of a refusal, or FAULT; and the lines of its errors."""

    code: int
    said: str = ""


class Toy:
    """egs/toy under a directory, a corpus of 24 utterances, and a text encoder.

    Attributes:
        directory: the recipe's, in which all paths of data, dump and exp are relative.
        options: of run.sh, where they differ from its defaults.
    """

    def __init__(self, root: Path):
        self.directory = root / "egs" / "toy"
        self.corpus = root / "corpus"
        self.options = {
            "corpus_dir": str(self.corpus),
            "audio_upstream": "fbank",
            "text_upstream": "bert",
            "text_model": str(root / "bert"),
            "systems": "audio_text",
            "train_args": TRAINING,
            "nj": "1",
        }
        if not self.directory.exists():
            self.directory.mkdir(parents=True)
            shutil.copytree(RECIPE / "conf" / "labels", self.directory / "conf" / "labels")
            (self.directory / "conf" / "corpus.yaml").write_text(CONF)
            write_corpus(self.corpus)
            tiny_models.save_bert(root / "bert")

    def run(self, first: int, last: int, **options: str) -> Outcome:
        """Run stages `first` to `last`, as run.sh does with these options."""
        with self.environment(**options) as errors:
            return outcome(lambda: Stages(self).run(first, last), errors)

    def call(self, program: Callable[[Sequence[str]], None], *arguments: str) -> Outcome:
        """Run one program, as a user does in the recipe's directory."""
        with self.environment() as errors:
            return outcome(lambda: program(arguments), errors)

    @contextlib.contextmanager
    def environment(self, **options: str) -> Iterator[_Errors]:
        """Set what ser.sh sets: directory, options, logging; give the lines of errors."""
        values = {option.name: option.default for option in EVERY} | self.options | options
        own = {**values, "default_labels": "4", "CFIA_COMMAND": "./run.sh"}
        own["GIT_DIR"] = os.devnull  # whoever edits the checkout meanwhile changes no provenance
        errors, root = _Errors(), logging.getLogger()
        level, handlers = root.level, root.handlers
        # Thousands of runs would fill what pytest keeps of the log.
        root.handlers = [errors]
        root.setLevel(logging.INFO)
        try:
            with (
                mock.patch.dict(os.environ, own),
                mock.patch.object(time, "gmtime", return_value=NOW),
                contextlib.chdir(self.directory),
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                yield errors
        finally:
            root.handlers = handlers
            root.setLevel(level)


class _Errors(logging.Handler):
    """The lines of errors that jobs leave in their logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def outcome(work: Callable[[], None], errors: _Errors) -> Outcome:
    """How some work ended, as `cfia.cli.run` would report it."""
    try:
        work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        return Outcome(code, "\n".join(errors.lines)) if code else Outcome(0)
    except Exception as error:
        sentence = explain(error)
        return Outcome(FAULT, traceback.format_exc()) if sentence is None else Outcome(1, sentence)
    return Outcome(0)


class Stages:
    """The stages for the options in the environment, in the recipe's directory."""

    def __init__(self, toy: Toy):
        self.toy = toy
        self.options = {option.name: os.environ[option.name] for option in EVERY}
        self.force = self.options["force"]
        self.names = self._names()

    def run(self, first: int, last: int) -> None:
        """Run stages, in their order."""
        stages = [
            self._data, self._folds, lambda: self._dump("audio"), self._text,
            lambda: self._work_off("train", train.main),
            lambda: self._work_off("posteriors", posteriors.main),
            lambda: score.main(["--expdir", *self.names["exp"]]), self._report, self._packs,
        ]  # fmt: skip
        for stage in stages[first - 1 : last]:
            stage()

    def _names(self) -> dict[str, list[str]]:
        rows = [line.partition("=") for line in self._plan("names").splitlines()]
        return {name: shlex.split(value.strip("()")) for name, _, value in rows}

    def _plan(self, step: str) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            plan.main([step, "--recipe", str(self.toy.directory)])
        return printed.getvalue()

    def _data(self) -> None:
        flags = ("labels", "text_tags", "text_file", "skip_bad", "allow_partial", "force")
        options = [word for name in flags for word in (f"--{name}", self.options[name])]
        arguments = [*options, *self.names["corpus_dir"], *self.names["data"]]
        prepare.main("IEMOCAP", SCRIPT.read, arguments)

    def _folds(self) -> None:
        (data,), names = self.names["data"], self.names
        (out,), schemes = names["folds_dir"], names["schemes"]
        need, suffix = ("".join(names[name]) for name in ("needed_scheme", "label_suffix"))
        options = ["--need", need, "--suffix", suffix, "--force", self.force]
        folds.main(["--data", data, "--out", out, *options, *schemes])

    def _text(self) -> None:
        self._recognise()
        self._dump("text")

    def _recognise(self) -> None:
        (data,), (recognised,) = self.names["data"], self.names["recognised"]
        if recognised:
            flags = ("nj", "num_threads", "hub", "skip_bad", "force")
            options = [word for name in flags for word in (f"--{name}", self.options[name])]
            where = ["--dir", recognised, "--data", data]
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                asr_plan.main(["--data", data, "--model", *self.names["asr_model"], *options])
            jobs = int(printed.getvalue())
            for job in range(1, jobs + 1):
                asr.main([*where, "--job", str(job)])
            if jobs:
                asr_merge.main(where)
        rows = zip(self.names["error_dirs"], self.names["error_percents"], strict=True)
        for directory, percent in rows:
            which = ["--percent", percent, "--dir", directory, "--force", self.force]
            corrupt_text.main(["--data", data, "--recognised", recognised, *which])

    def _dump(self, modality: str) -> None:
        (data,), names = self.names["data"], self.names
        columns = ("modalities", "upstreams", "models", "layers", "dirs", "texts")
        every = zip(*(names[f"dump_{column}"] for column in columns), strict=True)
        for _, upstream, model, layer, directory, text in (r for r in every if r[0] == modality):
            flags = ("nj", "num_threads", "hub", "skip_bad", "compression_method", "force")
            options = [word for name in flags for word in (f"--{name}", self.options[name])]
            what = ["--modality", modality, "--upstream", upstream, "--model", model]
            where = ["--layer", layer, "--data", data, "--text", text, "--dir", directory]
            known = ["--exposure", str(ROOT / "conf" / "exposure.yaml")]
            known += ["--corpus", *names["corpus_name"]]
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                dump_plan.main([*what, *where, *known, *options])
            jobs = int(printed.getvalue())
            for job in range(1, jobs + 1):
                dump.main(["--dir", directory, "--data", data, "--job", str(job)])
            if jobs:
                dump_merge.main(["--dir", directory])

    def _work_off(self, name: str, program: Callable[[Sequence[str]], None]) -> None:
        """As ser.sh: a plan, jobs until there are none, of which none keeps another from running.

        What --force removes, the plan has removed; the jobs find it gone.
        """
        (work,) = self.names["work"]
        jobs = int(self._plan(name))
        while jobs:
            failed = False
            for job in range(1, jobs + 1):
                share = ["--job", str(job), "--jobs", str(jobs)]
                try:
                    program(["--list", f"{work}/{name}.list", *share])
                except SystemExit:
                    failed = True
            if failed:
                raise SystemExit(1)
            with mock.patch.dict(os.environ, {"force": "false"}):
                jobs = int(self._plan(name))

    def _report(self) -> None:
        report.main(["--expdir", *self.names["exp"], "--corpus_conf", "conf/corpus.yaml"])
        self._plan("tables")

    def _packs(self) -> None:
        self._work_off("final", train.main)
        options = ["--pack", self.options["pack"], "--seed", *self.names["first_seed"]]
        options += ["--corpus_conf", "conf/corpus.yaml", "--force", self.force]
        for experiment in self.names["experiments"]:
            pack.main([experiment, *options])


def write_corpus(directory: Path) -> None:
    """IEMOCAP's shape, two sessions; every utterance has audio and words of its own."""
    write_iemocap(directory)
    for seed, path in enumerate(sorted(directory.rglob("*.wav"))):
        wave = noise(0.2 + 0.02 * (seed % 7), seed=seed)
        tone = list(TURNS).index(path.stem.rpartition("_")[2])  # tells the class, at times
        wave += 0.02 * np.sin(2 * np.pi * 500 * (1 + tone) * np.arange(len(wave)) / RATE)
        soundfile.write(path, wave, RATE, subtype="PCM_16")
    for path in directory.rglob("transcriptions/[!.]*.txt"):
        lines = path.read_text().splitlines()
        lines = [f"{line} cat{' sat' * n} {path.stem[-1]}" for n, line in enumerate(lines)]
        path.write_text("".join(f"{line}\n" for line in lines))
