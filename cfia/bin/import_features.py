"""Make Kaldi features from elsewhere a dump, which the stages then read under its name.

Afterwards `run.sh --audio_upstream NAME` (or `--text_upstream NAME`) takes it as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfia.cli import boolean, parser, run
from cfia.naming import MODALITIES, path_part
from cfia.upstream.exposure import VALUES

EXAMPLE = """cfia import_features --scp feats.scp --name mfcc --modality audio --data data/all
  ./run.sh --stage 3 --audio_upstream mfcc"""


def main(argv: Sequence[str] | None = None) -> None:
    """Check and copy the features; see `cfia.upstream.import_features`."""
    p = parser("import_features", __doc__, EXAMPLE)
    p.add_argument("--scp", type=Path, required=True, help="Kaldi's feats.scp of the features")
    p.add_argument(
        "--name", type=path_part, required=True, help="what their encoder is called from now on"
    )
    p.add_argument("--modality", choices=MODALITIES, required=True)
    p.add_argument("--dir", type=Path, help="the dump to write [dump/NAME]")
    p.add_argument("--data", type=Path, help="the data directory that needs them, if not all")
    p.add_argument(
        "--frame_shift",
        type=_seconds,
        help="seconds, of audio [a file frame_shift beside the scp, or durations of utt2dur]",
    )
    p.add_argument("--skip_bad", type=boolean, default=False, help="go on if a few of --data lack")
    p.add_argument("--link", type=boolean, default=False, help="link to the archives, do not copy")
    p.add_argument(
        "--exposure", choices=VALUES, default="unknown", help="what the encoder saw of the corpus"
    )
    p.add_argument("--force", type=boolean, default=False, help="import them again")
    args = p.parse_args(argv)

    from cfia.upstream.import_features import Request, import_features

    request = Request(
        scp=args.scp,
        name=args.name,
        modality=args.modality,
        frame_shift=args.frame_shift,
        data=args.data,
        skip_bad=args.skip_bad,
        link=args.link,
        exposure=args.exposure,
    )
    import_features(request, args.dir or Path("dump") / args.name, force=args.force)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, such as 0.01, not {text!r}")
    return value


if __name__ == "__main__":
    run(main)
