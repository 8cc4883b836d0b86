"""Fit the probe (`cfia.model.probe`) by scikit-learn's logistic regression, C by validation UA."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cfia.model import registry
from cfia.model.probe import Probe
from cfia.networks import ProbeConfig
from cfia.training import checkpoint
from cfia.training.dataset import Dataset
from cfia.training.evaluate import score
from cfia.training.history import HISTORY, Row, write_history
from cfia.training.loss import balanced_weights, objective
from cfia.training.trainer import (
    TrainerInputs,
    columns_in_words,
    scores_in_words,
)

log = logging.getLogger(__name__)

MOST_STEPS = 10000  # of L-BFGS; some dozens are enough for most C


def fit(inputs: TrainerInputs) -> None:
    """Fit a probe for each C, and write best.pt and history.csv, a row for each C in rising order.

    Of the C of the best UA on `inputs.select` it takes the smallest. Where nothing is selected, C
    is `probe_c`. A job that was killed begins anew; it ends with the same bytes.
    """
    from threadpoolctl import threadpool_limits

    checkpoint.remove_unfinished(inputs.directory)
    model = registry.build(
        inputs.train.dims(), len(inputs.classes), inputs.config.model, inputs.layers
    )
    assert isinstance(model, Probe)
    # numpy's threads are not torch's; with another number of them the last bits are others.
    with threadpool_limits(torch.get_num_threads()), torch.no_grad():
        best, history = _fit_all(model, inputs)
    content = checkpoint.Network(epoch=best, model=model.state_dict(), classes=inputs.classes)
    checkpoint.save(inputs.directory / "best.pt", content)
    write_history(inputs.directory / HISTORY, history, best)
    taken = f"C {history[best - 1]['probe_c']:g}"
    if inputs.select is None:
        log.info("%s is taken; no part validated", taken)
    else:
        words = scores_in_words(history[best - 1], inputs)
        log.info("%s, of %d by %s: %s", taken, len(history), inputs.selection, words)


def _fit_all(model: Probe, inputs: TrainerInputs) -> tuple[int, list[Row]]:
    """Give the model the weights of the best C; return which it is, from 1, and all rows."""
    x = _standardised(model, inputs.train)
    selecting = None if inputs.select is None else _standardised(model, inputs.select, fitted=True)
    history: list[Row] = []
    weights: list[dict[str, Tensor]] = []
    for fitted in _fits(x, inputs):
        _take(model, fitted)
        weights.append(
            {name: value.clone() for name, value in model.classifier.state_dict().items()}
        )
        history.append(_row(model, fitted, x, selecting, inputs))
        _report(history[-1], inputs)
    best = 1
    if len(history) > 1:
        uas = [row["valid_ua"] for row in history]
        best = uas.index(max(uas)) + 1
    model.classifier.load_state_dict(weights[best - 1])
    return best, history


def _standardised(model: Probe, data: Dataset, *, fitted: bool = False) -> Tensor:
    """Pool utterances one by one, and standardise them, (N, S).

    Unless `fitted`, mean and scale of the model are those of these utterances.
    """
    from sklearn.preprocessing import StandardScaler

    x = torch.empty(len(data), len(model.mean), dtype=torch.float64)
    for i in range(len(data)):
        x[i] = model.pool(data.batch([i]))[0]
    if not fitted:
        # Its scale of a dimension that does not vary, but for rounding, is 1.
        scaler = StandardScaler(copy=False).fit(x.numpy())
        model.mean.copy_(torch.from_numpy(scaler.mean_))
        model.scale.copy_(torch.from_numpy(scaler.scale_))
    return x.sub_(model.mean).div_(model.scale)


def _fits(x: Tensor, inputs: TrainerInputs) -> Iterator[Any]:
    """Fit the training utterances with each C, in rising order."""
    from sklearn.linear_model import LogisticRegression

    config, selected = inputs.config.model, inputs.selection != "last"
    assert isinstance(config, ProbeConfig)
    balanced = "balanced" if inputs.config.train.class_weights == "balanced" else None
    for c in sorted(set(config.probe_c_grid)) if selected else [config.probe_c]:
        made = LogisticRegression(C=c, class_weight=balanced, max_iter=MOST_STEPS)
        yield made.fit(x.numpy(), inputs.train.targets.numpy())


def _take(model: Probe, fitted: Any) -> None:
    """Give the model the weights of a fit. Of two classes it has those of the second alone."""
    weight, bias = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
    model.classifier.weight.zero_()[-len(weight) :] = weight
    model.classifier.bias.zero_()[-len(bias) :] = bias


def _row(
    model: Probe, fitted: Any, x: Tensor, selecting: Tensor | None, inputs: TrainerInputs
) -> Row:
    """Fill a row of history.csv; its loss of training has the class weights, as a network's."""
    targets, weights = inputs.train.targets, None
    if inputs.config.train.class_weights == "balanced":
        weights = balanced_weights(targets, len(inputs.classes)).double()
    output = model.classify(x)
    loss = objective(output, targets, [], weights).total()
    row: Row = {"probe_c": fitted.C, "steps": int(fitted.n_iter_[0]), "train_loss": float(loss)}
    if inputs.select is not None and selecting is not None:
        scores = score(model.classify(selecting).logits, inputs.select.targets)
        row |= {"valid_loss": scores.loss, "valid_wa": scores.wa, "valid_ua": scores.ua}
    return row


def _report(row: Row, inputs: TrainerInputs) -> None:
    scores = "" if inputs.select is None else f"  {columns_in_words(row, inputs)}"
    log.info("C %g  loss %.4f%s  %d steps", row["probe_c"], row["train_loss"], scores, row["steps"])
    if row["steps"] >= MOST_STEPS:
        log.warning(
            "C %g: the fit has not converged in %d steps; leave out the largest C (probe_c_grid in "
            "conf/systems/probe.yaml)", row["probe_c"], MOST_STEPS,
        )  # fmt: skip
