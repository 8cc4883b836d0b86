"""How each row of a table was made: command, commit, configuration, environment, upstreams."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cfia.experiment import Experiment
from cfia.options import NEUTRAL
from cfia.report.sections import CodeBlock, Heading, Section, Text
from cfia.scoring.trained import TestedTraining, TrainedExperiment

# More distinct commands than this are not listed one by one.
_COMMANDS = 3

Facts = dict[str, str]


def commits(experiments: Sequence[TrainedExperiment]) -> list[str]:
    """The distinct commits that the runs were trained at."""
    return sorted(
        {_text(p.provenance.get("commit", "unknown")) for r in experiments for p in r.trainings}
    )


def origin(experiments: Sequence[TrainedExperiment]) -> list[Section]:
    """The section of a report on how the rows were made.

    What all parts of all runs have in common comes first, once; under each run stands what is its
    own, and where its folds and seeds differ, which is which.
    """
    common = _common(
        [
            facts(trained.experiment, training)
            for trained in experiments
            for training in trained.trainings
        ]
    )
    lines = [f"{key}: {value}" for key, value in common.items()]
    found: list[Section] = [Heading("How it was made"), Text("In common to all rows:")]
    found.append(CodeBlock("yaml", lines))
    for trained in experiments:
        found += _section(trained, common)
    return found


def facts(experiment: Experiment, training: TestedTraining) -> Facts:
    """List experiment, environment and encoders of a training, flat: `environment.torch: 2.13.0`.

    Dates are left out, so that the same training again gives the same text.
    """
    part = experiment.parts["train"]
    run = {key: value for key, value in experiment.run.items() if key not in NEUTRAL}
    what = {
        "corpus": experiment.corpus,
        **experiment.protocol,
        "data": str(part.data),
        "folds": {"directory": str(experiment.folds.directory), "number": experiment.folds.number},
        "dumps": {name: str(path) for name, path in experiment.dumps().items()},
        "classes": list(experiment.classes),
        **run,
        **experiment.config.flat(),
    }
    made = {"environment": training.provenance.get("environment")}
    made |= {key: _upstream(training.provenance.get(key)) for key in ("audio", "text")}
    return dict(_flat({**what, **{key: value for key, value in made.items() if value}}))


def _upstream(description: Any) -> Any:
    """An encoder's description; a local model by its name, since `weights` tells which it is."""
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


def _common(all_facts: Sequence[Facts]) -> Facts:
    first = all_facts[0]
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in all_facts)
    }


def _section(trained: TrainedExperiment, common: Facts) -> list[Section]:
    made = [part.provenance for part in trained.trainings]
    commands = [_text(one.get("command", "unknown")) for one in made]
    commit = [_text(one.get("commit", "unknown")) for one in made]
    own = [
        {key: value for key, value in facts(trained.experiment, part).items() if key not in common}
        for part in trained.trainings
    ]
    shared = _common(own)
    seeds = " ".join(str(seed) for seed in dict.fromkeys(part.seed for part in trained.trainings))
    lines = _distinct(trained.trainings, [f"commit: {c}" for c in commit], comment="  # ")
    lines += [f"{key}: {value}" for key, value in shared.items()]
    for key in dict.fromkeys(key for one in own for key in one if key not in shared):
        values = [f"{key}: {one.get(key, 'not set')}" for one in own]
        lines += _distinct(trained.trainings, values, comment="  # ")
    return [
        Heading(f"{trained.label}, scheme {trained.scheme}", 3),
        Text(f"Seeds: {seeds}."),
        CodeBlock("sh", _distinct(trained.trainings, commands, comment="  # ")),
        CodeBlock("yaml", lines),
    ]


def _distinct(parts: Sequence[TestedTraining], texts: Sequence[str], comment: str) -> list[str]:
    """Each text once, with the parts it is of where there are several texts."""
    of: dict[str, list[str]] = {}
    for part, text in zip(parts, texts, strict=True):
        of.setdefault(text, []).append(part.name)
    if len(of) == 1:
        return list(of)
    listed = list(of.items())[:_COMMANDS]
    lines = [f"{text}{comment}{' '.join(names)}" for text, names in listed]
    if len(of) > _COMMANDS:
        more = len(of) - _COMMANDS
        lines.append(f"# and {more} more: see provenance.yaml of each training")
    return lines
