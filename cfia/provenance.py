"""Record the origin of a result: command, commit, environment."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cfia.installation import ROOT

# What decides a result: programs, and recipes without what they make (data, dump, exp and others).
SOURCES = ("cfia", "conf", "utils", "*.py", "requirements.txt", "egs/*/*.sh", "egs/*/conf",
           "egs/*/conf/**", "egs/*/local", "egs/*/local/**")  # fmt: skip


def commit(root: Path = ROOT) -> str:
    """Name the working tree's commit; `unknown` outside git, or in another project's repository.

    It ends in `+dirty` if a file was modified, or if one of SOURCES is not tracked.
    """
    sources = [f":(glob){pattern}" for pattern in SOURCES]
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        _git(root, "ls-files", "--error-unmatch", f"cfia/{Path(__file__).name}")
        dirty = _git(root, "status", "--porcelain", "--untracked-files=no") or _git(
            root, "ls-files", "--others", "--exclude-standard", "--", *sources
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+dirty" if dirty else head


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def provenance(num_threads: int, device: str) -> dict[str, Any]:
    """Describe a training that starts now; `CFIA_COMMAND` is the recipe's command line."""
    import numpy
    import torch

    return {
        "command": os.environ.get("CFIA_COMMAND") or " ".join(sys.argv),
        "commit": commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "environment": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": numpy.__version__,
            "platform": platform.platform(),
            "cpu": processor(),
            "device": device,
            "threads": num_threads,
        },
    }


def processor() -> str:
    """Name this machine's processor, as far as it says which it is."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
