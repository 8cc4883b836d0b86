"""How each row of a table was made: command, commit, configuration, environment, encoders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cfia.experiment import Experiment
from cfia.options import NEUTRAL
from cfia.report.sections import CodeBlock, Heading, Section, Text
from cfia.scoring.trained import TestedTraining, TrainedExperiment
from cfia.training.training import Training

_COMMANDS = 3  # more distinct texts than these are not listed one by one

Facts = dict[str, str]


def commits(experiments: Sequence[TrainedExperiment]) -> list[str]:
    """List the distinct commits that the experiments were trained at, if they were here."""
    own = (e for e in experiments if not e.experiment.imported)
    return sorted({_recorded(t, "commit") for e in own for t in e.trainings})


def commands(experiments: Sequence[TrainedExperiment]) -> list[str]:
    """List the distinct commands of run.sh that trained the experiments."""
    return sorted({_recorded(t, "command") for e in experiments for t in e.trainings})


def origin(experiments: Sequence[TrainedExperiment]) -> list[Section]:
    """Write the section of a report on how the rows were made.

    The facts that all trainings have in common come first, once; under each experiment come its
    own, and where its folds and seeds differ, which is which.
    """
    common = _common([facts(e.experiment, t) for e in experiments for t in e.trainings])
    lines = [f"{key}: {value}" for key, value in common.items()]
    sections: list[Section] = [Heading("How it was made"), Text("In common to all rows:")]
    sections.append(CodeBlock("yaml", lines))
    for trained in experiments:
        sections += _section(trained, common)
    return sections


def facts(experiment: Experiment, training: TestedTraining) -> Facts:
    """List experiment, environment and encoders of a training, flat: `environment.torch: 2.13.0`.

    Dates are left out, so that the same training again gives the same text.
    """
    folds = experiment.folds
    values = {
        "corpus": experiment.corpus,
        **experiment.protocol,
        "data": str(experiment.parts["train"].data),
        **_of_test(experiment),
        "folds": {"directory": str(folds.directory), "number": folds.number},
        "dumps": {name: str(path) for name, path in experiment.dumps().items()},
        "classes": list(experiment.classes),
        **{key: value for key, value in experiment.run.items() if key not in NEUTRAL},
        **_configuration(experiment, training),
    }
    environment = {key: training.provenance.get(key) for key in ("environment", "imported")}
    encoders = {key: _encoder(training.provenance.get(key)) for key in ("audio", "text")}
    known = {key: value for key, value in {**environment, **encoders}.items() if value}
    return dict(_flat({**values, **known}))


def _configuration(experiment: Experiment, training: TestedTraining) -> dict[str, Any]:
    """Give the configuration of a training, with what its fold has chosen."""
    if experiment.imported:
        return {}
    return Training(experiment, training.fold, training.seed).config.flat()


def _of_test(experiment: Experiment) -> Facts:
    """Name the data and dumps of the test part, where they are others than those of training."""
    train, test = experiment.parts["train"], experiment.parts["test"]
    if train.data == test.data and train.dumps == test.dumps:
        return {}
    dumps = {f"tested dumps.{name}": str(path) for name, path in experiment.dumps("test").items()}
    return {"tested data": str(test.data), **dumps}


def _encoder(description: Any) -> Any:
    """Name a local model without its directory, since `weights` tells which it is."""
    if not isinstance(description, Mapping) or not str(description.get("model")).startswith("/"):
        return description
    return {**description, "model": Path(description["model"]).name}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _text(item)


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return " ".join(value.split())
    return json.dumps(value, ensure_ascii=False, default=str)


def _recorded(training: TestedTraining, key: str) -> str:
    return _text(training.provenance.get(key, "unknown"))


def _common(all_facts: Sequence[Facts]) -> Facts:
    first, *others = all_facts
    return {k: value for k, value in first.items() if all(f.get(k) == value for f in others)}


def _section(trained: TrainedExperiment, common: Facts) -> list[Section]:
    trainings = trained.trainings
    all_facts = [facts(trained.experiment, training) for training in trainings]
    others = [{key: f[key] for key in f if key not in common} for f in all_facts]
    shared = _common(others)
    seeds = " ".join(str(seed) for seed in dict.fromkeys(t.seed for t in trainings))
    lines = _distinct(trainings, [f"commit: {_recorded(t, 'commit')}" for t in trainings])
    lines += [f"{key}: {value}" for key, value in shared.items()]
    for key in dict.fromkeys(key for f in others for key in f if key not in shared):
        lines += _distinct(trainings, [f"{key}: {f.get(key, 'not set')}" for f in others])
    return [
        Heading(f"{trained.label}, scheme {trained.scheme}", 3),
        Text(f"Seeds: {seeds}."),
        CodeBlock("sh", _distinct(trainings, [_recorded(t, "command") for t in trainings])),
        CodeBlock("yaml", lines),
    ]


def _distinct(trainings: Sequence[TestedTraining], texts: Sequence[str]) -> list[str]:
    """List each text once, with the trainings it belongs to where there are several texts."""
    names: dict[str, list[str]] = {}
    for training, text in zip(trainings, texts, strict=True):
        names.setdefault(text, []).append(training.name)
    if len(names) == 1:
        return list(names)
    lines = [f"{text}  # {' '.join(n)}" for text, n in list(names.items())[:_COMMANDS]]
    if len(names) > _COMMANDS:
        more = len(names) - _COMMANDS
        lines.append(f"# and {more} more: see provenance.yaml of each training")
    return lines
