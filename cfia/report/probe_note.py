"""Which systems beat the probe of their input: a note below every table that has one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from cfia.report.score_tables import counted
from cfia.scoring.cells import Difference, PValue, show
from cfia.scoring.scores_file import Scored, compare_systems
from cfia.scoring.significance import Comparison, holm

LEVEL = 0.05
PROBE = (
    "Probe: logistic regression on mean and standard deviation over time of the frozen features, "
    "trained on the training part alone, C by UA on the part that selects. "
    "A network that does not beat it has shown nothing."
)

BEAT, UNDECIDED, BEHIND = "beat it", "not shown to beat it", "behind it"


@dataclass(frozen=True)
class AgainstProbe:
    """A network held against the probe of the same features and protocol.

    Attributes:
        p: corrected by Holm for all that are held against their probes together.
    """

    network: Scored
    probe: Scored
    comparison: Comparison
    p: float

    @property
    def verdict(self) -> str:
        """BEAT, UNDECIDED or BEHIND."""
        if self.p >= LEVEL:
            return UNDECIDED
        return BEAT if self.comparison.ua > 0 else BEHIND


def against_probes(rows: Sequence[Scored]) -> list[AgainstProbe]:
    """Hold each network against the probe of the same features and protocol; [] without a probe.

    Args:
        rows: systems of any schemes; one that stands there several times counts once.
    """
    by_directory = {row.trained.directory: row for row in rows}.values()
    probes = {_input(row): row for row in by_directory if not row.outputs.seeded}
    networks = [r for r in by_directory if r.outputs.seeded and not r.trained.experiment.imported]
    pairs = [(row, probes[_input(row)]) for row in networks if _input(row) in probes]
    found = [(row, probe, compare_systems(row.outputs, probe.outputs)) for row, probe in pairs]
    compared = [(row, probe, comparison) for row, probe, comparison in found if comparison]
    corrected = holm([comparison.p_ua.p for _, _, comparison in compared])
    return [AgainstProbe(*one, p) for one, p in zip(compared, corrected, strict=True)]


def probe_notes(rows: Sequence[Scored]) -> list[str]:
    """Say which networks beat the probe of their input; [] without a probe."""
    held = against_probes(rows)
    if not held:
        return []
    said: dict[str, list[str]] = {BEAT: [], UNDECIDED: [], BEHIND: []}
    several = len({row.trained.scheme for row in rows}) > 1
    for one in held:
        trained = one.network.trained
        said[one.verdict].append(
            f"{trained.title if several else trained.label} "
            f"{show(Difference(one.comparison.ua))} (p {show(PValue(one.p))})"
        )
    lists = "; ".join(f"{words}: {', '.join(names)}" for words, names in said.items() if names)
    return [
        PROBE,
        f"UA over the probe of the same input, in points (p: {test_in_words(held)}): {lists}.",
    ]


def _input(row: Scored) -> tuple[Hashable, ...]:
    """Give what two systems share that see the same: the protocol, fold lists and features."""
    experiment = row.trained.experiment
    dumps = [tuple(experiment.dumps(part).items()) for part in ("train", "test")]
    return (*sorted(experiment.protocol.items()), experiment.folds.directory, *dumps)


def test_in_words(held: Sequence[AgainstProbe]) -> str:
    """Say what the p-values are: `sign-flip over 10 speakers, Holm for 9 comparisons`."""
    comparisons = [one.comparison for one in held]
    most, cluster = max(c.clusters for c in comparisons), comparisons[0].cluster
    few = ""
    if 2 / 2**most >= LEVEL:
        few = f"; with {counted(most, cluster)} it cannot be below {LEVEL}, and shows nothing"
    return (
        f"sign-flip over {counted(most, cluster)}, Holm for "
        f"{counted(len(comparisons), 'comparison')}{few}"
    )
