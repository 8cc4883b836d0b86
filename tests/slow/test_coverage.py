"""The simulation that the intervals and tests were chosen by.

Corpora of ten speakers, with as many utterances as in IEMOCAP and in EmoDB, and of 24. Each
speaker has an accuracy of their own, another one in each class, and leanings towards wrong
classes; each network has luck, of which all speakers that it tests have the same. Over many such
corpora an interval must cover the score of endlessly many speakers and networks in 95 % of them,
and a test of two systems that are equally good must find a difference in 5 %.

`pytest -s tests/slow/test_coverage.py` prints both for every setting, and in brackets how far they
are on the safe side.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pytest

from cfia.metrics import METRICS, Counts
from cfia.scoring.intervals import difference_interval, interval
from cfia.scoring.luck import shared_freedom, shared_variance
from cfia.scoring.significance import Answers, compare, lessened, mcnemar, sign_flip

pytestmark = pytest.mark.slow

SIZES = {
    "iemocap": (528, 557, 481, 542, 522, 629, 528, 503, 590, 651),
    "emodb": (36, 38, 30, 24, 37, 23, 38, 42, 34, 37),
    "24 speakers": (45,) * 24,
}
SHARES = np.array([0.2, 0.3, 0.2, 0.3])  # of the classes; each speaker's own vary around them
CORPORA = 2000
PATTERNS = 5000  # of signs, where there are too many to try all
K = len(SHARES)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A kind of corpus and of systems; standard deviations are in logits.

    Attributes:
        sizes: the numbers of utterances of the speakers.
        advantage: of the right class, in logits.
        n_seeds: one seed has no luck, for it cannot be told from the system.
        together: speakers that one network tests: 1, or 2 of a session, or all.
        luck: of what a network does to each class, and to the right one.
        speaker: of a speaker's own accuracy, of theirs in each class, and of that with a system.
        leaning: of a speaker's leaning towards each class, right or wrong.
        system: of what a system does to one utterance.
        jitter: of what a seed does to one utterance.
    """

    sizes: tuple[int, ...]
    advantage: float = 2.7
    n_seeds: int = 1
    together: int = 1
    luck: float = 0.0
    speaker: float = 0.3
    leaning: float = 0.3
    system: float = 0.8
    jitter: float = 0.5

    @property
    def speakers(self) -> npt.NDArray[np.int64]:
        """The speaker of each utterance, (N,)."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def folds(self) -> npt.NDArray[np.int64]:
        """The fold that tests each speaker, (G,), and so their block."""
        return np.arange(len(self.sizes)) // self.together


def corpus(
    setting: Setting, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """References (N,) of a corpus, and what two equally good systems answer, (2, S, N)."""
    speakers, g = setting.speakers, len(setting.sizes)
    n, every = len(speakers), np.arange(len(speakers))
    shares = rng.dirichlet(SHARES * 40, g)
    refs = (rng.random((n, 1)) > shares.cumsum(1)[speakers]).sum(1).clip(0, K - 1)
    accuracy = rng.normal(0, setting.speaker, (g, 1)) + rng.normal(0, setting.speaker, (g, K))
    logits = rng.gumbel(size=(n, K)) + rng.normal(0, setting.leaning, (g, K))[speakers]
    logits[every, refs] += setting.advantage + accuracy[speakers, refs]
    hyps = np.empty((2, setting.n_seeds, n), np.int64)
    for system in hyps:
        ours = logits + setting.system * rng.standard_normal((n, K), np.float32)
        ours[every, refs] += rng.normal(0, setting.speaker, (g, K))[speakers, refs]
        for network in system:  # one for each seed, in fact one for each fold as well
            luck = rng.normal(0, setting.luck, (setting.folds[-1] + 1, K + 1))[setting.folds]
            jitter = setting.jitter * rng.standard_normal((n, K), np.float32)
            scores = ours + luck[speakers, :K] + jitter * (setting.n_seeds > 1)
            scores[every, refs] += luck[speakers, K]
            network[:] = scores.argmax(1)
    return refs, hyps


@lru_cache(maxsize=4)
def drawn(setting: Setting) -> tuple[Counts, Array]:
    """Confusions of many corpora, (n, 2, S, G, K, K), and p-values of McNemar's test, (n,)."""
    rng = np.random.default_rng(20)
    shape = (2, setting.n_seeds, len(setting.sizes), K, K)
    counts, p_values = np.empty((CORPORA, *shape), np.int64), np.empty(CORPORA)
    for i in range(CORPORA):
        refs, hyps = corpus(setting, rng)
        cells = (setting.speakers * K + refs) * K + hyps.reshape(-1, len(refs))
        size = int(np.prod(shape[2:]))
        counts[i] = np.reshape([np.bincount(cell, minlength=size) for cell in cells], shape)
        p_values[i] = mcnemar(*(hyps[:, 0] == refs))
    return counts, p_values


def coverage(setting: Setting, blocks: npt.NDArray[np.int64]) -> dict[str, float]:
    """How often, in percent, the intervals hold what is true of all speakers of all corpora.

    That is a score of one system, and 0 for the difference of the two.
    """
    counts, _ = drawn(setting)
    covered = {}
    for name, score in METRICS.items():
        truth = float(score(counts.sum((0, 1, 2, 3))))
        low, high = interval(score, counts[:, 0], blocks)
        covered[name] = 100 * float(np.mean((low <= truth) & (truth <= high)))
        low, high = difference_interval(score, counts[:, 0], counts[:, 1], (blocks, blocks))
        covered[f"{name} difference"] = 100 * float(np.mean((low <= 0) & (high >= 0)))
    return covered


def error_rates(setting: Setting, blocks: npt.NDArray[np.int64]) -> dict[str, float]:
    """How often, in percent, the sign-flip finds a difference of systems that have none."""
    counts, _ = drawn(setting)
    references = counts[:, 0, 0].sum((1, 3))  # (n, K)
    weights = {
        "ua": 100 / (K * references),
        "wa": np.broadcast_to(100 / references.sum(1, keepdims=True), references.shape),
    }
    rates = {}
    for name, weight in weights.items():
        right = np.diagonal(counts, axis1=-2, axis2=-1)  # (n, 2, S, G, K)
        by_seed = np.einsum("nasgk,nk->nasg", right, weight)
        a, b = by_seed[:, 0], by_seed[:, 1]
        shared = shared_variance(a, blocks) + shared_variance(b, blocks)
        freedom = 2 * shared_freedom(setting.n_seeds, blocks)
        p = sign_flips(a.mean(1) - b.mean(1), shared, freedom)
        rates[name] = 100 * float(np.mean(p <= 0.05))
    return rates


def sign_flips(values: Array, shared: Array, freedom: int) -> Array:
    """P-values (n,) of `sign_flip` for many corpora, values (n, G), at once.

    Of the first corpora each is held to `sign_flip` itself.
    """
    g = values.shape[1]
    exact = g <= 12
    signs = np.array(list(itertools.product((1, -1), repeat=g))) if exact else None
    if signs is None:
        signs = np.random.default_rng(23).choice((1, -1), (PATTERNS, g))
    reached = abs(values.sum(1)) * lessened(values, shared, freedom)
    p = np.array(
        [np.mean(abs(signs @ v) >= r - 1e-9) for v, r in zip(values, reached, strict=True)]
    )
    for i in range(5):
        one = sign_flip(values[i], float(shared[i]), freedom)
        assert p[i] == pytest.approx(one.p, abs=1e-12 if exact else 0.05)
    return p


def show(setting: Setting, covered: dict[str, float], errors: dict[str, float]) -> None:
    """Print a line of the table, and in brackets how far on the safe side each number is."""
    ua = METRICS["ua"](drawn(setting)[0].sum(3))[:, 0]  # (n, S)
    n_seeds, of_seeds = setting.n_seeds, ""
    if n_seeds > 1:
        of_seeds = f", sd {np.sqrt(ua.var(1, ddof=1).mean()):.1f} over {n_seeds} seeds"
    covers = " ".join(f"{name} {share:.1f} ({share - 95:+.1f})" for name, share in covered.items())
    errs = " ".join(f"{name} {rate:.1f} ({5 - rate:+.1f})" for name, rate in errors.items())
    print(
        f"\n{len(setting.sizes)} speakers, {sum(setting.sizes)} utterances, "
        f"{setting.together} in a fold, UA {ua.mean():.0f}{of_seeds}: covers {covers}; errs {errs}"
    )


def holds(setting: Setting) -> None:
    """Check coverage and level, and print them."""
    covered, errors = coverage(setting, setting.folds), error_rates(setting, setting.folds)
    show(setting, covered, errors)
    for name, share in covered.items():
        assert 93 <= share <= 98, (name, covered)
    for name, rate in errors.items():
        # In a small corpus many patterns of signs tie in WA, and an exact test then errs less.
        assert 2 <= rate <= 6.5, (name, errors)


LEVELS = {60: 1.8, 75: 2.65, 90: 3.95}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("corpus", ["iemocap", "emodb"])
def test_one_seed(corpus: str, level: int) -> None:
    setting = Setting(SIZES[corpus], LEVELS[level])
    holds(setting)
    counts, p_values = drawn(setting)
    assert METRICS["ua"](counts.sum((0, 1, 2, 3))) == pytest.approx(level, abs=2.5)
    rate = 100 * np.mean(p_values <= 0.05)
    print("McNemar's test errs", rate)
    if corpus == "iemocap":  # why it carries a warning
        assert rate > 10


# Luck by which the seeds of five networks differ by 1.5 to 2 points of UA, as on the mini corpus.
AS_MEASURED = 0.2


@pytest.mark.parametrize("luck", [AS_MEASURED, 2 * AS_MEASURED])
@pytest.mark.parametrize("n_seeds", [3, 5])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("corpus", ["emodb", "24 speakers"])
def test_several_seeds(corpus: str, together: int, n_seeds: int, luck: float) -> None:
    holds(Setting(SIZES[corpus], LEVELS[75], n_seeds, together, luck))


@pytest.mark.parametrize(
    ("together", "n_seeds", "luck"),
    [(1, 3, 2 * AS_MEASURED), (2, 3, AS_MEASURED), (2, 3, 2 * AS_MEASURED), (2, 5, AS_MEASURED)],
)
def test_several_seeds_of_many_utterances(together: int, n_seeds: int, luck: float) -> None:
    holds(Setting(SIZES["iemocap"], LEVELS[75], n_seeds, together, luck))


def test_what_sessions_share_must_be_added() -> None:
    setting = Setting(SIZES["iemocap"], LEVELS[75], 3, 2, 2 * AS_MEASURED)
    apart = np.arange(len(setting.sizes))
    covered, errors = coverage(setting, apart), error_rates(setting, apart)
    print("speakers alone", covered, errors)
    assert covered["ua"] < 93
    assert errors["ua"] > 6.5


@pytest.mark.parametrize("corpus", ["emodb", "24 speakers"])
def test_one_network_for_all_speakers(corpus: str) -> None:
    holds(Setting(SIZES[corpus], LEVELS[75], 3, len(SIZES[corpus]), AS_MEASURED))


def test_a_percentile_bootstrap_by_speaker_does_not_cover() -> None:
    counts = drawn(Setting(SIZES["emodb"], LEVELS[75]))[0][:, 0, 0]
    truth = float(METRICS["ua"](counts.sum((0, 1))))
    rng = np.random.default_rng(21)
    weights = rng.multinomial(10, np.full(10, 0.1), 1000)
    hit = []
    for corpus in counts:
        scores = METRICS["ua"](np.tensordot(weights, corpus, 1))
        low, high = np.quantile(scores, [0.025, 0.975])
        hit.append(low <= truth <= high)
    print("percentile bootstrap", np.mean(hit))
    assert np.mean(hit) < 0.925


def test_two_copies_of_one_system_do_not_differ() -> None:
    rng = np.random.default_rng(23)
    setting = Setting(SIZES["emodb"], n_seeds=3, together=2, luck=AS_MEASURED)
    for _ in range(100):
        refs, hyps = corpus(setting, rng)
        system = Answers(hyps[0] == refs, setting.folds[setting.speakers])
        found = compare(refs, system, system, setting.speakers)
        assert found.ua == found.wa == 0
        assert found.p_ua.p == found.p_wa.p == 1
