"""Measurements in processes of their own, under the allocator's defaults or a recipe's setting."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def recipe_setting() -> dict[str, str]:
    """What path.sh sets of glibc's allocator."""
    command = "for name in ${!MALLOC_@}; do unset $name; done; . egs/TEMPLATE/path.sh >&2; env -0"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    variables = (line.partition("=") for line in done.stdout.decode().split("\0"))
    return {name: value for name, _, value in variables if name.startswith("MALLOC_")}


def start(
    module: str, arguments: Sequence[str], setting: Mapping[str, str], num_threads: int
) -> subprocess.Popen[str]:
    """Start `python -m module`, which prints one line of JSON."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(num_threads)
    )
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**environment, **setting, **threads},
        stdout=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the process printed, when it has ended well."""
    printed, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a measurement failed with code {process.returncode}; see above")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def peak_mib() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
