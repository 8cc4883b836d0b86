"""The closed form of the stack against the equations: values, and gradients by autograd."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cfia.config import build
from cfia.model.equations import EquationStack, StackOutput
from cfia.model.fast import fused
from cfia.model.fast.fused import FusedStack
from cfia.model.network import build_stack

BOTH = ("audio", "text")
DRAWS = 8


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_deterministic_debug_mode("default")


def pair(seed: int = 0, **options: Any) -> tuple[EquationStack, FusedStack]:
    """The two forms with the same weights, in float64."""
    torch.manual_seed(seed)
    n = options.setdefault("n_modules", 3)
    options.setdefault("consistency", [1.0] * (n * (n - 1) // 2))
    config = build({"channels": 4, "features": 3, **options}).model
    equations, closed = EquationStack(config).double(), FusedStack(config).double()
    for parameter in equations.parameters():  # so that gates leave 1/2
        parameter.data.mul_(2)
    closed.load_state_dict(equations.state_dict())
    return equations, closed


def inputs(
    lengths: list[int], C: int, F: int, seed: int = 0, strided: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """`X_a`, `X_t` and `valid`; strided as the network makes them, (B, T, C, F) in memory."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, len(lengths), max(lengths), C, F)
    valid = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).double()
    X = torch.randn(shape, generator=generator, dtype=torch.float64) * valid[..., None, None]
    X = X.transpose(2, 3)
    X_a, X_t = X if strided else X.contiguous()
    return X_a, X_t, valid


def results(
    stack: EquationStack, X_a: Tensor, X_t: Tensor, valid: Tensor, used: tuple[str, ...]
) -> dict[str, Tensor]:
    """Outputs, and the gradients of what is classified and of the losses, each on its own."""
    X = {name: part.detach().requires_grad_() for name, part in (("X_a", X_a), ("X_t", X_t))}
    output = stack(*X.values(), valid, used)
    leaves = X | dict(stack.named_parameters())
    generator = torch.Generator().manual_seed(1)
    found = {"pooled": output.pooled.detach(), "terms": output.terms.detach()}
    for name, part in (("pooled", output.pooled), ("terms", output.terms)):
        if not len(part):
            continue
        weights = torch.rand(part.shape, generator=generator, dtype=torch.float64).to(part)
        grads = torch.autograd.grad(
            (part * weights).sum(), list(leaves.values()), retain_graph=True, allow_unused=True
        )
        for (leaf, value), grad in zip(leaves.items(), grads, strict=True):
            found[f"{name} to {leaf}"] = torch.zeros_like(value) if grad is None else grad
    return found


def distances(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """The largest difference in each tensor, relative to its largest magnitude.

    A gradient that cancels out to less than a ten-thousandth of the others of the same scalar is
    rounding (of one position under "norm", those of the two modalities are opposite): it is held
    against that ten-thousandth.
    """
    assert found.keys() == expected.keys()
    largest = {name: float(t.abs().max()) for name, t in expected.items() if t.numel()}
    others: dict[str, float] = {}
    for name, scale in largest.items():
        part = name.split(" to ")[0]
        others[part] = max(others.get(part, 0.0), scale if " to " in name else 0.0)
    result = {}
    for name, scale in largest.items():
        assert found[name].shape == expected[name].shape
        scale = max(scale, 1e-4 * others[name.split(" to ")[0]]) or 1.0
        result[name] = float((found[name] - expected[name]).abs().max()) / scale
    return result


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
    strided=st.booleans(),
    used=st.sampled_from([BOTH, ("audio",), ("text",)]),
    block=st.sampled_from([1, 700, 2**21]),
    options=st.fixed_dictionaries(
        {
            "channels": st.integers(1, 5),
            "features": st.integers(1, 3),
            "n_modules": st.integers(0, 4),
            "kernel": st.sampled_from([1, 3, 5]),
            "mlp": st.sampled_from(["two", "split"]),
            "reduction": st.sampled_from([1, 16]),
            "classifier_input": st.sampled_from(["fusion", "sum", "concat"]),
            "consistency_loss": st.sampled_from(["mean", "sum_per_utt", "norm"]),
            "detach": st.sampled_from(["deep", "none"]),
        }
    ),
)
def test_both_forms_agree_in_float64(
    lengths: list[int],
    seed: int,
    strided: bool,
    used: tuple[str, ...],
    block: int,
    options: dict[str, Any],
) -> None:
    equations, closed = pair(seed, **options)
    X_a, X_t, valid = inputs(lengths, options["channels"], options["features"], seed, strided)
    X_a, X_t = (
        X if name in used else torch.zeros_like(X) for name, X in zip(BOTH, (X_a, X_t), strict=True)
    )
    expected = results(equations, X_a, X_t, valid, used)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "BLOCK_BYTES", block)
        found = results(closed, X_a, X_t, valid, used)
    assert max(distances(found, expected).values()) < 1e-10


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("loss", ["mean", "sum_per_utt", "norm"])
def test_float32_is_as_good_as_the_equations_are(loss: str, masked: bool) -> None:
    """To 1e-5. Where a gradient is a sum that cancels out, as that of a bias may be, the equations
    themselves are further than that from their value in float64; there, no further than twice.

    Both as means over draws of weights and inputs: how far a sum cancels is the draw's luck, and
    what is left of it the luck of the order in which a processor's own kernels add.
    """
    totals: list[dict[str, float]] = [defaultdict(float), defaultdict(float)]
    for seed in range(DRAWS):
        equations, closed = pair(seed, channels=16, features=8, consistency_loss=loss)
        X_a, X_t, valid = inputs([60, 37, 1] if masked else [60, 60], 16, 8, seed)
        exact = results(equations, X_a, X_t, valid, BOTH)
        assert len(exact) == 2 + 2 * (2 + len(list(closed.parameters())))
        X_a, X_t, valid = X_a.float(), X_t.float(), valid.float()
        for total, stack in zip(totals, (equations, closed), strict=True):
            for name, distance in distances(
                results(stack.float(), X_a, X_t, valid, BOTH), exact
            ).items():
                total[name] += distance / DRAWS
    from_equations, from_closed = totals
    for name, distance in from_closed.items():
        assert distance < max(1e-5, 2 * from_equations[name]), name


def test_a_checkpoint_of_one_form_loads_into_the_other() -> None:
    values = {"channels": 4, "features": 3}
    torch.manual_seed(0)
    closed = build_stack(build({**values, "stack": "fused"}).model)
    torch.manual_seed(0)
    equations = build_stack(build({**values, "stack": "equations"}).model)
    assert (type(closed), type(equations)) == (FusedStack, EquationStack)
    for (name, value), (other_name, other) in zip(
        closed.state_dict().items(), equations.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert torch.equal(value, other)


def test_what_has_no_closed_form_runs_on_the_equations(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert type(build_stack(build({"gate_conv": "mixing"}).model)) is EquationStack
    assert [record.message for record in caplog.records] == [
        "gate_conv: mixing has no closed form; the stack runs on the equations"
    ]
    build_stack(build({"gate_conv": "mixing", "stack": "equations"}).model)
    build_stack(build({}).model)
    assert len(caplog.records) == 1


def test_only_the_inputs_are_kept_at_their_size() -> None:
    _, closed = pair(channels=32, features=4)
    X_a, X_t, valid = inputs([200, 200], 32, 4)
    leaves = [X.requires_grad_() for X in (X_a, X_t)]
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        closed(*leaves, valid, BOTH)
    sizes = [kept.pop(X.data_ptr()) for X in leaves]
    assert sizes == [X.numel() for X in leaves]
    assert sum(kept.values()) < 0.2 * X_a.numel()


def test_the_same_bytes_again_and_a_second_backward_pass() -> None:
    _, closed = pair()
    X_a, X_t, valid = inputs([9, 4, 7], 4, 3)
    first, second = (
        results(closed.float(), X_a.float(), X_t.float(), valid.float(), BOTH) for _ in "12"
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    leaf = X_a.float().requires_grad_()
    total = closed(leaf, X_t.float(), valid.float(), BOTH).pooled.sum()
    once, again = (torch.autograd.grad(total, leaf, retain_graph=True)[0] for _ in "12")
    assert torch.equal(once, again)


def test_under_autocast_it_computes_in_the_type_of_its_parameters() -> None:
    _, closed = pair()
    closed.float()
    X_a, X_t, valid = inputs([9, 4], 4, 3)
    halves = [X.bfloat16().requires_grad_() for X in (X_a, X_t)]

    def run(X_a: Tensor, X_t: Tensor) -> tuple[StackOutput, tuple[Tensor, ...]]:
        output = closed(X_a, X_t, valid.bfloat16(), BOTH)
        total = output.pooled.square().sum() + output.terms.sum()
        return output, torch.autograd.grad(total, [*halves, *closed.parameters()])

    with torch.autocast("cpu", torch.bfloat16):
        output, gradients = run(*halves)
    plain, expected = run(*(X.float() for X in halves))
    assert output.pooled.dtype == output.terms.dtype == torch.float32
    assert torch.equal(output.pooled, plain.pooled)
    for gradient, other in zip(gradients, expected, strict=True):
        assert torch.equal(gradient, other)
