"""Corpora that are trained and tested on each other: stages 1 to 4 of a run with --corpora.

Data and features are those of the corpora's own recipes. Of each corpus, and of all corpora but
each, there is a data directory under common labels, with the corpus's name before the ids of its
speakers and utterances, and dumps that link to the archives of the recipes.
"""

from __future__ import annotations

import logging
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from cfia import lock, marker
from cfia.directories import reading
from cfia.errors import UserError
from cfia.files import digest, read_yaml, sha256
from cfia.kaldi import edit, layout
from cfia.kaldi.copy import Affixes, rename
from cfia.kaldi.data_dir import DataDir, write_data_dir
from cfia.kaldi.edit import Tables
from cfia.kaldi.layout import Key
from cfia.kaldi.validate import check_unedited
from cfia.naming import Names, names, of_corpora
from cfia.shapes import ShapeError, check_keys, fit
from cfia.study.request import DUMPS, Request
from cfia.study.study_plan import StudyPlan
from cfia.training.folds import make_scheme
from cfia.training.inputs import measure_part
from cfia.upstream.link import Source, check_same_encoder, link

log = logging.getLogger(__name__)

CORPUS = "utt2corpus"
_STAGES = {"audio": 3, "text": 4}  # that make the features of a modality
OTHERS = "*"  # in a label map, of the recipes that it does not name
LEFT_OUT = "-"  # in a label map, as in those of recipes
# Tables that say nothing here: audio is not read, and official parts are of one corpus.
_NOT_TAKEN = ("segments", "utt2num_frames", "utt2uniq", "utt2split", CORPUS)
_PREFIXED = ("utt2session", "utt2dialogue")  # whose values, too, are names within a corpus


class _Entry(TypedDict):
    """What a label map says of a recipe.

    Attributes:
        labels: the recipe's label set whose data is taken, where it is not its own.
        classes: its classes, and what they are called here.
    """

    classes: dict[str, str]
    labels: NotRequired[str | int]


@dataclass(frozen=True)
class Corpus:
    """A corpus, by its recipe.

    Attributes:
        recipe: its directory, from that of the recipe that runs.
        classes: its classes, and what they are called here; others are left out.
        names: of its data directory and dumps.
    """

    recipe: Path
    classes: Mapping[str, str]
    names: Names

    @property
    def name(self) -> str:
        """Name of the recipe."""
        return self.recipe.name

    @property
    def prefix(self) -> str:
        """What is put before its ids: another corpus's speaker 03 is another person."""
        return f"{self.name}-"

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.recipe / "data" / self.names.data

    @cached_property
    def kinds(self) -> dict[str, Key]:
        """The tables of it that are taken, and what keys them."""
        kinds = layout.kinds(self.data)
        return {
            name: key
            for name, key in kinds.items()
            if key is not Key.RECORDING and name not in _NOT_TAKEN and not name.endswith(".scp")
        }

    def tables(self) -> Tables:
        """Read its tables, with common labels and new ids."""
        tables = edit.read_tables(self.data, self.kinds)
        if "utt2emo" not in tables:
            raise UserError(f"{self.data} has no labels (utt2emo); run stage 1 of {self.recipe}")
        labels = {u: self.classes.get(c, LEFT_OUT) for u, c in tables["utt2emo"].items()}
        kept = [utt for utt, label in labels.items() if label != LEFT_OUT]
        tables = edit.restrict(tables, kept, self.kinds)
        tables["utt2emo"] = {utt: labels[utt] for utt in kept}
        for name in _PREFIXED:
            if name in tables:
                tables[name] = {u: f"{self.prefix}{v}" for u, v in tables[name].items()}
        affixes = Affixes(spk_prefix=self.prefix, utt_prefix=self.prefix)
        renamed = rename(tables, affixes, self.kinds)
        del renamed["utt2uniq"]
        return {**renamed, CORPUS: dict.fromkeys(renamed["utt2spk"], self.name)}

    def inputs(self) -> dict[str, str]:
        """Give the digest of each table that is taken."""
        if not self.data.is_dir():
            raise UserError(
                f"{self.data} is not there; run stages 1 to 4 of {self.recipe}/run.sh first"
            )
        check_unedited(self.data)
        paths = [self.data / name for name in self.kinds]
        return {f"{self.name} {p.name}": sha256(p) for p in paths if p.is_file()}


def make_data(plan: StudyPlan) -> None:
    """Write the data directories (stage 1), or skip those that are there.

    Raises:
        UserError: a corpus has no data, or none of a class that another one has; or a directory
            was made otherwise, and is not to be made again.
    """
    corpora = _corpora(plan.request)
    with reading(*(corpus.data for corpus in corpora)):
        inputs = {corpus.name: corpus.inputs() for corpus in corpora}
        tables = {corpus.name: corpus.tables() for corpus in corpora}
        _check_classes(plan.request, corpora, tables)
        for group in _groups(corpora):
            directory = _directory(plan.request, group)
            with lock.making(directory, force=plan.request.force):
                joined = _joined([tables[corpus.name] for corpus in group])
                _write_data(plan.request, group, directory, joined, _inputs(group, inputs))


def _write_data(
    request: Request,
    group: Sequence[Corpus],
    directory: Path,
    joined: Tables,
    inputs: dict[str, str],
) -> None:
    options = _options(request, group)
    if marker.check(directory, options, inputs, force=request.force) is marker.State.DONE:
        log.info("%s: already made, skipping", directory)
        return
    write_data_dir(directory, joined, options, inputs, wav=False, text="text" in joined)
    counts = Counter(joined["utt2emo"].values())
    known = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()))
    log.info("%s: %d utterances: %s", directory, counts.total(), known)


def make_lists(plan: StudyPlan) -> None:
    """Write the fold lists (stage 2): one fold for each corpus that is trained on."""
    done = set()
    for planned in plan.experiments:
        if planned.folds in done or planned.tested is None:
            continue
        done.add(planned.folds)
        with reading(planned.data, planned.tested.data):
            make_scheme(
                DataDir.load(planned.data, needed=()),
                planned.folds,
                planned.options["cv"],
                planned.options["validation"],
                tested=DataDir.load(planned.tested.data, needed=()),
                force=plan.request.force,
            )


def link_features(plan: StudyPlan, modality: str) -> None:
    """Link to the features of one modality (stages 3 and 4).

    Raises:
        UserError: a recipe's features are not there, or not of its data; recipes have other
            encoders; or an encoder has seen the labels of a corpus.
    """
    request = plan.request
    if not any(dump.modality == modality for dump in plan.dumps):
        log.info("no system of this run uses %s", modality)
        return
    corpora = _corpora(request)
    sources = {corpus.name: _source(corpus, modality) for corpus in corpora}
    check_same_encoder([source.dump for source in sources.values()])
    for group in _groups(corpora):
        named = _names(request, group)
        directory, data = request.dumpdir / named.dumps[modality], request.datadir / named.data
        with reading(data), lock.making(directory, force=request.force):
            link(
                directory,
                data,
                modality,
                {corpus.name: sources[corpus.name] for corpus in group},
                {
                    f"{modality}_upstream": request.options[f"{modality}_upstream"],
                    "corpora": _options(request, group)["corpora"],
                },
                allow_contaminated=request.options["allow_contaminated"] == "true",
                force=request.force,
            )


def check_sources(plan: StudyPlan) -> None:
    """Refuse to train where a recipe's data or features have changed since they were taken.

    Raises:
        UserError: it names the first change and the stage that takes them again.
    """
    request = plan.request
    corpora = _corpora(request)
    inputs = {corpus.name: corpus.inputs() for corpus in corpora}
    for group in _groups(corpora):
        read = _inputs(group, inputs)
        marker.check(_directory(request, group), _options(request, group), read, made_by="stage 1")
        for modality in dict.fromkeys(dump.modality for dump in plan.dumps):
            _check_linked(request, group, modality)


def _check_linked(request: Request, group: Sequence[Corpus], modality: str) -> None:
    directory = request.dumpdir / _names(request, group).dumps[modality]
    recorded = marker.read(directory)
    for corpus in group if recorded else ():
        taken = recorded and recorded.inputs.get(f"features of {corpus.name}")
        source = _source(corpus, modality)
        if taken != source.digest:
            raise UserError(
                f"{source.dump} was made again since {directory} was linked to it; stage "
                f"{_STAGES[modality]} with --force true takes the new features"
            )


def _source(corpus: Corpus, modality: str) -> Source:
    dump = corpus.recipe / DUMPS / corpus.names.dumps[modality]
    if not (dump / marker.NAME).exists():
        stage = _STAGES[modality]
        raise UserError(
            f"{dump} is not there; run {corpus.recipe}/run.sh --stage {stage} --stop_stage {stage} "
            f"with the same options of the encoder first"
        )
    part = measure_part(corpus.data, {modality: dump}, archives=True)
    return Source(dump, part.dumps[modality].digest, corpus.prefix)


def _corpora(request: Request) -> list[Corpus]:
    """Find the corpora in the label map.

    Raises:
        UserError: it is malformed, or says nothing of one.
    """
    path = request.recipe / "conf" / "labels" / f"{request.options['labels']}.yaml"
    values = read_yaml(path)
    found = []
    for recipe in request.corpora:
        entry = values.get(recipe.name, values.get(OTHERS))
        if entry is None:
            raise UserError(f"{path} says nothing of {recipe.name}; add it, or {OTHERS!r}")
        try:
            fitted: _Entry = fit(_Entry, entry, recipe.name)
            check_keys(_Entry, entry)
        except ShapeError as error:
            raise UserError(f"{path}: {error}; see egs/cross/README.md") from None
        labels = str(fitted.get("labels", ""))
        own = {**request.options, "labels": labels, "default_labels": ""}
        relative = Path(os.path.relpath(recipe, request.recipe))
        found.append(Corpus(relative, fitted["classes"], names(own)))
    return found


def _groups(corpora: Sequence[Corpus]) -> list[tuple[Corpus, ...]]:
    """List what is trained on, each corpus, and what is tested, all others; each once."""
    alone = [(corpus,) for corpus in corpora]
    others = [tuple(c for c in corpora if c is not corpus) for corpus in corpora]
    by_names = {tuple(c.name for c in group): group for group in (*alone, *others)}
    return list(by_names.values())


def _names(request: Request, group: Sequence[Corpus]) -> Names:
    return of_corpora(request.names(), [corpus.name for corpus in group])


def _directory(request: Request, group: Sequence[Corpus]) -> Path:
    return request.datadir / _names(request, group).data


def _options(request: Request, group: Sequence[Corpus]) -> dict[str, Any]:
    """Give a data directory's options; the tables of stage 8 find the recipes by them."""
    return {
        "corpora": shlex.join(str(corpus.data) for corpus in group),
        "labels": request.options["labels"],
    }


def _inputs(group: Sequence[Corpus], inputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    of_group = {key: value for c in group for key, value in inputs[c.name].items()}
    return {**of_group, "label map": digest([[c.name, dict(c.classes)] for c in group])}


def _joined(parts: Sequence[Tables]) -> Tables:
    """Put corpora together: the tables that all have, and what only some say beside them."""
    joined: Tables = {}
    for name in dict.fromkeys(name for tables in parts for name in tables):
        table = layout.kind(name)
        everywhere = all(name in tables for tables in parts)
        if everywhere or (table is not None and not table.whole):
            joined[name] = {k: v for tables in parts for k, v in tables.get(name, {}).items()}
    return joined


def _check_classes(
    request: Request, corpora: Sequence[Corpus], tables: Mapping[str, Tables]
) -> None:
    """Refuse a class that one of the corpora lacks, and say what is left out."""
    mapped = {c for corpus in corpora for c in corpus.classes.values()} - {LEFT_OUT}
    for corpus in corpora:
        missing = mapped - set(tables[corpus.name]["utt2emo"].values())
        has = set(edit.read_tables(corpus.data, ["utt2emo"])["utt2emo"].values())
        if missing:
            raise UserError(
                f"{corpus.data} has no class that conf/labels/{request.options['labels']}.yaml "
                f"calls {' or '.join(sorted(missing))} (it has {', '.join(sorted(has))}); leave "
                "that class out of the map for all corpora, or leave out the corpus"
            )
        if outside := sorted(_left_out(corpus, has)):
            log.info("%s: without %s, which the map leaves out", corpus.name, ", ".join(outside))


def _left_out(corpus: Corpus, has: set[str]) -> Iterator[str]:
    return (name for name in has if corpus.classes.get(name, LEFT_OUT) == LEFT_OUT)
