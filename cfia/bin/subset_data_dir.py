"""Make a data directory of a part of another one, by default of utterances evenly spread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run
from cfia.kaldi import edit, layout, subset

PROGRAM = "subset_data_dir.sh"
_LISTS = ("--spk-list", "--utt-list")


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, choose utterances, write the data directory."""
    p = parser("subset_data_dir", __doc__, f"utils/{PROGRAM} --per-spk data/all 5 data/small")
    p.prog = PROGRAM
    p.usage = (
        f"{PROGRAM} [--speakers|--shortest|--first|--last|--per-spk] <srcdir> <num-utt> <destdir>\n"
        f"       {PROGRAM} [--spk-list <file>|--utt-list <file>] <srcdir> <destdir>"
    )
    how = p.add_mutually_exclusive_group()
    for way, text in zip(
        subset.WAYS,
        ("whole speakers, at least <num-utt> utterances", "the shortest", "the first", "the last",
         "<num-utt> utterances of each speaker"),
        strict=True,
    ):  # fmt: skip
        how.add_argument(f"--{way}", dest="way", action="store_const", const=way, help=text)
    how.add_argument("--spk-list", type=Path, metavar="FILE", help="the speakers to keep")
    how.add_argument("--utt-list", type=Path, metavar="FILE", help="the utterances to keep")
    p.add_argument("arguments", nargs="+", help="as shown above")
    args = p.parse_args(edit.kaldi_arguments(argv, _LISTS))
    by_list = args.spk_list or args.utt_list
    if len(args.arguments) != (2 if by_list else 3):
        what = "<srcdir> <destdir>" if by_list else "<srcdir> <num-utt> <destdir>"
        p.error(f"expected {what}, got {len(args.arguments)} arguments")
    source, destination = Path(args.arguments[0]), Path(args.arguments[-1])
    number = "" if by_list else args.arguments[1]
    if not by_list and (not number.isdecimal() or int(number) < 1):
        p.error(f"<num-utt> must be a number from 1, not {number!r}")

    def tool() -> None:
        edit.check_destination(destination, [source])
        tables = edit.read_tables(source, layout.TABLES)
        if by_list:
            by_speaker = args.spk_list is not None
            chosen, unknown = subset.listed(tables, by_list, speakers=by_speaker)
            if unknown:
                edit.warn(PROGRAM, f"{source} lacks {len(unknown)} of {by_list}: {unknown[0]} ...")
        else:
            chosen = subset.choose(tables, int(number), args.way or "")
        subset.write(source, tables, chosen, destination)
        left = edit.left_behind(source, {*tables, *layout.COPIED})
        if left:
            edit.warn(PROGRAM, f"not in {destination}: {' '.join(left)}")
        total = len(tables["utt2spk"])
        print(f"{PROGRAM}: reducing #utt from {total} to {len(chosen)} in {destination}")

    edit.run_tool(PROGRAM, tool)


if __name__ == "__main__":
    run(main)
