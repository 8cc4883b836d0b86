"""Copy a data directory, with prefixes and suffixes to its speakers' and utterances' ids."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import run
from cfia.kaldi import edit
from cfia.kaldi.copy import Affixes, copy
from cfia.kaldi.validate import FLAGS, Checks

PROGRAM = "copy_data_dir.sh"
_AFFIXES = ("spk_prefix", "utt_prefix", "spk_suffix", "utt_suffix")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, copy one data directory."""
    example = "--spk-prefix emodb_ --utt-prefix emodb_ data/all data/emodb"
    p = edit.tool_parser(PROGRAM, __doc__, example)
    options = [f"--{name.replace('_', '-')}" for name in _AFFIXES]
    for option in options:
        p.add_argument(option, default="", metavar="TEXT", help="goes before or after the ids")
    p.add_argument("--validate-opts", default="", help="flags of validate_data_dir.sh")
    p.add_argument("--extra-files", default="", metavar="'F ...'", help="more files, copied as is")
    p.add_argument("source", metavar="srcdir", type=Path, help="the data directory")
    p.add_argument("dest", metavar="destdir", type=Path, help="the data directory to write")
    args = p.parse_args(edit.kaldi_arguments(argv, (*options, "--validate-opts", "--extra-files")))
    flags = shlex.split(args.validate_opts)
    for flag in flags:
        if flag not in FLAGS:
            p.error(f"--validate-opts: {flag} is not a flag of validate_data_dir.sh")
    with edit.errors_of(PROGRAM):
        extra = edit.file_names(args.extra_files)
        affixes = Affixes(**{name: getattr(args, name) for name in _AFFIXES})
        checks = Checks(**{FLAGS[flag].check: False for flag in flags})
        copy(args.source, args.dest, affixes, checks, extra)
        edit.warn_of_other_files(PROGRAM, args.source, args.dest, extra)
    print(f"{PROGRAM}: copied data from {args.source} to {args.dest}")


if __name__ == "__main__":
    run(main)
