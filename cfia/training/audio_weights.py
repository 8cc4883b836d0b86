"""Compute the weight of audio at each position of some utterances, from a finished training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from cfia.errors import UserError
from cfia.experiment import PARTS
from cfia.kaldi.table import read_table
from cfia.model.audio_weight import audio_weight
from cfia.model.equations import EquationStack
from cfia.model.network import CFIANet
from cfia.training.dataset import Dataset, averaging, load
from cfia.training.determinism import set_up
from cfia.training.training import Training, check_trained, trained_network


@dataclass(frozen=True)
class AudioWeight:
    """The weight of audio at each position of one utterance.

    Attributes:
        part: the part of the fold that it is in: train, valid or test.
        weight: (T, F), the weight of audio, from 0 to 1.
        frame_shift: seconds from one position to the next.
        text_frames: how many positions the text takes, from the first one on.
    """

    utt: str
    part: str
    weight: npt.NDArray[np.float32]
    frame_shift: float
    text_frames: int


def audio_weights(training: Training, utts: Sequence[str]) -> Iterator[AudioWeight]:
    """Compute the weights of utterances of any part of the fold, one by one.

    Raises:
        UserError: the training has no CFIA module or not both modalities, or is not finished, or
            not as it was made; or an utterance is not in its fold, or has no features.
    """
    part = {utt: name for name in PARTS for utt in getattr(training.lists, name)}
    for utt in utts:
        if utt not in part:
            raise UserError(f"{training.list_directory} has no utterance {utt}; name another")
    experiment, config = training.experiment, training.experiment.config
    dumps = experiment.dumps()
    if len(dumps) < 2 or config.model.network != "cfia" or not config.model.n_modules:
        raise UserError(
            f"{training.directory} has no CFIA module between audio and text, whose gates could be "
            "shown; name a training of cfia_net on both"
        )
    check_trained(training)
    shift = training.frontends()["audio"].frame_shift
    if not shift:
        raise UserError(
            f"{dumps['audio']}/frontend.yaml lacks frame_shift; make the features again (stage 3, "
            "or `cfia import_features`, with --force true)"
        )
    k = averaging(shift, config.model.frame_rate)
    device = set_up(experiment.run["num_threads"], 0)
    of_part: dict[str, list[str]] = {}
    for utt in dict.fromkeys(utts):
        of_part.setdefault(part[utt], []).append(utt)
    datasets = {name: _open(training, name, some) for name, some in of_part.items()}
    model, stack = _network(training, next(iter(datasets.values())).dims())
    for utt in dict.fromkeys(utts):
        data = datasets[part[utt]]
        i = data.utts.index(utt)
        with torch.no_grad():
            X, valid = model.intermediate(data.batch([i], device))
        lengths = {name: int(data.lengths(name)[i]) for name in X}
        text = lengths["audio" if config.model.align == "interpolate" else "text"]
        weight = audio_weight(stack, X["audio"], X["text"], valid)[0, : max(lengths["audio"], text)]
        yield AudioWeight(utt, part[utt], weight.numpy(), k * shift, text)


def _open(training: Training, part: str, utts: Sequence[str]) -> Dataset:
    """Open the features of utterances of one part, in its data."""
    experiment, config = training.experiment, training.experiment.config
    labels = read_table(experiment.parts[part].data / "utt2emo")
    data = load(utts, labels, experiment.classes, experiment.dumps(part), config, "none")
    for utt in utts:
        if utt not in data.utts:
            raise UserError(
                f"{utt} has no features, so {training.directory} was trained without it; leave it "
                "out of --utts"
            )
    return data


def _network(training: Training, dims: dict[str, int]) -> tuple[CFIANet, EquationStack]:
    """Load the trained network, and its stack in the form of the equations."""
    model = trained_network(training, dims)
    assert isinstance(model, CFIANet)
    assert model.stack is not None  # both modalities, as `audio_weights` has seen to
    stack = EquationStack(training.experiment.config.model)
    stack.load_state_dict(model.stack.state_dict())
    return model.eval(), stack.eval()
