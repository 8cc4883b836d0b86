"""Figures: the same bytes for the same runs, and something to see in them."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cfia.config import write_yaml
from cfia.errors import UserError
from cfia.kaldi.table import write_table
from cfia.posteriors import write_posteriors
from cfia.scoring.plots import plot_confusion, plot_learning_curves
from cfia.scoring.runs import Run, find_runs, load

HEAD = "epoch,lr,train_loss,train_ce,train_con,con_share,valid_loss,valid_wa,valid_ua,selected"


def make(
    tmp: Path,
    classes: Sequence[str],
    counts: npt.ArrayLike,
    *,
    system: str = "net_fbank",
    n_epochs: int = 12,
    seeds: Sequence[int] = (1,),
    **config: Any,
) -> Run:
    """A run of one fold whose confusion matrix is `counts`."""
    pairs = [(i, j) for (i, j), n in np.ndenumerate(np.asarray(counts)) for _ in range(int(n))]
    utts = [f"s{n % 3}-{n:04d}" for n in range(len(pairs))]
    (tmp / "data").mkdir(exist_ok=True)
    write_table(tmp / "data" / "utt2spk", {utt: utt[:2] for utt in utts})
    for seed in seeds:
        directory = tmp / "exp" / system / "session" / f"fold1_seed{seed}"
        directory.mkdir(parents=True)
        refs = [classes[i] for i, _ in pairs]
        probs = np.eye(len(classes))[[j for _, j in pairs]]
        write_posteriors(directory / "posteriors.tsv", list(classes), utts, refs, probs)
        facts = {
            "cv": "session", "validation": "random20", "selection": "valid", "labels": "",
            "corpus": "made_up", "text_tags": "strip", "data": str(tmp / "data"), "folds": 1,
        }  # fmt: skip
        write_yaml(directory / "config.yaml", {**facts, **config})
        rng = np.random.default_rng(seed)
        ua = 60 - 30 / np.arange(1, n_epochs + 1) + rng.normal(0, 1, n_epochs)
        best = ua.argmax()
        rows = [
            f"{e + 1},1e-4,{1.4 / (e + 1)},0,0,0,{1 + 0.4 / (e + 1)},50,{ua[e]},{int(e == best)}"
            for e in range(n_epochs)
        ]
        (directory / "history.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (run,) = (run for run in find_runs(tmp / "exp") if run.system == system)
    return run


def pixels(png: bytes) -> npt.NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.int64)


FOUR = ["ang", "hap", "neu", "sad"]
COUNTS = [[8, 1, 1, 0], [2, 6, 2, 0], [0, 1, 9, 2], [0, 0, 3, 5]]


def test_the_same_run_gives_the_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS)
    confusion, curves = plot_confusion(run, load(run)), plot_learning_curves(run)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}):
        assert plot_confusion(run, load(run)) == confusion
        assert plot_learning_curves(run) == curves
    for png in (confusion, curves):
        assert png is not None
        info = Image.open(io.BytesIO(png)).info
        assert set(info) <= {"dpi"}, "no dates, no versions"


def test_cells_have_the_colour_of_their_share(tmp_path: Path) -> None:
    run = make(tmp_path, ["a", "b"], [[10, 0], [5, 5]])
    image = pixels(plot_confusion(run, load(run)))
    area = {}
    for share in (0.0, 0.5, 1.0):
        colour = np.round(255 * np.array(mpl.colormaps["Blues"](share)[:3]))
        area[share] = int((abs(image - colour).max(-1) <= 1).sum())
    assert area[1.0] > 10_000
    assert area[0.0] == pytest.approx(area[1.0], rel=0.1)
    assert area[0.5] == pytest.approx(2 * area[1.0], rel=0.1)


@pytest.mark.parametrize(
    ("classes", "system"),
    [
        (FOUR, "x" * 90),
        (["$a_b$", "überrascht_und_mehr", "Angst", "Ekel", "Freude", "Langeweile", "Wut"], "net"),
    ],
)
def test_long_and_odd_names_are_drawn_without_a_warning(
    tmp_path: Path, classes: list[str], system: str
) -> None:
    counts = np.diag(np.arange(3, 3 + len(classes))) + 1
    counts[0] = 0  # and a class without references
    run = make(tmp_path, classes, counts, system=system)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = pixels(plot_confusion(run, load(run)))
        assert plot_learning_curves(run) is not None
    # Nothing is cut: the border of the image is white.
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge == 255).all()


def test_seeds_and_trainings_of_one_epoch(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS, n_epochs=1, seeds=(1, 2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plot_learning_curves(run) is not None
    for part in run.parts:
        (part.directory / "history.csv").unlink()
    assert plot_learning_curves(run) is None


def test_a_broken_history_is_named(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS)
    path = run.parts[0].directory / "history.csv"
    path.write_text(path.read_text().replace("valid_ua", "ua"))
    with pytest.raises(UserError, match=r"fold1_seed1/history.csv must have the columns"):
        plot_learning_curves(run)
