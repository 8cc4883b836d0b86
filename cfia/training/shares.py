"""The share of audio at each position of some utterances, from a finished training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from cfia.config import read_yaml
from cfia.errors import UserError
from cfia.model.equations import EquationStack
from cfia.model.gate_share import Share, audio_share
from cfia.model.network import CFIANet
from cfia.training.dataset import averaging, load
from cfia.training.determinism import set_up
from cfia.training.folds import PARTS
from cfia.training.job import Job, trained_network


def shares(job: Job, utts: Sequence[str]) -> Iterator[Share]:
    """The shares of utterances of any part of the job's fold, one by one.

    Raises:
        UserError: the training has no CFIA module or not both modalities, or is not finished, or
            an utterance is not in its fold, or has no features.
    """
    part = {utt: name for name in PARTS for utt in getattr(job.lists(), name)}
    for utt in utts:
        if utt not in part:
            raise UserError(f"{job.folds / str(job.fold)} has no utterance {utt}; name another")
    if len(job.dumps) < 2 or job.config.model.network != "cfia" or not job.config.model.n_modules:
        raise UserError(
            f"{job.directory} has no CFIA module between audio and text, whose gates could be "
            "shown; name a training of cfia_net on both"
        )
    shift = read_yaml(job.dumps["audio"] / "frontend.yaml").get("frame_shift")
    if not shift:
        raise UserError(f"{job.dumps['audio']}/frontend.yaml lacks frame_shift; run stage 3 again")
    k = averaging(job.dumps["audio"], job.config.model.frame_rate)
    device = set_up(job.num_threads, 0)
    data = load(utts, job.utt2emo(), job.classes(), job.dumps, job.config, "none")
    for utt in utts:
        if utt not in data.utts:
            raise UserError(f"{utt} has no features: {job.directory} was trained without it")
    model, stack = _network(job, data.dims())
    for i, utt in enumerate(data.utts):
        with torch.no_grad():
            X, valid = model.intermediate(data.batch([i], device))
        lengths = {name: int(data.lengths(name)[i]) for name in X}
        text = lengths["audio" if job.config.model.align == "interpolate" else "text"]
        share = audio_share(stack, X["audio"], X["text"], valid)[0, : max(lengths["audio"], text)]
        yield Share(utt, part[utt], share.numpy(), k * float(shift), text)


def _network(job: Job, dims: dict[str, int]) -> tuple[CFIANet, EquationStack]:
    """The trained network, and its stack in the form of the equations."""
    model, _ = trained_network(job, dims)
    assert isinstance(model, CFIANet)
    assert model.stack is not None  # both modalities, as `shares` has seen to
    stack = EquationStack(job.config.model)
    stack.load_state_dict(model.stack.state_dict())
    return model.eval(), stack.eval()
