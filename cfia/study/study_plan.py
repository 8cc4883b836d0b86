"""Resolve what run.sh asks for, or the rows of a study, into dumps and experiments.

A plain run is a study of one unnamed table, with a row for each system. Rows that come to the same
directory are one experiment, whatever tables they are in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from cfia import options
from cfia.config import as_override, load
from cfia.corpus.corpus_conf import Standard
from cfia.corpus.several import conf_of
from cfia.errors import UserError
from cfia.files import digest
from cfia.naming import (
    ASR,
    MODALITIES,
    ONLY_FOLDS,
    ONLY_SEED,
    Names,
    checked,
    folds_scheme,
    names,
    of_corpora,
    recogniser_name,
    trained_corpus,
    with_errors,
)
from cfia.study import fold_counts
from cfia.study.configurations import read_config
from cfia.study.fold_counts import FoldCount
from cfia.study.models import Models, read_models
from cfia.study.option_checks import check_protocol
from cfia.study.planned import PlannedDump, PlannedExperiment, PlannedPart
from cfia.study.request import Request
from cfia.study.study_file import ROW_OPTIONS, Row, Study, plain_study, read_study
from cfia.study.tune_file import trials
from cfia.upstream import registry


@dataclass(frozen=True)
class Entry:
    """A row and its experiment, or the reason why it is not trained."""

    row: Row
    experiment: PlannedExperiment | None
    reason: str = ""


class StudyPlan:
    """The rows of a study, or of a plain run, as experiments of one recipe.

    Attributes:
        entries: its rows in order.
        left_out: rows that move a key to the value that it has without them.
    """

    def __init__(self, request: Request):
        self.request = request
        self.study = _study(request)
        self._models: Models | None = None
        if self.study.name:
            self._models = read_models(request.recipe, request.options, request.caller)
        self._count_folds = cache(fold_counts.count)
        self.entries: list[Entry] = []
        self.left_out: list[Row] = []
        for row in self.study.rows:
            if row.moved and self._moves_nothing(row):
                self.left_out.append(row)
            else:
                self.entries.append(self._entry(row))
        if self.study.name:  # of a plain run they are read with its options
            for planned in self.experiments:
                modalities = [dump.modality for dump in planned.dumps]
                read_config(
                    planned.files, planned.overrides, planned.options, modalities,
                    request.tune_file,
                )  # fmt: skip

    @property
    def tag(self) -> str:
        """The suffix of the study's own directories and tables; "" for none."""
        return "_".join(filter(None, [self.study.tag, self.request.options["tag"]]))

    @property
    def recogniser(self) -> str:
        """The name of the recogniser that is given; "" where none is."""
        model = self.request.options["asr_model"]
        return recogniser_name(model) if model else ""

    @cached_property
    def standard(self) -> Standard:
        """The standard protocol of the corpus; empty where its page names none."""
        path = self.request.recipe / "conf" / "corpus.yaml"
        return conf_of(self.request.corpus, path).get("standard", {})

    @property
    def directory(self) -> Path:
        """Where task lists and logs go; that of a plain run depends on its trainings."""
        if not self.study.name:
            some = self.request.options["folds"].split()
            trainings = [[str(p.directory), p.seeds, *some] for p in self.experiments]
            return self.request.expdir / "log" / digest(trainings)[:8]
        name = "_".join(filter(None, [self.study.name, self.request.options["tag"]]))
        return self.request.expdir / "study" / name

    @cached_property
    def experiments(self) -> list[PlannedExperiment]:
        """The experiments of all rows, each once, with the seeds of all rows that share it."""
        by_directory: dict[Path, PlannedExperiment] = {}
        found = [entry.experiment for entry in self.entries if entry.experiment]
        for new in (one for planned in found for one in (planned.trained_in, planned) if one):
            old = by_directory.get(new.directory, new)
            if (old.files, old.overrides) != (new.files, new.overrides):
                raise UserError(
                    f"{new.directory} would be of two configurations, {old.files[-1]} and "
                    f"{new.files[-1]}; give one of the files another name"
                )
            seeds = tuple(dict.fromkeys((*old.seeds, *new.seeds)))
            by_directory[new.directory] = replace(old, seeds=seeds)
        return list(by_directory.values())

    @property
    def dumps(self) -> list[PlannedDump]:
        """The dumps that the experiments read, each once."""
        found = [dump for planned in self.experiments for dump in planned.dumps]
        found += [dump for p in self.experiments if p.tested for dump in p.tested.dumps]
        return list(dict.fromkeys(found))

    def read_by_trainings(self) -> set[Path]:
        """Name the directories of data, dumps and fold lists that the experiments read."""
        tested = [planned.tested.data for planned in self.experiments if planned.tested]
        lists = [place for p in self.experiments for place in (p.data, p.folds)]
        return {*tested, *lists, *(dump.directory for dump in self.dumps)}

    @property
    def recognised(self) -> Path | None:
        """The directory of the recogniser's text; None where nothing is made of it."""
        if not any(dump.text for dump in self.dumps):
            return None
        return self.request.datadir / self.request.names().data / ASR / self.recogniser

    @property
    def corrupted(self) -> dict[Path, int]:
        """The directories of gold text with word errors, and how many percent these are."""
        return {
            dump.text.parent: entry.row.tested
            for entry in self.entries
            if isinstance(entry.row.tested, int) and entry.experiment and entry.experiment.tested
            for dump in entry.experiment.tested.dumps
            if dump.text
        }

    @property
    def schemes(self) -> list[str]:
        """The fold lists that all rows need; for a plain run, those of every `--cv`."""
        rows = [self._options(entry.row) for entry in self.entries]
        schemes = [folds_scheme(row["cv"], row["validation"]) for row in rows]
        if not self.study.name:
            validation = self.request.options["validation"]
            schemes += [
                folds_scheme(cv, validation)
                for cv in options.SCHEMES
                if not options.not_together(cv, validation)
            ]
        return list(dict.fromkeys(schemes))

    def describe(self, row: Row) -> str:
        """Describe a row in words: `linear on wavlm, session`."""
        encoders = " and ".join(self.encoder(row, modality) for modality in row.modalities)
        return f"{row.system} on {encoders}, {names(self._options(row)).scheme}"

    def encoder(self, row: Row, modality: str) -> str:
        """Name the encoder that a row takes for a modality."""
        return row.upstreams.get(modality, self.own_encoder(modality))

    def own_encoder(self, modality: str) -> str:
        """Name the recipe's own encoder of a modality."""
        return self.request.options[f"{modality}_upstream"]

    def _options(self, row: Row) -> dict[str, str]:
        """Resolve the options of run.sh that would make a row."""
        values = {**self.request.options, **row.protocol}
        if row.folds:
            values[ONLY_FOLDS] = " ".join(map(str, row.folds))
        if "text" not in row.modalities:  # nothing is read, whosever it is
            values |= {"text_source": options.GOLD, "asr_model": ""}
        if self._models is None:
            return values
        for modality in MODALITIES:
            name = self.encoder(row, modality)
            if modality in row.upstreams:
                values[f"{modality}_layer"] = ""
            values[f"{modality}_upstream"] = name
            values[f"{modality}_model"] = self._models.find(modality, name)[0]
        tested = self._tested_with(row, values)
        tested_tag = f"tested-{_text_name(tested)}" if tested else ""
        values["tag"] = "_".join(filter(None, [setting_tag(row.set), tested_tag, self.tag]))
        if values["tag"]:
            checked(values["tag"], f"a row of {row.table} in the study {self.study.name}")
        check_protocol(values)
        return values

    def _tested_with(self, row: Row, values: Mapping[str, str]) -> Names | None:
        """Name what goes with the text that a row is tested with; None: as it is trained with.

        Raises:
            UserError: no recogniser is given.
        """
        if row.tested in (None, values["text_source"]):
            return None
        model, gold = self.request.options["asr_model"], row.tested == options.GOLD
        values = {**values, "text_source": options.GOLD if gold else ASR, "asr_model": model}
        check_protocol(values)
        if isinstance(row.tested, int):
            values["asr_model"] = with_errors(model, row.tested)
        return names(values)

    def _entry(self, row: Row) -> Entry:
        if self._models is not None:
            encoders = [(modality, self.encoder(row, modality)) for modality in row.modalities]
            reasons = [self._models.find(modality, name)[1] for modality, name in encoders]
            if any(reasons):
                return Entry(row, None, next(filter(None, reasons)))
        planned = self._planned(row)
        folds = self.count_folds(planned)
        n_folds, reason = folds.number, folds.reason
        if n_folds and max(row.folds, default=0) > n_folds:
            reason = f"there is no fold {max(row.folds)}: {planned.folds} has 1 to {n_folds}"
        if self.study.name and "text" in row.modalities:
            reason = self._why_no_text(row, planned) or reason
        return Entry(row, None if reason else planned, reason)

    def _why_no_text(self, row: Row, planned: PlannedExperiment) -> str:
        """Say why a row lacks the text that it is trained or tested with; "" where it does not."""
        upstream, source = (planned.options[f"text_{key}"] for key in ("upstream", "source"))
        other = ASR in (source, row.tested) or isinstance(row.tested, int)
        if other and upstream not in registry.FAMILIES:
            return f"the features of {upstream} were imported: they are of other transcripts"
        # Errors are made in gold text.
        recognised = source == ASR and row.tested in (None, ASR)
        source = ASR if recognised else options.GOLD
        return self.request.why_no_text(planned.data, upstream, source)

    def _planned(self, row: Row) -> PlannedExperiment:
        values, request = self._options(row), self.request
        directories = names(values)
        system = directories.system(request.config(row.system), row.modalities)
        here, tested = directories, None
        if corpus := trained_corpus(values["cv"]):
            here = of_corpora(directories, [corpus])
            others = [path.name for path in request.corpora if path.name != corpus]
            tested = self._part(row, values, of_corpora(directories, others))
        text = self._tested_with(row, values)
        if text:
            tested = self._part(row, values, text)
        own = values["selection"] == "test"  # its epochs are of the text that it is tested with
        part = self._part(row, values, here)
        files, overrides = request.config_files(system.config), self._overrides(row.set)
        config = load(files, overrides)
        return PlannedExperiment(
            directory=request.expdir / system.name / directories.scheme,
            files=files,
            overrides=overrides,
            options=values,
            data=part.data,
            folds=request.datadir / "folds" / directories.folds,
            dumps=part.dumps,
            seeds=self._seeds(row) if config.seeded else (ONLY_SEED,),
            seeded=config.seeded,
            tested=tested,
            tested_text=text.recogniser or options.GOLD if text else "",
            trials=trials(request.tune_file, int(values["tune"]), config),
            trained_in=None if own or not text else self._planned(replace(row, tested=None)),
        )

    def _seeds(self, row: Row) -> tuple[int, ...]:
        """List the seeds of a row: the user's, its own, or the study's."""
        of_user = self.request.options["seeds"] or not row.seeds
        return self.request.seeds() if of_user else row.seeds

    def _part(self, row: Row, values: Mapping[str, str], directories: Names) -> PlannedPart:
        """Name the data and the dumps of a row."""
        data = self.request.datadir / directories.data
        recognised = data / directories.text if directories.text else None
        dumps = tuple(
            PlannedDump(
                m, values[f"{m}_upstream"], values[f"{m}_model"], values[f"{m}_layer"],
                self.request.dumpdir / directories.dumps[m], recognised if m == "text" else None,
            )
            for m in row.modalities
        )  # fmt: skip
        return PlannedPart(data, dumps)

    def _overrides(self, changed: Mapping[str, Any]) -> tuple[str, ...]:
        """List overrides of the configuration: the study's, the user's, then the row's own."""
        study, row = ([as_override(key, value) for key, value in values.items()]
                      for values in (self.study.train_args, changed))  # fmt: skip
        return (*study, *self.request.overrides(), *row)

    def _moves_nothing(self, row: Row) -> bool:
        """Whether every key that a row moves has the same value without it."""
        files = self.request.config_files(self.request.config(row.system))
        before, after = (load(files, self._overrides(changed)) for changed in ({}, row.set))
        protocol = {key: row.moved[key] for key in ROW_OPTIONS if key in row.moved}
        return before == after and all(
            self.request.options[key] == value for key, value in protocol.items()
        )

    def count_folds(self, planned: PlannedExperiment) -> FoldCount:
        """Count the folds of an experiment, and say why there can be none."""
        cv, validation = planned.options["cv"], planned.options["validation"]
        if planned.tested and planned.tested.data != planned.data:
            return FoldCount(1)
        return self._count_folds(planned.data, cv, validation)


def _study(request: Request) -> Study:
    """Read the study that is asked for, or make that of a plain run."""
    if request.study is not None:
        return read_study(request.study)
    return plain_study(request.system_names(), [path.name for path in request.corpora])


def setting_tag(changed: Mapping[str, Any]) -> str:
    """Name the keys that a row sets, as part of a system's name: `mlp-split_layers-2`."""
    return "_".join(f"{key}-{_short(value)}" for key, value in changed.items())


def _text_name(text: Names) -> str:
    return f"{ASR}-{text.recogniser}" if text.recogniser else options.GOLD


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "-".join(map(_short, value)) or "none"
    return str(value)
