r"""What the speakers that one network tests share of its luck, from networks of several seeds.

A network is one seed of one fold. Speaker g, tested by the network of seed s and fold f(g), adds
to a score

    y_{s,g} = mean + speaker_g + luck_{s,f(g)} + rest_{s,g}.

The spread of the speakers' means over the seeds holds the speaker, the rest, and as much of the
luck as if each speaker had networks of their own. What it cannot hold is what several speakers
of a fold (a session's two) have in common. That is the covariance over the seeds of those who
share networks,

    C = 1/S \sum_blocks \sum_{g \ne h} Cov_s(y_{s,g}, y_{s,h}),

which is to be added to the variance of the sum over the speakers of their means over the seeds.
It is 0 where each speaker is a fold. Networks of different folds are taken as independent.
tests/slow/test_coverage.py holds the simulation that it was chosen by.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cfia.metrics import Array

Indices = npt.NDArray[np.int64]


def shared_networks(groups: Indices, folds: Indices) -> Indices:
    """Number the blocks of clusters whose utterances are tested by the same networks.

    Clusters that share a fold, directly or by way of others, are in one block: all of them where
    the folds are of utterances.

    Args:
        groups: the cluster of each utterance, (N,), from 0.
        folds: the fold of each utterance, (N,), from 0.

    Returns:
        The block of each cluster, (G,), from 0; one without utterances is a block of its own.
    """
    from scipy import sparse

    # A graph of clusters and folds, with an edge where a fold tests a cluster.
    n_clusters, n_folds = int(groups.max()) + 1, int(folds.max()) + 1
    nodes = n_clusters + n_folds
    edges = sparse.coo_array((np.ones(len(groups)), (groups, n_clusters + folds)), (nodes, nodes))
    labels = sparse.csgraph.connected_components(edges, directed=False)[1]
    blocks: Indices = np.unique(labels[:n_clusters], return_inverse=True)[1]
    return blocks


def shared_variance(values: Array, blocks: Indices) -> Array:
    """Estimate C, (...), of contributions `values`, (..., S, G); 0 for one seed, and at least 0."""
    n_seeds = values.shape[-2]
    if n_seeds < 2:
        return np.zeros(values.shape[:-2])
    deviations = values - values.mean(-2, keepdims=True)
    of_blocks = deviations @ np.eye(blocks.max() + 1)[blocks]
    products = (of_blocks**2).sum((-2, -1)) - (deviations**2).sum((-2, -1))
    return np.asarray(np.maximum(products, 0) / (n_seeds - 1) / n_seeds)


def shared_freedom(n_seeds: int, blocks: Indices) -> int:
    """Count the degrees of freedom of `shared_variance`."""
    return (n_seeds - 1) * int(blocks.max() + 1)


def reach(own: Array, shared: Array, freedom: tuple[int, int], level: float) -> Array:
    r"""Compute how far to either side an estimate can be off by chance, (...).

    \sqrt{t_1^2 V_1 + t_2^2 V_2}, with Student's t for the degrees of freedom of each variance
    (Banerjee 1960). It is never too short, where one t for their sum would be if few seeds had
    all the luck: with one network for all of 24 speakers.

    Args:
        own: the variance that the spread of the clusters tells, (...).
        shared: the variance that is to be added for the luck that they share, (...).
        freedom: the degrees of freedom of both; the second is 0 where nothing is shared.
        level: how often it is to be enough.
    """
    from scipy import special  # `stats` calls this, and takes a second to load

    t_own, t_shared = (special.stdtrit(max(df, 1), (1 + level) / 2) for df in freedom)
    return np.asarray(np.sqrt(t_own**2 * own + t_shared**2 * shared))
