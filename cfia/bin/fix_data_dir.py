"""Sort the tables of a data directory and keep the utterances that all of them have.

The files as they were go to <data_dir>/.backup. A directory that needs no mending is left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run
from cfia.kaldi import edit
from cfia.kaldi.fix import fix

PROGRAM = "fix_data_dir.sh"


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the arguments, mend one data directory, say what was kept."""
    p = parser("fix_data_dir", __doc__, f"utils/{PROGRAM} data/all")
    p.prog = PROGRAM
    p.add_argument(
        "--utt-extra-files", default="", metavar="'F ...'", help="more tables of utterances"
    )
    p.add_argument(
        "--spk-extra-files", default="", metavar="'F ...'", help="more tables of speakers"
    )
    p.add_argument("data_dir", type=Path, help="the data directory")
    args = p.parse_args(edit.kaldi_arguments(argv, ("--utt-extra-files", "--spk-extra-files")))

    def tool() -> None:
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
                f"{args.data_dir} is no longer what stage 1 made; go on from --stage 2, since "
                "stage 1 will refuse to touch it",
            )

    edit.run_tool(PROGRAM, tool)


if __name__ == "__main__":
    run(main)
