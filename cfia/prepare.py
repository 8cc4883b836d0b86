"""From a corpus to a Kaldi data directory: what the preparations of all corpora share.

A corpus' own local/prepare_*.py says where its utterances are, in a function that returns a
`Corpus`, and calls `main`. Here labels are mapped, utterances selected and checked, durations
read, and the data directory written.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cfia import marker
from cfia.cli import boolean, parser
from cfia.errors import UserError
from cfia.files import sha256, stat_digest
from cfia.kaldi.data_dir import write_data_dir
from cfia.kaldi.table import read_table
from cfia.kaldi.validate import success
from cfia.labels import Utterance, check_expected, select

log = logging.getLogger(__name__)

NO_WORDS = "..."  # the text of an utterance without words, since no transcript may be empty
SMALLEST_SHARE = 0.95  # of the selected utterances that must be readable with --skip_bad true

# [LAUGHTER] and the like; also where one of the brackets is missing.
_TAG = re.compile(r"\[[^\[\]]*\]|\[[A-Z]+\b|\b[A-Z]+\]")


@dataclass(frozen=True)
class Corpus:
    """All labelled utterances of a corpus.

    Attributes:
        spk2gender: speaker -> m or f.
        files: those read besides the audio: labels and transcripts.
        inputs: digests of what else was read, for the marker.
    """

    utterances: Sequence[Utterance]
    spk2gender: Mapping[str, str]
    files: Sequence[Path] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)


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
    p.add_argument("--allow_partial", type=boolean, default=False, help="not built yet")
    p.add_argument("--force", type=boolean, default=False, help="make it again")
    p.add_argument("corpus_dir", type=Path, help="the corpus, as it is distributed")
    p.add_argument("data_dir", type=Path, help="the data directory to write")
    args = p.parse_args(argv)
    if args.allow_partial:
        p.error("--allow_partial true is not built yet")
    if not _label_file(args).is_file():
        known = ", ".join(sorted(path.stem for path in (args.conf / "labels").glob("*.yaml")))
        p.error(f"--labels is {args.labels!r}; {args.conf}/labels has {known or 'nothing'}")
    prepare(reader, args)


def prepare(reader: Reader, args: argparse.Namespace) -> None:
    """Read, select, check and write. `args` are the options of local/data.sh.

    Raises:
        UserError: the corpus, the label map, the text file or the data directory is not as it
            should be; see the functions below.
    """
    _check_data_dir(args.data_dir)
    if not args.corpus_dir.is_dir():
        raise UserError(f"no such directory {args.corpus_dir}; give the corpus by --corpus_dir")
    root = args.corpus_dir.resolve()
    corpus = reader(root, args.conf)
    selected = select(corpus.utterances, _label_file(args))
    check_expected(selected, args.conf / "corpus.yaml", args.labels)
    utterances = [utterance for utterance, _ in selected]
    texts = _texts(utterances, args.text_file, strip=args.text_tags == "strip")
    _check_audio(utterances)
    options, inputs = _marker(args, root, corpus, utterances)
    if marker.check(args.data_dir, options, inputs, force=args.force) is marker.State.DONE:
        log.info("%s: already made, skipping", args.data_dir)
        return
    durations, skipped = _durations(utterances, skip_bad=args.skip_bad)
    kept = [(utterance, label) for utterance, label in selected if utterance.id in durations]
    tables = _tables(kept, texts, durations) | {"skipped": skipped}
    speakers = set(tables["utt2spk"].values())
    tables["spk2gender"] = {s: g for s, g in corpus.spk2gender.items() if s in speakers}
    write_data_dir(args.data_dir, tables, options, inputs)
    _report(args.data_dir, corpus.utterances, utterances, tables)


def tidy(transcript: str, *, strip: bool) -> str:
    """One line with single blanks, nothing unprintable, and without tags if `strip`.

    A transcript that has no words left becomes `...`.
    """
    if strip:
        transcript = _TAG.sub(" ", transcript)
    printable = "".join(c if c.isprintable() or c.isspace() else " " for c in transcript)
    return " ".join(printable.split()) or NO_WORDS


def _label_file(args: argparse.Namespace) -> Path:
    path: Path = args.conf / "labels" / f"{args.labels}.yaml"
    return path


def _check_data_dir(path: Path) -> None:
    """Refuse to replace a directory that no stage of ours has made, whatever --force says."""
    if path.is_dir() and ((path / marker.NAME).exists() or not any(path.iterdir())):
        return
    if path.exists():
        raise UserError(
            f"{path} is there and was not made by this program; move it away or choose another "
            "data directory"
        )


def _check_audio(utterances: Iterable[Utterance]) -> None:
    for utterance in utterances:
        if not utterance.audio.is_file():
            raise UserError(
                f"{utterance.name}: no such file {utterance.audio}; complete the corpus"
            )


def _marker(
    args: argparse.Namespace, root: Path, corpus: Corpus, utterances: Iterable[Utterance]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The options and inputs that decide on the bytes of the data directory."""
    options = {
        "corpus_dir": str(root),
        "labels": args.labels,
        "text_tags": args.text_tags,
        "skip_bad": args.skip_bad,
    }
    inputs = {
        "corpus": stat_digest([*corpus.files, *(u.audio for u in utterances)], root),
        "label map": sha256(_label_file(args)),
        **corpus.inputs,
    }
    if args.text_file:
        inputs["text_file"] = sha256(args.text_file)
    return options, inputs


def _texts(utterances: Iterable[Utterance], text_file: str, *, strip: bool) -> dict[str, str]:
    """Utterance id -> transcript: the corpus' own, or that of `text_file`.

    The text file may name the utterances by their ids or as the corpus does.
    """
    if text_file:
        given = read_table(text_file, allow_empty=True)
        found = {u.id: given.get(u.id, given.get(u.name)) for u in utterances}
        where = text_file
    else:
        found = {u.id: u.transcript for u in utterances}
        where = "the corpus"
    texts = {}
    for utterance, transcript in found.items():
        if transcript is None:
            raise UserError(f"{utterance} has no transcript in {where}; add it there")
        texts[utterance] = tidy(transcript, strip=strip)
    return texts


def _durations(
    utterances: Sequence[Utterance], *, skip_bad: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """Seconds of the readable utterances, and why the others are not, from the headers alone.

    Raises:
        UserError: an utterance is unreadable and `skip_bad` is false, or too many are.
    """
    from cfia.kaldi import audio

    durations: dict[str, float] = {}
    skipped: dict[str, str] = {}
    for utterance in utterances:
        try:
            durations[utterance.id] = audio.duration(str(utterance.audio))
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


def _tables(
    selected: Iterable[tuple[Utterance, str]],
    texts: Mapping[str, str],
    durations: Mapping[str, float],
) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {}
    for u, label in selected:
        row = {
            "wav.scp": str(u.audio),
            "text": texts[u.id],
            "utt2spk": u.speaker,
            "utt2dur": f"{durations[u.id]:.6g}",
            "utt2emo": label,
            "utt2session": u.session,
            "utt2type": u.type,
            "utt2dialogue": u.dialogue,
        }
        for name, value in row.items():
            if value:
                tables.setdefault(name, {})[u.id] = value
    return tables


def _report(
    path: Path,
    labelled: Sequence[Utterance],
    selected: Sequence[Utterance],
    tables: Mapping[str, Mapping[str, str]],
) -> None:
    left_out = Counter(u.label for u in labelled) - Counter(u.label for u in selected)
    if left_out:
        log.info("left out by their label: %s", _counts(left_out))
    log.info(
        "%s: %d of %d labelled utterances (%s), %d speakers, %.2f hours",
        path,
        len(tables["utt2emo"]),
        len(labelled),
        _counts(Counter(tables["utt2emo"].values())),
        len(set(tables["utt2spk"].values())),
        sum(map(float, tables["utt2dur"].values())) / 3600,
    )
    if tables["skipped"]:
        log.warning("left out as unreadable: %d, see %s/skipped", len(tables["skipped"]), path)
    log.info("%s", success(path))


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counter.items()))
