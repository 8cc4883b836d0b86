"""Give each utterance the sentence of another of the same speaker: a control for what text adds.

A system that gains from the right sentences, and not from these, has learnt what a sentence does to
the sound of an emotion; one that gains from both has gained from its size alone.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import parser, run
from cfia.kaldi.table import read_table, write_table

SEED = 1


def main(argv: Sequence[str] | None = None) -> None:
    """Write a Kaldi text for --text_file."""
    p = parser("shuffle_text", __doc__, "local/shuffle_text.py data/all downloads/shuffled")
    p.prog = "local/shuffle_text.py"
    p.add_argument("data_dir", type=Path, help="has text and utt2spk")
    p.add_argument("text", type=Path, help="the text to write")
    args = p.parse_args(argv)
    texts, speakers = read_table(args.data_dir / "text"), read_table(args.data_dir / "utt2spk")
    rng = random.Random(SEED)
    shuffled: dict[str, str] = {}
    for speaker in sorted(set(speakers.values())):
        utts = [utt for utt in sorted(texts) if speakers[utt] == speaker]
        shuffled.update(zip(utts, rng.sample([texts[utt] for utt in utts], len(utts)), strict=True))
    write_table(args.text, shuffled)


if __name__ == "__main__":
    run(main)
