"""Configuration: what a user may write, and what they are told when they write something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfia.config import as_override, build, load, override
from cfia.errors import UserError
from cfia.files import read_yaml, write_yaml
from cfia.networks import NETWORKS

ROOT = Path(__file__).resolve().parents[2]


def test_every_configuration_file_of_the_project_loads() -> None:
    systems = sorted((ROOT / "conf" / "systems").glob("*.yaml"))
    recipes = sorted((ROOT / "egs").glob("*/conf/train.yaml"))
    assert systems
    assert recipes
    for recipe in recipes:
        for system in systems:
            assert load([recipe, system]).model.network in NETWORKS


def test_later_sources_win(tmp_path: Path) -> None:
    recipe, system = tmp_path / "train.yaml", tmp_path / "mine.yaml"
    recipe.write_text("lr: 1e-3\nepochs: 7\n")
    system.write_text("epochs: 8\n")
    assert load([recipe]).train.epochs == 7
    config = load([recipe, system], ["epochs=9", "consistency=[1e-3, 0, 2]"])
    assert (config.train.epochs, config.train.lr) == (9, 1e-3)
    assert config.model.consistency == [1e-3, 0.0, 2.0]


def test_a_file_starts_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("base: addition\nchannels: 64\nepochs: 3\n")
    (tmp_path / "wider.yaml").write_text("base: wide\nepochs: 4\n")
    recipe = tmp_path / "train.yaml"
    recipe.write_text("channels: 8\nlr: 1e-3\n")
    config = load([recipe, tmp_path / "wider.yaml"], ["features=8"])
    assert (config.model.n_modules, config.model.channels, config.model.features) == (0, 64, 8)
    assert (config.train.epochs, config.train.lr) == (4, 1e-3)
    # A recipe's own file by the name of a shared one.
    (tmp_path / "addition.yaml").write_text("base: addition\nhidden: 7\n")
    own = load([tmp_path / "addition.yaml"]).model
    assert (own.n_modules, own.hidden) == (0, 7)


def test_mistakes_in_a_base_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b\n")
    (tmp_path / "b.yaml").write_text("base: a\n")
    with pytest.raises(UserError, match=r"a\.yaml is its own base, by way of .*b\.yaml"):
        load([tmp_path / "a.yaml"])
    (tmp_path / "b.yaml").write_text("base: b\n")
    with pytest.raises(UserError, match=r"b\.yaml: there is no base 'b'; give the name"):
        load([tmp_path / "a.yaml"])
    (tmp_path / "b.yaml").write_text("align: cut\n")
    with pytest.raises(UserError, match=r"b\.yaml: align is 'cut'"):
        load([tmp_path / "a.yaml"])
    with pytest.raises(UserError, match="--train_args: unknown key 'base'"):
        load([], ["base=cfia_net"])


def test_flat_configuration_reads_back(tmp_path: Path) -> None:
    config = build({"align": "pad", "dropout": 0.25, "n_modules": 1, "consistency": []})
    write_yaml(tmp_path / "config.yaml", config.flat())
    assert build(read_yaml(tmp_path / "config.yaml")) == config


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"algn": "pad"}, "unknown key 'algn'; the keys are align,"),
        ({"align": "cut"}, "align is 'cut'; legal values are interpolate, pad"),
        ({"network": "cnn"}, "network is 'cnn'; legal values are cfia, concat, linear, one_share,"),
        ({"network": 3}, "network is 3; legal values are cfia,"),
        ({"epochs": 2.5}, "epochs is 2.5; expected a whole number"),
        ({"epochs": 0}, "epochs is 0; legal values are above 0"),
        ({"lr": "fast"}, "lr is 'fast'; expected a number"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"dropout": 1}, "dropout is 1.0; legal values are 0 to below 1"),
        ({"dropout": True}, "dropout is True; expected a number"),
        ({"kernel": 4}, "kernel is 4; legal values are odd"),
        ({"momentum": 1}, "momentum is 1.0; legal values are 0 to below 1"),
        ({"cycle_epochs": 0}, "cycle_epochs is 0; legal values are above 0"),
        ({"n_modules": -1}, "n_modules is -1; legal values are 0 and more"),
        ({"schedule": "cyclic", "lr": 1, "lr_max": 0.1}, "lr is 1.0, above lr_max 0.1; with"),
        (
            {"schedule": "cyclic", "optimizer": "rmsprop", "momentum": 0.5},
            "momentum_min is 0.8, above momentum 0.5",
        ),
        ({"consistency": 0.1}, "consistency is 0.1; expected a list"),
        ({"consistency": [-1e-4, 0, 0]}, "consistency is -0.0001; legal values are 0 and more"),
        ({"consistency": [float("nan"), 0, 0]}, "consistency is nan; expected a number, 0 and"),
        ({"consistency": [True, 0, 0]}, "consistency is True; expected a number, 0 and more"),
        ({"epochs": float("inf")}, "epochs is inf; expected a whole number, above 0"),
        ({"epochs": "2.5"}, "epochs is '2.5'; expected a whole number, above 0"),
        ({"lr": float("inf")}, "lr is inf; expected a number, above 0"),
        ({"frame_rate": ".inf"}, "frame_rate is '.inf'; expected a number, 0 and more"),
        ({"hidden": True}, "hidden is True; expected a whole number, 1 and more"),
        ({"hidden": 1e30}, "hidden is 1e+30; the largest legal value is 1000000000"),
        ({"patience": 10**400}, "expected a whole number, above 0"),
        ({"lr": None}, "lr is None; expected a number, above 0"),
        ({"mask": False}, "mask is False; legal values are full, none"),
        ({"modality_dropout": 1}, "modality_dropout is 1.0; legal values are 0 to below 1"),
        (
            {"network": "dst", "modality_dropout": 0.1, "consistency": []},
            "networks that train on audio and text; leave it out with `network: dst`",
        ),
        (
            {"network": "probe", "modality_dropout": 0.1, "consistency": []},
            "networks that train on audio and text; leave it out with `network: probe`",
        ),
        (
            {"network": "concat", "unimodal_loss": 0.1, "consistency": []},
            "leave it out with `network: concat`; cfia, one_share, share_per_f have one",
        ),
        (
            {"classifier_input": "sum", "unimodal_loss": 0.1},
            "unimodal_loss needs `classifier_input: fusion`, for what `classifier_input: sum`",
        ),
        ({"n_modules": 2}, "2 CFIA modules have 1 pairs for the consistency loss"),
        ({"network": "concat"}, "0 CFIA modules have 0 pairs"),
        ({"pool": "min"}, "pool is a key of `network: memocmt` alone; leave it out"),
        ({"network": "mult", "pool": "min"}, "pool is a key of `network: memocmt` alone"),
        ({"network": "memocmt", "pool": "asp"}, "pool is 'asp'; legal values are min, mean, max,"),
        (
            {"network": "mult", "hidden": 32, "consistency": []},
            "hidden is 32; with `network: mult` it is a multiple of 5",
        ),
        (
            {"schedule": "cosine", "lr": 1e-4, "lr_min": 1e-3},
            "lr_min is 0.001, above lr 0.0001; with `schedule: cosine`",
        ),
    ],
)
def test_mistakes_are_named(values: dict[str, object], expected: str) -> None:
    with pytest.raises(UserError, match="the configuration: ") as error:
        build(values)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr=5e-4", 5e-4), ("epochs=1e2", 100), ("epochs=010", 10), ("align=pad", "pad"),
        ("mask=none", "none"), ("consistency=[]", []), ("pool=min", "min"),
        ("consistency=[ .5, 1e-3,0 ]", [0.5, 1e-3, 0]),
    ],
)  # fmt: skip
def test_a_word_of_train_args_is_read(text: str, value: object) -> None:
    key, read = override(text)
    assert read == value
    assert override(as_override(key, read)) == (key, read)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr", "expected key=value, not 'lr'"),
        ("=1", "expected key=value, not '=1'"),
        ("lr=", "lr is ''; expected a number, above 0"),
        ("lr=true", "lr is 'true'; expected a number"),
        ("lr='", 'lr is "\'"; expected a number'),
        ("lr=1:30", "lr is '1:30'; expected a number"),  # 90 to YAML
        ("lr=[1e-3]", "lr is ['1e-3']; expected a number"),
        ("consistency=none", "consistency is 'none'; expected a list"),
        ("consistency=[1e-3,,0]", "consistency is ''; expected a number, 0 and more"),
    ],
)
def test_mistakes_in_a_word_of_train_args_are_named(text: str, expected: str) -> None:
    with pytest.raises(UserError, match=r"^--train_args: ") as error:
        override(text)
    assert expected in str(error.value)


def test_mistakes_name_their_file(tmp_path: Path) -> None:
    path = tmp_path / "a b.yaml"
    path.write_text("align: cut\n")
    with pytest.raises(UserError, match=r"a b\.yaml: align is 'cut'"):
        load([path])
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        load([tmp_path / "none.yaml"])
    path.write_text("- a\n")
    with pytest.raises(UserError, match="must hold `key: value` lines"):
        load([path])
    for text in ("a: [\n", "lr: 2024-13-01\n", f"lr: {'1' * 5000}\n", "[" * 999, "a: !!int ''\n"):
        path.write_text(text)
        with pytest.raises(UserError, match="is not valid YAML"):
            load([path])
    path.write_text("a: [\n")
    with pytest.raises(UserError, match="is not valid YAML"):
        load([path])
    with pytest.raises(UserError, match="expected key=value, not 'epochs'"):
        load([], ["epochs"])


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(f"lr: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(UserError, match="is not valid YAML"):
        load([path])
    assert not (tmp_path / "made").exists()
