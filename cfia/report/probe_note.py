"""Which systems beat the probe of their input: a note below every table that has one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from cfia.report.score_tables import counted
from cfia.scoring.cells import Difference, PValue, show
from cfia.scoring.scores_file import Scored, compare_systems
from cfia.scoring.significance import Comparison, holm

_LEVEL = 0.05


def probe_notes(rows: Sequence[Scored]) -> list[str]:
    """Hold each network against the probe of the same features and protocol; [] without a probe.

    Args:
        rows: systems of any schemes; one that stands there several times counts once.
    """
    by_directory = {row.trained.directory: row for row in rows}.values()
    probes = {_input(row): row for row in by_directory if not row.outputs.seeded}
    networks = [r for r in by_directory if r.outputs.seeded and not r.trained.experiment.imported]
    pairs = [(row, probes[_input(row)]) for row in networks if _input(row) in probes]
    found = [(row, compare_systems(row.outputs, probe.outputs)) for row, probe in pairs]
    compared = [(row, comparison) for row, comparison in found if comparison]
    if not compared:
        return []
    corrected = holm([comparison.p_ua.p for _, comparison in compared])
    said: dict[str, list[str]] = {"beat it": [], "not shown to beat it": [], "behind it": []}
    several = len({row.trained.scheme for row in by_directory}) > 1
    for (row, comparison), p in zip(compared, corrected, strict=True):
        name = row.trained.title if several else row.trained.label
        said[_verdict(comparison, p)].append(
            f"{name} {show(Difference(comparison.ua))} (p {show(PValue(p))})"
        )
    lists = "; ".join(f"{words}: {', '.join(names)}" for words, names in said.items() if names)
    return [
        "Probe: logistic regression on mean and standard deviation over time of the frozen "
        "features. A network that does not beat it has shown nothing.",
        f"{_test([comparison for _, comparison in compared])}: {lists}.",
    ]


def _input(row: Scored) -> tuple[Hashable, ...]:
    """Give what two systems share that see the same: the protocol, fold lists and features."""
    experiment = row.trained.experiment
    dumps = [tuple(experiment.dumps(part).items()) for part in ("train", "test")]
    return (*sorted(experiment.protocol.items()), experiment.folds.directory, *dumps)


def _verdict(comparison: Comparison, p: float) -> str:
    if p >= _LEVEL:
        return "not shown to beat it"
    return "beat it" if comparison.ua > 0 else "behind it"


def _test(comparisons: Sequence[Comparison]) -> str:
    """Say in words what is compared, and how."""
    most, cluster = max(c.clusters for c in comparisons), comparisons[0].cluster
    few = ""
    if 2 / 2**most >= _LEVEL:
        few = f"; with {counted(most, cluster)} it cannot be below {_LEVEL}, and shows nothing"
    return (
        "UA over the probe of the same input, in points (p: sign-flip over "
        f"{counted(most, cluster)}, Holm for {counted(len(comparisons), 'comparison')}{few})"
    )
