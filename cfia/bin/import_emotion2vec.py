"""Import published emotion2vec features as a dump and a data directory."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cfia.cli import boolean, parser, run
from cfia.errors import UserError

if TYPE_CHECKING:
    from cfia.upstream.published import Describe

EXAMPLE = "cfia import_emotion2vec --names local/prepare_iemocap.py features dump/emotion2vec"


def main(argv: Sequence[str] | None = None) -> None:
    """Check the published files, then write the dump and the data directory."""
    p = parser("import_emotion2vec", __doc__, EXAMPLE)
    p.add_argument(
        "--names", type=Path, required=True, help="the recipe's program that knows utterance names"
    )
    p.add_argument("--conf", type=Path, default=Path("conf"), help="the recipe's conf/")
    p.add_argument("--data_dir", type=Path, default=Path("data/all"), help="[data/all]")
    p.add_argument("--text_file", default="", help="a Kaldi text of the utterances")
    p.add_argument("--dim", type=int, default=768, help="width of a frame [768]")
    p.add_argument("--force", type=boolean, default=False, help="make them again")
    p.add_argument("features_dir", type=Path, help="has train.npy, train.lengths, train.emo")
    p.add_argument("dump_dir", type=Path, help="the dump to write, such as dump/emotion2vec")
    args = p.parse_args(argv)

    from cfia.upstream import published

    features = published.read(args.features_dir, _describe(args.names), args.conf, args.dim)
    published.make_data_dir(features, args.data_dir, args.text_file, force=args.force)
    published.make_dump(features, args.dump_dir, force=args.force)


def _describe(path: Path) -> Describe:
    """Load the function `describe` of a recipe's own program."""
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise UserError(f"--names: no such program {path}; try local/prepare_iemocap.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    describe: Describe = module.describe
    return describe


if __name__ == "__main__":
    run(main)
