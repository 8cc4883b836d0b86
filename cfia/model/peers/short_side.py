"""Multi-head attention between a long and a short sequence, at the cost of the short one.

`nn.MultiheadAttention` projects both sequences to queries, or to keys and values, and what is
attended once more: four products of the width K with itself for a frame. The projections of the
long side can be moved to the short side, since products may be taken in any order:
`(x Wq) k' = x (k Wq')'`, and `P (y Wv) = (P y) Wv`. Each head then has a K-wide row for each
position of the short side. The function is the same, dropout of the weights included.

Shapes: batch B, queries Tq, keys Tk, heads H, width K, K / H = d of a head; N rows of
the short side that are no padding.
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
    unread: Tensor | None,
) -> Tensor:
    """Attend from (B, Tq, K) to (B, Tk, K): (B, Tq, K).

    Args:
        heads: has biases, and keys and values as wide as queries.
        then: a layer for what is attended, (B, Tq, K).
        hidden: (B, Tk), the keys that nothing attends to.
        unread: (B, Tq), the queries of which nothing reads what they attend to.
    """
    if keys.shape[1] < query.shape[1]:
        return _from_the_long(heads, then, query, keys, hidden)
    return _to_the_long(heads, then, query, keys, hidden, unread)


class _Rows:
    """The rows of (B, T, ...) that count: those of the short side are multiplied most often.

    All of them where nothing is padded, and on a GPU, which would have to be waited for to count.
    """

    def __init__(self, short: Tensor, padding: Tensor | None):
        self.shape = short.shape[:2]
        self.places: Tensor | None = None
        if padding is not None and short.device.type == "cpu":
            self.places = (~padding).flatten().nonzero().squeeze(1)

    def take(self, x: Tensor) -> Tensor:
        """Take those of (B, T, ...): (N, ...)."""
        rows = x.flatten(0, 1)
        return rows if self.places is None else rows.index_select(0, self.places)

    def put(self, rows: Tensor) -> Tensor:
        """Put (N, ...) where they were taken: (B, T, ...), zero elsewhere."""
        if self.places is not None:
            empty = rows.new_zeros(self.shape.numel(), *rows.shape[1:])
            rows = empty.index_copy(0, self.places, rows)
        return rows.view(*self.shape, *rows.shape[1:])


def _from_the_long(
    heads: nn.MultiheadAttention,
    then: nn.Linear | None,
    query: Tensor,
    keys: Tensor,
    hidden: Tensor | None,
) -> Tensor:
    """Attend from more queries than keys."""
    H, K = heads.num_heads, heads.embed_dim
    joined = then is not None and query.shape[:2].numel() > K  # else it costs more than it saves
    w_o, b_o = _output(heads, then if joined else None)
    w_q, b_q = heads.in_proj_weight[:K].view(H, -1, K), heads.in_proj_bias[:K].view(H, -1)
    short = _Rows(keys, hidden)
    projected = linear(short.take(keys), heads.in_proj_weight[K:], heads.in_proj_bias[K:])
    k, v = projected.view(-1, 2, H, K // H).unbind(1)  # (N, H, d) each
    k = k * (K // H) ** -0.5
    rows = short.put(torch.einsum("nhd,hdc->nhc", k, w_q))  # (B, Tk, H, K)
    logits = (query @ rows.flatten(1, 2).mT).view(*query.shape[:2], -1, H)
    logits = logits + short.put(torch.einsum("nhd,hd->nh", k, b_q)).unsqueeze(1)
    weights = _weights(heads, logits, hidden, 2)
    rows = short.put(torch.einsum("nhd,chd->nhc", v, w_o.view(K, H, -1)))
    y = weights.flatten(2) @ rows.flatten(1, 2) + b_o
    return y if then is None or joined else linear(y, then.weight, then.bias)


def _to_the_long(
    heads: nn.MultiheadAttention,
    then: nn.Linear | None,
    query: Tensor,
    keys: Tensor,
    hidden: Tensor | None,
    unread: Tensor | None,
) -> Tensor:
    """Attend from as many queries as keys, or fewer."""
    (B, n_queries), n_keys = query.shape[:2], keys.shape[1]
    H, K = heads.num_heads, heads.embed_dim
    _, w_k, w_v = heads.in_proj_weight.view(3, H, -1, K)  # (H, d, K) each
    b_v = heads.in_proj_bias[2 * K :].view(H, -1)  # that of keys changes no softmax
    short = _Rows(query, unread)
    q = linear(short.take(query), heads.in_proj_weight[:K], heads.in_proj_bias[:K])
    q = q.view(-1, H, K // H) * (K // H) ** -0.5
    rows = short.put(torch.einsum("nhd,hdc->nhc", q, w_k)).flatten(1, 2)  # (B, Tq * H, K)
    logits = (rows @ keys.mT).view(B, n_queries, H, n_keys)
    weights = _weights(heads, logits, hidden, 3)
    rows = short.take((weights.flatten(1, 2) @ keys).view(B, n_queries, H, K))
    # With dropout the weights do not sum to 1.
    sums = short.take(weights.sum(3, keepdim=True))
    attended = torch.einsum("nhc,hdc->nhd", rows, w_v) + sums * b_v
    y: Tensor = heads.out_proj(attended.flatten(1))
    return short.put(y if then is None else linear(y, then.weight, then.bias))


def _weights(
    heads: nn.MultiheadAttention, logits: Tensor, hidden: Tensor | None, dim: int
) -> Tensor:
    """Softmax over the keys, `dim` 2 or 3, that are not hidden, with the heads' dropout."""
    if hidden is not None:
        logits = logits.masked_fill(hidden[:, None].unsqueeze(5 - dim), -torch.inf)
    return dropout(logits.softmax(dim), heads.dropout, heads.training)


def _output(heads: nn.MultiheadAttention, then: nn.Linear | None) -> tuple[Tensor, Tensor]:
    """Join the output projection and a layer `then`: weight (K, K) and bias (K,)."""
    weight, bias = heads.out_proj.weight, heads.out_proj.bias
    if then is None:
        return weight, bias
    return then.weight @ weight, linear(bias, then.weight, then.bias)
