"""Kaldi features from elsewhere: a dump that the stages take, under a name of the user's."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import yaml

from cfia.bin import dump_plan, folds, import_features, train
from cfia.errors import UserError
from cfia.kaldi.data_dir import write_data_dir
from cfia.study.request import read_request
from cfia.study.study_plan import StudyPlan
from cfia.study.tasks import trainings, write_experiments
from tests.support.archives import load_features
from tests.support.experiment import command
from tests.support.iemocap_tree import RECIPE

UTTS = [f"Ses0{s}{g}-{i}" for s in (1, 2, 3) for g in "FM" for i in range(8)]
DIM = 5


class Elsewhere:
    """A data directory, and features of its utterances that Kaldi might have made."""

    def __init__(self, root: Path) -> None:
        self.root, self.data, self.dump = root, root / "data" / "all", root / "dump" / "mfcc"
        rng = np.random.default_rng(5)
        self.frames = {utt: int(rng.integers(40, 90)) for utt in UTTS}
        self.matrices = {
            utt: rng.normal(size=(n, DIM)).astype(np.float32) for utt, n in self.frames.items()
        }
        tables = {
            "utt2spk": {utt: utt[:6] for utt in UTTS},
            "utt2emo": {utt: ("ang", "hap", "neu", "sad")[int(utt[-1]) % 4] for utt in UTTS},
            "utt2session": {utt: utt[:5] for utt in UTTS},
            "text": dict.fromkeys(UTTS, "so it goes"),
            # A window of 25 ms every 10 ms, whose last begins where the audio still has 25 ms.
            "utt2dur": {utt: f"{0.01 * (n - 1) + 0.025:.3f}" for utt, n in self.frames.items()},
        }
        options = {"labels": "4", "text_tags": "strip"}
        write_data_dir(self.data, tables, options, {}, wav=False)
        self.scp = root / "kaldi" / "feats.scp"
        self.scp.parent.mkdir()
        self.save(self.matrices)

    def save(self, matrices: dict[str, np.ndarray], compression: int | None = None) -> None:
        """As `copy-feats` writes them, in an order of its own."""
        kaldiio.save_ark(
            str(self.scp.with_suffix(".ark")), dict(reversed(matrices.items())),
            scp=str(self.scp), compression_method=compression,
        )  # fmt: skip

    def run(self, *options: str) -> None:
        import_features.main([
            "--scp", str(self.scp), "--name", "mfcc", "--modality", "audio",
            "--dir", str(self.dump), *options,
        ])  # fmt: skip

    def frontend(self) -> dict[str, object]:
        return dict(yaml.safe_load((self.dump / "frontend.yaml").read_text()))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path)


@pytest.mark.parametrize("link", ["false", "true"])
def test_the_same_matrices_and_what_is_known_of_them(elsewhere: Elsewhere, link: str) -> None:
    elsewhere.run("--data", str(elsewhere.data), "--link", link)
    found = load_features(elsewhere.dump / "feats.scp", UTTS)
    for utt in UTTS:
        np.testing.assert_array_equal(found[utt], elsewhere.matrices[utt])
    front = elsewhere.frontend()
    assert (front["kind"], front["name"], front["dim"]) == ("audio", "mfcc", DIM)
    assert front["frame_shift"] == 0.01
    assert front["exposure"] == "unknown"
    (archive,) = elsewhere.dump.glob("*.ark")
    assert archive.is_symlink() == (link == "true")


def test_vectors_are_one_frame_and_have_no_frame_shift(elsewhere: Elsewhere) -> None:
    vectors = {utt: matrix.mean(0) for utt, matrix in elsewhere.matrices.items()}
    elsewhere.save(vectors)
    with pytest.raises(UserError, match="a vector, not a matrix; import it without --link"):
        elsewhere.run("--link", "true")
    elsewhere.run()
    found = load_features(elsewhere.dump / "feats.scp", UTTS)
    for utt in UTTS:
        np.testing.assert_array_equal(found[utt], vectors[utt][None])
    assert elsewhere.frontend()["frame_shift"] is None


def test_where_the_frame_shift_is_from(elsewhere: Elsewhere) -> None:
    with pytest.raises(UserError, match=r"how many seconds .* give --frame_shift, such as 0\.01"):
        elsewhere.run()
    assert not elsewhere.dump.exists()
    elsewhere.run("--frame_shift", "0.02")
    assert elsewhere.frontend()["frame_shift"] == 0.02
    (elsewhere.scp.parent / "frame_shift").write_text("0.0125\n")
    elsewhere.run("--force", "true")
    assert elsewhere.frontend()["frame_shift"] == 0.0125


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.ark:x", "not <archive>:<offset>"),
        ("copy-feats a.ark ark:- |", "convert them with Kaldi's copy-feats"),
        ("gone.ark:7", r"the archive gone\.ark, which is not there"),
        ("{ark}:3", "holds no whole matrix"),
    ],
)
def test_a_line_that_points_nowhere(elsewhere: Elsewhere, line: str, message: str) -> None:
    ark = elsewhere.scp.with_suffix(".ark")
    elsewhere.scp.write_text(f"{UTTS[0]} {line.format(ark=ark)}\n")
    with pytest.raises(UserError, match=message):
        elsewhere.run("--frame_shift", "0.01")
    assert not elsewhere.dump.exists()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.full((3, DIM), np.nan), "is not finite"),
        (np.zeros((3, DIM + 1)), f"have {DIM + 1} dimensions and those of .* {DIM}"),
        (np.zeros((0, DIM)), "are empty"),
    ],
)
def test_a_matrix_that_cannot_be_right(elsewhere: Elsewhere, bad: np.ndarray, message: str) -> None:
    elsewhere.save({**elsewhere.matrices, UTTS[7]: bad.astype(np.float32)})
    with pytest.raises(UserError, match=f"{UTTS[7]} .*{message}|{message}"):
        elsewhere.run("--frame_shift", "0.01")
    assert not elsewhere.dump.exists()


def test_a_name_that_an_encoder_of_ours_has(elsewhere: Elsewhere) -> None:
    with pytest.raises(UserError, match="choose another name, such as my_fbank"):
        elsewhere.run("--name", "fbank")


def test_utterances_without_features(elsewhere: Elsewhere) -> None:
    some = {utt: elsewhere.matrices[utt] for utt in UTTS if utt != UTTS[3]}
    elsewhere.save(some)
    data = ("--data", str(elsewhere.data))
    with pytest.raises(UserError, match=f"lacks {UTTS[3]} .*--skip_bad true leaves them out"):
        elsewhere.run(*data)
    elsewhere.run(*data, "--skip_bad", "true")  # what the message says
    assert (elsewhere.dump / "skipped").read_text().startswith(f"{UTTS[3]} ")
    elsewhere.save({utt: some[utt] for utt in UTTS[10:]})
    with pytest.raises(UserError, match=r"lacks .* \(one of 10 of 48\)$"):
        elsewhere.run(*data, "--skip_bad", "true", "--force", "true")


def stage_3(elsewhere: Elsewhere, upstream: str = "mfcc") -> None:
    dump_plan.main([
        "--modality", "audio", "--upstream", upstream, "--data", str(elsewhere.data),
        "--dir", str(elsewhere.dump), "--model", "", "--force", "true",
    ])  # fmt: skip


def test_the_stages_take_it(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = elsewhere.root
    options = {f"{name}dir": str(root / name) for name in ("data", "dump", "exp")}
    options |= {"stage": "2", "systems": "audio", "audio_upstream": "mfcc"}
    options |= {"train_args": "hidden=4 channels=4 features=3 batch_size=8 epochs=1"}
    with pytest.raises(UserError, match="--audio_upstream is 'mfcc'; legal values are"):
        read_request(options, RECIPE, root)
    elsewhere.run("--data", str(elsewhere.data))
    for wrong in ({"audio_model": "x/y"}, {"audio_layer": "3"}):
        with pytest.raises(UserError, match=f"--{next(iter(wrong))} is .*mfcc"):
            read_request({**options, **wrong}, RECIPE, root)
    request = read_request(options, RECIPE, root)
    stage_3(elsewhere)
    assert capsys.readouterr().out == "0\n"  # no job: it is kept, forced or not
    folds.main(["--data", str(elsewhere.data), "--out", str(root / "data/folds"), "session"])
    plan = StudyPlan(request)
    write_experiments(plan)
    directory = trainings(plan)[0].directory
    assert directory.parent == root / "exp" / "cfia_net_mfcc" / "session"
    train.main(command(directory))
    assert yaml.safe_load((directory / "provenance.yaml").read_text())["audio"]["name"] == "mfcc"
    # An archive that changes is noticed, and what the message says helps.
    (archive,) = elsewhere.dump.glob("*.ark")
    data = bytearray(archive.read_bytes())
    data[-1] ^= 1
    archive.write_bytes(data)
    stages: list[Callable[[], None]] = [
        lambda: stage_3(elsewhere),
        lambda: write_experiments(plan),
    ]
    for stage in stages:
        with pytest.raises(UserError) as error:
            stage()
        assert "run `cfia import_features` with --force true" in str(error.value)
    elsewhere.run("--data", str(elsewhere.data), "--force", "true")
    write_experiments(plan)
    assert trainings(plan)[0].directory == directory


def test_a_linked_archive_that_changes_is_noticed(elsewhere: Elsewhere) -> None:
    elsewhere.run("--data", str(elsewhere.data), "--link", "true")
    elsewhere.save({utt: 2 * matrix for utt, matrix in elsewhere.matrices.items()})
    with pytest.raises(UserError, match=r"raw_mfcc\.1\.ark .*run `cfia import_features` with"):
        stage_3(elsewhere)


def test_another_label_set_needs_a_dump_of_its_own(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere.run("--data", str(elsewhere.data))
    elsewhere.dump = elsewhere.dump.with_name("mfcc_6")
    with pytest.raises(SystemExit):
        stage_3(elsewhere)
    message = " ".join(capsys.readouterr().err.split())
    assert f"{elsewhere.dump} holds no features that were imported under that name" in message


def test_the_example_of_the_help_runs(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(elsewhere.root)
    (elsewhere.root / "feats.scp").write_bytes(elsewhere.scp.read_bytes())
    first, *_ = import_features.EXAMPLE.splitlines()
    import_features.main(shlex.split(first)[2:])
    assert elsewhere.dump.is_dir()


def test_a_name_that_no_path_may_have(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("..", "a/b", "my mfcc", "mfcc(1)", ""):
        with pytest.raises(SystemExit) as stopped:
            elsewhere.run("--name", name)
        assert stopped.value.code == 2
        assert "argument --name: this would give a directory the name" in capsys.readouterr().err
