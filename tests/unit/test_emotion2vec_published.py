"""emotion2vec as it is published: the files' names, what is in them, what tells models apart."""

from __future__ import annotations

import argparse
import builtins
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf

from cfia.errors import UserError
from cfia.files import digest, sha256
from cfia.upstream import build
from cfia.upstream.choice import Choice
from cfia.upstream.registry import FAMILIES, find, identify, model_digest
from tests.support import tiny_emotion2vec
from tests.support.payload import Payload
from tests.unit.test_upstream_emotion2vec import difference, noise

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as `save` makes it."""
    return tiny_emotion2vec.save(tmp_path_factory.mktemp("models") / "plain")


@pytest.fixture(scope="module")
def published(plain: Path) -> Path:
    """The same weights as the hub has them."""
    return tiny_emotion2vec.publish(plain.parent / "emotion2vec_base", plain)


@pytest.fixture
def directory(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "emotion2vec_base"))


def choice(directory: Path) -> Choice:
    return Choice("audio", "emotion2vec", str(directory))


def frames(directory: Path) -> list[Any]:
    return build(choice(directory)).extract([noise(n, n) for n in (9600, 20000)])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
def test_it_gives_funasrs_frames_and_runs_nothing(
    plain: Path, tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    gone = types.ModuleType("gone_package")
    gone.Gone = type("Gone", (), {"__module__": gone.__name__})  # type: ignore[attr-defined]
    extra = {
        "args": argparse.Namespace(lr=[1e-4]),
        "omegaconf": OmegaConf.create({"task": {"data": "x"}}),
        "scalar": np.float64(0.5),
        "task": gone.Gone(),
        "system": Payload(os.system, f"touch '{mark}'"),
        "exec": Payload(builtins.exec, f"open({str(mark)!r}, 'w')"),
        "open": Payload(open, str(mark), "w"),
    }
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, gone.__name__, gone)
        directory = tiny_emotion2vec.publish(tmp_path / "m", plain, zipped=zipped, extra=extra)
    waves = [noise(n, n) for n in (9600, 20000, 400)]
    wanted = tiny_emotion2vec.generate(tiny_emotion2vec.reference(plain), waves)
    assert difference(build(choice(directory)).extract(waves), wanted) < 1e-4
    assert identify(choice(directory), find(choice(directory))) is not None
    assert not mark.exists()


def test_funasr_finds_and_reads_the_stand_in_by_itself(published: Path) -> None:
    waves = [noise(9600)]
    wanted = tiny_emotion2vec.generate(tiny_emotion2vec.reference(published), waves)
    assert difference(build(choice(published)).extract(waves), wanted) < 1e-4


def test_a_directory_of_before_keeps_its_digest(plain: Path) -> None:
    names = ("config.yaml", "model.pt")
    assert model_digest(choice(plain)) == digest({name: sha256(plain / name) for name in names})


def test_the_weights_are_those_that_configuration_json_names(directory: Path) -> None:
    wanted = frames(directory)
    (directory / "model.pt").write_bytes(b"something else")
    assert difference(frames(directory), wanted) == 0
    (directory / "emotion2vec_base.pt").rename(directory / "model.pt")
    assert difference(frames(directory), wanted) == 0  # the one that it names is not there
    (directory / "configuration.json").unlink()
    assert difference(frames(directory), wanted) == 0
    (directory / "model.pt").rename(directory / "my weights.pt")
    assert difference(frames(directory), wanted) == 0
    shutil.copy(directory / "my weights.pt", directory / "others.pt")
    with pytest.raises(UserError, match=r"more than one file of weights \(my weights\.pt, others"):
        find(choice(directory))
    for path in directory.glob("*.pt"):
        path.unlink()
    with pytest.raises(UserError, match=r"has no weights \(model\.pt\); give a model directory"):
        find(choice(directory))


@pytest.mark.parametrize("name", ["emotion2vec_base.pt", "config.yaml"])
def test_a_pointer_of_git_lfs_is_no_model(directory: Path, name: str) -> None:
    (directory / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4f\n")
    with pytest.raises(UserError, match=rf"{name} is a pointer of Git LFS"):
        find(choice(directory))


@pytest.mark.parametrize("name", ["../emotion2vec_base.pt", "/etc/passwd", "a/b.pt", 3, ["x"]])
def test_configuration_json_does_not_lead_out(directory: Path, name: object) -> None:
    (directory / "configuration.json").write_text(
        json.dumps({"file_path_metas": {"init_param": name}})
    )
    with pytest.raises(UserError, match="for init_param, not the name of a file beside it"):
        find(choice(directory))


def rewrite(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Save the weights again after a change."""
    path = directory / "emotion2vec_base.pt"
    value = torch.load(path, weights_only=True)
    change(value["model"])
    torch.save(value, path)


def test_the_moving_average_is_passed_over_and_other_keys_are_not(directory: Path) -> None:
    wanted = frames(directory)
    rewrite(directory, lambda w: w.update({"_ema": {"blocks.0.x": torch.ones(2)}}))
    assert difference(frames(directory), wanted) == 0
    rewrite(directory, lambda w: w.update({"module._ema.blocks.0.x": torch.ones(2)}))
    assert difference(frames(directory), wanted) == 0
    rewrite(directory, lambda w: w.update({"recon_proj.weight": torch.ones(2)}))
    with pytest.raises(UserError, match=r"have the unknown recon_proj\.weight"):
        frames(directory)


def test_a_model_with_a_classifier_around_it(directory: Path, plain: Path) -> None:
    """As the emotion2vec+ models are: `d2v_model.` before the network's keys, and a head."""
    wanted = frames(directory)

    def wrap(weights: dict[str, Any]) -> None:
        for key in list(weights):
            weights[f"d2v_model.{key}"] = weights.pop(key)
        weights |= {"proj.weight": torch.ones(9, 24), "proj.bias": torch.ones(9)}

    rewrite(directory, wrap)
    with pytest.raises(UserError, match="lack blocks"):
        frames(directory)
    assert "with a classifier's head" in str(identify(choice(directory), find(choice(directory))))
    config = yaml.safe_load((directory / "config.yaml").read_text())
    config["scope_map"] = ["d2v_model.", "none"]
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    assert difference(frames(directory), wanted) == 0
    assert "with a classifier's head" in str(identify(choice(directory), find(choice(directory))))
    rewrite(directory, lambda w: w.update({f"module.{k}": w.pop(k) for k in list(w)}))
    assert "with a classifier's head" in str(identify(choice(directory), find(choice(directory))))
    config["scope_map"] = ["module.d2v_model.", "none", "module.", "none"]
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    assert difference(frames(directory), wanted) == 0
    rewrite(directory, lambda w: w.update({"proj.bias": torch.ones(9)}))
    with pytest.raises(UserError, match="has weights twice"):
        frames(directory)
    config["scope_map"] = ["d2v_model."]
    (directory / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="scope_map must be a list of pairs"):
        frames(directory)


def test_models_are_told_apart_by_digest(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(path: Path) -> str:
        return str(identify(choice(path), find(choice(path))))

    assert said(directory) == "not the file published as emotion2vec_base, whose name it has"
    other = Path(shutil.copytree(directory, tmp_path / "other"))
    assert said(other) == "weights that are not known here"
    digests: Any = FAMILIES["emotion2vec"].published
    monkeypatch.setitem(digests, sha256(directory / "emotion2vec_base.pt"), "emotion2vec_base")
    assert said(other) == said(directory) == "the published emotion2vec_base"


MEASURE = """
import sys
from pathlib import Path
import torch
from cfia.upstream import emotion2vec, emotion2vec_batch
from cfia.upstream.choice import Choice

def peak():  # not of getrusage, which begins with what the parent had
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(x for x in lines if x.startswith("VmHWM:")).split()[1])

choice = Choice("audio", "emotion2vec", sys.argv[1])
before = peak()
emotion2vec.build(choice, emotion2vec.find(choice, None), 1, "cpu")
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
def test_loading_at_base_size_takes_little_more_than_the_weights(
    tmp_path: Path, zipped: bool
) -> None:
    plain = tiny_emotion2vec.save(tmp_path / "plain", tiny_emotion2vec.base_config())
    directory = tiny_emotion2vec.publish(tmp_path / "published", plain, zipped=zipped)
    assert (directory / "emotion2vec_base.pt").stat().st_size > 1.12e9
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(directory)],
        cwd=ROOT,
        env={**os.environ, "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    weights = 4 * 93_171_212
    print(f"peak {int(done.stdout.split()[-1]) / weights:.2f} times the weights")
    assert int(done.stdout.split()[-1]) <= 1.6 * weights
