"""Serve a page to try a packed model: record or upload, and see what it says.

The page is on this machine alone unless --host says otherwise. Its address is printed; Ctrl-C
ends it. Of what is sent to it nothing is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cfia.cli import above_zero, parser, positive, run

EXAMPLE = "cfia demo --model exp/cfia_net_fbank/session/pack"


def main(argv: Sequence[str] | None = None) -> None:
    """Load the model, then serve until Ctrl-C."""
    p = parser("demo", __doc__, EXAMPLE)
    p.add_argument("--model", required=True, help="a pack's directory, or its id on the hub")
    p.add_argument("--revision", help="the commit on the hub (default: the newest)")
    p.add_argument("--audio_model", help="where the audio encoder is, if not where it was")
    p.add_argument("--text_model", help="where the text encoder is, if not where it was")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="[cpu]")
    p.add_argument(
        "--num_threads", type=positive, help="of the processor (default: as in training)"
    )
    p.add_argument(
        "--host", default="127.0.0.1",
        help="the address to serve on; others than 127.0.0.1 let other machines in [127.0.0.1]",
    )  # fmt: skip
    p.add_argument("--port", type=_port, default=8000, help="a free one if it is taken [8000]")
    p.add_argument("--max_seconds", type=above_zero, default=600, help="of a recording [600]")
    p.add_argument("--max_megabytes", type=above_zero, default=50, help="of its file [50]")
    args = p.parse_args(argv)
    from cfia.inference.demo import serve
    from cfia.inference.demo_server import Limits

    given = {key: getattr(args, key) for key in _LOAD}
    serve(args.model, given, args.host, args.port, args.max_seconds, Limits(args.max_megabytes))


_LOAD = ("revision", "device", "num_threads", "audio_model", "text_model")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"expected a port from 0 (any) to 65535, not {text!r}")
    return int(text)


if __name__ == "__main__":
    run(main)
