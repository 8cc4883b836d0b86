"""Each option of the network changes what it should, and nothing else is silently ignored."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cfia.config import build
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.model.equations import EquationStack
from cfia.model.fast.fused import FusedStack
from cfia.networks import ModelConfig
from cfia.training.loss import objective

DIMS = {"audio": 5, "text": 7}
SMALL = {"hidden": 6, "channels": 4, "features": 3, "max_frames": 12}


def batch() -> dict[str, Sequences]:
    generator = torch.Generator().manual_seed(1)
    lengths = {"audio": [9, 4], "text": [3, 6]}
    return {
        name: Sequences(
            torch.nn.utils.rnn.pad_sequence(
                [torch.randn(n, DIMS[name], generator=generator) * 2 + 1 for n in sizes], True
            ),
            torch.tensor(sizes),
        )
        for name, sizes in lengths.items()
    }


def network(dims: dict[str, int] = DIMS, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return registry.build(dims, 4, build({**SMALL, **options}).model)


def outputs(dims: dict[str, int] = DIMS, **options: Any) -> tuple[Tensor, Tensor]:
    output = network(dims, **options)(batch())  # in training mode, so that dropout shows
    return output.logits, output.terms


CHANGES: dict[str, dict[str, Any]] = {
    "network": {"network": "concat", "consistency": []},
    "normalisation": {"normalisation": "utterance"},
    "max_frames": {"max_frames": 20, "mask": "none"},
    "hidden": {"hidden": 7},
    "layers": {"layers": 2},
    "channels": {"channels": 8},
    "features": {"features": 2},
    "align": {"align": "pad"},
    "mask": {"mask": "none"},
    "n_modules": {"n_modules": 2, "consistency": [1e-3]},
    "mlp": {"mlp": "split"},
    "reduction": {"reduction": 2},
    "gate_conv": {"gate_conv": "mixing"},
    "kernel": {"kernel": 3},
    "classifier_input": {"classifier_input": "sum"},
    "classifier_hidden": {"classifier_hidden": 3},
    "dropout": {"dropout": 0.5},
}
# These leave the logits of a bimodal network as they are; each has a test of its own below, but
# frame_rate, which changes the data (test_training).
NO_LOGITS = {"consistency", "consistency_loss", "detach", "frame_rate", "unimodal", "stack"}


def test_every_option_is_in_one_of_the_lists() -> None:
    options = [field.name for field in dataclasses.fields(ModelConfig)]
    assert sorted([*CHANGES, *NO_LOGITS]) == sorted(options)


@pytest.mark.parametrize("option", CHANGES)
def test_each_option_changes_the_logits(option: str) -> None:
    before = outputs(mask="none") if option == "max_frames" else outputs()
    assert not torch.allclose(before[0], outputs(**CHANGES[option])[0])


def test_classifier_input_concat_differs_from_sum() -> None:
    sums, concat = (outputs(classifier_input=kind)[0] for kind in ("sum", "concat"))
    assert not torch.allclose(sums, concat)


def test_the_loss_options_change_the_terms_alone() -> None:
    logits, terms = outputs()
    for kind in ("sum_per_utt", "norm"):
        other_logits, other_terms = outputs(consistency_loss=kind)
        torch.testing.assert_close(other_logits, logits)
        assert not torch.allclose(other_terms, terms)
    assert len(outputs(consistency=[])[1]) == 0


def gradients(**options: Any) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and its gradient for all weights."""
    config = build({**SMALL, **options}).model
    model = network(**options)
    loss = objective(model(batch()), torch.tensor([0, 1]), config.consistency, None).total()
    return loss.detach(), torch.cat(
        [part.flatten() for part in torch.autograd.grad(loss, list(model.parameters()))]
    )


def test_the_weights_of_the_terms_change_the_loss() -> None:
    none, light, heavy = (gradients(consistency=[w, 0.0, w])[0] for w in (0.0, 1e-3, 1.0))
    assert none < light < heavy
    torch.testing.assert_close(none, gradients(consistency=[])[0])


def test_detach_changes_the_gradient_and_not_the_loss() -> None:
    deep, free = (gradients(consistency=[1.0] * 3, detach=kind) for kind in ("deep", "none"))
    torch.testing.assert_close(deep[0], free[0])
    assert not torch.allclose(deep[1], free[1])


def test_stack_changes_the_form_and_not_the_function() -> None:
    forms = {kind: network(stack=kind) for kind in ("fused", "equations")}
    assert [type(model.stack) for model in forms.values()] == [FusedStack, EquationStack]
    for fused, literal in zip(*(outputs(stack=kind) for kind in forms), strict=True):
        torch.testing.assert_close(fused, literal)


def test_no_module_is_the_sum_of_the_modalities() -> None:
    model = network(n_modules=0, consistency=[])
    X, valid = model.intermediate(batch())  # type: ignore[operator]
    pooled = (X["audio"] + X["text"]).sum(dim=2) / valid.sum(dim=1)[:, None, None]
    torch.testing.assert_close(model(batch()).logits, model.classifier(pooled))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["audio", "text"])
def test_bypass_changes_a_unimodal_network(name: str) -> None:
    dims = {name: DIMS[name]}
    assert not torch.allclose(outputs(dims)[0], outputs(dims, unimodal="bypass")[0])
