"""Check a directory for the layout of the corpus, and say where that is to be had (stage 0)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = "cfia layout ~/corpora/RAVDESS   (in the recipe's directory)"


def main(argv: Sequence[str] | None = None) -> None:
    """Print what conf/corpus.yaml says of it, and what the corpus's directory lacks of that."""
    p = parser("layout", __doc__, EXAMPLE)
    p.add_argument("--conf", type=Path, default=Path("conf"), help="the recipe's conf/ [conf]")
    p.add_argument("corpus_dir", type=Path, nargs="?", help="the corpus, as the user has it")
    args = p.parse_args(argv)
    from cfia.corpus.layout import describe

    print(describe(args.conf / "corpus.yaml", args.corpus_dir))


if __name__ == "__main__":
    run(main)
