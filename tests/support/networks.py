"""Networks small enough for tests, on the modalities that each takes."""

from __future__ import annotations

from collections.abc import Mapping

from cfia.networks import OWN, ModelConfig

BOTH = ("audio", "text")


def inputs(network: str) -> list[tuple[str, ...]]:
    """The modalities that a network can be trained on."""
    takes = OWN.get(network, ModelConfig).takes
    return [
        names
        for names in (BOTH, ("audio",), ("text",))
        if takes == "any" or (takes == "both") == (len(names) == 2)
    ]


def taken(network: str, dims: Mapping[str, int]) -> dict[str, int]:
    """The widths of the modalities that a network takes at most."""
    return {name: dims[name] for name in inputs(network)[0]}


def hidden(network: str, least: int) -> int:
    """The smallest legal `hidden` that is no smaller than this."""
    multiple = OWN.get(network, ModelConfig).multiple
    return -(-least // multiple) * multiple
