"""Plan the batches and jobs of a dump (stages 3 and 4).

Prints the number of jobs: 0 if the dump is complete. A dump that was begun keeps its plan.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfia import lock, marker
from cfia.cli import add_ngpu, boolean, parser, positive, run
from cfia.directories import reading
from cfia.naming import MODALITIES
from cfia.options import LEGAL
from cfia.upstream import imported
from cfia.upstream.choice import ALL, Choice
from cfia.upstream.registry import names

EXAMPLE = "cfia dump_plan --modality audio --upstream fbank --data data/all --dir dump/fbank --nj 4"


def main(argv: Sequence[str] | None = None) -> None:
    """Plan a dump; see `cfia.upstream.dump_plan.make`. Prints the number of jobs."""
    args = _parse(argv)
    if args.is_imported:
        imported.check(args.dir, args.modality, args.data)
        print(0)
        return
    with lock.making(args.dir, force=args.force), reading(args.data):
        print(_plan(args))


def _plan(args: argparse.Namespace) -> int:
    from cfia.upstream.dump_plan import Settings, find_model, make
    from cfia.upstream.exposure import allowed_exposure
    from cfia.upstream.inputs import TEXT, read_data
    from cfia.upstream.registry import identify

    choice = Choice(args.modality, args.upstream, args.model or None, args.layer, args.hub)
    text = TEXT
    if args.text:
        text = str(args.text.relative_to(args.data))
        marker.output_digest(args.text.parent, "stage 4 (recognised text)")
    data = read_data(args.data, args.modality, text)
    files = find_model(args.dir, data, choice, force=args.force)
    identity = identify(choice, files)
    exposure = None
    if args.corpus:
        allow = args.allow_contaminated
        exposure = allowed_exposure(args.exposure, choice, args.corpus, identity, allow=allow)
    settings = Settings(
        choice=choice,
        num_threads=args.num_threads,
        compression_method=args.compression_method,
        skip_bad=args.skip_bad,
        exposure=exposure,
        identity=str(identity) if identity else None,
        files=files.record() if files else None,
        text=text,
    )
    return make(args.dir, data, settings, args.nj, force=args.force, ngpu=args.ngpu)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    p = parser("dump_plan", __doc__, EXAMPLE)
    p.add_argument("--modality", choices=MODALITIES, required=True)
    p.add_argument("--upstream", required=True, metavar="NAME", help="the encoder's name")
    p.add_argument("--model", default="", help="hub id or directory (default: the encoder's)")
    p.add_argument("--layer", type=_layer, default=None, help="of hidden_states (default: last)")
    p.add_argument(
        "--hub",
        choices=LEGAL["hub"],
        default="hf",
        help="where a hub id is looked up: Hugging Face or ModelScope (default: hf)",
    )
    p.add_argument("--data", type=Path, required=True, help="the data directory")
    p.add_argument(
        "--text", type=_file, metavar="FILE", help="a recogniser's text in it, to be encoded"
    )
    p.add_argument("--dir", type=Path, required=True, help="the dump directory")
    p.add_argument("--nj", type=positive, default=1, help="the most jobs (default: 1)")
    p.add_argument("--num_threads", type=positive, default=1, help="per job (default: 1)")
    add_ngpu(p, "batches for a GPU, ten times as large")
    p.add_argument(
        "--compression_method",
        type=int,
        default=0,
        help="Kaldi's number: 0 float32, 2 one byte, 3 two bytes a value (default: 0)",
    )
    p.add_argument("--skip_bad", type=boolean, default=False, help="list unreadable audio, go on")
    p.add_argument("--force", type=boolean, default=False, help="dump again, whatever is there")
    p.add_argument("--corpus", default="", metavar="NAME", help="for --exposure")
    p.add_argument("--exposure", type=Path, metavar="FILE", help="such as conf/exposure.yaml")
    p.add_argument(
        "--allow_contaminated",
        type=boolean,
        default=False,
        help="take an encoder that was trained on the corpus's labels",
    )
    args = p.parse_args(argv)
    upstreams = names(args.modality)
    args.is_imported = imported.is_imported(args.dir, args.modality, args.upstream)
    if args.upstream not in upstreams and not args.is_imported:
        p.error(
            f"--upstream {args.upstream}: the {args.modality} upstreams are "
            f"{', '.join(upstreams)}, and {args.dir} holds no features that were imported under "
            "that name (cfia import_features)"
        )
    if args.text and not (args.modality == "text" and args.text.is_relative_to(args.data)):
        p.error(f"--text {args.text}: it is for --modality text, and a file in {args.data}")
    if args.corpus and args.exposure is None:
        p.error("--corpus: needs --exposure")
    from cfia.kaldi.archive import COMPRESSION_METHODS

    if args.compression_method not in COMPRESSION_METHODS:
        p.error(f"--compression_method: choose from {COMPRESSION_METHODS}")
    return args


def _layer(text: str) -> int | str | None:
    """Parse a number from 0, `all`, or nothing for the last layer."""
    if text == ALL:
        return ALL
    if text and not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"expected a layer's number, {ALL} or nothing, not {text!r}"
        )
    return int(text) if text else None


def _file(text: str) -> Path | None:
    """Read a path; nothing is none."""
    return Path(text) if text else None


if __name__ == "__main__":
    run(main)
