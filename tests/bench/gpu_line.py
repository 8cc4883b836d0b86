"""Write what a part of gpu.sh has found as one line of JSON, and what machine it ran on.

A part that was cut keeps the figures that it had written; one that failed says why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

CUT = (124, 137)  # of timeout: by TERM, and by KILL
ABSENT = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


def main() -> None:
    """Print a line, or with --machine alone describe the machine for all of them."""
    parser = argparse.ArgumentParser(description="Write the line of a part of gpu.sh.")
    parser.add_argument("--machine", type=Path, required=True)
    parser.add_argument("--on", choices=("cpu", "gpu"))
    parser.add_argument("--part")
    parser.add_argument("--status", type=int)
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--log", type=Path)
    parser.add_argument("--figures", type=Path)
    args = parser.parse_args()
    if args.part is None:
        args.machine.write_text(json.dumps(machine(args.on)))
        return
    figures = json.loads(args.figures.read_text()) if args.figures.exists() else []
    log = args.log.read_text(errors="replace")
    known = json.loads(args.machine.read_text())
    outcome = became(args.status, args.limit, log)
    own = {"part": args.part, "seconds": args.seconds, **outcome}
    print(json.dumps({**own, **known, "figures": figures}), flush=True)


def became(status: int, limit: int, log: str) -> dict[str, str]:
    """What became of a part, by its exit status and what it has said."""
    if status == 0:
        return {"outcome": "done"}
    if status in CUT:
        return {"outcome": "cut", "why": f"it took longer than {limit} s"}
    said = [line for line in log.splitlines() if line.strip()] or ["it said nothing"]
    absent = ABSENT.search(said[-1])
    if absent:
        return {"outcome": "not measured", "why": f"{absent[1]} is not here"}
    return {"outcome": "failed", "why": f"exit status {status}: {said[-1].strip()}"}


def machine(on: str) -> dict[str, Any]:
    """Describe the device, and the versions of what drives it."""
    import torch

    from cfia.provenance import commit, processor
    from tests.bench import devices

    known: dict[str, Any] = {"card": None, "driver": None, "processor": processor()}
    if devices.taken(on).type == "cuda":
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            driver = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            known["driver"] = driver.splitlines()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            pass  # not every container has the program
        known["card"] = torch.cuda.get_device_name()
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
    cudnn = torch.backends.cudnn.version() if known["card"] else None  # type: ignore[no-untyped-call]
    own = os.environ.get("COMMIT") or commit()
    return {"on": on, **known, **versions, "cudnn": cudnn, "commit": own}


if __name__ == "__main__":
    main()
