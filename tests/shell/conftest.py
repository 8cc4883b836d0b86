"""Fixtures of the tests of run.sh and utils/."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.slurm_cluster import Cluster, running_cluster


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A real Slurm, one for all tests that take it as it is."""
    with running_cluster() as cluster:
        yield cluster
