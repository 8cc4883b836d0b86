"""Each option of the network changes what it should, and nothing else is silently ignored."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from cfia.config import ModelConfig, build
from cfia.model import registry
from cfia.model.encoder import Sequences

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


def outputs(dims: dict[str, int] = DIMS, **options: Any) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    network = registry.build(dims, 4, build({**SMALL, **options}).model)
    output = network(batch())  # in training mode, so that dropout shows
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
# These change the losses alone (test_consistency), the data (test_training), one modality, or
# nothing but the time (test_fused).
ELSEWHERE = {"consistency", "consistency_loss", "detach", "frame_rate", "unimodal", "stack"}


@pytest.mark.parametrize("option", [f.name for f in dataclasses.fields(ModelConfig)])
def test_each_option_changes_the_logits(option: str) -> None:
    if option in ELSEWHERE:
        assert option not in CHANGES
        return
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


def test_no_module_is_the_sum_of_the_modalities() -> None:
    torch.manual_seed(0)
    config = build({**SMALL, "n_modules": 0, "consistency": []}).model
    network = registry.build(DIMS, 4, config)
    X, valid = network.intermediate(batch())  # type: ignore[operator]
    pooled = (X["audio"] + X["text"]).sum(dim=2) / valid.sum(dim=1)[:, None, None]
    torch.testing.assert_close(network(batch()).logits, network.classifier(pooled))  # type: ignore[operator]


@pytest.mark.parametrize("name", ["audio", "text"])
def test_bypass_changes_a_unimodal_network(name: str) -> None:
    dims = {name: DIMS[name]}
    assert not torch.allclose(outputs(dims)[0], outputs(dims, unimodal="bypass")[0])
