"""The network, in both forms of its stack, against a plain version of the equations; identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cfia.config import build
from cfia.model.encoder import Sequences, stretch_to_frames
from cfia.model.equations import EquationStack
from cfia.model.network import CFIANet, build_stack

SMALL = {"hidden": 6, "channels": 4, "features": 3, "max_frames": 12}
FORMS = ["fused", "equations"]


def plain_module(X_a: np.ndarray, X_t: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Eq. 3-11 for one utterance (C, T, F), with loops in place of convolutions."""
    _, T, F = X_a.shape
    pooled = np.concatenate([X_a, X_t]).mean(axis=(1, 2))
    attention = []
    for k in (0, 1):
        hidden = weights[f"attention.mlps.{k}.0.weight"] @ pooled
        hidden = np.maximum(hidden + weights[f"attention.mlps.{k}.0.bias"], 0)
        out = (
            weights[f"attention.mlps.{k}.2.weight"] @ hidden + weights[f"attention.mlps.{k}.2.bias"]
        )
        attention.append(1 / (1 + np.exp(-out)))
    I_a = X_a + attention[1][:, None, None] * X_t
    I_t = X_t + attention[0][:, None, None] * X_a
    both = np.concatenate([I_a, I_t])
    fusion = np.zeros_like(X_a)
    for t in range(T):
        for f in range(F):
            F_a, F_t = (
                float(weights[f"gate.to_{m}.weight"].ravel() @ both[:, t, f])
                + float(weights[f"gate.to_{m}.bias"][0])
                for m in "at"
            )
            A_a = math.exp(F_a) / (math.exp(F_a) + math.exp(F_t))
            fusion[:, t, f] = X_a[:, t, f] * A_a + X_t[:, t, f] * (1 - A_a)
    return fusion


def plain_gru(x: np.ndarray, weights: dict[str, np.ndarray], suffix: str) -> np.ndarray:
    """One direction of a GRU over one utterance (T, D), step by step."""
    hidden = np.zeros(weights[f"weight_hh_l0{suffix}"].shape[1])
    rows = []
    for frame in x[::-1] if suffix else x:
        from_x = weights[f"weight_ih_l0{suffix}"] @ frame + weights[f"bias_ih_l0{suffix}"]
        from_h = weights[f"weight_hh_l0{suffix}"] @ hidden + weights[f"bias_hh_l0{suffix}"]
        (xr, xz, xn), (hr, hz, hn) = np.split(from_x, 3), np.split(from_h, 3)
        r, z = 1 / (1 + np.exp(-(xr + hr))), 1 / (1 + np.exp(-(xz + hz)))
        hidden = (1 - z) * np.tanh(xn + r * hn) + z * hidden
        rows.append(hidden)
    return np.array(rows[::-1] if suffix else rows)


def plain_encoder(
    x: np.ndarray, weights: dict[str, np.ndarray], shape: tuple[int, int]
) -> np.ndarray:
    """Bi-GRU and linear layer: (T, D) to (C, T, F)."""
    gru = {k.removeprefix("gru."): v for k, v in weights.items() if k.startswith("gru.")}
    hidden = np.concatenate([plain_gru(x, gru, ""), plain_gru(x, gru, "_reverse")], axis=1)
    y = hidden @ weights["linear.weight"].T + weights["linear.bias"]
    channels: np.ndarray = y.reshape(len(x), *shape).transpose(1, 0, 2)
    return channels


def part(weights: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def plain_network(
    audio: np.ndarray, text: np.ndarray, weights: dict[str, np.ndarray], align: str
) -> tuple[np.ndarray, list[float]]:
    """The whole of CFIA-Net for one utterance alone: logits, and the squared distances of pairs."""
    C, F = SMALL["channels"], SMALL["features"]
    if align == "pad":  # the literal reading
        size = SMALL["max_frames"]
        audio, text = (np.pad(x, ((0, size - len(x)), (0, 0))) for x in (audio, text))
    X_a = plain_encoder(audio, part(weights, "encoders.audio."), (C, F))
    X_t = plain_encoder(text, part(weights, "encoders.text."), (C, F))
    if align == "interpolate":
        old, new = np.arange(len(text)), np.linspace(0, len(text) - 1, len(audio))
        X_t = np.array([[np.interp(new, old, X_t[c, :, f]) for f in range(F)] for c in range(C)])
        X_t = X_t.transpose(0, 2, 1)
    F_a, F_t, outputs, fusion = X_a, X_t, [], X_a
    for i in range(3):
        fusion = plain_module(F_a, F_t, part(weights, f"stack.modules_.{i}."))
        F_a, F_t = (fusion + F_a) / 2, (fusion + F_t) / 2
        outputs.append((F_a, F_t))
    squares = [
        float(sum(((outputs[d][m] - outputs[s][m]) ** 2).sum() for m in (0, 1)))
        for d, s in ((2, 0), (2, 1), (1, 0))
    ]
    pooled = fusion.mean(axis=1).ravel()
    return weights["classifier.2.weight"] @ pooled + weights["classifier.2.bias"], squares


def make_network(dims: dict[str, int], seed: int = 0, **options: object) -> CFIANet:
    torch.manual_seed(seed)
    return CFIANet(dims, 4, build({**SMALL, **options}).model).double()


def sequences(rows: list[Tensor]) -> Sequences:
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return Sequences(padded, torch.tensor([len(row) for row in rows]))


def random_rows(lengths: list[int], dim: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in lengths]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("align", "mask"), [("interpolate", "full"), ("pad", "none")], ids=["cfia_net", "literal"]
)
def test_forward_and_loss_equal_a_plain_version_of_the_equations(
    align: str, mask: str, form: str
) -> None:
    network = make_network(
        {"audio": 5, "text": 7}, align=align, mask=mask, consistency_loss="sum_per_utt", stack=form
    )
    audio, text = random_rows([9, 4, 1], 5, 1), random_rows([3, 6, 2], 7, 2)
    output = network({"audio": sequences(audio), "text": sequences(text)})
    weights = {k: v.numpy() for k, v in network.state_dict().items()}
    plain = [
        plain_network(a.numpy(), t.numpy(), weights, align)
        for a, t in zip(audio, text, strict=True)
    ]
    np.testing.assert_allclose(
        output.logits.detach(), [p[0] for p in plain], rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(
        output.terms.detach(), np.mean([p[1] for p in plain], axis=0), rtol=1e-10
    )


@pytest.mark.parametrize("form", FORMS)
def test_three_modules_at_32_channels_have_1746_parameters(form: str) -> None:
    stack = build_stack(build({"channels": 32, "stack": form}).model)
    assert sum(p.numel() for p in stack.parameters()) == 1746


shapes = st.tuples(*[st.integers(1, 5)] * 4)  # B, C, T, F


def stack_and_inputs(
    shape: tuple[int, int, int, int], seed: int, form: str, **options: object
) -> tuple[EquationStack, Tensor, Tensor, Tensor]:
    B, C, T, F = shape
    torch.manual_seed(seed)
    values = {"channels": C, "features": F, "consistency": [], "stack": form, **options}
    stack = build_stack(build(values).model).double()
    for parameter in stack.parameters():  # larger than at the start, so that gates leave 1/2
        parameter.data.mul_(4)
    X_a, X_t = torch.randn(2, B, C, T, F, dtype=torch.float64) * 3
    return stack, X_a, X_t, torch.ones(B, T, dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 1000), st.integers(1, 4), st.sampled_from(FORMS))
def test_identity_difference_of_the_modalities_halves(
    shape: tuple[int, int, int, int], seed: int, n: int, form: str
) -> None:
    stack, X_a, X_t, valid = stack_and_inputs(
        shape, seed, form, n_modules=n, classifier_input="concat"
    )
    F_a, F_t = stack(X_a, X_t, valid, ("audio", "text")).pooled.chunk(2, dim=1)
    expected = (X_a - X_t).mean(dim=2) / 2**n
    torch.testing.assert_close(F_a - F_t, expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 1000), st.integers(1, 4), st.sampled_from(FORMS))
def test_identity_fusion_lies_between_the_inputs(
    shape: tuple[int, int, int, int], seed: int, n: int, form: str
) -> None:
    stack, X_a, X_t, valid = stack_and_inputs(shape, seed, form, n_modules=n)
    fusion = stack(X_a, X_t, valid, ("audio", "text")).pooled
    slack = 1e-12
    assert (fusion >= torch.minimum(X_a, X_t).mean(dim=2) - slack).all()
    assert (fusion <= torch.maximum(X_a, X_t).mean(dim=2) + slack).all()


@settings(max_examples=30, deadline=None)
@given(shapes, st.integers(0, 1000), st.integers(1, 4), st.sampled_from(FORMS))
def test_identity_equal_inputs_pass_unchanged(
    shape: tuple[int, int, int, int], seed: int, n: int, form: str
) -> None:
    stack, X, _, valid = stack_and_inputs(shape, seed, form, n_modules=n)
    pooled = stack(X, X, valid, ("audio", "text")).pooled
    torch.testing.assert_close(pooled, X.mean(dim=2), rtol=1e-12, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=2, max_size=5),
    st.sampled_from(["interpolate", "pad"]),
    st.sampled_from([1, 3]),
    st.sampled_from(["pointwise", "mixing"]),
    st.sampled_from(FORMS),
)
def test_with_masks_an_utterance_does_not_depend_on_its_batch(
    lengths: list[tuple[int, int]], align: str, kernel: int, gate_conv: str, form: str
) -> None:
    network = make_network(
        {"audio": 5, "text": 7}, align=align, kernel=kernel, gate_conv=gate_conv, stack=form
    )
    network.eval()
    audio = random_rows([a for a, _ in lengths], 5, 3)
    text = random_rows([t for _, t in lengths], 7, 4)
    together = network({"audio": sequences(audio), "text": sequences(text)}).logits
    alone = [
        network({"audio": sequences([a]), "text": sequences([t])}).logits[0]
        for a, t in zip(audio, text, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-9, atol=1e-10)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30)), min_size=1, max_size=4),
    st.integers(0, 5),
)
def test_a_batch_is_stretched_as_torch_stretches_each_utterance(
    lengths: list[tuple[int, int]], more: int
) -> None:
    tokens, frames = (torch.tensor(counts) for counts in zip(*lengths, strict=True))
    y = torch.nn.utils.rnn.pad_sequence(random_rows(tokens.tolist(), 3, 7), True).requires_grad_()
    size = int(frames.max()) + more
    found = stretch_to_frames(y, tokens, frames, size)
    wanted = torch.zeros_like(found)
    for i, (n_tokens, n_frames) in enumerate(lengths):
        row = y[i, :n_tokens].t()[None]
        stretched = torch.nn.functional.interpolate(
            row, n_frames, mode="linear", align_corners=True
        )
        wanted[i, :n_frames] = stretched[0].t()
    torch.testing.assert_close(found, wanted)
    weights = torch.linspace(-1, 1, wanted.numel(), dtype=y.dtype).view_as(wanted)
    of_found, of_wanted = (torch.autograd.grad((x * weights).sum(), y)[0] for x in (found, wanted))
    torch.testing.assert_close(of_found, of_wanted)
    for row, n in zip(found, frames.tolist(), strict=True):
        assert (row[n:] == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 5))
def test_spread_is_linear_interpolation(tokens: int, frames: int, more: int) -> None:
    y = random_rows([tokens], 2, 5)[0]
    found = stretch_to_frames(
        y[None], torch.tensor([tokens]), torch.tensor([frames]), frames + more
    )[0]
    places = np.linspace(0, tokens - 1, frames) if frames > 1 else np.zeros(1)
    for k in (0, 1):
        expected = np.interp(places, np.arange(tokens), y[:, k])
        np.testing.assert_allclose(found[:frames, k], expected, atol=1e-12)
    assert (found[frames:] == 0).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("modality", ["audio", "text"])
def test_one_modality_is_the_bimodal_network_with_the_other_at_zero(
    modality: str, form: str
) -> None:
    network = make_network({modality: 5}, consistency_loss="sum_per_utt", stack=form).eval()
    batch = {modality: sequences(random_rows([9, 4], 5, 6))}
    output = network(batch)
    X, valid = network.intermediate(batch)
    zero = torch.zeros_like(X[modality])
    X_a, X_t = (X["audio"], zero) if modality == "audio" else (zero, X["text"])
    assert network.stack is not None
    own, both = (network.stack(X_a, X_t, valid, used) for used in ((modality,), ("audio", "text")))
    torch.testing.assert_close(output.terms, own.terms)
    assert (own.terms < both.terms).all()
    bypass = make_network({modality: 5}, unimodal="bypass").eval()
    bypass.load_state_dict({k: v for k, v in network.state_dict().items() if "stack" not in k})
    assert not torch.allclose(bypass(batch).logits, output.logits)
