"""Make a Kaldi data directory of a corpus: the steps that are the same for all corpora.

The recipe says where the utterances are: its conf/corpus.yaml (`cfia.corpus.page`), or a function
in its local/prepare_*.py. Both return a `Corpus`, and are given to `main`. Here labels are mapped,
utterances selected and checked, durations read, and the data directory written.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cfia import lock, marker
from cfia.cli import boolean, parser
from cfia.corpus.corpus_conf import CorpusConf, has_text, read_corpus_conf
from cfia.corpus.inputs import recorded
from cfia.corpus.rare import without_rare
from cfia.corpus.show import show
from cfia.corpus.tables import report, seconds_spoken, tables
from cfia.corpus.transcripts import some, transcripts
from cfia.corpus.utterances import Utterance, differences, expectations, select
from cfia.directories import reading
from cfia.errors import UserError
from cfia.files import in_threads

if TYPE_CHECKING:
    from cfia.kaldi.audio import Header

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
        bad: what cannot be used and may be left out, such as rows with an empty cell -> why.
    """

    utterances: Sequence[Utterance]
    speakers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    has_text: bool = True
    files: Sequence[Path] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
    bad: Mapping[str, str] = field(default_factory=dict)


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
    p.add_argument(
        "--show", type=int, default=0, help="print so many utterances as understood; write nothing"
    )
    p.add_argument("corpus_dir", type=Path, help="the corpus, as it is distributed")
    p.add_argument("data_dir", type=Path, nargs="?", help="the data directory to write")
    args = p.parse_args(argv)
    if (args.data_dir is None) != bool(args.show):
        p.error("give a data directory to write, or --show and none")
    args.label_map = args.conf / "labels" / f"{args.labels}.yaml"
    if not args.label_map.is_file():
        known = ", ".join(sorted(path.stem for path in (args.conf / "labels").glob("*.yaml")))
        p.error(f"--labels is {args.labels!r}; {args.conf}/labels has {known or 'nothing'}")
    with contextlib.ExitStack() as held:
        if args.data_dir:
            held.enter_context(lock.making(args.data_dir, force=args.force))
        held.enter_context(reading(args.corpus_dir))
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
    if args.show:
        print(show(corpus, args.label_map, args.show))
        return
    bad = _bad(corpus, skip_bad=args.skip_bad)
    selected = select(corpus.utterances, args.label_map)
    present, absent = _present(corpus, selected, args, root, conf)
    present, merged = without_rare(present, conf.get("min_class"))
    _check_enough(present, args)
    texts = _texts(corpus, present, args)
    audio = {u.audio for u, _ in selected if u.audio.is_file()}
    options, inputs = recorded(args, root, corpus, audio, reader)
    inputs |= {"min_class": merged} if merged else {}
    if marker.check(args.data_dir, options, inputs, force=args.force) is marker.State.DONE:
        log.info("%s: already made, skipping", args.data_dir)
        return
    from cfia.kaldi.data_dir import write_data_dir  # late: --show needs no audio

    utterances, audio_format = [utterance for utterance, _ in present], conf.get("audio") or {}
    durations, unreadable = _durations(utterances, audio_format, skip_bad=args.skip_bad)
    kept = [(utterance, label) for utterance, label in present if utterance.id in durations]
    rows = tables(kept, texts, durations, corpus.speakers)
    rows["skipped"] = {**bad, **absent, **unreadable}
    write_data_dir(args.data_dir, rows, options, inputs, text=bool(texts))
    if merged:
        log.info("%s", merged)
    report(args.data_dir, corpus.utterances, [u for u, _ in selected], rows)


def _bad(corpus: Corpus, *, skip_bad: bool) -> Mapping[str, str]:
    """Give what the corpus has that cannot be used, and why, where it may be left out.

    Raises:
        UserError: `skip_bad` is false, or it is too much.
    """
    n_bad, why = len(corpus.bad), next(iter(corpus.bad.values()), "")
    if n_bad and not skip_bad:
        more = f" ({n_bad - 1:,} more rows cannot be used)" if n_bad > 1 else ""
        raise UserError(f"{why}{more}; correct it, or leave it out with --skip_bad true")
    if n_bad > (1 - SMALLEST_SHARE) * (n_bad + len(corpus.utterances)):
        raise UserError(
            f"{n_bad:,} of {n_bad + len(corpus.utterances):,} rows cannot be used (the first: "
            f"{why}), more than --skip_bad true may leave out; repair the corpus"
        )
    for why in corpus.bad.values():
        log.warning("left out: %s", why)
    return corpus.bad


def _present(
    corpus: Corpus,
    selected: Sequence[tuple[Utterance, str]],
    args: argparse.Namespace,
    root: Path,
    conf: CorpusConf,
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
    others = _release_differences(corpus, selected, args)
    if others and conf.get("may_be_partial"):
        log.warning("%s is not the whole release: %s; going on with it", root, "; ".join(others))
    else:
        faults += others
    faults += [
        f"{len(lacking)} of {len(utterances)} utterances have {fault} "
        f"({some(u.name for u in lacking)}{_said_by(lacking[0])})"
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


def _said_by(utterance: Utterance) -> str:
    return f"; {utterance.source} names the first" if isinstance(utterance.source, str) else ""


def _texts(
    corpus: Corpus, present: Sequence[tuple[Utterance, str]], args: argparse.Namespace
) -> dict[str, str]:
    """Give the transcripts of utterances by their ids; none where there are no transcripts."""
    if not corpus.has_text and not args.text_file:
        return {}
    strip = args.text_tags == "strip"
    return transcripts([u for u, _ in present], args.text_file, strip=strip)


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
    durations: dict[str, float] = {}
    skipped: dict[str, str] = {}
    paths = list({utterance.audio: None for utterance in utterances})
    headers = dict(zip(paths, in_threads(_header, paths), strict=True))
    for utterance in utterances:
        header = headers[utterance.audio]
        try:
            if isinstance(header, UserError):
                raise header
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


def _header(path: Path) -> Header | UserError:
    from cfia.kaldi import audio

    try:
        return audio.header(str(path))
    except UserError as error:
        return error


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
