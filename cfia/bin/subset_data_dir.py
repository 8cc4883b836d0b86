"""Make a data directory of some utterances of another one, by default of evenly spread ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import run
from cfia.kaldi import edit, layout, subset

PROGRAM = "subset_data_dir.sh"


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, choose utterances, write the data directory."""
    p = edit.tool_parser(PROGRAM, __doc__, "--per-spk data/all 5 data/small")
    p.usage = (
        f"{PROGRAM} [--speakers|--shortest|--first|--last|--per-spk] <srcdir> <num-utt> <destdir>\n"
        f"       {PROGRAM} [--spk-list <file>|--utt-list <file>] <srcdir> <destdir>"
    )
    choice = p.add_mutually_exclusive_group()
    for way, text in subset.WAYS.items():
        choice.add_argument(f"--{way}", dest="way", action="store_const", const=way, help=text)
    choice.add_argument("--spk-list", type=Path, metavar="FILE", help="the speakers to keep")
    choice.add_argument("--utt-list", type=Path, metavar="FILE", help="the utterances to keep")
    p.add_argument("arguments", nargs="+", help="as shown above")
    args = p.parse_args(edit.kaldi_arguments(argv, ("--spk-list", "--utt-list")))
    by_list = args.spk_list or args.utt_list
    if len(args.arguments) != (2 if by_list else 3):
        expected = "<srcdir> <destdir>" if by_list else "<srcdir> <num-utt> <destdir>"
        p.error(f"expected {expected}, got {len(args.arguments)} arguments")
    source, destination = Path(args.arguments[0]), Path(args.arguments[-1])
    number = "" if by_list else args.arguments[1]
    if not by_list and (not number.isdecimal() or int(number) < 1):
        p.error(f"<num-utt> must be a number from 1, not {number!r}")
    with edit.errors_of(PROGRAM):
        edit.check_destination(destination, [source])
        tables = edit.read_tables(source, layout.kinds(source))
        if by_list:
            by_speaker = args.spk_list is not None
            utterances, unknown = subset.listed(tables, by_list, speakers=by_speaker)
            if unknown:
                edit.warn(PROGRAM, f"{source} lacks {len(unknown)} of {by_list}: {unknown[0]} ...")
        else:
            utterances = subset.choose(tables, int(number), args.way or "")
        subset.write(source, tables, utterances, destination)
        edit.warn_of_other_files(PROGRAM, source, destination)
    total = len(tables["utt2spk"])
    print(f"{PROGRAM}: reducing #utt from {total} to {len(utterances)} in {destination}")


if __name__ == "__main__":
    run(main)
