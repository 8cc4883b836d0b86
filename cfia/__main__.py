"""`cfia <verb> [options]`: the programs of cfia/bin, one per stage."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from cfia import bin as programs


def main() -> None:
    """Run a program by its verb.

    A usage error exits with 2.
    """
    verbs = sorted(module.name for module in pkgutil.iter_modules(programs.__path__))
    usage = (
        f"usage: cfia <verb> [options]\n\nverbs: {', '.join(verbs)}\n\nexample: cfia score --help"
    )
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(usage, file=sys.stdout if sys.argv[1:] else sys.stderr)
        sys.exit(0 if sys.argv[1:] else 2)
    verb = sys.argv[1]
    if verb not in verbs:
        print(f"cfia: there is no verb {verb!r}; choose from {', '.join(verbs)}", file=sys.stderr)
        sys.exit(2)
    from cfia.cli import run

    module = importlib.import_module(f"cfia.bin.{verb}")
    run(module.main, sys.argv[2:])


if __name__ == "__main__":
    main()
