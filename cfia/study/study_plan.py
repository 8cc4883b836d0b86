"""A study's rows as directories: what is to be dumped and trained, what is shared, what cannot be.

Rows that come to the same directory are one training, whatever tables they stand in.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cfia.config import load
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.naming import Names, names
from cfia.study.models import read_models
from cfia.study.study_file import PROTOCOL, Row, Study, read_study
from cfia.training.folds import ImpossibleError, MissingClassError, make_folds


@dataclass(frozen=True)
class Setting:
    """What run.sh was called with.

    Attributes:
        options: the values of ser.sh's flags, as strings, and `default_labels`.
        recipe, root: the recipe's directory and the repository's; caller: where the user stands.
        seeds: those of a study's rows; given: whether the user named them, for all rows.
    """

    options: Mapping[str, str]
    recipe: Path
    root: Path
    caller: Path
    datadir: Path
    dumpdir: Path
    expdir: Path
    seeds: tuple[int, ...]
    given: bool

    @property
    def tag(self) -> str:
        """The tag of the command line."""
        return self.options["tag"]

    def study(self, name: str) -> Study:
        """A study of conf/study, of the recipe or shared."""
        for place in (self.recipe, self.root):
            path = place / "conf" / "study" / f"{name}.yaml"
            if path.is_file():
                return read_study(path)
        raise UserError(f"there is no study {name!r}: no {name}.yaml in conf/study")


@dataclass(frozen=True)
class Dump:
    """Features that a study needs, and the options that stages 3 and 4 make them with."""

    modality: str
    upstream: str
    model: str
    layer: str
    directory: Path


@dataclass(frozen=True)
class Training:
    """One system under one scheme, all folds and seeds: what the options of a training say."""

    directory: Path
    system: str
    scheme: str
    files: tuple[Path, ...]
    overrides: tuple[str, ...]
    protocol: Mapping[str, str]
    data: Path
    folds: Path
    dumps: tuple[Dump, ...]
    seeds: tuple[int, ...]

    def arguments(self, fold: int, seed: int, setting: Setting) -> tuple[str, ...]:
        """The arguments of `cfia train` for one fold and seed."""
        options = setting.options
        dumps = [(f"--{dump.modality}_dump", str(dump.directory)) for dump in self.dumps]
        pairs = {
            "--train_args": shlex.join(self.overrides),
            "--data": str(self.data),
            "--folds": str(self.folds),
            "--fold": str(fold),
            "--seed": str(seed),
            **{f"--{key}": value for key, value in self.protocol.items()},
            "--system": self.system,
            "--scheme": self.scheme,
            "--labels": options["labels"],
            "--corpus": setting.recipe.name,
            "--text_tags": options["text_tags"],
            "--feature_cache": options["feature_cache"],
            "--num_threads": options["num_threads"],
            "--ngpu": options["ngpu"],
            "--force": options["force"],
            **dict(dumps),
        }
        directory = self.directory / f"fold{fold}_seed{seed}"
        flags = [f"{key}={value}" for key, value in pairs.items()]
        return ("--config", *map(str, self.files), *flags, str(directory))


@dataclass(frozen=True)
class Entry:
    """A row and its training, or why it is not run."""

    row: Row
    training: Training | None
    reason: str = ""


class Plan:
    """A study in one recipe.

    Attributes:
        entries: its rows in order; left_out: rows that move a key to the value that it has.
    """

    def __init__(self, study: Study, setting: Setting):
        self.study, self.setting = study, setting
        self._models = read_models(setting.recipe, setting.options, setting.caller)
        self._fold_counts: dict[tuple[Path, str, str], tuple[int, str]] = {}
        self.entries: list[Entry] = []
        self.left_out: list[Row] = []
        for row in study.rows:
            if row.moved and self._moves_nothing(row):
                self.left_out.append(row)
            else:
                self.entries.append(self._entry(row))

    @property
    def tag(self) -> str:
        """What the study's own directories and tables are kept apart by; "" for nothing."""
        return "_".join(filter(None, [self.study.tag, self.setting.tag]))

    @property
    def directory(self) -> Path:
        """Where the study's lists and logs go."""
        name = "_".join(filter(None, [self.study.name, self.setting.tag]))
        return self.setting.expdir / "study" / name

    @cached_property
    def trainings(self) -> list[Training]:
        """The trainings of all rows, each once, with the seeds of all rows that share it."""
        found: dict[Path, Training] = {}
        for entry in self.entries:
            new = entry.training
            if new is None:
                continue
            old = found.get(new.directory, new)
            seeds = tuple(dict.fromkeys((*old.seeds, *new.seeds)))
            found[new.directory] = dataclasses.replace(old, seeds=seeds)
        return list(found.values())

    @property
    def dumps(self) -> list[Dump]:
        """The dumps that the trainings read, each once."""
        return list(dict.fromkeys(dump for one in self.trainings for dump in one.dumps))

    @property
    def schemes(self) -> dict[tuple[str, str], tuple[Path, Path]]:
        """Data directory and fold lists that all rows ask for, by cv and validation."""
        found = {}
        for entry in self.entries:
            options, where = self._options(entry.row), self._names(entry.row)
            key = (options["cv"], options["validation"])
            found[key] = (self.setting.datadir / where.data, self._folds(where))
        return found

    def describe(self, row: Row) -> str:
        """A row in words: `linear on wavlm, session`."""
        encoders = " and ".join(self.encoder(row, modality) for modality in row.modalities)
        return f"{row.system} on {encoders}, {self._names(row).scheme}"

    def encoder(self, row: Row, modality: str) -> str:
        """The encoder that a row takes for a modality."""
        return row.upstreams.get(modality, self.own(modality))

    def own(self, modality: str) -> str:
        """The recipe's own encoder of a modality."""
        return self.setting.options[f"{modality}_upstream"]

    def _options(self, row: Row) -> dict[str, str]:
        """The options of run.sh that would make a row."""
        options = {**self.setting.options, **row.protocol}
        for modality in ("audio", "text"):
            name = self.encoder(row, modality)
            if modality in row.upstreams:
                options[f"{modality}_layer"] = ""
            options[f"{modality}_upstream"] = name
            options[f"{modality}_model"] = self._models.find(modality, name)[0]
        options["tag"] = "_".join(filter(None, [setting_tag(row.set), self.tag]))
        options["systems"] = f"{row.system}_{'_'.join(row.modalities)}"
        return options

    def _names(self, row: Row) -> Names:
        return names(self._options(row), self.setting.recipe, self.setting.root)

    def _folds(self, found: Names) -> Path:
        return self.setting.datadir / "folds" / found.folds_scheme

    def _entry(self, row: Row) -> Entry:
        for modality in row.modalities:
            reason = self._models.find(modality, self.encoder(row, modality))[1]
            if reason:
                return Entry(row, None, reason)
        training = self._training(row)
        reason = self._impossible(training)
        return Entry(row, None, reason) if reason else Entry(row, training)

    def _training(self, row: Row) -> Training:
        options, setting = self._options(row), self.setting
        found = self._names(row)
        (system,) = found.systems
        places = {"audio": found.audio, "text": found.text}
        dumps = tuple(
            Dump(m, options[f"{m}_upstream"], options[f"{m}_model"], options[f"{m}_layer"],
                 setting.dumpdir / places[m])
            for m in row.modalities
        )  # fmt: skip
        return Training(
            directory=setting.expdir / system.name / found.scheme,
            system=system.name,
            scheme=found.scheme,
            files=self._files(system.config),
            overrides=self._overrides(row.set),
            protocol={key: options[key] for key in PROTOCOL},
            data=setting.datadir / found.data,
            folds=self._folds(found),
            dumps=dumps,
            seeds=setting.seeds if setting.given or not row.seeds else row.seeds,
        )

    def _files(self, config: Path) -> tuple[Path, ...]:
        recipe = self.setting.recipe / "conf" / "train.yaml"
        return (*([recipe] if recipe.exists() else []), config)

    def _overrides(self, changed: Mapping[str, Any]) -> tuple[str, ...]:
        """The study's, the user's, then the row's own."""
        study, own = ([f"{key}={json.dumps(v)}" for key, v in values.items()]
                      for values in (self.study.train_args, changed))  # fmt: skip
        return (*study, *shlex.split(self.setting.options["train_args"]), *own)

    def _moves_nothing(self, row: Row) -> bool:
        """Whether all that a row moves has that value without it."""
        (system,) = self._names(row).systems
        files = self._files(system.config)
        flat = [load(files, self._overrides(changed)).flat() for changed in ({}, row.set)]
        protocol = {key: row.moved[key] for key in PROTOCOL if key in row.moved}
        return flat[0] == flat[1] and all(
            self.setting.options[key] == value for key, value in protocol.items()
        )

    def n_folds(self, training: Training) -> int:
        """How many folds there are; 0 while there is no data directory to tell."""
        return self._count(training)[0]

    def _impossible(self, training: Training) -> str:
        return self._count(training)[1]

    def _count(self, training: Training) -> tuple[int, str]:
        protocol = training.protocol
        key = (training.data, protocol["cv"], protocol["validation"])
        if key not in self._fold_counts:
            self._fold_counts[key] = _count_folds(*key)
        return self._fold_counts[key]


def _count_folds(data: Path, cv: str, validation: str) -> tuple[int, str]:
    """The number of folds, and why there are none where the corpus has not what they need."""
    if not (data / "utt2spk").exists():
        return 0, ""
    try:
        return len(make_folds(DataDir.load(data, needed=()), cv, validation)), ""
    except (ImpossibleError, MissingClassError) as error:
        return 0, str(error)


def setting_tag(changed: Mapping[str, Any]) -> str:
    """What is set otherwise, as part of a name: `mlp-split_layers-2`."""
    return "_".join(f"{key}-{_short(value)}" for key, value in changed.items())


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_short, value)) or "none"
    return str(value)


def describe(plan: Plan, finished: Iterable[Path]) -> list[str]:
    """A plan in lines for the screen; `finished` are the directories of folds that are done."""
    done = set(finished)
    total, lines = 0, []
    for training in plan.trainings:
        folds = plan.n_folds(training)
        runs = folds * len(training.seeds)
        total += runs
        made = sum(path.parent == training.directory for path in done)
        tables = dict.fromkeys(
            entry.row.table for entry in plan.entries
            if entry.training and entry.training.directory == training.directory
        )  # fmt: skip
        count = f"{runs} runs" if folds else "folds not known before stage 1"
        lines.append(
            f"  {training.system}, {training.scheme}: {count}"
            f"{f', {made} done' if made else ''} ({', '.join(tables)})"
        )
    seeds = " ".join(map(str, plan.setting.seeds))
    left = f", {len(done)} done, {total - len(done)} to do" if done else ""
    count = f"{total} runs of one fold and one seed{left}" if total else "runs not counted yet"
    systems = f"{len(plan.trainings)} systems and schemes, seeds {seeds}"
    head = f"study {plan.study.name}: {count}; {systems}"
    return [head, *lines, *_not_run(plan)]


def _not_run(plan: Plan) -> list[str]:
    lines = [
        f"  not run ({entry.row.table}): {plan.describe(entry.row)}: {entry.reason}"
        for entry in plan.entries
        if entry.reason
    ]
    return list(dict.fromkeys(lines))
