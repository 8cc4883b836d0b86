"""Proxies and addresses with which the hub's client cannot be made: the cache is enough."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tiny_emotion2vec
from tests.support.dump_data import noise, write_data

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The client's cache, with one model, as the client leaves it."""
    place = tmp_path / "hf" / "hub" / "models--owner--small"
    (place / "snapshots").mkdir(parents=True)
    tiny_emotion2vec.save(place / "snapshots" / COMMIT)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    return tmp_path / "hf"


def dump_plan(cache: Path, model: str, **variables: str) -> subprocess.CompletedProcess[str]:
    data = cache.parent / "data"
    if not data.exists():
        write_data(data, {"s-1": noise(0.1)})
    what = ["--modality=audio", "--upstream=emotion2vec", f"--model={model}", f"--data={data}"]
    command = [sys.executable, "-m", "cfia.bin.dump_plan", *what, f"--dir={cache.parent / 'dump'}"]
    others = {k: v for k, v in os.environ.items() if "PROXY" not in k.upper()}
    env = others | {"HF_HOME": str(cache)} | variables
    return subprocess.run(command, capture_output=True, text=True, env=env)


FAULTS = [
    ("ALL_PROXY", "socks5://me:secret@localhost:9", "'socksio' package is not installed"),
    pytest.param("HTTPS_PROXY", "ftp://proxy:3128", "nknown scheme", marks=pytest.mark.slow),
    pytest.param("SSL_CERT_FILE", "/none.pem", "SSL_CERT_FILE", marks=pytest.mark.slow),
    pytest.param(
        "HF_ENDPOINT", "hf-mirror.com", "HF_ENDPOINT is 'hf-mirror.com'", marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize(("variable", "value", "reason"), FAULTS)
def test_a_cached_model_is_taken_without_a_client(
    cache: Path, variable: str, value: str, reason: str
) -> None:
    done = dump_plan(cache, "owner/small", **{variable: value})
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert "owner/small: no hub is asked, but its cache" in done.stderr
    assert reason in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("variable", "value", "reason"), FAULTS)
def test_of_a_model_that_is_not_cached_the_reason_is_said(
    cache: Path, variable: str, value: str, reason: str
) -> None:
    done = dump_plan(cache, "owner/other", **{variable: value})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "the Hugging Face hub cannot be reached" in last
    assert reason in last


@pytest.mark.slow
def test_a_number_that_the_client_cannot_read_is_named(cache: Path) -> None:
    done = dump_plan(cache, "owner/small", HF_HUB_DOWNLOAD_TIMEOUT="ten")
    assert done.returncode == 1
    assert "error: the client of the Hugging Face hub does not take" in done.stderr
    assert "HF_HUB_DOWNLOAD_TIMEOUT=ten of the environment" in done.stderr
    assert "Traceback" not in done.stderr
