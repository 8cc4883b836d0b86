"""Write transcripts dealt out anew among each speaker's utterances: a control for what text adds.

A system that gains from the right sentences, and not from these, has learnt what a sentence does to
the sound of an emotion; one that gains from both has gained from its size alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run

EXAMPLE = "cfia shuffle_text data/all shuffled.txt   (then run.sh --text_file shuffled.txt)"


def main(argv: Sequence[str] | None = None) -> None:
    """Write a Kaldi text for --text_file; the same one each time."""
    p = parser("shuffle_text", __doc__, EXAMPLE)
    p.add_argument("data_dir", type=Path, help="has text and utt2spk")
    p.add_argument("text", type=Path, help="the text to write")
    args = p.parse_args(argv)
    from cfia.corpus.transcripts import shuffled
    from cfia.kaldi.data_dir import DataDir
    from cfia.kaldi.table import write_table

    data = DataDir.load(args.data_dir, needed=("text",))
    write_table(args.text, shuffled(data.text, data.utt2spk))


if __name__ == "__main__":
    run(main)
