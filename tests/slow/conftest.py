"""Fixtures of the slow tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.slurm_cluster import Cluster, running_cluster


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A real Slurm of a test's own, whose nodes and controller it may end."""
    with running_cluster() as cluster:
        yield cluster
