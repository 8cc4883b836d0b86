"""Packs: what is in them, that their networks are those of the experiment, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from cfia import load
from cfia.bin import pack as program
from cfia.bin import posteriors, score, train
from cfia.errors import UserError
from cfia.experiment import read
from cfia.files import read_yaml, write_json
from cfia.inference import pack_file
from cfia.inference.card import card
from cfia.inference.card_scores import Subject
from cfia.inference.encoders import PackedEncoder, of_dump
from cfia.inference.model import Model
from cfia.inference.pack import without_places
from cfia.kaldi.table import read_table
from cfia.model.linear import LinearHead
from cfia.model.network import CFIANet
from cfia.posteriors import read_posteriors, write_posteriors
from cfia.study.packs import list_final
from cfia.study.request import read_request
from cfia.study.study_plan import StudyPlan
from cfia.training import batches, checkpoint
from cfia.training.training import Training
from cfia.upstream import registry
from cfia.upstream.link import Source, link
from tests.support.archives import load_features
from tests.support.experiment import mark_again, plan
from tests.support.packable import ENCODER, SYSTEM, UTTERANCES, make
from tests.support.tiny_models import save_bert

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "egs" / "iemocap" / "conf" / "corpus.yaml"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def pack(experiment: Path) -> Path:
    """The pack of its final network."""
    program.main([str(experiment), "--corpus_conf", str(PAGE)])
    return experiment / "pack"


@pytest.fixture(scope="module")
def of_folds(experiment: Path) -> Path:
    program.main([str(experiment), "--pack", "folds"])
    return experiment / "pack_folds"


@pytest.fixture
def copy(pack: Path, tmp_path: Path) -> Path:
    """A copy, in a place where nothing is remembered of this machine."""
    return Path(shutil.copytree(pack, tmp_path / "elsewhere"))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def raw(experiment: Path, utts: list[str]) -> dict[str, list[np.ndarray]]:
    """The features of some utterances, as the encoders gave them."""
    dumps = {
        name: load_features(path / "feats.scp", utts)
        for name, path in read(experiment).dumps().items()
    }
    return {name: [of[utt].copy() for utt in utts] for name, of in dumps.items()}


def test_networks_of_the_folds_give_the_folds_posteriors_to_the_bit(
    experiment: Path, of_folds: Path, tmp_path: Path
) -> None:
    model, recorded = load(of_folds), read(experiment)
    for fold in (1, 2):
        training = Training(recorded, fold, 1)
        data = training.dataset("test")
        probs = np.empty((len(data), 4))
        for rows in batches.sorted_by_length(data.guiding_lengths(), 8):
            batch = model.batch(raw(experiment, [data.utts[row] for row in rows]))
            probs[rows] = model.of_network(fold - 1, batch)
        refs = [recorded.classes[i] for i in data.targets.tolist()]
        write_posteriors(tmp_path / "tsv", list(model.classes), data.utts, refs, probs)
        assert (tmp_path / "tsv").read_bytes() == (
            training.directory / "posteriors.tsv"
        ).read_bytes()


def test_a_probe_is_packed_as_other_networks_are_whatever_the_seed(experiment: Path) -> None:
    root, config = experiment.parents[2], ROOT / "conf" / "systems" / "probe.yaml"
    probe = plan(root, root / "probes" / "probe" / "session", "", config=config).parent
    for fold in ("1", "2", "all"):
        train.main([str(probe), "--fold", fold, "--seed", "1"])
        if fold != "all":
            posteriors.main([str(probe), "--fold", fold, "--seed", "1"])
    score.main(["--expdir", str(root / "probes")])
    program.main([str(probe), "--seed", "7"])
    program.main([str(probe), "--pack", "folds"])
    text, said = (probe / "pack" / "README.md").read_text(), load(probe / "pack_folds")
    assert "with the C of theirs in the median" in " ".join(text.split())
    tested = read_posteriors(probe / "fold1_seed1" / "posteriors.tsv")
    found = said.of_network(0, said.batch(raw(probe, tested.utts)))
    np.testing.assert_allclose(found, tested.probs, atol=1e-6)


def test_several_networks_are_averaged(experiment: Path, of_folds: Path) -> None:
    model, features = load(of_folds), raw(experiment, UTTERANCES[:3])
    each = [model.of_network(k, model.batch(features)) for k in (0, 1)]
    np.testing.assert_allclose(model.posteriors(features), np.mean(each, axis=0), rtol=1e-12)
    assert not np.allclose(each[0], each[1])


def answers(model: Model, experiment: Path) -> np.ndarray:
    return model.posteriors(raw(experiment, UTTERANCES[:3]))


def test_the_final_network_is_in_the_pack_and_one_line_gives_it(
    experiment: Path, pack: Path
) -> None:
    best = checkpoint.load(experiment / "all_seed1" / "best.pt", checkpoint.Network)["model"]
    model, network = load(pack), CFIANet.from_pretrained(pack)
    for weights in (model.networks[0].state_dict(), network.state_dict()):
        assert all(torch.equal(value, best[key]) for key, value in weights.items())
        assert weights.keys() == best.keys()
    assert not network.training


def test_the_card_says_what_a_newcomer_must_know(experiment: Path, pack: Path) -> None:
    text = (pack / "README.md").read_text()
    hub = dict(ModelCard(text).data.__dict__)
    assert (hub["library_name"], hub["pipeline_tag"]) == ("cfia", "audio-classification")
    scores = json.loads((experiment / "scores.json").read_text())["pooled"]
    low, high = scores["ci95"]["ua"] or (None, None)
    shown = f"{scores['ua']:.2f}" + (f" [{low:.2f}, {high:.2f}]" if low is not None else "")
    assert f"| UA | {shown} |" in text
    counts = Counter(read_table(experiment.parents[2] / "data" / "all" / "utt2emo").values())
    assert f"| hap | happiness | hap, exc | {counts['hap']} |" in text
    for name, of in scores["classes"].items():
        assert f"| {of['n']} | {of['precision']:.2f} | {of['recall']:.2f} |" in text, name
    plain = " ".join(text.split())
    for part in (
        "this network itself was never tested", "Not for decisions about people",
        "an agreement with the University of Southern California", "It is not calibrated",
        "from_pretrained", "hf upload", "cfia predict --model DIR", "--cv session", "4 speakers",
    ):  # fmt: skip
        assert part in plain, part


def test_the_card_of_an_ensemble_says_whose_scores_they_are(of_folds: Path) -> None:
    plain = " ".join((of_folds / "README.md").read_text().split())
    assert "the mean of all 2, which this model gives, was never tested" in plain
    assert "from_pretrained" not in plain


def test_a_pack_names_no_place_of_this_machine(
    experiment: Path, pack: Path, of_folds: Path
) -> None:
    for place in (pack, of_folds):
        for name, content in contents(place).items():
            assert str(experiment.parents[2]).encode() not in content, name


def test_it_is_made_once_and_again_to_the_same_bytes(
    experiment: Path, pack: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    times = {path: path.stat().st_mtime_ns for path in pack.iterdir()}
    command = [str(experiment), "--corpus_conf", str(PAGE)]
    program.main(command)
    assert "already packed, skipping" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in pack.iterdir()} == times
    program.main([*command, "--pack_dir", str(tmp_path / "a place ü")])
    assert contents(tmp_path / "a place ü") == contents(pack)
    (tmp_path / "a file").touch()
    readable = (tmp_path / "a file").stat().st_mode  # by whom the user's umask says
    assert {path.stat().st_mode for path in pack.iterdir()} == {readable}


def test_other_networks_make_it_again_and_what_a_user_wrote_stays(
    experiment: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(experiment, tmp_path / "exp" / SYSTEM / "session"))
    command, best = [str(place)], place / "all_seed1" / "best.pt"
    program.main(command)
    before = contents(place / "pack")
    network = checkpoint.load(best, checkpoint.Network)
    next(iter(network["model"].values())).mul_(2)
    checkpoint.save(best, network)
    mark_again(place / "all_seed1")
    program.main(command)
    assert contents(place / "pack")["model.safetensors"] != before["model.safetensors"]
    (place / "pack" / "README.md").write_text("my own words")
    with pytest.raises(UserError, match=r"README\.md.*--force true"):
        program.main(command)
    program.main([*command, "--force", "true"])
    assert contents(place / "pack")["README.md"] == before["README.md"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for other in (tmp_path / "mine", experiment.parents[2] / "dump" / "audio"):
        held = contents(other)
        with pytest.raises(
            UserError, match=r"thesis\.tex but no marker|something else than a pack"
        ):
            program.main([*command, "--pack_dir", str(other), "--force", "true"])
        assert contents(other) == held


def test_a_class_loads_its_own_network_alone(pack: Path, of_folds: Path) -> None:
    with pytest.raises(UserError, match="has a CFIANet, not a LinearHead"):
        LinearHead.from_pretrained(pack)
    with pytest.raises(UserError, match=r"ensemble of 2 networks \(fold1\.saf.*`cfia\.load`"):
        CFIANet.from_pretrained(of_folds)


def test_an_encoder_in_a_directory_is_found_here_and_asked_for_elsewhere(
    experiment: Path, pack: Path, copy: Path, tmp_path: Path
) -> None:
    here = answers(load(pack), experiment)
    with pytest.raises(UserError, match=rf"text encoder .* is {ENCODER}, a directory .*_model="):
        load(copy)
    own, other = experiment.parents[2] / ENCODER, tmp_path / "other"
    moved = load(copy, text_model=str(own))
    assert np.array_equal(answers(moved, experiment), here)
    save_bert(other, seed=1)
    with pytest.raises(UserError, match=r"other weights than the text encoder .*--text_model"):
        load(copy, text_model=str(other))
    with pytest.raises(UserError, match=r"no such model directory /none; .*--text_model"):
        load(copy, text_model="/none")


def test_other_settings_of_an_encoder_are_said(
    experiment: Path, copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Path(shutil.copytree(experiment.parents[2] / ENCODER, tmp_path / "other"))
    (other / "special_tokens_map.json").write_text("{}")
    load(copy, text_model=str(other))
    assert "has the weights of the text encoder" in caplog.text
    assert "other settings" in caplog.text


def packed_text(experiment: Path, model: str, place: Path) -> PackedEncoder:
    """The text encoder of a dump, had its model been in another directory."""
    dump = Path(shutil.copytree(experiment.parents[2] / "dump" / "text", place / "dump"))
    shutil.copytree(experiment.parents[2] / ENCODER, place / model)
    plan = (dump / "plan.json").read_text()
    own = str(experiment.parents[2] / ENCODER)
    (dump / "plan.json").write_text(plan.replace(own, str(place / model)))
    return of_dump(dump)


def test_a_directory_of_a_hubs_cache_is_an_id_and_a_commit(
    experiment: Path, tmp_path: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    packed = packed_text(experiment, f"hub/models--owner--small-1/snapshots/{commit}", tmp_path)
    assert (packed.choice.model, packed.frontend.revision) == ("owner/small-1", commit)
    assert packed.frontend.model == "owner/small-1"
    assert not packed.local


def test_a_directory_of_the_encoders_own_model_is_its_id(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = str(read_yaml(experiment.parents[2] / "dump/text/frontend.yaml")["weights"])
    published: Any = registry.FAMILIES["bert"].published
    monkeypatch.setitem(published, weights, "bert-base-uncased")
    packed = packed_text(experiment, "my bert", tmp_path)
    assert (packed.choice.model, packed.frontend.revision) == ("bert-base-uncased", None)
    assert not packed.local


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("egs/x/run.sh --corpus_dir /home/me/My\\ IEMOCAP --cv speaker",
         "egs/x/run.sh --corpus_dir 'My IEMOCAP' --cv speaker"),
        ("./run.sh --text_model=/home/me/bert --train_args 'lr=1e-3 hidden=2'",
         "./run.sh --text_model=bert --train_args 'lr=1e-3 hidden=2'"),
        ("run.sh --tag it's", "run.sh"),
    ],
)  # fmt: skip
def test_a_command_is_told_without_places(command: str, shown: str) -> None:
    assert without_places(command) == shown


def test_the_encoder_of_linked_features_is_found_and_of_imported_ones_there_is_none(
    experiment: Path, tmp_path: Path
) -> None:
    root = experiment.parents[2]
    source = Source(root / "dump" / "text", "digest", "")
    linked = tmp_path / "linked"
    link(
        linked, root / "data" / "all", "text", {"toy": source}, {},
        allow_contaminated=False, force=False,
    )  # fmt: skip
    packed = of_dump(linked)
    assert (packed.choice.model, packed.frontend.exposure) == (ENCODER, "toy unknown")
    imported = Path(shutil.copytree(root / "dump" / "audio", tmp_path / "imported"))
    (imported / "plan.json").unlink()
    with pytest.raises(UserError, match="imported were imported, so a pack of them could not"):
        of_dump(imported)


def test_stage_9_lists_what_is_to_be_trained_before_it(
    experiment: Path, pack: Path, tmp_path: Path
) -> None:
    root, copy = experiment.parents[2], tmp_path / "exp" / SYSTEM / "session"
    shutil.copytree(experiment, copy)
    (root / "conf" / "labels").mkdir(parents=True)
    (root / "conf" / "labels" / "4.yaml").touch()
    options = {
        "stage": "9", "stop_stage": "9", "systems": "audio_text", "audio_upstream": "fbank",
        "text_upstream": "bert", "text_model": str(root / ENCODER), "datadir": str(root / "data"),
        "dumpdir": str(root / "dump"), "expdir": str(copy.parents[1]),
    }  # fmt: skip

    def listed(**more: str) -> list[str]:
        plan = StudyPlan(read_request({**options, **more}, root, root))
        jobs, lines = list_final(plan), (plan.directory / "final.list").read_text().splitlines()
        assert len(lines) == jobs
        return lines

    assert listed() == []
    assert listed(force="true", pack="folds") == []
    assert (copy / "all_seed1").exists()
    assert listed(force="true") == [f"{copy} --fold all --seed 1"]
    assert not (copy / "all_seed1").exists()
    assert len(listed()) == 1
    train.main(listed()[0].split())
    assert listed() == []
    program.main([str(copy), "--corpus_conf", str(PAGE), "--force", "true"])
    assert contents(copy / "pack") == contents(pack)
    with pytest.raises(UserError, match="fold1_seed7 is not there or not finished; run stage 5"):
        listed(seeds="7 1")


def test_without_scores_or_networks_nothing_is_packed(experiment: Path, tmp_path: Path) -> None:
    place = tmp_path / "exp" / SYSTEM / "session"
    shutil.copytree(experiment, place, ignore=shutil.ignore_patterns("pack*", "all_*"))
    with pytest.raises(UserError, match=r"all_seed1 is not there .*; run stage 9 \(pack\) first"):
        program.main([str(place)])
    with pytest.raises(UserError, match=r"fold1_seed2 is not there .*; run stage 5"):
        program.main([str(place), "--pack", "folds", "--seed", "2"])
    scores = json.loads((place / "scores.json").read_text())
    write_json(place / "scores.json", {**scores, "seed_std": {}})
    with pytest.raises(UserError, match=r"scores\.json does not go with its posteriors; run stage"):
        program.main([str(place), "--pack", "folds"])
    (place / "scores.json").unlink()
    with pytest.raises(UserError, match=r"has no scores\.json, which the model card shows; run"):
        program.main([str(place), "--pack", "folds"])
    assert not (place / "pack_folds").exists()


def test_the_card_says_what_makes_the_scores_better_than_they_are(
    experiment: Path, pack: Path, of_folds: Path
) -> None:
    scores = json.loads((experiment / "scores.json").read_text())
    made_by = {"commit": "abc", "command": "run.sh"}

    def text(place: Path, **protocol: object) -> str:
        changed = {**scores, "protocol": {**scores["protocol"], **protocol}}
        subject = Subject(pack_file.read(place), changed, made_by, {"title": "A corpus"}, {})
        return " ".join(card(subject).split())

    plain = text(pack)
    assert 'cfia predict --model DIR a.wav --text "..." ' in plain
    assert 'print(model("a.wav", text="...").posteriors)' in plain
    assert "Oracle" not in plain
    assert "Each fold tests one session of the corpus" in plain
    assert "the best on 20 % of the others, which did not train" in plain
    oracle = text(pack, selection="test", oracle=True)
    assert "**Oracle**: the epochs were selected on the test utterances" in oracle
    assert "trained again, on these too, for as many epochs (`--cv" in text(pack, refit=True)
    assert "and so are its settings, of 6 that were tried in each fold" in text(pack, tune="6")
    assert "--tune" not in text(pack, tune="6", seeded=False)
    shared = text(pack, cv="utterance5", speakers_shared=True)
    assert "**Speakers in training and test**: the scores say nothing of speakers" in shared
    assert "Each fold tests utterances drawn at random" in shared
    across = text(pack, cv="train-emodb")
    assert "trained on A corpus alone, and the scores are those of another corpus" in across
    assert "this one itself was never tested" in across
    assert "never tested" not in text(of_folds, cv="train-emodb")
    seeds = text(pack, seeds=[1, 2, 3])
    assert "Scores are means over 3 seeds." in seeds
