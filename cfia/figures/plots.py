"""Figures of one experiment: confusion matrix, learning curves, growth of the consistency terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cfia.experiment import ORACLE, SHARES_SPEAKERS, in_brackets
from cfia.figures.style import BLUE, VERMILION, Drawing, finish, new_figure, plain_axes, style
from cfia.metrics import Counts, ua, wa
from cfia.scoring.outputs import Outputs
from cfia.scoring.trained import TrainedExperiment
from cfia.training.history import HISTORY, History, read_history
from cfia.training.training import SELECTION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING: dict[str, Any] = {"color": BLUE, "ls": "-"}
VALIDATION: dict[str, Any] = {"color": VERMILION, "ls": "--"}
SELECTED: dict[str, Any] = {
    "color": VERMILION, "ls": "", "marker": "o", "ms": 4, "mec": "black", "zorder": 3,
}  # fmt: skip
_ROOMY = 10  # classes that a confusion matrix has room for with counts
_LONGEST = 16  # letters of a class's name that an axis has room for
THIN: dict[str, Any] = {"lw": 0.8, "alpha": 0.35}
THICK: dict[str, Any] = {"lw": 2.2, "zorder": 2.5}  # above all thin lines, below the dots


def plot_confusion(trained: TrainedExperiment, outputs: Outputs) -> Drawing:
    """Draw the pooled confusion matrix: percent of each reference class, and utterances.

    Counts are sums over the seeds, whose networks' UA and WA have those of the sum as their mean.
    """
    counts = outputs.confusions(outputs.utts).sum((0, 1))
    k = len(counts)
    with style():
        scores = f"UA {float(ua(counts)):.2f} %, WA {float(wa(counts)):.2f} %, n = "
        scores += outputs.times_seeds
        wide, high = (0.85, 0.75) if k <= _ROOMY else (0.46, 0.4)
        figure = new_figure(2.6 + wide * k, 2.3 + high * k, trained.title, scores)
        _draw_confusion(figure, counts, outputs.classes)
        return finish(figure)


def _draw_confusion(figure: Figure, counts: Counts, classes: Sequence[str]) -> None:
    axes = figure.add_subplot()
    references = counts.sum(1, keepdims=True)
    share = 100 * counts / np.maximum(references, 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(counts.shape):
        known, count = bool(references[i, 0]), int(counts[i, j])
        text, size = _cell(share[i, j], count, known=known, k=len(classes))
        colour = "white" if share[i, j] > 70 else "black"
        axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=size)
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in classes]
    positions = np.arange(len(classes))
    rotation = 0 if max(len(name) for name in names) <= 6 else 35
    rotation = 90 if len(classes) > _ROOMY else rotation
    anchor: dict[str, Any] = {"ha": "right", "rotation_mode": "anchor"} if rotation else {}
    anchor |= {"va": "center"} if rotation == 90 else {}
    axes.set_xticks(positions, names, rotation=rotation, **anchor)
    axes.set_yticks(positions, names)
    axes.set(xlabel="recognised as", ylabel="reference")
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("% of the reference class")


def _cell(share: float, count: int, *, known: bool, k: int) -> tuple[str, int]:
    """Write a cell and choose the size of its letters: with many classes whole percents alone."""
    if k <= _ROOMY:
        return (f"{share:.1f}\n({count})" if known else "–"), 9
    if not known:
        return "–", 8
    return (f"{share:.0f}" if share >= 1 else "<1" if count else ""), 8


def plot_learning_curves(trained: TrainedExperiment) -> Drawing | None:
    """Draw loss and UA by epoch, a dot at the epoch selected; None without a history.csv.

    A thin line for each fold and seed, a thick one for the median of those that still train. Where
    no part validates, there is the training's loss alone. Of a probe they are drawn by its C.
    """
    histories = _histories(trained)
    if not histories:
        return None
    with style():
        validated = trained.experiment.validated
        width = 9 if validated else 5.2
        figure = new_figure(width, 4.1, trained.title, _folds_and_seeds(trained))
        part = f"test ({ORACLE})" if trained.oracle else "validation"
        words = in_brackets([SHARES_SPEAKERS] if trained.validation_shared else [])
        taken = part if validated else ""
        _draw_curves(figure, histories, taken, words, by_epoch=trained.experiment.seeded)
        return finish(figure)


def plot_consistency(trained: TrainedExperiment) -> Drawing | None:
    """Draw the consistency terms by epoch: their value, and the size of their gradient.

    A thin line for each fold and seed, a thick one for the median of those that still train.
    None where no fold has a history.csv, or the loss has no consistency terms.
    """
    histories = _histories(trained)
    if not any(np.any(history.get("train_con", 0)) for history in histories):
        return None
    with style():
        figure = new_figure(9, 3.8, trained.title, _folds_and_seeds(trained))
        axes = figure.subplots(1, 2)
        ylabels = ("consistency loss, weighted", "gradient (cross entropy: 1)")
        for ax, key, ylabel in zip(axes, ("train_con", "con_grad_ratio"), ylabels, strict=True):
            _draw_lines(ax, histories, key, TRAINING)
            ax.set(ylabel=ylabel)
            ax.set_ylim(bottom=0)
            ax.ticklabel_format(axis="y", scilimits=(-2, 3))
        _steps_on_x(axes, by_epoch=True)
        handles = [
            *axes[0].plot([], [], **TRAINING, **THIN, label="one fold and seed"),
            *axes[0].plot([], [], **TRAINING, **THICK, label="median"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        return finish(figure)


def _draw_lines(
    axes: Axes, histories: Sequence[History], key: str, line: Mapping[str, Any]
) -> None:
    """Draw a thin line for each training, and a thick one for the median at each epoch."""
    longest = max((history[STEP] for history in histories), key=len)
    values = np.full((len(histories), len(longest)), np.nan)
    for row, history in zip(values, histories, strict=True):
        row[: len(history[key])] = history[key]
        axes.plot(history[STEP], history[key], **line, **THIN)
    # Every epoch has at least one training, the longest.
    marker: dict[str, Any] = {"marker": "s", "ms": 4} if len(longest) == 1 else {}
    axes.plot(longest, np.nanmedian(values, axis=0), **line, **THICK, **marker)


STEP = "step"  # in a history: what its rows are of, the epochs or a probe's C
_COLUMNS = ("train_loss", "valid_loss", "valid_ua", "selected")
_OF_NETWORKS = ("train_con", "con_grad_ratio")
_VALIDATED = ("valid_loss", "valid_ua")  # not there where no part validates


def _histories(trained: TrainedExperiment) -> list[History]:
    place = SELECTION if trained.experiment.refit else ""  # of a second training nothing is scored
    paths = [training.directory / place / HISTORY for training in trained.trainings]
    left_out = () if trained.experiment.validated else _VALIDATED
    seeded = trained.experiment.seeded
    columns = ["epoch", *_OF_NETWORKS] if seeded else ["probe_c"]
    columns += [name for name in _COLUMNS if name not in left_out]
    histories = [read_history(path, columns) for path in paths if path.exists()]
    return [{STEP: history[columns[0]], **history} for history in histories]


def _folds_and_seeds(trained: TrainedExperiment) -> str:
    folds = {training.fold for training in trained.trainings}
    if not trained.experiment.seeded:
        return f"folds: {len(folds)}, no seeds"
    seeds = {training.seed for training in trained.trainings}
    return f"folds: {len(folds)}, seeds: {len(seeds)}"


def _steps_on_x(axes: Iterable[Axes], *, by_epoch: bool) -> None:
    """Lay out x axes for epochs, or for a probe's C, whose steps are factors."""
    from matplotlib.ticker import MaxNLocator

    plain_axes(*axes)
    for ax in axes:
        ax.set_xlabel("epoch" if by_epoch else "C")
        if by_epoch:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()


def _draw_curves(
    figure: Figure, histories: Sequence[History], part: str, words: str, *, by_epoch: bool
) -> None:
    """Draw loss and UA; `part` is what they are of beside the training, "" for nothing."""
    loss, *others = figure.subplots(1, 2 if part else 1, squeeze=False)[0]
    loss.set(ylabel="loss")
    _steps_on_x([loss, *others], by_epoch=by_epoch)
    _draw_lines(loss, histories, "train_loss", TRAINING)
    handles = loss.plot([], [], **TRAINING, **THICK, label="training")
    for score in others:
        score.set(ylabel=f"UA on {part}, %")
        for axes, name in ((loss, "valid_loss"), (score, "valid_ua")):
            _draw_lines(axes, histories, name, VALIDATION)
            for history in histories:
                chosen = history["selected"] > 0
                axes.plot(history[STEP][chosen], history[name][chosen], **SELECTED)
        handles += loss.plot([], [], **VALIDATION, **THICK, label=f"{part}{words}")
        handles += loss.plot(
            [], [], **SELECTED, label="epoch selected" if by_epoch else "C selected"
        )
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
