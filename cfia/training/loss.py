"""The training objective of a batch, and how much of its gradient is the consistency loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cfia.model.consistency import weighted_sum
from cfia.model.network import Output
from cfia.model.transfer import to_device

IGNORED = -100  # the target of an utterance that does not count


@dataclass
class Loss:
    """The two parts of Eq. 12: cross entropy, and the weighted self-consistency losses.

    Attributes:
        unimodal: the weighted cross entropies of the single modalities; None: without them.
    """

    cross_entropy: Tensor
    consistency: Tensor
    unimodal: Tensor | None = None

    def total(self) -> Tensor:
        """Add the parts: the quantity that training minimises."""
        of_paper = self.cross_entropy + self.consistency
        return of_paper if self.unimodal is None else of_paper + self.unimodal


def objective(
    output: Output, targets: Tensor, weights: list[float], class_weights: Tensor | None
) -> Loss:
    """Compute Eq. 12 for a batch.

    `weights` are alpha, beta, gamma, or empty for no consistency loss. The cross entropy of a
    network that learns in parts is the sum of theirs.
    """
    cross_entropy = torch.stack(
        [
            nn.functional.cross_entropy(logits, targets, weight=class_weights)
            for logits in output.parts or (output.logits,)
        ]
    ).sum()
    if not len(output.terms):
        return Loss(cross_entropy, cross_entropy.new_zeros(()))
    return Loss(cross_entropy, weighted_sum(weights, output.terms))


def unimodal_loss(
    output: Output, targets: Tensor, class_weights: Tensor | None, missing: Mapping[str, Tensor]
) -> Tensor:
    """Sum the cross entropies of each modality's own logits, over the utterances that have it.

    Args:
        missing: the utterances without a modality, booleans (B,) on the CPU; none where it is not
            named.
    """
    total = output.logits.new_zeros(())
    for name, logits in output.unimodal.items():
        of, without = targets, missing.get(name)
        if without is not None:
            if without.all():  # the mean over no utterance
                continue
            of = targets.masked_fill(to_device(without, targets.device), IGNORED)
        total = total + nn.functional.cross_entropy(
            logits, of, weight=class_weights, ignore_index=IGNORED
        )
    return total


def balanced_weights(targets: Tensor, n_classes: int) -> Tensor:
    """Weight classes (K,) by the inverse of their counts, with mean 1 over the utterances."""
    counts = torch.bincount(targets, minlength=n_classes).float()
    return len(targets) / (n_classes * counts)


def backward(loss: Loss, parameters: list[nn.Parameter]) -> Tensor:
    """Fill the gradients of the total, and measure the consistency loss's fraction of them.

    Costs one backward pass more than `total().backward()`.

    Returns:
        The norm of the consistency loss's gradient relative to that of the cross entropies', a
        scalar where they are; 0 where there is none.
    """
    if not loss.consistency.requires_grad:
        loss.total().backward()  # type: ignore[no-untyped-call]
        return loss.consistency.new_zeros(())
    consistency_grads = torch.autograd.grad(
        loss.consistency, parameters, retain_graph=True, materialize_grads=True
    )
    loss.total().backward()  # type: ignore[no-untyped-call]
    cross_entropy_grads = [
        parameter.grad - gradient
        for parameter, gradient in zip(parameters, consistency_grads, strict=True)
        if parameter.grad is not None
    ]
    return _norm(consistency_grads) / _norm(cross_entropy_grads)


def _norm(gradients: Sequence[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))
    return norm
