"""Make a data directory of a corpus that the recipe's conf/corpus.yaml describes (stage 1)."""

from __future__ import annotations

import gc
from collections.abc import Sequence

from cfia.cli import run


def main(argv: Sequence[str] | None = None) -> None:
    """Read the corpus as its page says, and prepare the data directory."""
    from cfia.corpus import page, prepare

    prepare.main("a corpus", page.read, argv)


if __name__ == "__main__":
    gc.disable()  # what is read has no cycles and lives to the end; looking for some takes a third
    run(main)
