"""The systems of conf/: each trains on any modality, and is what its description says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cfia.bin import posteriors as posteriors_program
from cfia.bin import train
from cfia.config import build, load
from cfia.experiment import read
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.networks import ModelConfig
from cfia.training.loss import Loss, objective
from cfia.upstream import registry as upstreams
from tests.support import networks
from tests.support.experiment import CLASSES, history, make, plan
from tests.support.killed import killed_at_checkpoint

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS_DIR = ROOT / "conf" / "systems"
SYSTEMS = sorted(path.stem for path in SYSTEMS_DIR.glob("*.yaml"))
DIMS = {"audio": 5, "text": 7}
SMALL = {"hidden": 6, "channels": 4, "features": 3, "max_frames": 12, "consistency": []}


def network(name: str, dims: dict[str, int] = DIMS, **options: Any) -> Any:
    torch.manual_seed(0)
    return registry.build(dims, 4, build({**SMALL, "network": name, **options}).model).double()


def batch(modalities: tuple[str, ...] = ("audio", "text")) -> dict[str, Sequences]:
    lengths = {"audio": [9, 4, 1], "text": [3, 6, 2]}
    found = {}
    for name in modalities:
        generator = torch.Generator().manual_seed(DIMS[name])
        size = (3, max(lengths[name]), DIMS[name])
        data = torch.randn(size, generator=generator, dtype=torch.float64)
        sequences = Sequences(data, torch.tensor(lengths[name]))
        data *= sequences.valid().unsqueeze(2)
        found[name] = sequences
    return found


TARGETS = torch.tensor([2, 0, 1])


def posteriors(logits: Tensor) -> Tensor:
    return logits.softmax(dim=1)


def small(system: str) -> ModelConfig:
    path = SYSTEMS_DIR / f"{system}.yaml"
    size = networks.hidden(load([path]).model.network, 6)
    return load([path], [f"hidden={size}", "channels=4", "features=3", "reduction=1"]).model


TRAINED = [
    (system, modalities)
    for system in SYSTEMS
    for modalities in networks.inputs(load([SYSTEMS_DIR / f"{system}.yaml"]).model.network)
]


@pytest.mark.parametrize(("system", "modalities"), TRAINED)
def test_every_weight_of_every_system_learns(system: str, modalities: tuple[str, ...]) -> None:
    config = small(system)
    torch.manual_seed(0)
    dims = {name: DIMS[name] for name in modalities}
    model = registry.build(dims, 4, config).double()
    loss = objective(model(batch(modalities)), TARGETS, config.consistency, None)
    loss.total().backward()  # type: ignore[no-untyped-call]
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        # In the first module the channels of an absent modality are zeros times a weight (Eq. 4);
        # what is added to all scores alike changes no softmax.
        idle = (len(modalities) == 1 and "modules_.0.attention" in name) or "score.2.bias" in name
        if not idle:
            assert weight.grad.abs().sum() > 0, name


def test_parameter_counts_at_the_papers_size() -> None:
    def count(system: str, dims: dict[str, int]) -> int:
        model = registry.build(dims, 4, load([SYSTEMS_DIR / f"{system}.yaml"]).model)
        return sum(weight.numel() for weight in model.parameters())

    gru = 2 * 3 * 128 * (768 + 128 + 2)  # two directions, three gates, two biases
    encoder = gru + (256 + 1) * 32 * 16
    classifier = (32 * 16 + 1) * 4
    both = {"audio": 768, "text": 768}
    expected = {
        "cfia_net": 2 * encoder + 1746 + classifier,
        "cfia_net_2": 2 * encoder + 1164 + classifier,
        "cfia_net_1": 2 * encoder + 582 + classifier,
        "addition": 2 * encoder + classifier,
        "one_share": 2 * encoder + 1 + classifier,
        "share_per_f": 2 * encoder + 16 + classifier,
        "late_fusion": 2 * encoder + 2 * classifier,
        "concat": 2 * encoder + (2 * 32 * 16 + 1) * 4,
    }
    assert {system: count(system, both) for system in expected} == expected
    assert count("linear", {"audio": 768}) == (768 + 1) * 256 + (256 + 1) * 4


def test_the_rows_of_table_3_have_one_term_each() -> None:
    whole = load([SYSTEMS_DIR / "cfia_net.yaml"]).model.consistency
    for kind, reduction in (("", "mean"), ("_sum", "sum_per_utt")):
        for k in range(3):
            row = load([SYSTEMS_DIR / f"cfia_net{kind}_con{k + 1}.yaml"]).model
            assert row.consistency_loss == reduction
            assert row.consistency == [weight * (i == k) for i, weight in enumerate(whole)]


def gradients(weights: list[float]) -> dict[str, Tensor]:
    model = network("cfia", consistency=weights, consistency_loss="sum_per_utt")
    loss = objective(model(batch()), TARGETS, weights, None)
    loss.total().backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad for name, weight in model.named_parameters()}


def test_a_weight_of_zero_turns_its_term_off() -> None:
    off, none = gradients([0, 0, 0]), gradients([])
    assert all(torch.equal(off[name], none[name]) for name in none)
    alone = [gradients([weight * (i == k) for i, weight in enumerate((0.5, 0.3, 0.1))])
             for k in range(3)]  # fmt: skip
    together = gradients([0.5, 0.3, 0.1])
    for name, gradient in together.items():
        parts = [terms[name] - none[name] for terms in alone]
        torch.testing.assert_close(gradient, none[name] + sum(parts))
    key = "stack.modules_.0.gate.to_a.weight"
    assert not any(torch.equal(terms[key], none[key]) for terms in alone)


def plain_linear(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """The linear head for one utterance (T, D) alone."""
    hidden = x @ weights["encoders.audio.linear.weight"].T + weights["encoders.audio.linear.bias"]
    mean = np.maximum(hidden, 0).mean(axis=0)
    logits: np.ndarray = weights["classifier.2.weight"] @ mean + weights["classifier.2.bias"]
    return logits


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.sampled_from(["full", "none"]))
def test_linear_head_equals_a_plain_version(lengths: list[int], mask: str) -> None:
    model = network("linear", {"audio": 5}, mask=mask)
    rows = [torch.randn(n, 5, dtype=torch.float64) for n in lengths]
    padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    found = model({"audio": Sequences(padded, torch.tensor(lengths))}).logits.detach()
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    expected = [plain_linear(row.numpy(), weights) for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mask", ["full", "none"])
def test_late_fusion_is_the_product_of_its_parts(mask: str) -> None:
    """Each part is the network that `concat` is on one modality, and learns as if alone."""
    both = network("late_fusion", mask=mask)
    output = both(batch())
    loss = objective(output, TARGETS, [], None).total()
    loss.backward()  # type: ignore[no-untyped-call]
    product, losses = torch.ones(3, 4, dtype=torch.float64), []
    for modality in DIMS:
        alone = network("concat", {modality: DIMS[modality]}, mask=mask)
        alone.load_state_dict({
            name.replace(f"classifiers.{modality}.", "classifier."): weight
            for name, weight in both.state_dict().items() if modality in name
        })  # fmt: skip
        own = objective(alone(batch((modality,))), TARGETS, [], None).total()
        own.backward()  # type: ignore[no-untyped-call]
        losses.append(own)
        product *= posteriors(alone(batch((modality,))).logits)
        for name, weight in alone.named_parameters():
            twin = both.get_parameter(name.replace("classifier.", f"classifiers.{modality}."))
            torch.testing.assert_close(weight.grad, twin.grad)
    torch.testing.assert_close(loss, losses[0] + losses[1])
    expected = product / product.sum(dim=1, keepdim=True)
    torch.testing.assert_close(posteriors(output.logits), expected)
    torch.testing.assert_close(output.logits.exp(), expected)  # already normalised


def test_class_weights_count_in_every_part() -> None:
    output = network("late_fusion")(batch())
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    entropies = [
        nn.functional.cross_entropy(part, TARGETS, weight=weights) for part in output.parts
    ]
    loss = objective(output, TARGETS, [], weights)
    assert isinstance(loss, Loss)
    torch.testing.assert_close(loss.cross_entropy, entropies[0] + entropies[1])


@pytest.mark.parametrize("name", ["one_share", "share_per_f"])
@pytest.mark.parametrize("modalities", [("audio", "text"), ("audio",), ("text",)])
def test_a_share_weighs_every_position_alike(name: str, modalities: tuple[str, ...]) -> None:
    model = network(name, {modality: DIMS[modality] for modality in modalities})
    values = batch(modalities)
    X, valid = model.intermediate(values)
    zero = torch.zeros_like(next(iter(X.values())))
    X_a, X_t = X.get("audio", zero), X.get("text", zero)

    def logits(share: Tensor) -> Tensor:
        mixed = share * X_a + (1 - share) * X_t  # (B, C, T, F)
        rows = [row[:, : int(n)].mean(dim=1) for row, n in zip(mixed, valid.sum(1), strict=True)]
        found: Tensor = model.classifier(torch.stack(rows))
        return found

    assert torch.equal(model.share, torch.zeros(() if name == "one_share" else 3))
    half = torch.tensor(0.5, dtype=torch.float64)  # the mean of the modalities
    torch.testing.assert_close(model(values).logits, logits(half))
    model.share.data = torch.randn_like(model.share) * 2
    share = 1 / (1 + torch.exp(-model.share))
    torch.testing.assert_close(model(values).logits, logits(share))
    assert not torch.allclose(logits(share), logits(half))


def test_no_two_systems_share_a_name() -> None:
    """`linear` on emotion2vec must not be called what `linear_emotion2vec` on text would be."""
    audio, text = (["", *upstreams.names(modality)] for modality in ("audio", "text"))
    names = [
        "_".join(filter(None, [system, a, t]))
        for system in SYSTEMS for a in audio for t in text if a or t
    ]  # fmt: skip
    assert len(set(names)) == len(names)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("systems"))


@pytest.mark.parametrize(("by", "column"), [("wa", "valid_wa"), ("loss", "valid_loss")])
def test_the_best_epoch_is_by_what_the_configuration_says(
    by: str, column: str, experiment: Path, tmp_path: Path
) -> None:
    options = f"lr=3e-2 epochs=6 patience=2 best_by={by} batch_size=8"
    training = plan(experiment, tmp_path / by, options, config=SYSTEMS_DIR / "linear.yaml")
    train.main([str(tmp_path / by), "--fold", "1", "--seed", "1"])
    rows = history(training)
    keys = [(row[column] if by == "loss" else -row[column], row["valid_loss"]) for row in rows]
    (selected,) = (i for i, row in enumerate(rows) if row["selected"])
    assert selected == keys.index(min(keys))
    assert len(rows) in (6, selected + 3)  # patience


@pytest.mark.parametrize(
    ("system", "options"),
    [
        ("late_fusion", "hidden=6 channels=4 features=3 lr=1e-2 epochs=5"),
        ("linear_rmsprop", "cycle_epochs=2 batch_size=8 epochs=5"),
        ("cross_attention_own", "hidden=6 lr=2e-2 batch_size=8 epochs=5"),
        ("memocmt_own", "hidden=8 lr=3e-3 batch_size=8 epochs=5 step_epochs=4"),
        ("dst", "hidden=8 layers=1 lr=1e-2 batch_size=8 epochs=6 normalisation=global"),
    ],
)
def test_it_trains_and_goes_on_to_the_same_bytes(
    system: str,
    options: str,
    experiment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def command(name: str) -> list[str]:
        config = SYSTEMS_DIR / f"{system}.yaml"
        dumps = networks.inputs(load([config]).model.network)[0]
        plan(experiment, tmp_path / name, options, config=config, dumps=dumps)
        return [str(tmp_path / name), "--fold", "1", "--seed", "1"]

    train.main(command("undisturbed"))
    assert read(tmp_path / "undisturbed").config == load(
        [SYSTEMS_DIR / f"{system}.yaml"], options.split()
    )
    with killed_at_checkpoint(monkeypatch, 3):
        train.main(command("killed"))
    train.main(command("killed"))
    for name in ("checkpoint.pt", "best.pt", "history.csv"):
        one, other = (tmp_path / run / "fold1_seed1" / name for run in ("undisturbed", "killed"))
        assert one.read_bytes() == other.read_bytes(), name
    posteriors_program.main(command("killed"))
    lines = (tmp_path / "killed" / "fold1_seed1" / "posteriors.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines[1:]]
    right = [row[1] == CLASSES[np.argmax([float(value) for value in row[2:]])] for row in rows]
    modalities = len(read(tmp_path / "killed").dumps())
    assert np.mean(right) > 0.3 * modalities  # of four classes with features that tell them apart
