"""Make a Kaldi data directory of a corpus: the steps that are the same for all corpora.

The recipe's local/prepare_*.py says where the utterances are, in a function that returns a
`Corpus`, and calls `main`. Here labels are mapped, utterances selected and checked, durations
read, and the data directory written.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cfia import marker
from cfia.cli import boolean, parser
from cfia.corpus.corpus_conf import has_text, read_corpus_conf
from cfia.corpus.rare import without_rare
from cfia.corpus.tables import report, seconds_spoken, tables
from cfia.corpus.transcripts import some, transcripts
from cfia.corpus.utterances import Utterance, differences, expectations, select
from cfia.errors import UserError
from cfia.files import sha256, stat_digest
from cfia.kaldi.data_dir import write_data_dir

log = logging.getLogger(__name__)

SMALLEST_SHARE = 0.95  # of the selected utterances that must be readable with --skip_bad true


@dataclass(frozen=True)
class Corpus:
    """All labelled utterances of a corpus.

    Attributes:
        speakers: what the corpus says of its speakers: table (`spk2gender`, `spk2age`) ->
            speaker -> value; of gender m or f.
        has_text: whether it has transcripts at all.
        files: those that were read apart from the audio: labels and transcripts.
        inputs: digests of anything else that was read, for the marker.
        missing: paths in the corpus that were looked for and are not there.
    """

    utterances: Sequence[Utterance]
    speakers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    has_text: bool = True
    files: Sequence[Path] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()


Reader = Callable[[Path, Path], Corpus]
"""Reads a corpus, given its directory (absolute) and the recipe's conf/."""


def main(name: str, reader: Reader, argv: Sequence[str] | None = None) -> None:
    """Parse the options of local/data.sh and prepare the data directory."""
    p = parser(f"prepare {name}", f"{name} to a Kaldi data directory.", "local/data.sh corpus data")
    p.prog = "local/data.sh"
    p.add_argument("--conf", type=Path, default=Path("conf"), help="the recipe's conf/")
    p.add_argument("--labels", default="4", help="label set: conf/labels/<name>.yaml [4]")
    p.add_argument("--text_tags", choices=("strip", "keep"), default="strip")
    p.add_argument("--text_file", default="", help="a Kaldi text that replaces the transcripts")
    p.add_argument("--skip_bad", type=boolean, default=False, help="leave out unreadable audio")
    p.add_argument(
        "--allow_partial", type=boolean, default=False, help="go on without what is missing"
    )
    p.add_argument("--force", type=boolean, default=False, help="make it again")
    p.add_argument("corpus_dir", type=Path, help="the corpus, as it is distributed")
    p.add_argument("data_dir", type=Path, help="the data directory to write")
    args = p.parse_args(argv)
    args.label_map = args.conf / "labels" / f"{args.labels}.yaml"
    if not args.label_map.is_file():
        known = ", ".join(sorted(path.stem for path in (args.conf / "labels").glob("*.yaml")))
        p.error(f"--labels is {args.labels!r}; {args.conf}/labels has {known or 'nothing'}")
    prepare(reader, args)


def prepare(reader: Reader, args: argparse.Namespace) -> None:
    """Read, select, check and write.

    Args:
        reader: reads the corpus.
        args: the options of local/data.sh, and `label_map`, the file that --labels names.

    Raises:
        UserError: the corpus, the label map, the text file or the data directory is not as it
            should be; see the functions below.
    """
    if not args.corpus_dir.is_dir():
        raise UserError(f"no such directory {args.corpus_dir}; give the corpus by --corpus_dir")
    root = args.corpus_dir.resolve()
    corpus, conf = reader(root, args.conf), read_corpus_conf(args.conf / "corpus.yaml")
    corpus = replace(corpus, has_text=corpus.has_text and has_text(conf))
    selected = select(corpus.utterances, args.label_map)
    present, absent = _present(corpus, selected, args, root)
    present, merged = without_rare(present, conf.get("min_class"))
    _check_enough(present, args)
    texts = {}
    if corpus.has_text or args.text_file:
        strip = args.text_tags == "strip"
        texts = transcripts([u for u, _ in present], args.text_file, strip=strip)
    options, inputs = _marker(args, root, corpus, selected)
    inputs |= _code(reader) | ({"min_class": merged} if merged else {})
    if marker.check(args.data_dir, options, inputs, force=args.force) is marker.State.DONE:
        log.info("%s: already made, skipping", args.data_dir)
        return
    audio_format = conf.get("audio") or {}
    utterances = [utterance for utterance, _ in present]
    durations, unreadable = _durations(utterances, audio_format, skip_bad=args.skip_bad)
    kept = [(utterance, label) for utterance, label in present if utterance.id in durations]
    rows = tables(kept, texts, durations, corpus.speakers)
    rows["skipped"] = {**absent, **unreadable}
    write_data_dir(args.data_dir, rows, options, inputs, text=bool(texts))
    if merged:
        log.info("%s", merged)
    report(args.data_dir, corpus.utterances, [u for u, _ in selected], rows)


def _present(
    corpus: Corpus,
    selected: Sequence[tuple[Utterance, str]],
    args: argparse.Namespace,
    root: Path,
) -> tuple[Sequence[tuple[Utterance, str]], dict[str, str]]:
    """Find the selected utterances that the corpus has whole, and why the others are left out.

    Raises:
        UserError: the corpus lacks something, or has other counts than the recipe expects, and
            --allow_partial is false; it says all that is missing.
    """
    utterances = [utterance for utterance, _ in selected]
    without: dict[str, list[Utterance]] = {}
    if args.allow_partial or not args.skip_bad:  # else missing audio is bad audio
        without["no audio file"] = [u for u in utterances if not u.audio.is_file()]
    if corpus.has_text and not args.text_file:
        without["no transcript"] = [u for u in utterances if u.transcript is None]
    faults = [f"there is no {path}" for path in corpus.missing]
    faults += _release_differences(corpus, selected, args)
    faults += [
        f"{len(lacking)} of {len(utterances)} utterances have {fault} "
        f"({some(u.name for u in lacking)})"
        for fault, lacking in without.items()
        if lacking
    ]
    if not faults:
        return selected, {}
    message = f"the corpus {root} is not the complete release: {'; '.join(faults)}"
    if not args.allow_partial:
        raise UserError(f"{message}; complete it, or use what is there by --allow_partial true")
    log.warning("%s; going on with what is there", message)
    absent = {u.id: f"{fault} in the corpus" for fault, lacking in without.items() for u in lacking}
    return [(u, label) for u, label in selected if u.id not in absent], absent


def _release_differences(
    corpus: Corpus, selected: Sequence[tuple[Utterance, str]], args: argparse.Namespace
) -> list[str]:
    """Say how the corpus differs from the release that conf/corpus.yaml expects.

    The first label set that it has expectations of tells the release, whatever --labels is.
    """
    path = args.conf / "corpus.yaml"
    first = next(iter(expectations(path)), args.labels)
    if first != args.labels:
        release = select(corpus.utterances, args.conf / "labels" / f"{first}.yaml")
        clauses = differences(release, path, first)
        if clauses:
            return clauses
    return differences(selected, path, args.labels)


def _check_enough(present: Sequence[tuple[Utterance, str]], args: argparse.Namespace) -> None:
    """Require two classes, and of a partial corpus with sessions two of them."""
    names = {"class": {label for _, label in present}}
    sessions = {u.session for u, _ in present} - {""}
    if sessions and args.allow_partial:
        names["session"] = sessions
    for kind, values in names.items():
        if len(values) < 2:
            only = f"one {kind} only, {min(values)}," if values else "nothing"
            raise UserError(
                f"{args.corpus_dir} has {only} among the utterances to use; two are needed at "
                "least, so get more of the corpus"
            )


def _marker(
    args: argparse.Namespace,
    root: Path,
    corpus: Corpus,
    selected: Iterable[tuple[Utterance, str]],
) -> tuple[dict[str, Any], dict[str, str]]:
    """List the options and inputs that decide on the bytes of the data directory."""
    options = {
        "corpus_dir": _place(args.data_dir, root),
        "labels": args.labels,
        "text_tags": args.text_tags,
        "skip_bad": _skip_bad(args),
        "allow_partial": args.allow_partial,
    }
    audio = [u.audio for u, _ in selected if u.audio.is_file()]
    inputs = {
        "corpus": stat_digest([*corpus.files, *audio], root),
        "label map": sha256(args.label_map),
        **corpus.inputs,
    }
    if args.text_file:
        inputs["text_file"] = sha256(args.text_file)
    return options, inputs


def _skip_bad(args: argparse.Namespace) -> bool:
    """Name --skip_bad for the marker: as it was, where nothing was skipped and it is the same.

    So stage 1 takes its data directory for made when a later stage asks for --skip_bad true.
    """
    there = marker.read(args.data_dir)
    if there is None or args.force or (args.data_dir / "skipped").exists():
        return bool(args.skip_bad)
    return bool(there.options.get("skip_bad", args.skip_bad))


def _code(reader: Reader) -> dict[str, str]:
    """Digest the recipe's own code that reads the corpus: the script, and modules beside it."""
    script = Path(inspect.getfile(reader)).resolve()
    named = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    files = {Path(name).resolve() for name in named if name} | {script}
    own = sorted(file for file in files if file.is_relative_to(script.parent))
    return {str(file.relative_to(script.parents[1])): sha256(file) for file in own}


def _place(data_dir: Path, root: Path) -> str:
    """Name the corpus for the marker, so that it and the data directory may move together.

    One that lies in the recipe is named from there; one that moved with it, as it was named before.
    """
    there, here = marker.read(data_dir), Path.cwd().resolve()
    before = str(there.options.get("corpus_dir", "")) if there else ""
    if before and marker.finder(data_dir)(before) == str(root):
        return before
    return str(root.relative_to(here) if root.is_relative_to(here) else root)


def _durations(
    utterances: Sequence[Utterance], audio_format: Mapping[str, Any], *, skip_bad: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Read the seconds of utterances from headers alone, and say why others are unreadable.

    Args:
        audio_format: what every header must say, by the fields of `cfia.kaldi.audio.Header`.

    Raises:
        UserError: an utterance is unreadable, or of another format, and `skip_bad` is false, or
            too many are.
    """
    from cfia.kaldi import audio

    durations: dict[str, float] = {}
    skipped: dict[str, str] = {}
    for utterance in utterances:
        try:
            header = audio.header(str(utterance.audio))
            _check_format(utterance, header._asdict(), audio_format)
            durations[utterance.id] = seconds_spoken(utterance, header.seconds)
        except UserError as error:
            if not skip_bad:
                raise
            reason = str(error).rpartition("; ")[0]  # without the advice to leave it out
            skipped[utterance.id] = reason
            log.warning("left out %s: %s", utterance.id, reason)
    if len(durations) < SMALLEST_SHARE * len(utterances):
        raise UserError(
            f"{len(skipped)} of {len(utterances)} utterances have unreadable audio (the first is "
            f"{min(skipped)}), more than --skip_bad true may leave out; repair the corpus"
        )
    return durations, skipped


def _check_format(
    utterance: Utterance, header: Mapping[str, Any], audio_format: Mapping[str, Any]
) -> None:
    for name, value in audio_format.items():
        if name not in header:
            raise UserError(f"corpus.yaml: audio has {name!r}; it may have {', '.join(header)}")
        if header[name] != value:
            raise UserError(
                f"the audio file {utterance.audio} has the {name} {header[name]}, where all of the "
                f"corpus have {value} (conf/corpus.yaml); replace it, or leave it out with "
                "--skip_bad true"
            )
