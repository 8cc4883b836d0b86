"""The peers: sizes, padding, and what each spec says of its own network."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cfia.config import build, load
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.model.peers.dst import LENGTH, attend_in_windows, emphasis
from cfia.model.peers.merbench import RANK
from cfia.model.peers.parts import Attention
from cfia.networks import NETWORKS
from tests.support import networks

SYSTEMS_DIR = Path(__file__).resolve().parents[2] / "conf" / "systems"
# Those whose network no other system of this list has.
SYSTEMS = (
    "superb", "superb_asp", "memocmt", "memocmt_mean", "merbench_attention", "merbench_lmf",
    "self_attention", "cross_attention", "mult", "cmt_sa", "dst", "mmer",
)  # fmt: skip
DIMS = {"audio": 5, "text": 7}
Lengths = dict[str, list[int]]


@cache
def network(system: str, **options: Any) -> Any:
    """A small network of a system, with weights that are not as small as they begin."""
    loaded = load([SYSTEMS_DIR / f"{system}.yaml"]).flat()
    name = loaded["network"]
    size = networks.hidden(name, 6)
    torch.manual_seed(0)
    config = build({**loaded, "hidden": size, **options}).model
    model = registry.build(networks.taken(name, DIMS), 4, config).double().eval()
    for weight in model.parameters():
        weight.data += torch.randn_like(weight) / 5
    return model


def batch(lengths: Lengths, longer: int = 0, seed: int = 0) -> dict[str, Sequences]:
    """A batch of such lengths, with so many positions of padding more than it needs."""
    found = {}
    for name, counts in lengths.items():
        rows = [
            torch.randn(n, DIMS[name], generator=torch.Generator().manual_seed(seed + i)).double()
            for i, n in enumerate(counts)
        ]
        data = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        data = nn.functional.pad(data, (0, 0, 0, longer))
        found[name] = Sequences(data, torch.tensor(counts))
    return found


def alone(values: dict[str, Sequences], i: int) -> dict[str, Sequences]:
    """One utterance of a batch, without padding."""
    return {
        name: Sequences(x.data[i : i + 1, : int(x.lengths[i])], x.lengths[i : i + 1])
        for name, x in values.items()
    }


def outputs(module: nn.Module, model: nn.Module, values: dict[str, Sequences]) -> Tensor:
    """What a part of a network gives for a batch."""
    found: list[Tensor] = []
    hook = module.register_forward_hook(lambda *call: found.append(call[2]))
    with torch.no_grad():
        model(values)
    hook.remove()
    return found[0]


@pytest.mark.parametrize(
    ("system", "dims", "count"),
    [
        ("superb", {"audio": 13 * 768}, 197_905),
        ("superb", {"audio": 25 * 1024}, 263_453),
        ("superb_asp", {"audio": 768}, 104_709),
        ("linear", {"audio": 768}, 197_892),
        ("memocmt", {"audio": 768, "text": 768}, 6_007_940),
        ("merbench_attention", {"audio": 768, "text": 768}, 329_606),
        ("merbench_lmf", {"audio": 768, "text": 768}, 329_288),
        ("self_attention", {"audio": 768, "text": 768}, 728_464),
        ("cross_attention", {"audio": 768, "text": 768}, 728_464),
        ("mult", {"audio": 768, "text": 768}, 277_684),
        ("cmt_sa", {"audio": 768, "text": 768}, 3_502_664),
        ("dst", {"audio": 768}, 13_033_348),
        ("mmer", {"audio": 768, "text": 768}, 31_899_652),
    ],
)
def test_as_many_weights_as_the_original(system: str, dims: dict[str, int], count: int) -> None:
    config = load([SYSTEMS_DIR / f"{system}.yaml"]).model
    layers = {9984: 13, 25600: 25}.get(dims["audio"], 1)
    model = registry.build(dims, 4, config, {"audio": layers})
    assert sum(weight.numel() for weight in model.parameters()) == count


@pytest.mark.parametrize("system", SYSTEMS)
@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=4),
    st.integers(0, 3),
)
def test_neither_padding_nor_the_other_utterances_count(
    system: str, lengths: list[tuple[int, int]], longer: int
) -> None:
    model = network(system)
    counts = dict(zip(("audio", "text"), map(list, zip(*lengths, strict=True)), strict=True))
    values = batch({name: counts[name] for name in model.encoders}, longer)
    wanted = torch.cat([model(alone(values, i)).logits for i in range(len(lengths))])
    torch.testing.assert_close(model(values).logits, wanted, rtol=1e-9, atol=1e-9)
    with torch.no_grad():  # attention has another way for it
        torch.testing.assert_close(model(values).logits, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_frame_and_one_token_are_enough_to_learn(system: str) -> None:
    model = network(system).train()
    try:
        values = batch({name: [1] for name in model.encoders})
        model(values).logits.square().sum().backward()
    finally:
        model.eval()
    for name, weight in model.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
    model.zero_grad()


@pytest.mark.parametrize("system", SYSTEMS)
def test_it_runs_in_bfloat16(system: str) -> None:
    model = network(system)
    values = batch({name: [9, 4] for name in model.encoders})
    for x in values.values():
        x.data = x.data.float()
    model.float()
    try:
        wanted = model(values).logits
        with torch.autocast("cpu", torch.bfloat16):
            found = model(values).logits
        found.float().square().sum().backward()
    finally:
        model.double()
        model.zero_grad()
    atol = 0.1 * float(wanted.detach().abs().max())
    torch.testing.assert_close(found.float(), wanted, rtol=0.1, atol=atol)


@pytest.mark.parametrize(
    ("system", "options"),
    [
        ("superb", {"frame_pool": "asp"}),
        ("memocmt", {"pool": "mean"}),
        ("memocmt", {"pool": "max"}),
        ("memocmt", {"pool": "first"}),
        ("merbench_attention", {"fusion": "lmf"}),
        ("self_attention", {"attention": "cross"}),
        ("mult", {"future_mask": "none"}),
        ("mult", {"layers": 2}),
        ("dst", {"layers": 2}),
    ],
)
def test_each_key_of_a_network_changes_the_logits(system: str, options: dict[str, Any]) -> None:
    values = batch({name: [9, 4] for name in network(system).encoders})
    before, after = network(system)(values).logits, network(system, **options)(values).logits
    assert not torch.allclose(before, after)


def test_of_superb_the_mean_and_the_projection_commute() -> None:
    model = network("superb")
    values = batch({"audio": [6, 3], "text": [2, 5]})
    pools = []
    for name, x in values.items():
        linear = model.pools[name].linear
        pools.append(
            [linear(row[: int(n)]).mean(0) for row, n in zip(x.data, x.lengths, strict=True)]
        )
    means = torch.stack([torch.cat(parts) for parts in zip(*pools, strict=True)])
    torch.testing.assert_close(model(values).logits, model.classifier(means))


def test_attentive_statistics_equal_a_plain_version() -> None:
    model = network("superb_asp")
    values = batch({"audio": [6, 3], "text": [2, 5]})
    wanted = []
    for i in range(2):
        parts = []
        for name, x in alone(values, i).items():
            frames = x.data[0].numpy()
            scores = model.pools[name].score(x.data[0]).squeeze(1).detach().numpy()
            share = np.exp(scores) / np.exp(scores).sum()
            centre = share @ frames
            parts += [centre, np.sqrt(share @ (frames - centre) ** 2 + 1e-10)]
        wanted.append(np.concatenate(parts))
    logits = model.classifier(torch.from_numpy(np.stack(wanted)))
    torch.testing.assert_close(model(values).logits, logits)


@pytest.mark.parametrize(("pool", "shift"), [("min", 9.0), ("max", -9.0), ("mean", 9.0)])
def test_memocmt_pools_no_padding(pool: str, shift: float) -> None:
    """Were padding 0, it would be the least of what is far above 0."""
    model = network("memocmt", pool=pool)
    values = batch({"audio": [7, 2], "text": [1, 5]}, longer=2)
    for block in (model.from_audio, model.from_text):
        block.norm.bias.data += shift
    try:
        together = model(values).logits
        one = [model(alone(values, i)).logits for i in range(2)]
    finally:
        for block in (model.from_audio, model.from_text):
            block.norm.bias.data -= shift
    torch.testing.assert_close(together, torch.cat(one))


def test_memocmts_first_is_the_first_frame_of_the_audio() -> None:
    model = network("memocmt", pool="first")
    values = batch({"audio": [7], "text": [4]})
    other = batch({"audio": [7], "text": [4]})
    other["audio"].data[0, 1:] += 1
    both = [outputs(model.from_audio, model, x)[0, 0] for x in (values, other)]
    torch.testing.assert_close(both[0], both[1])  # a query alone, and all of the text
    torch.testing.assert_close(model(values).logits, model(other).logits)


def test_merbenchs_attention_is_no_softmax() -> None:
    model = network("merbench_attention")
    values = batch({"audio": [6, 3], "text": [2, 5]})
    e = [outputs(model.mlps[name], model, values) for name in ("audio", "text")]
    weights = model.fusion.weights(*e)
    assert not torch.allclose(weights.sum(dim=1), torch.ones(2, dtype=torch.float64))
    fused = weights[:, :1] * e[0] + weights[:, 1:] * e[1]
    torch.testing.assert_close(model(values).logits, model.classifier(fused))


def test_lmf_is_the_contraction_with_a_tensor_of_rank_4() -> None:
    fusion = network("merbench_lmf").fusion
    audio, text = torch.randn(2, 3, 6, dtype=torch.float64)
    tensor = sum(
        fusion.weights[0, r] * torch.einsum("ik,jk->ijk", fusion.audio[r], fusion.text[r])
        for r in range(RANK)
    )
    one = torch.ones(3, 1, dtype=torch.float64)
    a, t = (torch.cat([one, e], dim=1) for e in (audio, text))
    wanted = torch.einsum("bi,bj,ijk->bk", a, t, tensor) + fusion.bias
    torch.testing.assert_close(fusion(audio, text), wanted)


def test_self_and_cross_are_one_where_audio_and_text_are() -> None:
    models = {}
    for kind in ("self_attention", "cross_attention"):
        config = build({**load([SYSTEMS_DIR / f"{kind}.yaml"]).flat(), "hidden": 6}).model
        models[kind] = registry.build({"audio": 5, "text": 5}, 4, config).double().eval()
    state = models["self_attention"].state_dict()
    for name in state:
        if name.startswith("encoders.text."):
            state[name] = state[name.replace("text", "audio", 1)]
    x = batch({"audio": [8, 3]})["audio"]
    for model in models.values():
        model.load_state_dict(state)
    logits = [model({"audio": x, "text": x}).logits for model in models.values()]
    torch.testing.assert_close(*logits)
    y = batch({"audio": [8, 3]}, seed=5)["audio"]
    logits = [model({"audio": x, "text": y}).logits for model in models.values()]
    assert not torch.allclose(*logits)


@pytest.mark.parametrize(("audio", "text"), [(9, 4), (3, 8), (5, 5)])
def test_mults_later_keys_change_no_earlier_output(audio: int, text: int) -> None:
    """Of two utterances in a batch: each is masked by its own lengths."""
    model = network("mult")
    lengths = {"audio": [audio, 12], "text": [text, 2]}
    values, ahead = batch(lengths), abs(audio - text)
    before = outputs(model.cross["audio"], model, values)
    for j in range(text):
        other = batch(lengths)
        other["text"].data[0, j] += 1
        after = outputs(model.cross["audio"], model, other)
        changed = (before[0, :audio] - after[0, :audio]).abs().sum(dim=1) > 1e-9
        assert changed.tolist() == [j - i <= ahead for i in range(audio)]
    before = outputs(model.own["text"], model, values)
    other = batch(lengths)
    other["text"].data[0, -1] += 1
    if ahead == 0:
        after = outputs(model.own["text"], model, other)
        torch.testing.assert_close(before[0, : text - 1], after[0, : text - 1])


@pytest.mark.parametrize("hidden", [0, 3])
def test_a_window_over_all_is_plain_attention(hidden: int) -> None:
    size = 7
    q, k, v = torch.randn(3, 2, 4, size, 3, dtype=torch.float64)
    beyond = (torch.arange(size) >= size - hidden).expand(2, -1)
    centre = torch.arange(size).expand(2, 4, -1).double()  # o = 0
    half = torch.full_like(centre, size)
    found = attend_in_windows(q, k, v, centre, half, beyond, 0.0, emphasise=False)
    wanted = nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=~beyond[:, None, None].expand(-1, 4, size, -1)
    )
    torch.testing.assert_close(found, wanted)


def test_a_window_outside_the_utterance_sees_all_of_it_alike() -> None:
    q, k, v = torch.randn(3, 1, 1, 6, 3, dtype=torch.float64)
    beyond = torch.tensor([[False] * 4 + [True] * 2])
    centre = torch.tensor([-9.0, -9.0, 5.0, 40.0, 40.0, 2.0]).double().expand(1, 1, -1)
    half = torch.full_like(centre, 0.4)
    q.requires_grad_()
    found = attend_in_windows(q, k, v, centre, half, beyond, 0.0)
    for i in range(5):  # the third looks at padding alone
        torch.testing.assert_close(found[0, 0, i], v[0, 0, :4].mean(dim=0))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert q.grad is not None
    assert torch.isfinite(q.grad).all()


def test_a_windows_emphasis_equals_a_plain_version() -> None:
    rng = np.random.default_rng(0)
    size = 8
    centre, half = rng.uniform(-2, size + 2, 20), rng.uniform(0.1, 5, 20)
    tensors = [torch.from_numpy(x)[None, None] for x in (centre, half)]
    places, shares = (part[0, 0].numpy() for part in emphasis(tensors[0], tensors[1], size))
    found = np.zeros((20, size))
    np.add.at(found, (np.arange(20)[:, None], places), shares)
    for c, r, row in zip(centre, half, found, strict=True):
        wanted = np.zeros(size)
        for place, value in [
            (np.floor(c - r), np.floor(c - r) - (c - r)),
            (np.ceil(c + r), (c + r) - np.ceil(c + r)),
            (np.floor(c), 1 - (c - np.floor(c))),
            (np.floor(c) + 1, c - np.floor(c)),
        ]:
            if 0 <= place < size:
                wanted[int(place)] += value
        np.testing.assert_allclose(row, wanted, atol=1e-12)


def test_the_windows_of_dst_begin_around_their_queries() -> None:
    config = build({**load([SYSTEMS_DIR / "dst.yaml"]).flat(), "layers": 1}).model
    model: Any = registry.build({"audio": 8}, 4, config)
    offset, duration = model.layers[0].attention.window(torch.randn(5, 8)).chunk(2, dim=1)
    assert (offset == 0).all()
    half = LENGTH * duration.sigmoid()[0]
    torch.testing.assert_close(half, torch.linspace(1.25, 25, 8), rtol=1e-4, atol=0)


@pytest.mark.parametrize("system", ["memocmt", "self_attention", "mult", "cmt_sa", "dst", "mmer"])
def test_a_batch_is_divided_where_its_attention_is_large(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes neither logits nor gradients."""
    model = network(system)
    values = batch({name: [9, 4, 6, 1] for name in model.encoders})
    logits, gradients = [], []
    for most in (2**24, 300):
        monkeypatch.setattr("cfia.model.peers.parts.MOST_WEIGHTS", most)
        with torch.no_grad():
            logits.append(model(values).logits)
        model.zero_grad()
        found = model(values).logits
        found.square().sum().backward()
        logits.append(found.detach())
        gradients.append([weight.grad.clone() for weight in model.parameters()])
    model.zero_grad()
    for other in logits[1:]:
        torch.testing.assert_close(logits[0], other, rtol=1e-9, atol=1e-9)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_attention_to_features_learns_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Attention(8, 2, 0.0)
    query, keys = torch.randn(5, 6, 8), torch.randn(5, 4, 8)  # which need no gradient
    gradients = []
    for most in (2**24, 100):
        monkeypatch.setattr("cfia.model.peers.parts.MOST_WEIGHTS", most)
        layer.zero_grad()
        layer(query, keys).square().sum().backward()
        gradients.append([weight.grad for weight in layer.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_of_mmer_r_has_the_texts_length_and_q_the_audios() -> None:
    model = network("mmer")
    values = batch({"audio": [9, 3], "text": [2, 4]})
    assert outputs(model.audio_to_text, model, values).shape[:2] == (2, 9)
    assert outputs(model.text_to_both, model, values).shape[:2] == (2, 4)


def test_no_peer_is_missing_here() -> None:
    tested = {load([SYSTEMS_DIR / f"{system}.yaml"]).model.network for system in SYSTEMS}
    assert tested == {name for name, path in NETWORKS.items() if ".peers." in path}
