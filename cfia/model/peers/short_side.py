"""Multi-head attention between a long and a short sequence, at the cost of the short one.

`nn.MultiheadAttention` projects both sequences to queries, or to keys and values, and what is
attended once more: four products of the width K with itself for a frame. The projections of the
long side can be moved to the short side, since products may be taken in any order:
`(x Wq) k' = x (k Wq')'`, and `P (y Wv) = (P y) Wv`. Each head then has a K-wide row for each
position of the short side. The function is the same, dropout of the weights included.

Shapes: batch B, queries Tq, keys Tk, heads H, width K, K / H = d of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, linear


def pays(heads: nn.MultiheadAttention, n_queries: int, n_keys: int) -> bool:
    """Tell whether `attend` multiplies less often than the projections of both sides."""
    short, long = sorted((n_queries, n_keys))
    return bool((long - short) * heads.embed_dim > (heads.num_heads - 1) * short * long)


def attend(
    heads: nn.MultiheadAttention,
    then: nn.Linear | None,
    query: Tensor,
    keys: Tensor,
    hidden: Tensor | None,
) -> Tensor:
    """Attend from (B, Tq, K) to (B, Tk, K) but the `hidden` (B, Tk): (B, Tq, K).

    Args:
        heads: has biases, and keys and values as wide as queries.
        then: a layer for what is attended, (B, Tq, K).
    """
    B, n_queries, K = query.shape
    if keys.shape[1] >= n_queries:
        y, joined = _to_the_long(heads, query, keys, hidden), False
    else:
        joined = then is not None and B * n_queries > K  # else it costs more than it saves
        y = _from_the_long(heads, _output(heads, then if joined else None), query, keys, hidden)
    return y if then is None or joined else linear(y, then.weight, then.bias)


def _from_the_long(
    heads: nn.MultiheadAttention,
    output: tuple[Tensor, Tensor],
    query: Tensor,
    keys: Tensor,
    hidden: Tensor | None,
) -> Tensor:
    """Attend from more queries than keys; `output` is weight and bias of what follows the heads."""
    (B, n_queries), n_keys = query.shape[:2], keys.shape[1]
    H, K = heads.num_heads, heads.embed_dim
    w_q, b_q = heads.in_proj_weight[:K].view(H, -1, K), heads.in_proj_bias[:K].view(H, -1)
    projected = linear(keys, heads.in_proj_weight[K:], heads.in_proj_bias[K:])
    k, v = projected.view(B, n_keys, 2, H, -1).unbind(2)  # (B, Tk, H, d)
    k = k * (K // H) ** -0.5
    rows = torch.einsum("bkhd,hdc->bhkc", k, w_q).flatten(1, 2)
    logits = (query @ rows.mT).view(B, n_queries, H, n_keys)
    logits = logits + torch.einsum("bkhd,hd->bhk", k, b_q).unsqueeze(1)
    weights = _weights(heads, logits, hidden)
    rows = torch.einsum("bkhd,chd->bhkc", v, output[0].view(K, H, -1)).flatten(1, 2)
    return weights.flatten(2) @ rows + output[1]


def _to_the_long(
    heads: nn.MultiheadAttention, query: Tensor, keys: Tensor, hidden: Tensor | None
) -> Tensor:
    """Attend from as many queries as keys, or fewer."""
    (B, n_queries), n_keys = query.shape[:2], keys.shape[1]
    H, K = heads.num_heads, heads.embed_dim
    _, w_k, w_v = heads.in_proj_weight.view(3, H, -1, K)  # (H, d, K) each
    b_v = heads.in_proj_bias[2 * K :].view(H, -1)  # that of keys changes no softmax
    q = linear(query, heads.in_proj_weight[:K], heads.in_proj_bias[:K])
    q = q.view(B, n_queries, H, -1) * (K // H) ** -0.5
    rows = torch.einsum("bqhd,hdc->bqhc", q, w_k).flatten(1, 2)
    logits = (rows @ keys.mT).view(B, n_queries, H, n_keys)
    weights = _weights(heads, logits, hidden)
    rows = (weights.flatten(1, 2) @ keys).view(B, n_queries, H, K)
    # With dropout the weights do not sum to 1.
    attended = torch.einsum("bqhc,hdc->bqhd", rows, w_v) + weights.sum(3, keepdim=True) * b_v
    y: Tensor = heads.out_proj(attended.flatten(2))
    return y


def _weights(heads: nn.MultiheadAttention, logits: Tensor, hidden: Tensor | None) -> Tensor:
    """Softmax of (B, Tq, H, Tk) over the keys that are not hidden, with the heads' dropout."""
    if hidden is not None:
        logits = logits.masked_fill(hidden[:, None, None], -torch.inf)
    return dropout(logits.softmax(3), heads.dropout, heads.training)


def _output(heads: nn.MultiheadAttention, then: nn.Linear | None) -> tuple[Tensor, Tensor]:
    """Join the output projection and a layer `then`: weight (K, K) and bias (K,)."""
    weight, bias = heads.out_proj.weight, heads.out_proj.bias
    if then is None:
        return weight, bias
    return then.weight @ weight, linear(bias, then.weight, then.bias)
