"""Run a program of cfia/bin: `cfia <verb> [options]`."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cfia import __version__, installation
from cfia import bin as programs
from cfia.cli import run
from cfia.errors import UserError
from cfia.provenance import commit

# The programs that ser.sh calls; a user calls the others.
STAGES = (
    "plan", "hold", "layout", "folds", "dump_plan", "dump", "dump_merge", "asr_plan", "asr",
    "asr_merge", "corrupt_text", "train", "posteriors", "score", "report", "pack",
)  # fmt: skip


def main() -> None:
    """Run a program by its verb; a usage error exits with 2."""
    run(_dispatch, sys.argv[1:])


def _dispatch(argv: Sequence[str] | None) -> None:
    verb, *rest = argv or ("",)
    if verb in ("", "-h", "--help"):
        print(usage(), file=sys.stdout if verb else sys.stderr)
        sys.exit(0 if verb else 2)
    if verb == "--version":
        print(version())
        return
    if verb not in verbs():
        print(f"cfia: there is no verb {verb!r}; cfia --help lists them", file=sys.stderr)
        sys.exit(2)
    if verb not in verbs_of_users() and not installation.in_checkout():
        raise UserError(
            f"cfia {verb} is part of a recipe's run.sh, and cfia is installed here without its "
            "recipes; call run.sh in a checkout of the repository"
        )
    importlib.import_module(f"cfia.bin.{verb}").main(rest)


def verbs() -> list[str]:
    """List all verbs, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(programs.__path__))


def verbs_of_users() -> list[str]:
    """List the verbs that are more than a stage of a recipe."""
    return [verb for verb in verbs() if verb not in STAGES or verb == "score"]


def version() -> str:
    """Name the version, and in a checkout its commit."""
    origin = commit() if installation.in_checkout() else "unknown"
    return f"cfia {__version__}" + f" (commit {origin})" * (origin != "unknown")


def usage() -> str:
    """Describe all verbs, those of a user first, each by the first line of its program.

    The stages are left out where they cannot be called.
    """
    stages = ["What the stages of run.sh call, in their order:", *map(_line, STAGES), ""]
    return "\n".join(
        [
            "usage: cfia <verb> [options]",
            "       cfia --version",
            "",
            *map(_line, verbs_of_users()),
            "",
            *(stages if installation.in_checkout() else []),
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
