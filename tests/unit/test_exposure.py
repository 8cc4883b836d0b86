"""What an encoder has seen: the file in conf/, its rules, and what a dump says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cfia.bin import dump_plan
from cfia.errors import UserError
from cfia.upstream.choice import Choice
from cfia.upstream.exposure import exposure
from cfia.upstream.registry import FAMILIES, Identity
from tests.support import tiny_models
from tests.support.dump_data import noise, plan, run_dump, write_data

UNKNOWN_WEIGHTS = Identity()
SHIPPED = Path(__file__).parents[2] / "conf" / "exposure.yaml"


@pytest.mark.parametrize(
    ("model", "corpus", "expected"),
    [
        ("iic/emotion2vec_base", "iemocap", "audio"),
        ("emotion2vec/emotion2vec_base", "CMU-MOSEI", "audio"),
        ("emotion2vec_base", "emodb", "none"),
        (Choice("audio", "emotion2vec"), "msp-podcast", "audio"),
        (Choice("audio", "emotion2vec", "my models/emotion2vec_base/", 3), "meld", "audio"),
        ("emotion2vec/emotion2vec_plus_seed", "iemocap", "labels"),
        ("iic/emotion2vec_plus_large", "emodb", "labels"),
        ("iic/emotion2vec_plus_base", "crema-d", "labels"),
        ("iic/emotion2vec_plus_base", "cremad", "labels"),
        ("iic/emotion2vec_plus_base", "another", "unknown"),
        ("iic/emotion2vec_base_finetuned", "iemocap", "labels"),
        ("iic/emotion2vec_plus_base", "mini_iemocap", "none"),
        ("facebook/wav2vec2-base", "iemocap", "none"),
        ("superb/wav2vec2-base-superb-er", "iemocap", "labels"),
        ("facebook/hubert-base-ls960", "meld", "none"),
        ("microsoft/wavlm-base", "msp-podcast", "none"),
        (Choice("audio", "wavlm", None, "all"), "iemocap", "none"),
        ("openai/whisper-tiny.en", "meld", "unknown"),
        (Choice("text", "bert"), "iemocap", "none"),
        (Choice("text", "minilm"), "meld", "unknown"),
        ("renamed", "mini_iemocap", "none"),
        ("/c/models--emotion2vec--emotion2vec_plus_large/snapshots/0a1b", "iemocap", "labels"),
    ],
)
def test_the_shipped_file(model: Choice | str, corpus: str, expected: str) -> None:
    choice = named(model) if isinstance(model, str) else model
    assert exposure(SHIPPED, choice, corpus, UNKNOWN_WEIGHTS) == expected


def named(model: str) -> Choice:
    """Any encoder with a model of this name."""
    return Choice("audio", "wav2vec2", model)


@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in ("whisper", "fbank")])
def test_every_upstream_with_a_default_model_is_listed(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    exposure(SHIPPED, Choice(FAMILIES[name].modality, name), "iemocap", UNKNOWN_WEIGHTS)
    assert not caplog.records


def test_an_encoder_without_weights_has_seen_nothing_and_needs_no_entry(
    data: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    assert "fbank" not in yaml.safe_load(SHIPPED.read_text())
    directory = tmp_path / "dump"
    flags = ["--corpus", "iemocap", "--exposure", str(SHIPPED)]
    run_dump(directory, data, plan(directory, data, *flags))
    assert recorded(directory) == ["none", "none"]
    assert "unknown" not in caplog.text


@pytest.mark.parametrize(
    ("identity", "expected", "said"),
    [
        (Identity("emotion2vec_base"), "audio", ""),
        (Identity("emotion2vec_plus_large", None, label_head=True), "labels", ""),
        (Identity(), "unknown", "does not list renamed"),
        (Identity(None, None, label_head=True), "unknown", "does not list renamed"),
    ],
)
def test_known_weights_are_known_under_any_name(
    identity: Identity, expected: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert exposure(SHIPPED, named("models/renamed"), "iemocap", identity) == expected
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


def test_other_weights_under_a_published_name(caplog: pytest.LogCaptureFixture) -> None:
    other = Identity(None, "emotion2vec_base")
    base, finetuned = named("emotion2vec_base"), named("emotion2vec_base_finetuned")
    assert exposure(SHIPPED, base, "iemocap", other) == "audio"
    assert "its weights' file is not the one published as emotion2vec_base" in caplog.text
    caplog.clear()
    other = Identity(None, "emotion2vec_base", label_head=True)
    assert exposure(SHIPPED, base, "iemocap", other) == "unknown"
    assert "has a classifier's head" in caplog.text
    assert exposure(SHIPPED, finetuned, "iemocap", other) == "labels"


def test_a_model_that_is_not_listed_is_unknown_and_said_to_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert exposure(SHIPPED, named("models/my_copy"), "iemocap", UNKNOWN_WEIGHTS) == "unknown"
    assert [record.message for record in caplog.records] == [
        f"{SHIPPED} does not list my_copy; what it has seen is unknown"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m: none", "m must hold `corpus: value` lines"),
        ("m: {default: none, iemocap: yes}", "m has True for iemocap; legal values are none, aud"),
        ("m: {default: ~}", "m has None for default; legal values"),
        ("m: {default: [none]}", "m has .* for default; legal values"),
        ("m: {iemocap: audio}", "m has no default, for the corpora that it does not name"),
        ("[m]", "must hold `key: value` lines"),
        ("m: {", "is not valid YAML"),
    ],
)
def test_a_malformed_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "exposure.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        exposure(path, named("m"), "iemocap", UNKNOWN_WEIGHTS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        exposure(tmp_path / "none.yaml", named("m"), "iemocap", UNKNOWN_WEIGHTS)


# What a dump makes of it.


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data", {"s0-0": noise(1), "s0-1": noise(1.5, seed=1)})


@pytest.fixture
def model(tmp_path: Path) -> str:
    """The flag that names a text encoder with weights."""
    tiny_models.save_bert(tmp_path / "tiny")
    return f"--model={tmp_path / 'tiny'}"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "exposure.yaml"
    path.write_text("tiny: {default: none, seen: audio, learnt: labels}")
    return path


def recorded(directory: Path) -> list[str]:
    """The exposure in plan.json and in frontend.yaml."""
    frontend = yaml.safe_load((directory / "frontend.yaml").read_text())
    return [
        json.loads((directory / "plan.json").read_text())["settings"]["exposure"],
        frontend["exposure"],
    ]


def test_labels_are_refused_unless_allowed(
    data: Path, model: str, listed: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "dump"
    flags = [model, "--corpus", "learnt", "--exposure", str(listed)]
    with pytest.raises(UserError, match=r"tiny .* learnt .*--allow_contaminated true") as caught:
        plan(directory, data, *flags, upstream="bert")
    assert str(listed) in str(caught.value)
    assert not directory.exists()
    allowed = [*flags, "--allow_contaminated", "true"]
    run_dump(directory, data, plan(directory, data, *allowed, upstream="bert"))
    assert recorded(directory) == ["labels", "labels"]
    with pytest.raises(UserError, match="--allow_contaminated true"):
        plan(directory, data, *flags, upstream="bert")


def test_a_dump_keeps_what_is_known_up_to_date(
    data: Path, model: str, listed: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "dump"
    seen = [model, "--corpus", "seen", "--exposure", str(listed)]
    assert plan(directory, data, model, upstream="bert") == 1
    assert plan(directory, data, *seen, upstream="bert") == 1
    run_dump(directory, data, plan(directory, data, model, upstream="bert"))
    assert recorded(directory) == ["audio", "audio"]
    listed.write_text("tiny: {default: unknown}")
    assert plan(directory, data, *seen, upstream="bert") == 0
    assert recorded(directory) == ["unknown", "unknown"]
    assert plan(directory, data, model, upstream="bert") == 0


def test_a_corpus_needs_the_file(data: Path, tmp_path: Path) -> None:
    flags = [f"--data={data}", f"--dir={tmp_path / 'dump'}", "--corpus", "seen"]
    with pytest.raises(SystemExit) as caught:
        dump_plan.main(["--modality", "audio", "--upstream", "fbank", *flags])
    assert caught.value.code == 2
