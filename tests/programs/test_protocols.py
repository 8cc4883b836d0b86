"""Official parts, utterances at random, no validation: from fold lists to scores."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from cfia.bin import import_posteriors, posteriors, score, train
from cfia.errors import UserError
from cfia.experiment import NAME, read
from cfia.files import read_json, read_yaml
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.naming import folds_scheme
from cfia.posteriors import write_posteriors
from cfia.report.score_tables import score_table
from cfia.scoring.scores_file import score as score_trained
from cfia.scoring.trained import read_trained
from cfia.study.configurations import read_config
from cfia.training.folds import make_scheme, read_folds
from tests.support.experiment import CLASSES, SMALL, SYSTEMS, command, make, plan, seal
from tests.support.killed import killed_at_checkpoint


def official(utt: str) -> str:
    """The part of an utterance: session 2 is tested, but for one utterance, which is not used."""
    if utt.startswith("Ses2"):
        return "-" if utt == "Ses2F-004" else "test"
    return "valid" if utt.startswith("Ses1") else "train"


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("protocols"), sessions=3)
    data = root / "data" / "all"
    write_table(data / "utt2split", {u: official(u) for u in read_table(data / "utt2spk")})
    return root


def planned(
    root: Path, directory: Path, cv: str, validation: str, selection: str = "valid", epochs: int = 2
) -> Path:
    """The lists of a scheme, and the experiment.yaml of a training of its first fold."""
    folds = root / "data" / "folds" / folds_scheme(cv, validation)
    make_scheme(DataDir.load(root / "data" / "all"), folds, cv, validation)
    args = f"{SMALL} epochs={epochs}"
    return plan(root, directory, args, cv=cv, validation=validation, selection=selection)


def test_one_official_fold_is_tested_alone(experiment: Path, tmp_path: Path) -> None:
    training = planned(experiment, tmp_path / "exp" / "net" / "given-given", "given", "given")
    train.main(command(training))
    posteriors.main(command(training))
    score.main(["--expdir", str(tmp_path / "exp")])
    scores = read_json(training.parent / "scores.json")
    utts = [u for u in read_table(experiment / "data/all/utt2spk") if official(u) == "test"]
    assert (scores["pooled"]["n"], list(scores["folds"])) == (len(utts), ["1"])
    assert "speakers_shared" not in scores["protocol"]
    table = score_table([score_trained(read_trained(training.parent))], {})
    assert "official parts, 1 fold; validation given; epoch selected" in table.title
    assert not [note for note in table.notes if "shares speakers" in note]


def test_posteriors_of_one_official_fold_are_imported(experiment: Path, tmp_path: Path) -> None:
    data, folds = experiment / "data" / "all", experiment / "data" / "folds"
    planned(experiment, tmp_path / "exp" / "net" / "given-given", "given", "given")
    labels = read_table(data / "utt2emo")
    utts = [u for u in labels if official(u) == "test"]
    probs = np.random.default_rng(1).dirichlet(np.ones(4), len(utts))
    write_posteriors(tmp_path / "svm.tsv", CLASSES, utts, [labels[u] for u in utts], probs)
    run = ["--system", "svm", "--scheme", "given-given", "--data", str(data)]
    run += ["--folds", str(folds), "--expdir", str(tmp_path / "exp")]
    import_posteriors.main([*run, str(tmp_path / "svm.tsv")])
    score.main(["--expdir", str(tmp_path / "exp")])
    scores = read_json(tmp_path / "exp" / "svm" / "given-given" / "scores.json")
    assert scores["pooled"]["n"] == len(utts)
    assert (scores["protocol"]["cv"], scores["protocol"]["validation"]) == ("given", "given")
    more = tmp_path / "more.tsv"
    line = "\t".join(["Ses0F-000", labels["Ses0F-000"], "1", "0", "0", "0"])
    more.write_text((tmp_path / "svm.tsv").read_text() + line + "\n")
    with pytest.raises(UserError, match=r"Ses0F-000 is .*, but of the fold's test it is not one"):
        import_posteriors.main([*run, str(more)])


def test_official_parts_that_share_speakers_are_known(experiment: Path, tmp_path: Path) -> None:
    root = make(tmp_path / "shared", sessions=3)
    data = root / "data" / "all"
    split = {u: official(u) for u in read_table(data / "utt2spk")}
    split[next(u for u in split if u.startswith("Ses2F"))] = "train"
    write_table(data / "utt2split", split)
    training = planned(root, tmp_path / "given-given", "given", "given")
    assert read(training.parent).words == ["speakers in training and test"]
    training = planned(experiment, tmp_path / "utterance3", "utterance3", "random20")
    assert read(training.parent).protocol["speakers_shared"] is True
    training = planned(experiment, tmp_path / "kfold3", "kfold3", "random20")
    assert "speakers_shared" not in read(training.parent).protocol


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cv", True, "protocol.cv is True, not text"),
        ("speakers_shared", "true", "protocol.speakers_shared is 'true', not"),
    ],
)
def test_a_protocol_of_another_kind_is_named(
    experiment: Path, tmp_path: Path, key: str, value: object, message: str
) -> None:
    directory = planned(experiment, tmp_path / "a", "session", "random20").parent
    values = read_yaml(directory / NAME)
    values["protocol"][key] = value
    seal(directory / NAME, values)
    with pytest.raises(UserError, match=message):
        read(directory)


def test_other_official_parts_stop_what_was_made_of_them(experiment: Path, tmp_path: Path) -> None:
    training = planned(experiment, tmp_path / "a", "given", "none", "last")
    table = experiment / "data" / "all" / "utt2split"
    before = table.read_text()
    table.write_text(before.replace("Ses2F-004 -", "Ses2F-004 train"))
    with pytest.raises(UserError, match=r"made from another utt2split than .* run stage 2"):
        train.main(command(training))
    table.write_text(before)


def test_without_a_validation_part_the_last_epoch_is_taken(
    experiment: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    undisturbed, killed = (
        planned(experiment, tmp_path / name, "session", "none", "last", epochs=3)
        for name in ("undisturbed", "killed")
    )
    caplog.set_level("INFO")
    train.main(command(undisturbed))
    assert "epoch 3, the last, is taken; no part validated" in caplog.text
    assert "valid loss" not in caplog.text
    with killed_at_checkpoint(monkeypatch, 2):
        train.main(command(killed))
    train.main(command(killed))
    for name in ("best.pt", "checkpoint.pt", "history.csv"):
        assert (undisturbed / name).read_bytes() == (killed / name).read_bytes()
    with open(undisturbed / "history.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["selected"] for row in rows] == ["0", "0", "1"]
    assert not [name for name in rows[0] if name.startswith("valid")]
    posteriors.main(command(undisturbed))
    tested = read_folds(experiment / "data" / "folds" / "session-none")[1].test
    lines = (undisturbed / "posteriors.tsv").read_text().splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == tested


def test_the_log_says_where_validation_shares_speakers(
    experiment: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    words = r"UA [0-9.]+ on validation(, which shares speakers with training)?"
    for validation, shares in (("random20", True), ("next_session", False)):
        caplog.clear()
        train.main(command(planned(experiment, tmp_path / validation, "session", validation)))
        match = re.search(words, caplog.text)
        assert match is not None
        assert bool(match[1]) == shares


def test_a_schedule_that_needs_validation_does_not_go_without() -> None:
    files, overrides = [SYSTEMS / "cfia_net.yaml"], ["schedule=plateau"]
    read_config(files, overrides, {"validation": "none", "selection": "test"}, ["audio"])
    with pytest.raises(UserError, match="`schedule: plateau` needs validation scores"):
        read_config(files, overrides, {"validation": "none", "selection": "last"}, ["audio"])
    refit = {"validation": "random20", "selection": "valid", "refit": "true"}
    with pytest.raises(UserError, match=r"`schedule: plateau` .* the second training of --refit"):
        read_config(files, overrides, refit, ["audio"])


@pytest.mark.parametrize(
    ("system", "refused", "taken", "sentence"),
    [
        ("memocmt", ["audio"], ["audio", "text"], "takes audio and text together; give --systems"),
        ("dst", ["audio", "text"], ["text"], "takes one modality; give --systems <config>_audio"),
    ],
)
def test_a_network_that_does_not_take_a_modality_is_refused(
    system: str, refused: list[str], taken: list[str], sentence: str
) -> None:
    files, options = [SYSTEMS / f"{system}.yaml"], {"validation": "random20", "selection": "valid"}
    read_config(files, [], options, taken)
    with pytest.raises(UserError, match=f"`network: {system}` {sentence}"):
        read_config(files, [], options, refused)


def test_what_is_for_both_modalities_is_refused_of_one() -> None:
    files = [SYSTEMS / "cfia_net_mended.yaml"]
    options = {"validation": "random20", "selection": "valid"}
    read_config(files, [], options, ["audio", "text"])
    with pytest.raises(UserError, match=r"^modality_dropout is for .*, and here is text alone; "):
        read_config(files, [], options, ["text"])
    with pytest.raises(UserError, match=r"--systems <config>_audio_text, or unimodal_loss=0$"):
        read_config(files, ["modality_dropout=0"], options, ["audio"])
    read_config(files, ["modality_dropout=0", "unimodal_loss=0"], options, ["audio"])
