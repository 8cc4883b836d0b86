"""The networks, and the keys of a configuration that each has: what is built, not how it learns.

`cfia.config` fills these dataclasses; conf/README.md explains the keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from cfia.key_values import ABOVE_0, BELOW_1, FROM_0, FROM_1, ODD

# The networks by the name that `network:` gives them; a new one is a line here (cfia/README.md).
NETWORKS = {
    "cfia": "cfia.model.network.CFIANet",
    "concat": "cfia.model.concat.Concatenation",
    "linear": "cfia.model.linear.LinearHead",
    "one_share": "cfia.model.constant_gate.ConstantGate",
    "share_per_f": "cfia.model.constant_gate.ConstantGatePerFeature",
    "late_fusion": "cfia.model.late_fusion.LateFusion",
    "superb": "cfia.model.peers.superb.Superb",
    "memocmt": "cfia.model.peers.memocmt.MemoCMT",
    "merbench": "cfia.model.peers.merbench.MERBench",
    "self_cross": "cfia.model.peers.self_cross.SelfCross",
    "mult": "cfia.model.peers.mult.MulT",
    "cmt_sa": "cfia.model.peers.cmt_sa.CMTSA",
    "dst": "cfia.model.peers.dst.DST",
    "mmer": "cfia.model.peers.mmer.MMER",
    "probe": "cfia.model.probe.Probe",
}

# How exactly the head of a peer could be rebuilt; cfia/model/peers says what the grades are.
GRADES = {
    "superb": "A",
    "memocmt": "A",
    "merbench": "A",
    "self_cross": "B",
    "mult": "B",
    "cmt_sa": "C",
    "dst": "B",
    "mmer": "B",
}

# Those whose classifier takes either modality's mean over time, too (`unimodal_loss`).
CLASSIFY_EITHER = ("cfia", "one_share", "share_per_f")


@dataclass(frozen=True)
class ModelConfig:
    """The network and its loss. The defaults are the configuration `cfia_net`.

    Attributes:
        takes: which modalities the network can be trained on: "any", "both", or "one" alone.
        multiple: of what `hidden` must be a multiple, for the heads of an attention.
    """

    takes = "any"
    multiple = 1

    network: str = "cfia"  # one of NETWORKS
    # Input
    normalisation: Literal["none", "global", "utterance"] = "none"
    # Hz: neighbouring audio frames are averaged to about this; 0: as is
    frame_rate: Annotated[float, FROM_0] = 0.0
    max_frames: Annotated[int, FROM_1] = 512  # longer input is cut here; `align: pad` pads to here
    # Bi-GRU and the linear layer to C x T x F
    hidden: Annotated[int, FROM_1] = 128  # per direction; the width of the linear head
    layers: Annotated[int, FROM_1] = 1
    channels: Annotated[int, FROM_1] = 32
    features: Annotated[int, FROM_1] = 16
    align: Literal["interpolate", "pad"] = "interpolate"
    mask: Literal["full", "none"] = "full"
    # CFIA modules
    n_modules: Annotated[int, FROM_0] = 3
    mlp: Literal["two", "split"] = "two"
    reduction: Annotated[int, FROM_1] = 16
    gate_conv: Literal["pointwise", "mixing"] = "pointwise"
    kernel: Annotated[int, ODD] = 1  # along T
    stack: Literal["fused", "equations"] = "fused"  # one function: by closed form, or as written
    unimodal: Literal["gate", "bypass"] = "gate"
    # Classifier
    classifier_input: Literal["fusion", "sum", "concat"] = "fusion"
    classifier_hidden: Annotated[int, FROM_0] = 0
    dropout: Annotated[float, BELOW_1] = 0.0
    # Self-consistency: one weight per pair of a deeper and a shallower module, in the order
    # (3,1), (3,2), (2,1); 0 turns a term off, and an empty list leaves the loss out.
    consistency: list[Annotated[float, FROM_0]] = field(default_factory=lambda: [5e-4, 3e-4, 1e-4])
    consistency_loss: Literal["mean", "sum_per_utt", "norm"] = "mean"
    detach: Literal["deep", "none"] = "deep"


@dataclass(frozen=True)
class SuperbConfig(ModelConfig):
    """The keys of `network: superb`."""

    frame_pool: Literal["mean", "asp"] = "mean"


@dataclass(frozen=True)
class MemoCMTConfig(ModelConfig):
    """The keys of `network: memocmt`."""

    takes, multiple = "both", 8
    hidden: Annotated[int, FROM_1] = 768
    pool: Literal["min", "mean", "max", "first"] = "min"


@dataclass(frozen=True)
class MERBenchConfig(ModelConfig):
    """The keys of `network: merbench`."""

    takes, multiple = "both", 2
    fusion: Literal["attention", "lmf"] = "attention"


@dataclass(frozen=True)
class SelfCrossConfig(ModelConfig):
    """The keys of `network: self_cross`."""

    takes, multiple = "both", 3  # six heads share both directions
    hidden: Annotated[int, FROM_1] = 60
    attention: Literal["self", "cross"] = "self"


@dataclass(frozen=True)
class MulTConfig(ModelConfig):
    """The keys of `network: mult`."""

    takes, multiple = "both", 5
    hidden: Annotated[int, FROM_1] = 30
    future_mask: Literal["shifted", "none"] = "shifted"


@dataclass(frozen=True)
class CMTSAConfig(ModelConfig):
    """`network: cmt_sa` has no keys of its own."""

    takes, multiple = "both", 10
    hidden: Annotated[int, FROM_1] = 140


@dataclass(frozen=True)
class DSTConfig(ModelConfig):
    """`network: dst` has no keys of its own."""

    takes = "one"


@dataclass(frozen=True)
class MMERConfig(ModelConfig):
    """`network: mmer` has no keys of its own."""

    takes, multiple = "both", 12
    hidden: Annotated[int, FROM_1] = 768


@dataclass(frozen=True)
class ProbeConfig(ModelConfig):
    """C is that of scikit-learn's LogisticRegression, the inverse of the penalty's strength."""

    # One is chosen by validation UA; without a choice it is probe_c.
    probe_c_grid: list[Annotated[float, ABOVE_0]] = field(
        default_factory=lambda: [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    )
    probe_c: Annotated[float, ABOVE_0] = 1e-3


# The configurations of networks that have keys of their own, or do not take all modalities.
OWN: dict[str, type[ModelConfig]] = {
    "superb": SuperbConfig,
    "memocmt": MemoCMTConfig,
    "merbench": MERBenchConfig,
    "self_cross": SelfCrossConfig,
    "mult": MulTConfig,
    "cmt_sa": CMTSAConfig,
    "dst": DSTConfig,
    "mmer": MMERConfig,
    "probe": ProbeConfig,
}


def grade(config: ModelConfig) -> str:
    """Give the grade of a peer, as `GRADES`; "" for a network that is no peer's."""
    if isinstance(config, SuperbConfig) and config.frame_pool != "mean":  # ours
        return ""
    return GRADES.get(config.network, "")
