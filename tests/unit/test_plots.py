"""Figures: the same bytes for the same runs, and something to see in them."""

from __future__ import annotations

import dataclasses
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from PIL import Image

from cfia.errors import UserError
from cfia.figures import fonts
from cfia.figures.calibration import plot_reliability, reliability
from cfia.figures.dots import Dots, plot_dots
from cfia.figures.plots import plot_confusion, plot_consistency, plot_learning_curves
from cfia.figures.style import Drawing
from cfia.kaldi.table import write_table
from cfia.posteriors import Posteriors, write_posteriors
from cfia.scoring.cells import Estimate
from cfia.scoring.outputs import load
from cfia.scoring.trained import TrainedExperiment, find_trained
from tests.support.made_up_experiments import mark, write_experiment, write_fold

CON = "1.5e-5,3e-5"  # value and share of the consistency terms
HEAD = "epoch,lr,train_loss,train_ce,train_con,con_grad_ratio,valid_loss,valid_wa,valid_ua,selected"


def make(
    tmp: Path,
    classes: Sequence[str],
    counts: npt.ArrayLike,
    *,
    system: str = "net_fbank",
    n_epochs: int = 12,
    seeds: Sequence[int] = (1,),
    **settings: Any,
) -> TrainedExperiment:
    """A run of one fold whose confusion matrix is `counts`."""
    pairs = [(i, j) for (i, j), n in np.ndenumerate(np.asarray(counts)) for _ in range(int(n))]
    utts = [f"s{n % 3}-{n:04d}" for n in range(len(pairs))]
    refs = [classes[i] for i, _ in pairs]
    (tmp / "data").mkdir(exist_ok=True)
    others = ["t-1", "t-2"]  # of one speaker, who is trained and validated on
    write_table(tmp / "data" / "utt2spk", {utt: utt.split("-")[0] for utt in [*utts, *others]})
    experiment = tmp / "exp" / system / "session"
    write_table(tmp / "data" / "utt2emo", dict(zip(utts, refs, strict=True)))
    write_fold(tmp / "folds" / "1", [*utts, *others], ["s0", "s1", "s2"])
    write_experiment(experiment, tmp / "data", tmp / "folds", **settings)
    for seed in seeds:
        directory = experiment / f"fold1_seed{seed}"
        directory.mkdir(parents=True)
        probs = np.eye(len(classes))[[j for _, j in pairs]]
        write_posteriors(directory / "posteriors.tsv", list(classes), utts, refs, probs)
        rng = np.random.default_rng(seed)
        ua = 60 - 30 / np.arange(1, n_epochs + 1) + rng.normal(0, 1, n_epochs)
        best = ua.argmax()
        rows = [
            f"{e + 1},1e-4,{1.4 / (e + 1)},0,{CON},{1 + 0.4 / (e + 1)},50,{ua[e]},{int(e == best)}"
            for e in range(n_epochs)
        ]
        (directory / "history.csv").write_text("\n".join([HEAD, *rows]) + "\n")
        (directory / "best.pt").touch()
    mark(experiment)
    (trained,) = (one for one in find_trained(tmp / "exp") if one.system == system)
    return trained


def pixels(drawing: Drawing) -> npt.NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(drawing.png)).convert("RGB"), np.int64)


def whole(drawing: Drawing) -> None:
    """Nothing is cut: the border of the image is white."""
    image = pixels(drawing)
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge == 255).all()


FOUR = ["ang", "hap", "neu", "sad"]
COUNTS = [[8, 1, 1, 0], [2, 6, 2, 0], [0, 1, 9, 2], [0, 0, 3, 5]]


def test_the_same_run_gives_the_same_bytes_whatever_the_users_settings(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS)
    confusion, curves = plot_confusion(run, load(run)), plot_learning_curves(run)
    with mpl.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}):
        assert plot_confusion(run, load(run)) == confusion
        assert plot_learning_curves(run) == curves
    for drawing in (confusion, curves):
        assert drawing is not None
        info = Image.open(io.BytesIO(drawing.png)).info
        assert set(info) <= {"dpi"}, "no dates, no versions"
        text = drawing.svg.decode()
        assert mpl.__version__ not in text
        assert "dc:date" not in text
        ElementTree.fromstring(text)


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


def test_figures_sum_over_the_seeds_and_say_so(tmp_path: Path) -> None:
    run = make(tmp_path, ["a", "b"], [[10, 2], [5, 5]], seeds=(1, 2, 3))
    path = run.trainings[2].directory / "posteriors.tsv"
    path.write_text(path.read_text().replace("\t1\t0\n", "\t0\t1\n"))  # the third: always b
    # Letters are drawn as outlines, with the words in a comment.
    confusion, reliability_ = (
        plot(run, load(run)).svg.decode() for plot in (plot_confusion, plot_reliability)
    )
    for count in (20, 16, 10, 20):
        assert f"({count})" in confusion
    recalls = np.mean([[10 / 12, 5 / 10], [10 / 12, 5 / 10], [0, 1]])
    assert f"UA {100 * recalls:.2f} %" in confusion
    assert "n = 22 × 3 seeds" in confusion
    assert "utterances: 22 × 3 seeds" in reliability_


@pytest.mark.parametrize(
    ("classes", "system"),
    [
        (FOUR, "x" * 90),
        (["$a_b$", "überrascht_und_mehr", "Angst", "Ekel", "Freude", "Langeweile", "Wut"], "net"),
        ([f"class {i}" for i in range(12)], "net"),
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
        whole(plot_confusion(run, load(run)))
        whole(plot_reliability(run, load(run)))
        for drawing in (plot_learning_curves(run), plot_consistency(run)):
            assert drawing is not None
            whole(drawing)


def test_seeds_and_trainings_of_one_epoch(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS, n_epochs=1, seeds=(1, 2, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plot_learning_curves(run) is not None
        assert plot_consistency(run) is not None
    for training in run.trainings:
        path = training.directory / "history.csv"
        path.write_text(path.read_text().replace(CON, "0,0"))
    assert plot_learning_curves(run) is not None
    assert plot_consistency(run) is None
    for training in run.trainings:
        (training.directory / "history.csv").unlink()
    assert plot_learning_curves(run) is None


def test_learning_curves_say_what_validates(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS)
    curves = plot_learning_curves(run)
    assert curves is not None
    assert "validation (shares speakers with training)" in curves.svg.decode()
    alone = make(tmp_path, FOUR, COUNTS, system="alone", validation="none", selection="last")
    for path in (tmp_path / "exp" / "alone").rglob("history.csv"):
        rows = [line.split(",") for line in path.read_text().splitlines()]
        path.write_text("".join(f"{','.join([*row[:6], row[9]])}\n" for row in rows))
    loss = plot_learning_curves(alone)
    assert loss is not None
    whole(loss)
    assert "UA on" in curves.svg.decode()
    assert not any(word in loss.svg.decode() for word in ("UA on", "validation"))


def test_curves_of_a_probe_are_by_its_c(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS, network="probe", consistency=[])
    for training in run.trainings:
        lines = ["probe_c,steps,train_loss,valid_loss,valid_wa,valid_ua,selected"]
        lines += [
            f"{c},9,{1 / k},{2 / k},50,{40 + k},{int(k == 2)}" for k, c in ((1, 0.001), (2, 1))
        ]
        (training.directory / "history.csv").write_text("\n".join(lines) + "\n")
    curves = plot_learning_curves(run)
    assert curves is not None
    words = re.findall("<!-- (.*?) -->", curves.svg.decode())
    assert {"C", "C selected", "0.001", "1"} <= set(words)
    assert "epoch" not in words
    assert plot_consistency(run) is None


def test_dots_that_tie_do_not_hide_each_other() -> None:
    """As many dots are white inside as there are folds, tied or not."""

    def white(folds: list[float], tested: list[str]) -> int:
        image = pixels(plot_dots("", [Dots("a", Estimate(60, 40, 80), folds, tested=tested)]))
        ring = (abs(image - 255 * 0.3) < 8).all(-1)
        return int(ring.sum())

    names = [f"{k}: s{k}" for k in range(1, 6)]
    for tested in ([], names):
        apart, tied = white([45, 50, 55, 65, 70], tested), white([50, 50.01, 50.02, 50, 65], tested)
        assert tied == pytest.approx(apart, rel=0.1)


def test_a_broken_history_is_named(tmp_path: Path) -> None:
    run = make(tmp_path, FOUR, COUNTS)
    path = run.trainings[0].directory / "history.csv"
    path.write_text(path.read_text().replace("valid_ua", "ua"))
    with pytest.raises(UserError, match=r"fold1_seed1/history.csv must have the columns"):
        plot_learning_curves(run)


@settings(max_examples=50)
@given(
    st.integers(1, 80),
    st.integers(2, 6),
    st.integers(1, 20),
    st.integers(1, 2),
    st.integers(0, 999),
)
def test_the_calibration_error_is_that_of_its_definition(
    n: int, k: int, bins: int, n_seeds: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(k, 0.5), n)
    probs[0] = np.eye(k)[0]  # wholly sure
    refs = rng.integers(0, k, n)
    names = [str(i) for i in range(k)]
    utts = [f"{i:02d}" for i in range(n)]
    seeds = [Posteriors("", names, utts, refs, p) for p in (probs, probs[::-1])][:n_seeds]
    found = reliability(seeds, bins)
    probs, refs = np.concatenate([p.probs for p in seeds]), np.tile(refs, n_seeds)
    n *= n_seeds
    error, sizes = 0.0, []
    for b in range(bins):
        here = [i for i in range(n) if b / bins < max(probs[i]) <= (b + 1) / bins]
        sizes.append(len(here))
        if here:
            right = np.mean([np.argmax(probs[i]) == refs[i] for i in here])
            sure = np.mean([max(probs[i]) for i in here])
            error += len(here) / n * abs(right - sure)
    assert found.n.tolist() == sizes
    assert found.ece == pytest.approx(error)


def test_dots_have_room_for_every_row() -> None:
    rows = [
        Dots("chance"),
        Dots("cfia_net_sum_con1_emotion2vec_base_bert_large_uncased_and_a_tag_of_ones_own (oracle)",
             Estimate(70, 60, 78), [61, 70, 70, 70, 81], [69, 70.5], [83.37]),
        *(Dots(f"system_{i}", Estimate(50 + i), [50.0]) for i in range(20)),
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few, many = plot_dots("One row", rows[1:2]), plot_dots("A table " * 30, rows)
    for drawing in (few, many):
        whole(drawing)
    assert plot_dots("One row", rows[1:2]) == few
    assert len(pixels(many)) > 3 * len(pixels(few))


def test_published_scores_are_open_marks_and_groups_have_headings() -> None:
    """Each score is a mark; a heading takes room of its own, once for all rows of a group."""

    def drawn(groups: str, published: Sequence[float]) -> Drawing:
        rows = [Dots(f"s{i}", Estimate(60, 50, 70), group=g) for i, g in enumerate(groups)]
        rows[0] = dataclasses.replace(rows[0], published=published)
        return plot_dots("", rows)

    def marks(drawing: Drawing) -> int:
        return drawing.svg.count(b"<use ")

    one, two = drawn("aab", [55]), drawn("aab", [55, 65])
    whole(two)
    assert marks(two) == marks(one) + 1
    line = (pixels(one) < 200).any(-1) & (pixels(one) != pixels(two)).any(-1)
    assert (pixels(two)[line] > 250).all(-1).sum() > 5, "white inside, where the interval was"
    alone = pixels(drawn("aaa", [55]))
    assert len(pixels(one)) - len(alone) > 20, "a second heading"


def test_names_in_chinese_are_drawn_in_a_font_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without such a font, boxes and a warning; who installs one, as it says, has the names."""
    monkeypatch.setattr(font_manager, "X11FontDirectories", [str(tmp_path / "fonts")])
    fonts._families.cache_clear()
    fonts._warn.cache_clear()
    run = make(tmp_path, ["快乐", "sad"], [[3, 1], [1, 3]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boxes = plot_confusion(run, load(run))
    (said,) = caplog.messages
    assert "no font on this machine has the characters 乐快" in said
    (tmp_path / "fonts").mkdir()
    write_font(tmp_path / "fonts" / "chinese.ttf", "快乐")
    fonts._families.cache_clear()
    names = plot_confusion(run, load(run))
    assert len(caplog.messages) == 1
    assert names is not None
    assert boxes is not None
    assert names.png != boxes.png
    assert names.svg != boxes.svg


def write_font(path: Path, characters: str) -> None:
    """A font in which each of the characters is a diamond."""
    builder = FontBuilder(1000, isTTF=True)
    glyphs = [".notdef", *(f"uni{ord(c):04X}" for c in characters)]
    builder.setupGlyphOrder(glyphs)
    builder.setupCharacterMap(dict(zip(map(ord, characters), glyphs[1:], strict=True)))
    pen = TTGlyphPen(None)
    pen.moveTo((500, 0))
    for corner in ((900, 400), (500, 800), (100, 400)):
        pen.lineTo(corner)
    pen.closePath()
    builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "TestChinese", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    builder.save(path)
