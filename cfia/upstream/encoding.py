"""Encode what is in a batch, in halves where a GPU has no memory for all of it at once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from cfia.upstream.base import Features, Upstream

_log = logging.getLogger(__name__)


def encode(upstream: Upstream, items: Sequence[Any]) -> tuple[list[Features], bool]:
    """Encode items together if the device has the memory.

    Returns:
        The features of each; whether all items were encoded together.

    Raises:
        torch.OutOfMemoryError: there is not even enough for one.
    """
    if not items:
        return [], True
    try:
        return upstream.extract(items), True
    except RuntimeError as error:
        import torch

        if not isinstance(error, torch.cuda.OutOfMemoryError) or len(items) == 1:
            raise
    # Behind the handler, which keeps what was computed before the error.
    torch.cuda.empty_cache()
    _log.info("the GPU has no memory for %d utterances at once, and takes half of them", len(items))
    half = -(-len(items) // 2)
    return encode(upstream, items[:half])[0] + encode(upstream, items[half:])[0], False
