"""Compute the weight of audio at each position of some utterances, from a finished training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cfia.errors import UserError
from cfia.experiment import PARTS
from cfia.kaldi.table import read_table
from cfia.model.audio_weight import AudioWeight, equation_stack, of_utterance
from cfia.model.network import CFIANet
from cfia.training.dataset import Dataset, averaging, load
from cfia.training.determinism import set_up
from cfia.training.training import Training, check_trained, trained_network


@dataclass(frozen=True)
class Weighed:
    """The weight of audio in an utterance of a fold.

    Attributes:
        part: the part of the fold that it is in: train, valid or test.
    """

    utt: str
    part: str
    weight: AudioWeight


def audio_weights(training: Training, utts: Sequence[str]) -> Iterator[Weighed]:
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
    config = training.config
    shift = training.frontends()["audio"].frame_shift
    if not shift:
        raise UserError(
            f"{dumps['audio']}/frontend.yaml lacks frame_shift; make the features again (stage 3, "
            "or `cfia import_features`, with --force true)"
        )
    k = averaging(shift, config.model.frame_rate)
    set_up(experiment.run["num_threads"], 0)
    of_part: dict[str, list[str]] = {}
    for utt in dict.fromkeys(utts):
        of_part.setdefault(part[utt], []).append(utt)
    datasets = {name: _open(training, name, some) for name, some in of_part.items()}
    model = trained_network(training, next(iter(datasets.values())).dims()).eval()
    assert isinstance(model, CFIANet)
    stack = equation_stack(model)
    for utt in dict.fromkeys(utts):
        data = datasets[part[utt]]
        batch = data.batch([data.utts.index(utt)])
        yield Weighed(utt, part[utt], of_utterance(model, stack, batch, k * shift))


def _open(training: Training, part: str, utts: Sequence[str]) -> Dataset:
    """Open the features of utterances of one part, in its data."""
    experiment, config = training.experiment, training.config
    labels = read_table(experiment.parts[part].data / "utt2emo")
    data = load(utts, labels, experiment.classes, experiment.dumps(part), config, "none")
    for utt in utts:
        if utt not in data.utts:
            raise UserError(
                f"{utt} has no features, so {training.directory} was trained without it; leave it "
                "out of --utts"
            )
    return data
