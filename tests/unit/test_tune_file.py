"""conf/tune.yaml, and what it comes to for a system."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia.config import build, load
from cfia.errors import UserError
from cfia.files import write_yaml
from cfia.study.tune_file import trials

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / "conf" / "tune.yaml"


def tried(directory: Path, content: str, n: int, **config: Any) -> list[dict[str, Any]]:
    path = directory / "tune.yaml"
    path.write_text(content)
    return [dict(found) for found in trials(path, n, build(config))]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "conf" / "systems").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_shared_file_gives_each_system_the_same_budget_and_its_own_settings_first(
    path: Path,
) -> None:
    config = load([path])
    found = trials(SHARED, 12, config)
    assert len(found) == (12 if config.seeded else 0)
    assert trials(SHARED, 6, config) == found[:6]
    for first in found[:1]:
        assert config.changed(first, "") == config
    assert len({one["weight_decay"] for one in found[:6]}) <= 1


def test_the_last_key_changes_fastest_and_multiples_are_of_the_systems_own(tmp_path: Path) -> None:
    found = tried(tmp_path, "lr: [own, x3, 2e-5]\nhidden: [8, x0.5]\n", 5, lr=1e-4, hidden=6)
    assert [(s["lr"], s["hidden"]) for s in found] == [
        (1e-4, 8), (1e-4, 3), (3e-4, 8), (3e-4, 3), (2e-5, 8),
    ]  # fmt: skip
    assert tried(tmp_path, "lr: [own]", 0) == []


def test_what_comes_to_the_same_is_tried_once(tmp_path: Path) -> None:
    content = "lr: [own, x1, 1e-4]\ndropout: [0, 0.2]\npool: [mean, max]\n"
    assert tried(tmp_path, content, 12) == [
        {"lr": 1e-4, "dropout": 0.0}, {"lr": 1e-4, "dropout": 0.2},
    ]  # fmt: skip
    assert len(tried(tmp_path, content, 12, network="memocmt", hidden=8, consistency=[])) == 4


def test_the_other_end_of_a_schedule_goes_along_with_its_learning_rate(tmp_path: Path) -> None:
    content = "lr: [x3, x0.5, 2e-4]"
    cyclic = tried(tmp_path, content, 3, schedule="cyclic", lr=5e-4, lr_max=1e-3)
    assert cyclic == [{"lr": 1.5e-3, "lr_max": 3e-3}, {"lr": 2.5e-4, "lr_max": 5e-4}, {"lr": 2e-4}]
    (cosine, *_) = tried(tmp_path, content, 3, schedule="cosine", lr_min=1e-6)
    assert cosine == {"lr": 3e-4, "lr_min": 3e-6}
    assert tried(tmp_path, content, 1) == [{"lr": 3e-4}]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("lr: [own, x3]", "--tune is 4, but {path} has 2 combinations; give 2 at most"),
        ("", "--tune is 4, but {path} has 1 combination; give 1 at most"),
        ("rate: [1]", "{path}: unknown key 'rate'; the keys are"),
        ("network: [linear]", "the key network, which makes another system; name it in --systems"),
        ("lr: own", "lr is 'own'; expected a list of values to try, such as [own, x3, x0.3]"),
        ("lr: []", "lr is []; expected a list"),
        ("lr: [1e-3, thrice]", "{path}: lr is 'thrice'; expected a number, above 0"),
        ("lr: [x0, own, x2, x3]", "{path}, with lr x0: lr is 0.0; legal values are above 0"),
        ("hidden: [x0.3, own, 7, 8]", "with hidden x0.3: hidden is 38.4; expected a whole number"),
        ("mask: [x2, own, full, none]", "mask is x2, but only a number has multiples"),
        (
            "n_modules: [own, 2, 1, 0]",
            "{path}, with n_modules 2: 2 CFIA modules have 1 pairs",
        ),
        ("lr: [1e-3]\nlr: [1e-4]", "{path} is not valid YAML: the key lr is there again in line 2"),
    ],
)
def test_mistakes_are_named(content: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        tried(tmp_path, content, 4)
    assert expected.format(path=tmp_path / "tune.yaml") in str(error.value)


VALUES = {
    "lr": st.sampled_from(["own", "x2", "x0.1", 1e-3, "1e-3"]),
    "dropout": st.sampled_from(["own", 0.0, 0.1]),
    "batch_by": st.sampled_from(["own", "length", "none"]),
}


@settings(max_examples=30)
@given(
    st.fixed_dictionaries(
        {}, optional={k: st.lists(v, min_size=1, max_size=4) for k, v in VALUES.items()}
    ),
    st.data(),
)
def test_it_is_the_first_of_the_product_without_what_was_there_before(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, list[Any]], data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    write_yaml(path, content)
    product = list(itertools.product(*content.values()))
    n = data.draw(st.integers(1, len(product)))
    own = build({"dropout": 0.1})
    words = {"own": 1.0, "x2": 2.0, "x0.1": 0.1, 1e-3: 10.0, "1e-3": 10.0}
    expected: list[dict[str, Any]] = []
    for combination in product[:n]:
        wanted = dict(zip(content, combination, strict=True))
        values = {k: own.flat()[k] if v == "own" else v for k, v in wanted.items()}
        if "lr" in wanted:
            values["lr"] = pytest.approx(1e-4 * words[wanted["lr"]])
        if values not in expected:
            expected.append(values)
    assert [dict(found) for found in trials(path, n, own)] == expected
