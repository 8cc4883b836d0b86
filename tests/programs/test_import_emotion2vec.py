"""Published features to a dump and a data directory, and a training from them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from cfia import marker
from cfia.bin import dump_plan, folds, import_emotion2vec, posteriors, train
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table
from cfia.kaldi.validate import Checks, validate
from cfia.study.request import read_request
from cfia.study.study_plan import StudyPlan
from cfia.study.tasks import trainings, write_experiments
from tests.support.archives import load_features
from tests.support.data_files import ROOT, tree
from tests.support.experiment import command
from tests.support.iemocap_tree import RECIPE

DIM = 6
CLASSES = ("ang", "hap", "neu", "sad")
NAMES = [
    f"Ses0{session}{prefix}_{dialogue}_{speaker}{number:03d}"
    for session in (1, 2, 3)
    for prefix, dialogue in (("F", "impro05a"), ("M", "script01_1b"))
    for speaker in "FM"
    for number in (9, 3, 5, 1)  # the published order need not be that of the ids
]
FIRST = "Ses01F-Ses01F_impro05a_F001"


class Published:
    """A tiny release of features under invented names, and a conf/ that expects it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.features = root / "features ü"
        self.features.mkdir()
        rng = np.random.default_rng(3)
        self.labels = {name: CLASSES[i % 4] for i, name in enumerate(NAMES)}
        self.lengths = {name: int(rng.integers(2, 9)) for name in NAMES}
        frames = rng.normal(size=(sum(self.lengths.values()), DIM)).astype(np.float32)
        ends = np.cumsum([*self.lengths.values()])
        self.matrices = dict(zip(NAMES, np.split(frames, ends[:-1]), strict=True))
        np.save(self.features / "train.npy", frames)
        self.write("train.lengths", [str(n) for n in self.lengths.values()])
        self.write("train.emo", [f"{name}\t{label}" for name, label in self.labels.items()])
        lines = sorted(f"{name} {label}\n" for name, label in self.labels.items())
        digest = hashlib.sha256("".join(lines).encode()).hexdigest()
        expect = {"expect": {"4": {"total": len(NAMES), "sha256": digest}}}
        shutil.copytree(RECIPE / "conf" / "labels", root / "conf" / "labels")
        (root / "conf" / "corpus.yaml").write_text(yaml.safe_dump(expect))
        self.data, self.dump = root / "data" / "all", root / "dump" / "emotion2vec"

    def write(self, name: str, lines: list[str]) -> None:
        (self.features / name).write_text("".join(f"{line}\n" for line in lines))

    def run(self, *options: str) -> None:
        names = RECIPE / "local" / "prepare_iemocap.py"
        import_emotion2vec.main([
            "--names", str(names), "--dim", str(DIM), "--conf", str(self.root / "conf"),
            "--data_dir", str(self.data), *options, str(self.features), str(self.dump),
        ])  # fmt: skip


@pytest.fixture
def published(tmp_path: Path) -> Published:
    return Published(tmp_path)


def test_every_frame_and_every_table(published: Published) -> None:
    published.run()
    data = DataDir.load(published.data, needed=())
    ids = {f"{name[:5]}{name.split('_')[-1][0]}-{name}": name for name in NAMES}
    assert data.utterances == sorted(ids)
    assert data.table("utt2emo") == {u: published.labels[name] for u, name in ids.items()}
    assert data.utt2spk["Ses02M-Ses02F_impro05a_M003"] == "Ses02M"
    assert data.table("utt2session")["Ses02M-Ses02F_impro05a_M003"] == "Ses02"
    assert data.table("utt2type")["Ses03F-Ses03M_script01_1b_F009"] == "script"
    assert data.table("utt2dialogue")["Ses03F-Ses03M_script01_1b_F009"] == "Ses03M_script01_1b"
    for u, name in ids.items():
        assert data.utt2dur[u] == pytest.approx(0.02 * published.lengths[name])
    assert set(data.text.values()) == {"..."}
    assert not (published.data / "wav.scp").exists()
    validate(published.data, Checks(feats=False, wav=False))
    matrices = load_features(published.dump / "feats.scp", ids)
    for u, name in ids.items():
        np.testing.assert_array_equal(matrices[u], published.matrices[name])
    frames = read_table(published.dump / "utt2num_frames")
    assert frames == {u: str(published.lengths[name]) for u, name in ids.items()}
    front = yaml.safe_load((published.dump / "frontend.yaml").read_text())
    model = "emotion2vec/emotion2vec_base (features published by its authors)"
    sha = hashlib.sha256((published.features / "train.npy").read_bytes()).hexdigest()
    assert front == {
        "kind": "audio", "name": "emotion2vec", "model": model, "revision": None, "layer": None,
        "dim": DIM, "frame_shift": 0.02, "sample_rate": 16000, "weights": f"train.npy {sha}",
        "layers": 1, "exposure": "audio",
    }  # fmt: skip


def test_training_from_them(published: Published) -> None:
    published.run()
    root = published.root
    folds.main(["--data", str(published.data), "--out", str(root / "data" / "folds"), "session"])
    options = {f"{name}dir": str(root / name) for name in ("data", "dump", "exp")}
    options |= {"stage": "5", "systems": "audio"}
    options |= {"train_args": "hidden=4 channels=4 features=3 batch_size=8 epochs=1"}
    plan = StudyPlan(read_request(options, RECIPE, root))
    write_experiments(plan)
    directory = trainings(plan)[0].directory
    assert directory.parent == root / "exp" / "cfia_net_emotion2vec" / "session"
    train.main(command(directory))
    posteriors.main(command(directory))
    lines = (directory / "posteriors.tsv").read_text().splitlines()
    assert len(lines) == 1 + len(NAMES) // 3
    assert "published by its authors" in (directory / "provenance.yaml").read_text()


def test_run_again_and_with_other_files(
    published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    published.run()
    before = tree(published.root)
    caplog.clear()
    published.run()
    assert caplog.messages == [
        f"{published.data}: already made, skipping", f"{published.dump}: already made, skipping",
    ]  # fmt: skip
    assert tree(published.root) == before
    np.save(published.features / "train.npy", 2 * np.load(published.features / "train.npy"))
    with pytest.raises(UserError, match=r"its input train\.npy has changed"):
        published.run()
    published.run("--force", "true")
    matrices = load_features(published.dump / "feats.scp", [FIRST])
    np.testing.assert_array_equal(matrices[FIRST], 2 * published.matrices[FIRST.split("-")[1]])


def test_labels_may_be_words_and_frames_of_another_type(published: Published) -> None:
    words = {"ang": "angry", "hap": "happy", "neu": "neutral", "sad": "sad"}
    published.write("train.emo", [f"{u}\t{words[e]}" for u, e in published.labels.items()])
    half = np.load(published.features / "train.npy").astype(np.float16)
    np.save(published.features / "train.npy", half)
    published.run()
    matrices = load_features(published.dump / "feats.scp", [FIRST])
    expected = published.matrices[FIRST.split("-")[1]].astype(np.float16)
    np.testing.assert_array_equal(matrices[FIRST], expected)


def test_a_text_file(published: Published) -> None:
    text = published.root / "text"
    text.write_text("".join(f"{name} words of {name}\n" for name in sorted(NAMES)))
    published.run("--text_file", str(text))
    data = DataDir.load(published.data, needed=())
    assert data.text[FIRST] == f"words of {FIRST.split('-')[1]}"


def test_beside_the_data_directory_of_stage_1(published: Published) -> None:
    published.run()
    marker.finish(published.data, {"corpus_dir": "x"}, {})
    shutil.rmtree(published.dump)
    before = tree(published.data)
    published.run()
    assert tree(published.data) == before
    assert (published.dump / "feats.scp").exists()
    shutil.rmtree(published.dump)
    labels = published.data / "utt2emo"
    labels.write_text(labels.read_text().replace("sad", "neu"))
    marker.finish(published.data, {"corpus_dir": "x"}, {})
    with pytest.raises(UserError, match="other utterances or labels than the features"):
        published.run()
    assert not published.dump.exists()


def test_extraction_refuses_what_was_imported(published: Published) -> None:
    published.run()
    before = tree(published.dump)
    arguments = ["--modality", "audio", "--upstream", "fbank", "--data", str(published.data)]
    arguments += ["--dir", str(published.dump), "--model", "", "--nj", "1"]
    with pytest.raises(UserError, match=r"wav\.scp"):
        dump_plan.main(arguments)
    assert tree(published.dump) == before


def change_lines(
    name: str, change: Callable[[list[str]], list[str]]
) -> Callable[[Published], None]:
    def damage(published: Published) -> None:
        published.write(name, change((published.features / name).read_text().splitlines()))

    return damage


def save(frames: Callable[[np.ndarray], np.ndarray]) -> Callable[[Published], None]:
    def damage(published: Published) -> None:
        path = published.features / "train.npy"
        np.save(path, frames(np.load(path)), allow_pickle=True)

    return damage


def cut(published: Published) -> None:
    path = published.features / "train.npy"
    path.write_bytes(path.read_bytes()[:-7])


def with_nan(frames: np.ndarray) -> np.ndarray:
    frames[0, 0] = np.nan
    return frames


DAMAGE: list[tuple[str, Callable[[Published], object], str]] = [
    (
        "no lengths",
        lambda p: (p.features / "train.lengths").unlink(),
        r"no such file .*train\.lengths; give the directory",
    ),
    ("a line of lengths lost", change_lines("train.lengths", lambda x: x[1:]), "has 47 lines"),
    (
        "a length that is off",
        change_lines("train.lengths", lambda x: [*x[1:], "99"]),
        r"add up to \d+ and train\.npy has \d+ frames",
    ),
    ("no frames", change_lines("train.lengths", lambda x: ["0", *x[1:]]), "line 1: '0' is no"),
    (
        "labels in another order",
        change_lines(
            "train.emo",
            lambda x: [f"{n}\t{e}" for n, e in zip(NAMES, [*CLASSES[1:], "ang"] * 12, strict=True)],
        ),
        "sha256: .* expected, .* found; get the file again",
    ),
    (
        "an utterance lost",
        lambda p: (
            change_lines("train.emo", lambda x: x[1:])(p),
            change_lines("train.lengths", lambda x: x[1:])(p),
            save(lambda x: x[p.lengths[NAMES[0]] :])(p),
        ),
        "total: 48 expected, 47 found",
    ),
    ("a label that is none", change_lines("train.emo", lambda x: [*x[:-1], f"{NAMES[-1]}\tfru"]),
     "line 48: .* is not an utterance, a tab and one of ang, hap, neu, sad"),
    ("a name that is none", change_lines("train.emo", lambda x: ["a_b\tang", *x[1:]]),
     "line 1: 'a_b' is not the name"),
    ("an utterance twice", change_lines("train.emo", lambda x: [*x[:-1], x[0]]), "and again in"),
    ("narrow frames", save(lambda x: x[:, 1:]), r"of the shape \(\d+, 5\), not frames of 6"),
    ("one column", save(lambda x: x[:, 0]), "not frames of 6"),
    ("whole numbers", save(lambda x: x.astype(np.int16)), "holds int16"),
    ("a pickle", save(lambda x: x.astype(object)), "is not a whole array"),
    ("a cut file", cut, "is not a whole array"),
    ("no array", lambda p: p.write("train.npy", ["x"]), "is not a whole array"),
    ("not a number", save(with_nan), f"a frame of Ses01F-{NAMES[0]} is not finite"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "damage", "message"), DAMAGE, ids=[d[0] for d in DAMAGE])
def test_what_is_not_as_published(
    published: Published, what: str, damage: Callable[[Published], object], message: str
) -> None:
    damage(published)
    with pytest.raises(UserError, match=message) as error:
        published.run()
    assert "\n" not in str(error.value)
    assert not published.dump.exists()
    assert not list(published.root.glob("dump/.*"))


def test_what_others_made_is_not_replaced(published: Published) -> None:
    for directory in (published.data, published.dump):
        directory.mkdir(parents=True)
        (directory / "precious").write_text("x")
        with pytest.raises(UserError, match="holds precious but no marker"):
            published.run("--force", "true")
        (directory / "precious").unlink()


def test_the_shell_script(published: Published) -> None:
    np.save(published.features / "train.npy", np.zeros((sum(published.lengths.values()), 768)))
    path = f"{ROOT / 'utils'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = str(RECIPE / "local" / "import_emotion2vec_features.sh")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", script, *arguments],
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
            cwd=published.root,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run(published.features.name, "dump/emotion2vec")
    assert done.returncode == 0, done.stderr
    assert len(DataDir.load(published.data, needed=()).utterances) == len(NAMES)
    assert "every text in data/all is ..." in done.stderr
    assert run("--help").stdout.startswith("Usage: local/import_emotion2vec_features.sh")
    assert run("one").returncode == 2
