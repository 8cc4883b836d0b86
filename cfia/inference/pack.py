"""Write a pack from a finished experiment (stage 9)."""

from __future__ import annotations

import importlib.metadata
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cfia
from cfia import marker
from cfia.corpus.corpus_conf import CorpusConf, read_corpus_conf
from cfia.corpus.several import CORPORA, conf_of
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.experiment import NAME, SCORES, Experiment
from cfia.files import atomic_write, digest, read_yaml, sha256
from cfia.inference import encoders
from cfia.inference.pack_file import CARD, PackFile
from cfia.inference.packable import check_packable
from cfia.kaldi.data_dir import speakers_known
from cfia.kaldi.table import read_table
from cfia.model.pretrained import CONFIG, WEIGHTS
from cfia.naming import trained_corpus
from cfia.networks import ModelConfig
from cfia.options import PACK_ALL, PACK_FOLDS
from cfia.training import final
from cfia.training.history import HISTORY, selected
from cfia.training.inputs import check_unchanged, skipped
from cfia.training.training import (
    NETWORK,
    Training,
    is_trained,
    not_trained,
    of_folds,
    trained_network,
)

log = logging.getLogger(__name__)

PLACES = {PACK_ALL: "pack", PACK_FOLDS: "pack_folds"}  # in exp/<system>/<scheme>
_LIBRARIES = ("torch", "transformers", "numpy", "soxr", "kaldi-native-fbank", "safetensors")
_KIND = "pack"  # the option in the marker of every pack, and of nothing else


@dataclass(frozen=True)
class Packing:
    """A pack that is to be made.

    Attributes:
        experiment: that it is of.
        kind: PACK_ALL, the final network, or PACK_FOLDS, the networks of the folds.
        seed: that they were trained with.
        page: the recipe's conf/corpus.yaml, for the card; None: nothing is said of the corpus.
    """

    experiment: Experiment
    kind: str
    seed: int
    page: Path | None

    @cached_property
    def trainings(self) -> dict[str, Training]:
        """Its trainings, by the names of their files."""
        if self.kind == PACK_ALL:
            return {WEIGHTS: Training(self.experiment, None, self.seed)}
        return {f"fold{t.fold}.safetensors": t for t in of_folds(self.experiment, self.seed)}

    @cached_property
    def config(self) -> ModelConfig:
        """The configuration of its networks, which --tune may have changed.

        That of the folds' may differ in dropout, which does nothing in a network in use.

        Raises:
            UserError: they differ in something else.
        """
        own = self.experiment.config.model.dropout
        first, *others = (training.config.model for training in self.trainings.values())
        for fold, other in enumerate(others, 2):
            if replace(other, dropout=own) != replace(first, dropout=own):
                raise UserError(
                    f"{self.experiment.directory}: with --tune fold {fold} has chosen another "
                    "network than fold 1, and a pack has networks of one configuration; give "
                    "--pack all"
                )
        return replace(first, dropout=own) if others else first

    def marked(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Give its marker's options, and the digests of what it is made from."""
        experiment = self.experiment
        options = {
            _KIND: self.kind, "seeds": self.seed, "systems": experiment.system,
            "scheme": experiment.scheme, "corpus": experiment.corpus,
        }  # fmt: skip
        pages = [self.page, self.page.with_name(CORPORA), self._labels()] if self.page else []
        inputs = {
            NAME: experiment.digest(),
            SCORES: sha256(experiment.directory / SCORES),
            "versions": digest({"cfia": cfia.__version__, **_versions()}),
            **{path.name: sha256(path) for path in pages if path and path.exists()},
        }
        for name, training in self.trainings.items():
            recorded = marker.read(training.directory)
            assert recorded is not None
            inputs[name] = recorded.files[NETWORK]["sha256"]
        return options, inputs

    def _labels(self) -> Path | None:
        """Name the file of the label set beside the page."""
        name = f"{self.experiment.protocol['labels']}.yaml"
        return self.page.parent / "labels" / name if self.page else None

    def corpus(self) -> CorpusConf:
        """Read what the recipe says of the corpus; of one that alone trained, its own recipe."""
        alone = trained_corpus(str(self.experiment.protocol["cv"]))
        if alone:
            page = self.page and self.page.resolve().parents[2] / alone / "conf" / self.page.name
            return read_corpus_conf(page) if page and page.exists() else {"title": alone}
        return conf_of(self.experiment.corpus, self.page) if self.page else {}

    def labels(self) -> dict[str, list[str]]:
        """Read of which labels of the corpus each class is made; empty where nothing says it."""
        path, labels = self._labels(), dict[str, list[str]]()
        if path is not None and path.exists():
            for label, name in read_yaml(path).items():
                labels.setdefault(str(name), []).append(str(label))
        return labels


def pack(packing: Packing, out: Path | None, *, force: bool) -> Path:
    """Make a pack, or say that it is up to date; one of networks that have changed is made again.

    Args:
        out: its directory; None is its place beside the experiment's networks.
        force: make it again, whatever is there.

    Raises:
        UserError: as `check_packable`; a network is not trained, or its inputs, scores or
            posteriors have changed; the directory holds something else, or was edited, and `force`
            is false.
    """
    experiment = packing.experiment
    place = out or experiment.directory / PLACES[packing.kind]
    check_packable(experiment, packing.seed)
    check_unchanged(experiment)
    for training in packing.trainings.values():
        if not is_trained(training):
            raise not_trained(training)
    packing.config  # noqa: B018 - networks that are too different for one pack
    options, inputs = packing.marked()
    if _up_to_date(place, options, inputs, force=force):
        log.info("%s: already packed, skipping", place)
        return place
    with atomic_directory(place) as new:
        _fill(packing, new)
        marker.finish(new, options, inputs)
    places = {m: encoders.directory(dump) for m, dump in experiment.dumps().items()}
    encoders.remember(place, {m: path for m, path in places.items() if path})
    log.info(
        "%s: packed; `cfia predict --model %s` uses it, and its %s says how",
        place, shlex.quote(str(place)), CARD,
    )  # fmt: skip
    return place


def _up_to_date(
    place: Path, options: dict[str, Any], inputs: dict[str, str], *, force: bool
) -> bool:
    """Whether a pack is there, whole, and made from what there is now.

    Raises:
        UserError: the directory holds something else, or a file was edited, and not `force`.
    """
    try:
        there = marker.read(place)
    except UserError:  # the marker is damaged; of a pack or not, tells what it stands beside
        if force and (place / CONFIG).is_file():
            return False
        raise
    if there is not None and _KIND not in there.options:
        raise UserError(f"{place} holds something else than a pack; name another --pack_dir")
    made_from = there.inputs if there else {}
    state = marker.check(place, options, made_from, force=force)
    return state is marker.State.DONE and made_from == inputs


def _fill(packing: Packing, place: Path) -> None:
    """Write weights, config.json and card."""
    import safetensors.torch

    from cfia.inference.card import card
    from cfia.inference.card_scores import Subject
    from cfia.scoring.scores_file import check_scores, score
    from cfia.scoring.trained import read_trained

    experiment = packing.experiment
    trained = read_trained(experiment.directory)
    if not trained.finished:
        raise UserError(f"{experiment.directory}: {trained.lacks}; run stage 6 (posteriors) again")
    scored = score(trained)
    check_scores(scored)
    first = next(iter(packing.trainings.values()))
    frontends = first.frontends()
    dims = {modality: frontend.dim for modality, frontend in frontends.items()}
    for name, training in packing.trainings.items():
        state = trained_network(training, dims).state_dict()
        with atomic_write(place / name, "wb") as handle:  # save_file's own is for its owner alone
            handle.write(safetensors.torch.save(state))
    pack_file = PackFile(
        cfia=cfia.__version__,
        versions=_versions(),
        dims=dims,
        n_classes=len(experiment.classes),
        config=packing.config,
        layers=first.layers(),
        classes=experiment.classes,
        encoders={m: encoders.of_dump(dump) for m, dump in experiment.dumps().items()},
        num_threads=experiment.run["num_threads"],
        text_tags=str(experiment.protocol["text_tags"]),
        system=experiment.system,
        scheme=experiment.scheme,
        corpus=experiment.corpus,
        protocol={**experiment.protocol, "folds": experiment.folds.number},
        trained_on=_trained_on(packing),
        weights={name: sha256(place / name) for name in packing.trainings},
    )
    pack_file.write(place)
    tested = _made_by([t.directory for t in trained.trainings])
    text = card(Subject(pack_file, scored.scores, tested, packing.corpus(), packing.labels()))
    with atomic_write(place / CARD) as handle:
        handle.write(text)


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _trained_on(packing: Packing) -> dict[str, Any]:
    """Say what the networks were trained on, and where they are from, without a path of here."""
    experiment, left_out = packing.experiment, skipped(packing.experiment.dumps())
    data = experiment.parts["train"].data
    labels, speakers = read_table(data / "utt2emo"), read_table(data / "utt2spk")
    lists = {
        name: [utt for utt in training.trained_on if utt not in left_out]
        for name, training in packing.trainings.items()
    }
    every = sorted({utt for utts in lists.values() for utt in utts})
    heard = {utt: speakers[utt] for utt in every}
    directories = [training.directory for training in packing.trainings.values()]
    key = final.selected_key(experiment.config)
    histories = {name: t.directory / HISTORY for name, t in packing.trainings.items()}
    chosen = {name: t.settings for name, t in packing.trainings.items()}
    return {
        "pack": packing.kind,
        **({"seed": packing.seed} if experiment.seeded else {}),
        "utterances": {name: len(utts) for name, utts in lists.items()},
        key: {name: selected(path) for name, path in histories.items()},
        **({"tuned": chosen} if experiment.trials else {}),
        "classes": {c: sum(labels[utt] == c for utt in every) for c in experiment.classes},
        "speakers": len({*heard.values()}) if speakers_known(heard) else None,
        **_made_by(directories),
        "environment": _provenance(directories[0])["environment"],
    }


def _provenance(training: Path) -> dict[str, Any]:
    return read_yaml(training / "provenance.yaml")


def _made_by(trainings: Sequence[Path]) -> dict[str, str]:
    """Give the commits and the commands that made some trainings."""
    made = [_provenance(training) for training in trainings]
    return {
        "commit": ", ".join(dict.fromkeys(str(m["commit"]) for m in made)),
        "command": "; ".join(dict.fromkeys(without_places(str(m["command"])) for m in made)),
    }


def without_places(command: str) -> str:
    """Name the files and directories of a command by their last part: their place is of here."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command.split()[0]
    return shlex.join(_without_place(word) for word in words)


def _without_place(word: str) -> str:
    option, equals, value = word.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={_without_place(value)}"
    return Path(word).name if word.startswith(("/", "~")) else word
