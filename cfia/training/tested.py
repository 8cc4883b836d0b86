"""The posteriors of a training's test part: written, removed, and known by their marker.

Imports torch only where something is computed.
"""

from __future__ import annotations

import logging
from typing import Any

from cfia import marker
from cfia.errors import UserError
from cfia.training.training import NETWORK, Training, check_trained, is_trained, trained_network

log = logging.getLogger(__name__)

POSTERIORS = "posteriors.tsv"
POSTERIORS_MARKER = ".posteriors.json"


def write_posteriors(training: Training, *, force: bool) -> None:
    """Write the posteriors of a training's test part, or skip those that are there.

    Args:
        force: write them again, whatever is there.

    Raises:
        UserError: it is not trained, its inputs have changed, or the posteriors were made
            differently, or are not as they were made, and `force` is false.
    """
    with training.held(force=force):
        _write(training, force=force)


def _write(training: Training, *, force: bool) -> None:
    directory, experiment = training.directory, training.experiment
    experiment.config  # noqa: B018 - of one that was imported there is none
    check_trained(training)
    if training.fold is None:
        raise UserError(
            f"{directory} was trained on all utterances, so that none is left to test it; name a "
            "fold"
        )
    if force:
        remove_posteriors(training)
    if _has_made_posteriors(training):
        log.info("%s: posteriors already made, skipping", directory)
        return
    import torch

    from cfia import posteriors
    from cfia.training.determinism import set_up
    from cfia.training.evaluate import logits

    device = set_up(experiment.run["num_threads"], experiment.run["ngpu"])
    data = training.dataset("test")
    model = trained_network(training, data.dims()).to(device)
    scores = logits(model, data, training.config.train.batch_size, device)
    posteriors.write_posteriors(
        directory / POSTERIORS,
        list(experiment.classes),
        data.utts,
        [experiment.classes[i] for i in data.targets.tolist()],
        torch.softmax(scores, dim=1).numpy(),
    )
    options, inputs = posteriors_marked(training)
    marker.finish(directory, options, inputs, name=POSTERIORS_MARKER, files=[POSTERIORS])


def remove_posteriors(training: Training) -> None:
    """Remove the posteriors of a training, if there are any; its network stays."""
    for name in (POSTERIORS_MARKER, POSTERIORS):  # without the marker nobody takes them for made
        (training.directory / name).unlink(missing_ok=True)


def has_posteriors(training: Training) -> bool:
    """Whether the posteriors of a finished training are there.

    Raises:
        UserError: the training or they were made differently, or are not as they were made.
    """
    return is_trained(training) and _has_made_posteriors(training)


def _has_made_posteriors(training: Training) -> bool:
    """Whether the posteriors of a training, which is finished, are there."""
    options, inputs = posteriors_marked(training)
    made_by = training.experiment.made_by("stage 6 (posteriors)")
    state = marker.check(
        training.directory, options, inputs, name=POSTERIORS_MARKER, made_by=made_by
    )
    return state is marker.State.DONE


def posteriors_marked(training: Training) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the options and inputs of the posteriors' marker."""
    options, inputs = training.marked()
    if training.experiment.imported:
        return options, inputs
    trained = marker.read(training.directory)
    assert trained is not None
    network = trained.files[NETWORK]["sha256"]
    return (
        {**options, "num_threads": training.experiment.run["num_threads"]},
        {**inputs, NETWORK: network},
    )
