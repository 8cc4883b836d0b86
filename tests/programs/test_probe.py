"""The probe: scikit-learn's logistic regression on pooled features, from training to the tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import kaldiio
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cfia.bin import train
from cfia.config import build
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.model import registry
from cfia.model.encoder import Sequences
from cfia.model.probe import Probe
from cfia.training import checkpoint
from cfia.training.folds import make_scheme
from tests.support.experiment import (
    CLASSES,
    SYSTEMS,
    command,
    fitted,
    history,
    make,
    mark_again,
    plan,
)

BOTH = ("audio", "text")
GRID = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
FILES = ("best.pt", "history.csv", "posteriors.tsv")
FINISHED = {".done.json", ".posteriors.json", "provenance.yaml", *FILES}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data whose classes differ in number, and in frames as well as in their means."""
    return make(tmp_path_factory.mktemp("probe"), n=60)


def probe(
    root: Path, place: str, train_args: str = "", dumps: Sequence[str] = BOTH, **options: str
) -> Path:
    """Write the experiment.yaml of a probe; the training of fold 1."""
    directory, config = root / "exp" / place / "session", SYSTEMS / "probe.yaml"
    return plan(root, directory, train_args, force=False, config=config, dumps=dumps, **options)


def read(training: Path) -> tuple[list[str], np.ndarray]:
    """Utterances and posteriors of a posteriors.tsv."""
    lines = (training / "posteriors.tsv").read_text().splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [row[0] for row in rows], np.array([[float(x) for x in row[2:]] for row in rows])


def pooled(root: Path, dumps: tuple[str, ...], utts: list[str]) -> np.ndarray:
    """Means and deviations by numpy, from the archives as kaldiio reads them."""
    found = []
    for dump in dumps:
        features = kaldiio.load_scp(str(root / "dump" / dump / "feats.scp"))
        found += [[features[u].astype(float).mean(0) for u in utts],
                  [features[u].astype(float).std(0) for u in utts]]  # fmt: skip
    return np.concatenate([np.array(part) for part in found], axis=1)


def lists(root: Path, part: str, scheme: str = "session") -> list[str]:
    return (root / "data" / "folds" / scheme / "1" / part).read_text().split()


def by_hand(
    root: Path, dumps: tuple[str, ...], weights: str | None, c: float, scheme: str = "session"
) -> Any:
    """A pipeline of scikit-learn, fitted to the training part of fold 1."""
    emotions, utts = read_table(root / "data" / "all" / "utt2emo"), lists(root, "train", scheme)
    regression = LogisticRegression(C=c, class_weight=weights, max_iter=10000)
    made = make_pipeline(StandardScaler(), regression)
    return made.fit(pooled(root, dumps, utts), [emotions[u] for u in utts])


@pytest.mark.parametrize("dumps", [("audio", "text"), ("text",)])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_it_is_the_pipeline_of_scikit_learn_with_the_best_c(
    root: Path, dumps: tuple[str, ...], weights: str
) -> None:
    place = f"probe_{'_'.join(dumps)}_{weights}"
    training = fitted(probe(root, place, f"class_weights={weights}", dumps))
    emotions, valid = read_table(root / "data" / "all" / "utt2emo"), lists(root, "valid")
    weighed = None if weights == "none" else weights
    pipelines = {c: by_hand(root, dumps, weighed, c) for c in GRID}
    refs, x = [emotions[u] for u in valid], pooled(root, dumps, valid)
    uas = [100 * balanced_accuracy_score(refs, made.predict(x)) for made in pipelines.values()]
    rows = history(training)
    assert [row["probe_c"] for row in rows] == GRID
    np.testing.assert_allclose([row["valid_ua"] for row in rows], uas)
    best = uas.index(max(uas))
    assert [row["selected"] for row in rows] == [float(i == best) for i in range(len(GRID))]
    utts, probabilities = read(training)
    expected = pipelines[GRID[best]].predict_proba(pooled(root, dumps, utts))
    np.testing.assert_allclose(probabilities, expected, atol=2e-6)
    assert {path.name for path in training.iterdir()} == FINISHED


def test_of_equal_uas_the_smallest_c_is_taken_and_the_grid_may_be_in_any_order(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    training = probe(root, "ordered", train_args="probe_c_grid=[1,10,0.5,1]")
    train.main(command(training))
    rows = history(training)
    assert [row["probe_c"] for row in rows] == [0.5, 1, 10]
    uas = [row["valid_ua"] for row in rows]
    assert len(set(uas)) < 3, "else there is no tie to be broken"
    assert [r["selected"] for r in rows].index(1) == uas.index(max(uas))
    assert "C 0.5, of 3 by valid: WA " in caplog.text


def test_without_a_choice_it_has_the_c_of_its_configuration(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = DataDir.load(root / "data" / "all")
    make_scheme(data, root / "data" / "folds" / "session-none", "session", "none")
    caplog.set_level("INFO")
    training = probe(root, "last", "probe_c=0.02", validation="none", selection="last")
    train.main(command(training))
    (row,) = history(training)
    assert (row["probe_c"], row["selected"]) == (0.02, 1)
    assert "valid_ua" not in row
    assert "C 0.02 is taken; no part validated" in caplog.text


def test_by_the_test_fold_it_is_an_oracle_and_says_so(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    training = fitted(probe(root, "oracle", selection="test"))
    emotions = read_table(root / "data" / "all" / "utt2emo")
    utts, probabilities = read(training)
    found = [CLASSES[i] for i in probabilities.argmax(1)]
    ua = 100 * balanced_accuracy_score([emotions[u] for u in utts], found)
    rows = history(training)
    assert max(row["valid_ua"] for row in rows) == pytest.approx(ua)
    assert "on the test fold (oracle)" in caplog.text


def test_once_more_and_after_a_kill_it_has_the_same_bytes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(probe(root, "whole"))
    killed = probe(root, "killed")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("cfia.training.probe.write_history", interrupted)
        train.main(command(killed))
    assert not (killed / ".posteriors.json").exists()
    (killed / ".best.pt.tmp.1").write_text("half a file")
    fitted(killed)
    for name in FILES:
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert {path.name for path in killed.iterdir()} == FINISHED
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    fitted(whole)
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_second_seed_is_refused_for_it_would_be_the_same(root: Path) -> None:
    training = probe(root, "seeds").with_name("fold1_seed2")
    with pytest.raises(UserError, match="every seed gives the same; give --seed 1"):
        train.main(command(training))
    assert not training.exists()


def test_its_final_network_has_the_median_c_of_the_folds(root: Path) -> None:
    first = probe(root, "final", train_args="probe_c_grid=[1e-3,2]")
    for fold in (1, 2):
        train.main(command(first.with_name(f"fold{fold}_seed1")))
    chosen = [
        row["probe_c"] for fold in (1, 2)
        for row in history(first.with_name(f"fold{fold}_seed1")) if row["selected"]
    ]  # fmt: skip
    train.main([str(first.parent), "--fold", "all", "--seed", "1"])
    (row,) = history(first.with_name("all_seed1"))
    assert row["probe_c"] == min(chosen)  # of two, the smaller one


def test_two_classes_and_a_dimension_that_never_varies(tmp_path: Path) -> None:
    root = make(tmp_path, n=32)
    data, dump = root / "data" / "all", root / "dump" / "audio"
    two = {"ang": "ang", "hap": "ang", "neu": "sad", "sad": "sad"}
    emotions = {utt: two[emo] for utt, emo in read_table(data / "utt2emo").items()}
    write_table(data / "utt2emo", emotions)
    make_scheme(
        DataDir.load(data), root / "data" / "folds" / "session-random30", "session", "random30"
    )
    features = {utt: np.array(x) for utt, x in kaldiio.load_scp(f"{dump}/feats.scp").items()}
    for matrix in features.values():
        matrix[:, 2] = 0.1  # whose mean over any number of frames is not 0.1 to the last bit
    kaldiio.save_ark(f"{dump}/raw.1.ark", features, scp=f"{dump}/feats.scp")
    mark_again(dump)
    audio = probe(root, "two", "probe_c_grid=[0.1]", ("audio",), validation="random30")
    training = fitted(audio)
    utts, probabilities = read(training)
    expected = by_hand(root, ("audio",), None, 0.1, "session-random30").predict_proba(
        pooled(root, ("audio",), utts)
    )
    np.testing.assert_allclose(probabilities, expected, atol=2e-6)
    scale = checkpoint.load(training / "best.pt", checkpoint.Network)["model"]["scale"]
    assert scale[2] == 1


def batches(lengths: list[int], rng: np.random.Generator) -> Iterator[dict[str, Sequences]]:
    """The same utterances in one padded batch, and one by one."""
    rows = [torch.from_numpy(rng.normal(3, 2, (n, 4)).astype(np.float32)) for n in lengths]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    yield {"audio": Sequences(padded, torch.tensor(lengths))}
    for row in rows:
        yield {"audio": Sequences(row[None], torch.tensor([len(row)]))}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 9))
def test_no_bit_of_the_statistics_depends_on_padding(lengths: list[int], seed: int) -> None:
    config = build({"network": "probe", "consistency": []}).model
    model = registry.build({"audio": 4}, 3, config)
    assert isinstance(model, Probe)
    together, *alone = (
        model.pool(batch) for batch in batches(lengths, np.random.default_rng(seed))
    )
    assert torch.equal(together, torch.cat(alone))
    assert torch.isfinite(together).all()
