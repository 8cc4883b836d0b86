"""Measurements in processes of their own, under the allocator's defaults or a recipe's setting."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.limits import within
from tests.bench.timing import Turn

ROOT = Path(__file__).resolve().parents[2]


def recipe_setting() -> dict[str, str]:
    """What path.sh sets of glibc's allocator."""
    command = "for name in ${!MALLOC_@}; do unset $name; done; . egs/TEMPLATE/path.sh >&2; env -0"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    variables = (line.partition("=") for line in done.stdout.decode().split("\0"))
    return {name: value for name, _, value in variables if name.startswith("MALLOC_")}


def start(
    module: str,
    arguments: Sequence[str],
    setting: Mapping[str, str],
    num_threads: int,
    group: Path | None = None,
) -> subprocess.Popen[str]:
    """Start `python -m module`, which prints one line of JSON, in a control group or none."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(num_threads)
    )
    return subprocess.Popen(
        within(group, [sys.executable, "-m", module, *arguments]),
        cwd=ROOT,
        env={**environment, **setting, **threads},
        stdout=subprocess.PIPE,
        text=True,
    )


def run(command: Sequence[str], **options: Any) -> Turn:
    """Run a command without what it prints; what it has found is its peak of memory, in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, **options)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed in {options.get('cwd', '.')}; see above")
    cpu = usage.ru_utime + usage.ru_stime
    return Turn(time.perf_counter() - began, cpu, usage.ru_maxrss / 1024)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the process printed, when it has ended well."""
    printed, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a measurement failed with code {process.returncode}; see above")
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def own_memory(processes: Sequence[subprocess.Popen[str]]) -> float:
    """Wait for processes; the most MiB that all had at once, without mapped and cached files."""
    peak = 0
    while any(process.poll() is None for process in processes):
        peak = max(peak, sum(_own_kib(process.pid) for process in processes))
        time.sleep(0.05)
    return peak / 1024


def _own_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))


def peak_mib() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
