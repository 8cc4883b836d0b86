"""Run a program of cfia/bin: `cfia <verb> [options]`."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

from cfia import bin as programs

# The programs that ser.sh calls; a user calls the others.
STAGES = (
    "plan", "folds", "dump_plan", "dump", "dump_merge", "train", "posteriors", "score", "report",
)  # fmt: skip


def main() -> None:
    """Run a program by its verb; a usage error exits with 2."""
    from cfia.cli import run

    if len(sys.argv) < 2:
        print(usage(), file=sys.stderr)
        sys.exit(2)
    if sys.argv[1] in ("-h", "--help"):
        run(lambda _: print(usage()))
        return
    verb = sys.argv[1]
    if verb not in verbs():
        print(f"cfia: there is no verb {verb!r}; cfia --help lists them", file=sys.stderr)
        sys.exit(2)
    module = importlib.import_module(f"cfia.bin.{verb}")
    run(module.main, sys.argv[2:])


def verbs() -> list[str]:
    """List all verbs, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(programs.__path__))


def usage() -> str:
    """Describe all verbs, those of a user first, each by the first line of its program."""
    users = [verb for verb in verbs() if verb not in STAGES or verb == "score"]
    return "\n".join(
        [
            "usage: cfia <verb> [options]",
            "",
            *map(_line, users),
            "",
            "What the stages of run.sh call, in their order:",
            *map(_line, STAGES),
            "",
            "example: cfia score posteriors.tsv --clusters data/all/utt2spk",
            "Each verb has a --help of its own.",
        ]
    )


def _line(verb: str) -> str:
    source = (Path(programs.__path__[0]) / f"{verb}.py").read_text(encoding="utf-8")
    first, *_ = (ast.get_docstring(ast.parse(source)) or "").splitlines()
    return f"  {verb:<18} {first}"


if __name__ == "__main__":
    main()
