"""The self-consistency loss: its value, and above all where its gradient goes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cfia.config import build
from cfia.model.consistency import PairLoss, pairs, weighted_sum
from cfia.model.network import build_stack


def tensors() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    deep, shallow = torch.randn(2, 2, 3, 5, 4, generator=generator, dtype=torch.float64)
    valid = torch.tensor([[1.0] * 5, [1.0, 1.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    mask = valid[:, None, :, None]
    return (deep * mask).requires_grad_(), (shallow * mask).requires_grad_(), valid


def test_pairs_are_in_the_papers_order() -> None:
    assert [(d + 1, s + 1) for d, s in pairs(3)] == [(3, 1), (3, 2), (2, 1)]
    assert len(pairs(5)) == 10
    assert pairs(1) == []


def test_reductions() -> None:
    deep, shallow, valid = tensors()
    squares = ((deep - shallow) ** 2).sum(dim=(1, 2, 3))
    expected = {
        "mean": squares.sum() / (8 * 3 * 4),  # 8 valid positions, 3 channels, 4 features
        "sum_per_utt": squares.mean(),
        "norm": squares.sqrt().mean(),
    }
    for reduction, value in expected.items():
        torch.testing.assert_close(PairLoss(reduction, "deep")(deep, shallow, valid), value)


def test_channels_are_cropped_to_the_smaller_count() -> None:
    deep, shallow, valid = tensors()
    loss = PairLoss("sum_per_utt", "deep")(deep[:, :2], shallow, valid)
    torch.testing.assert_close(loss, ((deep - shallow)[:, :2] ** 2).sum(dim=(1, 2, 3)).mean())


@pytest.mark.parametrize("reduction", ["mean", "sum_per_utt", "norm"])
def test_the_deep_side_is_a_constant_target(reduction: str) -> None:
    deep, shallow, valid = tensors()
    frozen = PairLoss(reduction, "deep")(deep, shallow, valid)
    gradients = torch.autograd.grad(frozen, [deep, shallow], allow_unused=True)
    assert [gradient is None for gradient in gradients] == [True, False]
    assert gradients[1].abs().sum() > 0
    both = PairLoss(reduction, "none")(deep, shallow, valid)
    to_deep, to_shallow = torch.autograd.grad(both, [deep, shallow])
    torch.testing.assert_close(to_deep, -to_shallow)


def test_no_gradient_is_nan_where_the_norm_is_zero() -> None:
    deep, _, valid = tensors()
    shallow = deep.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(PairLoss("norm", "deep")(deep, shallow, valid), shallow)
    assert torch.isfinite(gradient).all()


def stack_gradients(detach: str, form: str) -> dict[str, Tensor]:
    """Gradients of Lcon3 alone, (module 2, module 1), for the parameters and the inputs."""
    torch.manual_seed(3)
    values = {"channels": 4, "features": 3, "detach": detach, "stack": form}
    stack = build_stack(build(values).model).double()
    X_a, X_t = torch.randn(2, 2, 4, 6, 3, dtype=torch.float64).unbind()
    leaves = {"X_a": X_a.requires_grad_(), "X_t": X_t.requires_grad_()} | dict(
        stack.named_parameters()
    )
    valid = torch.ones(2, 6, dtype=torch.float64)
    terms = stack(X_a, X_t, valid, ("audio", "text")).terms
    grads = torch.autograd.grad(terms[2], list(leaves.values()), allow_unused=True)
    return {
        k: torch.zeros_like(v) if g is None else g
        for (k, v), g in zip(leaves.items(), grads, strict=True)
    }


@pytest.mark.parametrize("form", ["fused", "equations"])
def test_the_deeper_module_learns_nothing_from_its_own_pair(form: str) -> None:
    gradients = stack_gradients("deep", form)
    assert all(g.abs().sum() == 0 for k, g in gradients.items() if k.startswith("modules_.1."))
    gate = "modules_.0.gate.to_a.weight"
    assert gradients[gate].abs().sum() > 0
    assert stack_gradients("none", form)["modules_.1.gate.to_a.weight"].abs().sum() > 0


@pytest.mark.parametrize("form", ["fused", "equations"])
def test_the_gradient_of_the_inputs_is_that_of_a_frozen_target(form: str) -> None:
    """2 (k_s - k_d) k_s D to D and 2 (k_s - k_d) D to X_t (conf/README.md, section 7), with the
    chain through k_s; here against finite differences of the loss with its target held fixed."""
    torch.manual_seed(3)
    stack = build_stack(build({"channels": 4, "features": 3, "stack": form}).model).double()
    X_a, X_t = torch.randn(2, 2, 4, 6, 3, dtype=torch.float64).unbind()
    valid = torch.ones(2, 6, dtype=torch.float64)

    def features(X_a: Tensor, X_t: Tensor) -> list[tuple[Tensor, Tensor]]:
        found = []
        for module in stack.modules_:
            fusion = module(X_a, X_t, valid)
            X_a, X_t = (fusion + X_a) / 2, (fusion + X_t) / 2
            found.append((X_a, X_t))
        return found

    with torch.no_grad():
        target = features(X_a, X_t)[1]

        def value(X_a: Tensor) -> float:
            shallow = features(X_a, X_t)[0]
            return float(sum(((t - s) ** 2).mean() for t, s in zip(target, shallow, strict=True)))

        step = 1e-6
        direction = torch.randn_like(X_a)
        slope = (value(X_a + step * direction) - value(X_a - step * direction)) / (2 * step)
    leaf = X_a.clone().requires_grad_()
    term = stack(leaf, X_t, valid, ("audio", "text")).terms[2]
    (gradient,) = torch.autograd.grad(term, leaf)
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6)


def test_weights_scale_the_terms() -> None:
    terms = torch.tensor([1.0, 10.0, 100.0])
    assert float(weighted_sum([3.0, 2.0, 1.0], terms)) == 123.0
