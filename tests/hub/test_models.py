"""Encoders from their ids: through the programs of a dump, which ask the hub on the loopback."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from cfia.files import sha256
from tests.hub.repositories import BUILDERS
from tests.hub.server import Hub
from tests.support.data_files import mounted
from tests.support.dump_data import features, noise, same, write_data

ROOT = Path(__file__).resolve().parents[2]
# Runs programs one after the other in one process; a `UserError` is a line on stdout.
PROGRAMS = """
import json, logging, sys
from cfia.bin import dump, dump_merge, dump_plan
from cfia.errors import UserError
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
programs = {"dump": dump, "dump_merge": dump_merge, "dump_plan": dump_plan}
for name, *arguments in json.loads(sys.argv[1]):
    try:
        programs[name].main(arguments)
    except UserError as error:
        print("error:", error, flush=True)
"""
# Encoder, modality, the model where the encoder has none of its own, its id.
DEFAULTS = [
    ("emotion2vec", "audio", "", "emotion2vec/emotion2vec_base"),
    ("wav2vec2", "audio", "", "facebook/wav2vec2-base"),
    ("hubert", "audio", "", "facebook/hubert-base-ls960"),
    ("wavlm", "audio", "", "microsoft/wavlm-large"),
    ("whisper", "audio", "openai/whisper-tiny", "openai/whisper-tiny"),
    ("bert", "text", "", "bert-base-uncased"),
]


class Machine:
    """A hub, the caches of its clients, and a data directory of two utterances."""

    def __init__(self, hub: Hub, root: Path) -> None:
        self.hub, self.root, self.cache = hub, root, root / "cache"
        self.data = write_data(root / "data", {"s0-0": noise(1), "s0-1": noise(1.5, seed=1)})

    def publish(self, model: str, *, under: str = "") -> Path:
        """Publish a stand-in; returns its directory."""
        directory = self.root / "models" / model.rpartition("/")[2]
        if not directory.exists():
            directory.mkdir(parents=True)
            shutil.rmtree(directory)
            BUILDERS[model](directory)
        self.hub.add(under or model, directory)
        return directory

    def plan(self, upstream: str, modality: str, model: str, dump: str, *more: str) -> list[str]:
        """The command line of dump_plan for one job."""
        flags = [f"--modality={modality}", f"--upstream={upstream}", f"--model={model}"]
        return ["dump_plan", *flags, f"--data={self.data}", f"--dir={self.root / dump}", *more]

    def jobs(self, dump: str) -> list[list[str]]:
        """The command lines of its job and its merge."""
        directory = str(self.root / dump)
        job = ["dump", "--dir", directory, "--data", str(self.data), "--job", "1"]
        return [job, ["dump_merge", "--dir", directory]]

    def start(self, *commands: Sequence[str]) -> subprocess.Popen[str]:
        """Run programs in a new process."""
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAMS, json.dumps(commands)],
            cwd=ROOT,
            env=os.environ | self.hub.environment(self.cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *commands: Sequence[str]) -> tuple[list[str], str]:
        """The lines on stdout, and stderr."""
        process = self.start(*commands)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return out.splitlines(), err

    def asked(self) -> list[str]:
        """The paths that were asked for since the last time."""
        paths = [path for _, path in self.hub.requests]
        self.hub.requests.clear()
        return paths


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with Hub() as hub:
        yield Machine(hub, tmp_path)


@pytest.mark.parametrize(
    "defaults",
    [
        pytest.param([DEFAULTS[0], DEFAULTS[-1]], id="of the main recipe"),
        pytest.param(DEFAULTS[1:-1], id="the others", marks=pytest.mark.slow),
    ],
)
def test_every_default_from_its_id_to_frames(
    machine: Machine, defaults: list[tuple[str, str, str, str]]
) -> None:
    directories = {name: machine.publish(model) for name, _, _, model in defaults}
    if "bert" in directories:  # as the real one does
        machine.hub.add("google-bert/bert-base-uncased", directories["bert"])
        machine.hub.move("bert-base-uncased", "google-bert/bert-base-uncased")
    for dump in ("first", "second"):
        commands: list[list[str]] = []
        for name, modality, model, _ in defaults:
            place = f"{dump}/{name}"
            commands += [machine.plan(name, modality, model, place), *machine.jobs(place)]
        out, err = machine.run(*commands)
        assert out == ["1"] * len(defaults), err
        if dump == "first":
            check_requests(machine.asked(), [model for *_, model in defaults])
            assert "HTTP Request" not in err
            assert err.count("downloading commit") == len(defaults)
            machine.hub.stop()
    assert "downloading" not in err
    for name, _, _, model in defaults:
        first, second = (features(machine.root / dump / name) for dump in ("first", "second"))
        frontend = yaml.safe_load((machine.root / "first" / name / "frontend.yaml").read_text())
        assert frontend["model"] == model
        assert len(frontend["revision"]) == 40
        weights = {"emotion2vec": "*.pt", "whisper": "*.safetensors", "bert": "*.safetensors"}
        (path,) = directories[name].glob(weights.get(name, "*.bin"))
        assert frontend["weights"] == sha256(path)
        assert same(first, second)


def check_requests(paths: list[str], models: list[str]) -> None:
    """One look at what `main` is for each model, and nothing but the files that make it up."""
    for model in models:
        assert paths.count(f"/api/models/{model}/revision/main") == 1
    asked = {path.rpartition("/")[2] for path in paths if "/resolve/" in path}
    unwanted = ("tf_model.h5", "flax_model.msgpack", "README.md", "test.wav", "Manifest.json")
    assert not asked & set(unwanted)
    assert sum("bert-base-uncased" in path and "pytorch_model" in path for path in paths) == 0
    assert all(path.startswith(("/api/models/",)) or "/resolve/" in path for path in paths)


def test_a_dump_stays_at_the_commit_that_it_was_planned_with(machine: Machine) -> None:
    model = machine.publish("emotion2vec/emotion2vec_base")
    plan = machine.plan("emotion2vec", "audio", "", "dump")
    machine.run(plan)
    before = json.loads((machine.root / "dump" / "plan.json").read_text())["settings"]["files"]
    with (model / "config.yaml").open("a") as handle:
        handle.write("# a new commit\n")
    assert machine.hub.add("emotion2vec/emotion2vec_base", model) != before["revision"]
    machine.asked()
    machine.run(plan, *machine.jobs("dump"), plan)
    assert machine.asked() == []
    after = json.loads((machine.root / "dump" / "plan.json").read_text())["settings"]["files"]
    assert after == before
    # Without the cache, that commit is fetched again; with force the newest.
    shutil.rmtree(machine.cache)
    out, _ = machine.run(plan)
    assert out == ["0"]
    assert not any("revision/main" in path for path in machine.asked())
    moved = machine.plan("emotion2vec", "audio", str(model), "dump", "--hub=ms")
    out, _ = machine.run(moved, plan)
    assert "its input model has changed" in out[0]
    assert out[1] == "0"
    machine.run([*plan, "--force=true"])
    forced = json.loads((machine.root / "dump" / "plan.json").read_text())["settings"]["files"]
    assert forced["revision"] != before["revision"]


def test_what_was_there_when_a_dump_was_planned_and_is_gone(machine: Machine) -> None:
    machine.publish("emotion2vec/emotion2vec_base")
    plan = machine.plan("emotion2vec", "audio", "", "dump")
    machine.run(plan)
    shutil.rmtree(machine.cache)
    out, _ = machine.run(*machine.jobs("dump")[:1])
    assert "is gone, where emotion2vec/emotion2vec_base was when the dump was planned" in out[0]
    path = machine.root / "dump" / "plan.json"
    path.write_text(
        re.sub('"revision": "[0-9a-f]*"', f'"revision": "{"0" * 40}"', path.read_text())
    )
    out, _ = machine.run(plan)
    assert f"no longer has commit {'0' * 40} of emotion2vec/emotion2vec_base" in out[0]
    assert "--force true takes the newest" in out[0]


def test_what_a_hub_refuses_is_one_sentence(machine: Machine) -> None:
    machine.hub.add("someone/gated", machine.publish("bert-base-uncased"), gated=True)
    flax = machine.root / "flax"
    shutil.copytree(machine.root / "models" / "bert-base-uncased", flax)
    for path in (*flax.glob("*.bin"), *flax.glob("*.safetensors")):
        path.unlink()
    machine.hub.add("someone/flax", flax)
    empty = machine.root / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("nothing")
    machine.hub.add("someone/empty", empty)
    out, _ = machine.run(
        machine.plan("bert", "text", "someone/gated", "a"),
        machine.plan("bert", "text", "someone/missing", "b"),
        machine.plan("bert", "text", "someone/flax", "c"),
        machine.plan("bert", "text", "someone/empty", "d"),
        machine.plan("emotion2vec", "audio", "someone/empty", "e"),
        machine.plan("bert", "text", "some:one", "f"),
        machine.plan("wavlm", "audio", "", "g", "--hub=ms"),
        machine.plan("whisper", "audio", "", "h"),
    )
    wanted = [
        "someone/gated is gated: accept its terms on its page at the Hugging Face hub, log in",
        "someone/missing is neither a directory nor a public model of the Hugging Face hub; check",
        "someone/flax has weights for TensorFlow or Flax alone (flax_model.msgpack); give a model",
        "someone/empty has no weights (model.safetensors or pytorch_model.bin); give a model dir",
        "someone/empty has no config.yaml; give a model directory with config.yaml and the weights",
        "some:one is neither a directory nor a model's id; check it",
        "wavlm needs a model; no id of it is known for --hub ms: name one with --audio_model",
        "whisper needs a model: name one with --audio_model, an id of the hub or a directory",
    ]
    assert len(out) == len(wanted), out
    for line, start in zip(out, wanted, strict=True):
        assert line.startswith(f"error: {start}")
    assert not any((machine.root / dump).exists() for dump in "abcdefgh")


def test_without_a_network_and_a_cache(machine: Machine) -> None:
    machine.hub.stop()
    out, _ = machine.run(machine.plan("bert", "text", "", "dump"))
    assert len(out) == 1
    assert out[0].startswith("error: the Hugging Face hub cannot be reached (")
    assert f"its cache {machine.cache}" in out[0]
    assert out[0].endswith("or download the model elsewhere and give its directory")


@pytest.mark.slow
def test_a_download_that_breaks_off_and_is_begun_again(machine: Machine) -> None:
    machine.publish("microsoft/wavlm-large")
    plan = machine.plan("wavlm", "audio", "", "dump")
    machine.hub.cut("pytorch_model.bin")
    out, _ = machine.run(plan)
    assert len(out) == 1
    assert out[0].startswith("error: the Hugging Face hub did not give all of microsoft/wavlm-la")
    assert not (machine.root / "dump").exists()
    machine.hub.heal()
    machine.hub.slow("pytorch_model.bin", 20_000)
    process = machine.start(plan)
    while not list(machine.cache.rglob("*.incomplete")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (machine.root / "dump").exists()
    machine.hub.heal()
    out, _ = machine.run(plan, *machine.jobs("dump"))
    assert out == ["1"]
    assert len(features(machine.root / "dump")) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "disk", "24k")


@pytest.mark.slow
@pytest.mark.parametrize("hub", ["hf", "ms"])
def test_a_disk_that_is_full(machine: Machine, small_disk: Path, hub: str) -> None:
    machine.cache = small_disk
    machine.publish("bert-base-uncased")
    machine.publish("bert-base-uncased", under="AI-ModelScope/bert-base-uncased")
    out, _ = machine.run(machine.plan("bert", "text", "", "dump", f"--hub={hub}"))
    assert len(out) == 1
    assert out[0].startswith("error: the disk is full, and the cache ")
    assert "run the same command again" in out[0]


@pytest.mark.slow
def test_modelscope(machine: Machine) -> None:
    """Both default models, then without the network, then what it refuses."""
    machine.publish("emotion2vec/emotion2vec_base", under="iic/emotion2vec_base")
    machine.publish("bert-base-uncased", under="AI-ModelScope/bert-base-uncased")
    for dump in ("first", "second"):
        commands: list[list[str]] = []
        for name, modality in (("emotion2vec", "audio"), ("bert", "text")):
            place = f"{dump}/{name}"
            plan = machine.plan(name, modality, "", place, "--hub=ms")
            commands += [plan, *machine.jobs(place)]
        out, err = machine.run(*commands)
        assert out == ["1", "1"], err
        if dump == "first":
            paths = machine.asked()
            assert all(path.startswith("/api/v1/models/") for path in paths), paths
            assert not any("README" in path or "flax" in path for path in paths)
            machine.hub.stop()
    dumps = [machine.root / name / "emotion2vec" for name in ("first", "second")]
    assert same(features(dumps[0]), features(dumps[1]))
    machine.hub.start()
    out, _ = machine.run(machine.plan("bert", "text", "someone/missing", "third", "--hub=ms"))
    assert out[0].startswith("error: someone/missing is neither a directory nor a public model of")
    machine.hub.stop()
    shutil.rmtree(machine.cache)
    out, _ = machine.run(machine.plan("bert", "text", "", "fourth", "--hub=ms"))
    assert out[0].startswith("error: ModelScope did not give all of AI-ModelScope/bert-base-uncas")
