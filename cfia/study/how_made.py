"""How the systems of a study's table were made, in words below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cfia.config import in_words
from cfia.model.registry import about
from cfia.networks import ModelConfig, ProbeConfig
from cfia.report.score_tables import counted
from cfia.scoring.scores_file import Scored
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import Result, finished
from cfia.training.validation import in_words as validation_in_words

_NORMALISED = {
    "global": "features normalised by mean and standard deviation of the training part",
    "utterance": "features normalised by each utterance's own mean and standard deviation",
}


def training_in_words(scored: Scored) -> str:
    """Say how a network was trained: `adam, lr 0.0001 constant; batches of 32; ...`."""
    experiment = scored.trained.experiment
    if not experiment.seeded:
        return "fitted"
    config, normalisation = experiment.config.train, experiment.config.model.normalisation
    others = [
        f"{name} {value:g}"
        for name, value in (("weight_decay", config.weight_decay), ("clip_grad", config.clip_grad))
        if value
    ]
    epochs = f"{config.epochs} epochs"
    if experiment.protocol["selection"] != "last":
        best = {"ua": "UA", "wa": "WA"}.get(config.best_by, config.best_by)
        epochs += f", of which the best {best} on the part that selects counts"
        if config.patience < config.epochs:
            epochs = f"at most {epochs}, stopped after {config.patience} without a better one"
    return "; ".join(
        [
            f"{config.optimizer}, lr {config.lr:g} {config.schedule}",
            *others,
            *([_NORMALISED[normalisation]] if normalisation in _NORMALISED else []),
            f"batches of {config.batch_size}",
            epochs + ", each fold with the settings that it chose" * bool(experiment.best_of),
        ]
    )


def part_notes(scored: Sequence[Scored]) -> list[str]:
    """Say what validates, what is done with it, and what is tested."""
    if not scored:
        return []
    experiments = [row.trained.experiment for row in scored]
    validations = dict.fromkeys(str(one.protocol["validation"]) for one in experiments)
    notes = [f"{validation_in_words(part)}." for part in validations]
    if tuned := next((one.best_of for one in experiments if one.best_of), 0):
        notes.append(
            f"Tuned: each fold, for each seed, trains the first {tuned} combinations of "
            "conf/tune.yaml, of which the system's own configuration is the first, on its training "
            "part and takes that of the best UA on its validation part. What it tests has no say."
        )
    if any(one.refit for one in experiments):
        notes.append(
            "Refitted: when validation has selected the epoch, a network is trained anew, on "
            "training and validation part, for as many epochs. What it tests has no say."
        )
    outputs = scored[0].outputs
    counts = np.bincount(outputs.refs, minlength=len(outputs.classes))
    classes = ", ".join(f"{name} {n}" for name, n in zip(outputs.classes, counts, strict=True))
    people = "" if outputs.independent else f" of {counted(len(outputs.speakers), outputs.cluster)}"
    return [*notes, f"Tested: {counted(len(outputs.utts), 'utterance')}{people}: {classes}."]


def features_note(plan: StudyPlan, results: Sequence[Result]) -> str:
    """Name the encoders whose features all rows share, and what these have seen of the corpus."""
    used = dict.fromkeys((m, plan.encoder(r.row, m)) for r in results for m in r.row.modalities)
    named = " and ".join(f"{encoder} for the {modality}" for modality, encoder in used)
    seen = {name: seen for row in finished(results) for name, seen in row.trained.exposure.items()}
    saw = ", ".join(f"{name} {what}" for name, what in seen.items())
    return (
        f"Features: {named}, frozen; the same files for all rows. Of this corpus their own "
        f"training saw: {saw or 'nobody knows yet'}."
    )


def networks_in_words(systems: Iterable[tuple[str, Scored]]) -> list[str]:
    """Say of each system what its network is, and of a peer its source and what was inferred.

    Of a first system of a network how large it is, too, and of a second one in what its
    configuration differs from the first.

    Args:
        systems: with their names; one that has been there is left out.
    """
    first: dict[str, tuple[str, Mapping[str, Any]]] = {}
    told: dict[str, str] = {}
    for name, scored in systems:
        config = scored.trained.experiment.config
        values = config.flat()
        base, own = first.setdefault(config.model.network, (name, values))
        changed = {key: value for key, value in values.items() if value != own.get(key)}
        what = f"as {base}, but with {in_words(changed)}" if changed else f"as {base}"
        if base == name:
            what = f"{about(config.model)} Set here: {in_words(_sizes(config.model))}."
        told.setdefault(name, what)
    return [f"{name}: {what}" for name, what in told.items()]


def _sizes(model: ModelConfig) -> dict[str, Any]:
    """Select the keys that say how large a network is, and what it reads of the features."""
    if isinstance(model, ProbeConfig):
        return {"probe_c_grid": model.probe_c_grid, "max_frames": model.max_frames}
    keys = ("hidden", "dropout", "frame_rate", "max_frames")
    return {key: getattr(model, key) for key in keys}
