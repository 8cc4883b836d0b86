"""Predict the emotion of recordings with a trained model.

INPUT is an audio file, a folder (all audio files below it, sorted), a Kaldi table that ends in
.scp, or - for a list of files on standard input, one a line.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import above_zero, parser, positive, run

EXAMPLE = """cfia predict --model exp/cfia_net_fbank/session/pack a.wav recordings/
  cfia predict --model DIR a.wav --text "I told you not to call me here."
  cfia predict --model DIR data/all/wav.scp --text_file data/all/text --out posteriors.tsv
  cfia predict --model DIR interview.mp3 --window 8 --hop 4 --plot pictures"""


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line for each recording, and for each window of those that are read in windows."""
    from cfia.options import processors

    p = _parser()
    args = p.parse_args(argv)
    _check(p, args)
    from cfia.inference import pack_file, predict
    from cfia.inference.model import load

    request = predict.Request(
        inputs=args.inputs, text=args.text, text_file=args.text_file, asr_model=args.asr_model,
        window=args.window, hop=args.hop, plot=args.plot, json=args.json, out=args.out,
        nj=1 if args.device != "cpu" else args.nj or processors(), allow_pipes=args.allow_pipes,
    )  # fmt: skip
    directory = pack_file.find(args.model, args.revision)
    recordings = predict.recordings_of(pack_file.read(directory), request)
    # With one thread, for the processes part afterwards, and threads do not survive that.
    model = load(
        directory, device=args.device, num_threads=1, audio_model=args.audio_model,
        text_model=args.text_model, asr_model=args.asr_model,
    )  # fmt: skip
    predict.run(model, recordings, request, args.num_threads or model.pack.num_threads)


def _parser() -> argparse.ArgumentParser:
    p = parser("predict", __doc__, EXAMPLE)
    p.add_argument("inputs", nargs="*", metavar="INPUT")
    p.add_argument("--model", required=True, help="the directory of a pack, or its id on the hub")
    text = p.add_mutually_exclusive_group()
    text.add_argument("--text", help="what is said in the one recording")
    text.add_argument("--text_file", type=Path, help="a Kaldi text: the stem of a file, or its id "
                      "in wav.scp, and what is said")  # fmt: skip
    text.add_argument("--asr_model", help="recognise what is said: pocketsphinx, or the directory "
                      "or id of a model")  # fmt: skip
    p.add_argument("--window", type=above_zero, help="judge windows of so many seconds one by one; "
                   "the recording's own line is their mean")  # fmt: skip
    p.add_argument("--hop", type=above_zero, help="seconds from one window to the next (default: "
                   "half a window)")  # fmt: skip
    p.add_argument("--plot", type=Path, metavar="DIR", help="draw the windows' posteriors over "
                   "time, or for a CFIA-Net on audio and text its gates")  # fmt: skip
    p.add_argument("--json", action="store_true", help="a JSON object a line in place of a table")
    p.add_argument("--out", type=Path, help="the file to write (default: standard output)")
    p.add_argument("--allow_pipes", action="store_true", help="run the commands of a wav.scp")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--nj", type=positive, help="processes on the CPU (default: the processors); "
                   "changes no byte")  # fmt: skip
    p.add_argument("--num_threads", type=positive, help="of each process (default: as in training)")
    p.add_argument("--audio_model", help="where the audio encoder is, if not where it was")
    p.add_argument("--text_model", help="where the text encoder is, if not where it was")
    p.add_argument("--revision", help="the commit of the model on the hub (default: the newest)")
    return p


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with 2 where options do not go together, before anything is loaded."""
    from cfia.inference.inputs import is_single

    if not args.inputs and args.text is None and args.text_file is None:
        p.error("name an INPUT: an audio file, a folder, a wav.scp, or - for a list")
    if not all(args.inputs):
        p.error("an INPUT is empty; name an audio file, a folder, a wav.scp, or - for a list")
    if args.text is not None and (len(args.inputs) > 1 or not all(map(is_single, args.inputs))):
        p.error("--text is what is said in one file; of several, give --text_file or --asr_model")
    if args.window and (args.text is not None or args.text_file):
        p.error("a text does not say which words are in which window; give --asr_model, or leave "
                "--window out")  # fmt: skip
    if args.window and args.hop and args.hop > args.window:
        p.error(f"--hop {args.hop:g} is longer than --window {args.window:g}, and would leave "
                "something out")  # fmt: skip


if __name__ == "__main__":
    run(main)
