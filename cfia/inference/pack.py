"""Write a pack from a finished experiment."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

import cfia
from cfia.directories import atomic_directory
from cfia.errors import UserError
from cfia.experiment import Experiment
from cfia.files import sha256
from cfia.frontend import Frontend
from cfia.inference.pack_file import PackedEncoder, PackFile
from cfia.training.training import Training, check_trained, trained_network
from cfia.upstream import dump_plan, registry
from cfia.upstream.dump_plan import Plan

_LIBRARIES = ("torch", "transformers", "numpy", "soxr", "kaldi-native-fbank", "safetensors")


def pack_folds(experiment: Experiment, seed: int, out: Path) -> None:
    """Pack the networks of all folds and one seed: an ensemble.

    Raises:
        UserError: one is not trained, or its inputs have changed; or features were imported.
    """
    trainings = [Training(experiment, k, seed) for k in range(1, experiment.folds.number + 1)]
    for training in trainings:
        check_trained(training)
    write({f"fold{t.fold}.safetensors": t for t in trainings}, out, {"seed": seed})


def write(trainings: Mapping[str, Training], out: Path, trained_on: Mapping[str, Any]) -> None:
    """Write the pack of some trainings of one experiment, by the names of their files.

    Args:
        trained_on: what config.json says of them.
    """
    first = next(iter(trainings.values()))
    experiment, frontends = first.experiment, first.frontends()
    dims = {modality: frontend.dim for modality, frontend in frontends.items()}
    encoders = {m: _encoder(dump, frontends[m]) for m, dump in experiment.dumps().items()}
    with atomic_directory(out) as place:
        for name, training in trainings.items():
            state = trained_network(training, dims).state_dict()
            safetensors.torch.save_file(state, place / name)
        PackFile(
            cfia=cfia.__version__,
            versions={name: importlib.metadata.version(name) for name in _LIBRARIES},
            dims=dims,
            n_classes=len(experiment.classes),
            config=experiment.config.model,
            layers=first.layers(),
            classes=experiment.classes,
            encoders=encoders,
            num_threads=experiment.run["num_threads"],
            text_tags=str(experiment.protocol["text_tags"]),
            system=experiment.system,
            scheme=experiment.scheme,
            corpus=experiment.corpus,
            protocol=experiment.protocol,
            trained_on=trained_on,
            weights={name: sha256(place / name) for name in trainings},
        ).write(place)


def _encoder(dump: Path, frontend: Frontend) -> PackedEncoder:
    """Describe the encoder of a dump.

    Raises:
        UserError: the features were imported, so that nothing here can compute them.
    """
    if not (dump / dump_plan.NAME).exists():
        raise UserError(
            f"the features in {dump} were imported, so a pack of them could not be used on a "
            "recording; pack a system whose encoder cfia runs"
        )
    settings = Plan.load(dump).settings
    return PackedEncoder(
        settings.choice, frontend, registry.model_digest(settings.choice, settings.checkpoint())
    )
