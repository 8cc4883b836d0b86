"""Attention at the cost of the shorter sequence, against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cfia.model.peers import short_side


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 12),
    st.integers(1, 12),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_attention_at_the_cost_of_the_short_side_is_attention(
    size: int, n_queries: int, n_keys: int, masked: bool, more: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    heads = nn.MultiheadAttention(12, 3, batch_first=True).double()
    nn.init.normal_(heads.in_proj_bias)
    nn.init.normal_(heads.out_proj.bias)
    then = nn.Linear(12, 12).double() if more else None
    query, keys = (
        torch.randn(size, n, 12, dtype=torch.float64, requires_grad=True)
        for n in (n_queries, n_keys)
    )
    lengths = torch.randint(1, n_keys + 1, (size, 1))
    hidden = torch.arange(n_keys) >= lengths if masked else None
    of_queries = torch.randint(1, n_queries + 1, (size, 1))
    unread = torch.arange(n_queries) >= of_queries if masked else None
    plain = heads(query, keys, keys, key_padding_mask=hidden, need_weights=False)[0]
    plain = plain if then is None else then(plain)
    ours = short_side.attend(heads, then, query, keys, hidden, unread)
    weights = torch.randn_like(plain)
    if unread is not None:
        weights = weights.masked_fill(unread.unsqueeze(2), 0)
    torch.testing.assert_close(ours * (weights != 0), plain * (weights != 0))
    learnt = [query, keys, *heads.parameters(), *([] if then is None else then.parameters())]
    for ours_of, plain_of in zip(
        torch.autograd.grad((ours * weights).sum(), learnt),
        torch.autograd.grad((plain * weights).sum(), learnt),
        strict=True,
    ):
        torch.testing.assert_close(ours_of, plain_of)


@pytest.mark.parametrize(("n_queries", "n_keys"), [(40, 3), (3, 40)])
def test_dropout_of_the_short_sides_attention_is_of_its_weights(
    n_queries: int, n_keys: int
) -> None:
    torch.manual_seed(0)
    heads = nn.MultiheadAttention(4, 1, dropout=0.5, batch_first=True)
    for weight in (heads.in_proj_weight, heads.out_proj.weight):
        nn.init.zeros_(weight)  # all weights of attention alike, and the values their bias
    nn.init.ones_(heads.in_proj_bias)
    heads.out_proj.weight.data += torch.eye(4)
    query, keys = torch.randn(2, n_queries, 4), torch.randn(2, n_keys, 4)
    kept = short_side.attend(heads, None, query, keys, None, None) * n_keys / 2
    torch.testing.assert_close(kept, kept.round())  # twice each weight that is left
    assert len(set(kept.flatten().tolist())) > 1
    torch.testing.assert_close(kept[..., 0], kept[..., 3])
    whole = short_side.attend(heads.eval(), None, query, keys, None, None)
    torch.testing.assert_close(whole, torch.ones_like(whole))
