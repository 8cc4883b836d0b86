"""Copy a data directory, with prefixes and suffixes to its speakers' and utterances' ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run
from cfia.kaldi import edit, layout
from cfia.kaldi.copy import Affixes, copy

PROGRAM = "copy_data_dir.sh"
_AFFIXES = ("spk_prefix", "utt_prefix", "spk_suffix", "utt_suffix")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, copy one data directory."""
    p = parser(
        "copy_data_dir",
        __doc__,
        f"utils/{PROGRAM} --spk-prefix emodb_ --utt-prefix emodb_ data/all data/emodb",
    )
    p.prog = PROGRAM
    options = [f"--{name.replace('_', '-')}" for name in _AFFIXES]
    for option in options:
        p.add_argument(option, default="", metavar="TEXT", help="goes before or after the ids")
    p.add_argument("--validate-opts", default="", help="flags of validate_data_dir.sh")
    p.add_argument("--extra-files", default="", metavar="'F ...'", help="more files, copied as is")
    p.add_argument("source", metavar="srcdir", type=Path, help="the data directory")
    p.add_argument("dest", metavar="destdir", type=Path, help="the data directory to write")
    args = p.parse_args(edit.kaldi_arguments(argv, (*options, "--validate-opts", "--extra-files")))
    try:
        wanted = edit.validation_flags(args.validate_opts)
    except ValueError as error:
        p.error(f"--validate-opts: {error}")

    def tool() -> None:
        extra = edit.file_names(args.extra_files)
        affixes = Affixes(**{name: getattr(args, name) for name in _AFFIXES})
        copy(args.source, args.dest, affixes, wanted, extra)
        left = edit.left_behind(args.source, {*layout.TABLES, *layout.COPIED, *extra})
        if left:
            edit.warn(PROGRAM, f"not in {args.dest}: {' '.join(left)}")
        print(f"{PROGRAM}: copied data from {args.source} to {args.dest}")

    edit.run_tool(PROGRAM, tool)


if __name__ == "__main__":
    run(main)
