"""Sort the tables of a data directory and keep the utterances that all of them have.

The files as they were go to <data_dir>/.backup. A directory without faults is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import run
from cfia.kaldi import edit
from cfia.kaldi.fix import fix

PROGRAM = "fix_data_dir.sh"


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, fix one data directory, say what was kept."""
    p = edit.tool_parser(PROGRAM, __doc__, "data/all")
    options = {"--utt-extra-files": "utterances", "--spk-extra-files": "speakers"}
    for option, keys in options.items():
        p.add_argument(option, default="", metavar="'F ...'", help=f"more tables of {keys}")
    p.add_argument("data_dir", type=Path, help="the data directory")
    args = p.parse_args(edit.kaldi_arguments(argv, options))
    with edit.errors_of(PROGRAM):
        utterance_files = edit.file_names(args.utt_extra_files)
        report = fix(args.data_dir, utterance_files, edit.file_names(args.spk_extra_files))
    for note in report.notes:
        edit.warn(PROGRAM, note)
    if report.kept == report.total:
        print(f"{PROGRAM}: kept all {report.total} utterances.")
    else:
        print(f"{PROGRAM}: kept {report.kept} utterances out of {report.total}")
    if report.changed:
        print(f"{PROGRAM}: old files are kept in {args.data_dir}/.backup")
    if report.stage_1:
        edit.warn(
            PROGRAM,
            f"{args.data_dir} is no longer what stage 1 made; go on from --stage 2, since stage 1 "
            "makes it again only with --force true",
        )


if __name__ == "__main__":
    run(main)
