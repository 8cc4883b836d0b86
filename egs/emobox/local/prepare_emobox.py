"""Read a corpus by EmoBox's lists: its official folds, and EmoBox's names for its labels.

    data/<corpus>/label_map.json      {"ang": "Angry", ...}; of one corpus label_dict.json
    data/<corpus>/fold_<i>/<corpus>_<part>_fold_<i>.jsonl, of train, test and perhaps valid:
        {"key": "<corpus>-<name>", "wav": "downloads/<corpus>/<path>", "emo": "ang", ...}
        and, for a part of a recording, "start_time" and "end_time" in seconds

Other lists in these folders have other names (emodb_test_fold1, mer2023_test2_fold_1) and older
keys; no fold is made of them.
"""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cfia.cli import run
from cfia.corpus.builder import Builder
from cfia.corpus.columns import UNKNOWN, Columns
from cfia.corpus.corpus_conf import Table
from cfia.corpus.prepare import Corpus, main
from cfia.corpus.read_table import read_table
from cfia.corpus.rows import Row
from cfia.corpus.several import CORPORA, said_of
from cfia.corpus.splits import WORDS
from cfia.errors import UserError
from cfia.files import digest, read_json
from cfia.shapes import ShapeError, fit

log = logging.getLogger(__name__)

NEEDED = ("key", "wav", "emo", "dataset")  # of a row
TIMES = ("start_time", "end_time")
COLUMNS = ("audio", "name", "speaker", "label", "split")
LABEL_MAPS = ("label_map.json", "label_dict.json")
AS_EMOBOX = "take the file of EmoBox's repository"


def prepare(argv: Sequence[str] | None = None) -> None:
    """Take --corpus and --audio_dir from the options of local/data.sh, and leave it the others."""
    p = argparse.ArgumentParser(prog="local/data.sh", add_help=False, allow_abbrev=False)
    p.add_argument("--corpus", default="")
    p.add_argument("--audio_dir", default="")
    which, others = p.parse_known_args(argv)

    def reader(emobox: Path, conf: Path) -> Corpus:
        known = sorted(path.parent.name for path in emobox.glob("data/*/fold_1"))
        if not known:
            raise UserError(f"{emobox} has no data/*/fold_1, as EmoBox has; give a clone of it")
        if which.corpus not in known:
            p.error(f"--corpus is {which.corpus!r}; {emobox} has {' '.join(known)}")
        audio_dir = which.audio_dir or emobox / "downloads" / which.corpus
        return read(emobox, conf, which.corpus, Path(audio_dir).resolve())

    main("EmoBox", reader, others)


def read(emobox: Path, conf: Path, corpus: str, audio_dir: Path) -> Corpus:
    """Read the lists of all folds of a corpus.

    Args:
        audio_dir: what is `downloads/<corpus>` in the rows.

    Raises:
        UserError: a list or the label map is not as EmoBox has it.
    """
    directory = emobox / "data" / corpus
    folds = sorted(int(path.name.removeprefix("fold_")) for path in directory.glob("fold_[1-9]*"))
    lists = {(i, part): _list(directory, i, part) for i in folds for part in WORDS[:3]}
    there = {key: path for key, path in lists.items() if path.is_file()}
    missing = [p for (_, part), p in lists.items() if part != "valid" and not p.is_file()]
    label_map = next((p for n in LABEL_MAPS if (p := directory / n).is_file()), None)
    if label_map is None:
        raise UserError(f"{directory} has no {' or '.join(LABEL_MAPS)}; {AS_EMOBOX}")
    labels, speaker = _labels(label_map), said_of(corpus, conf / CORPORA).get("speaker", {})
    rows = list(_rows(there, folds))
    for row in rows:
        row.fields = {**row.fields, **_columns(row, corpus, labels, speaker)}
    templates = {column: f"{{{column}}}" for column in COLUMNS}
    if any(TIMES[0] in row.fields for row in rows):
        templates |= {"start": f"{{{TIMES[0]}}}", "end": f"{{{TIMES[1]}}}"}
    builder = Builder(audio_dir, Columns({}, templates, conf), [])
    for row in rows:
        builder.add(row)
    log.info("%s: audio in %s", corpus, audio_dir)
    read_files = [label_map, *there.values()]
    corpus_read = builder.corpus(read_files, {CORPORA: digest(speaker)})
    return replace(corpus_read, missing=[str(p.relative_to(emobox)) for p in missing])


def _labels(path: Path) -> dict[str, str]:
    try:
        labels: dict[str, str] = fit(dict[str, str], read_json(path, AS_EMOBOX))
    except ShapeError as error:
        raise UserError(f"{path}: {error}; {AS_EMOBOX}") from None
    return labels


def _list(directory: Path, fold: int, part: str) -> Path:
    return directory / f"fold_{fold}" / f"{directory.name}_{part}_fold_{fold}.jsonl"


def _rows(lists: Mapping[tuple[int, str], Path], folds: Sequence[int]) -> Iterator[Row]:
    """Give each utterance once, with a word for each fold in the field `split`.

    Raises:
        UserError: a row lacks a key; two lists of a fold have an utterance; two lists differ.
    """
    rows: dict[str, Row] = {}
    splits: dict[str, dict[int, str]] = {}
    for (fold, part), path in lists.items():
        for row in read_table(path.parent, Table(file=path.name)):
            lacks = [key for key in NEEDED if not row.fields.get(key)]
            if lacks:
                raise UserError(f"{row.source}: the row has no {lacks[0]}; {AS_EMOBOX}")
            key = row.fields["key"]
            first, split = rows.setdefault(key, row), splits.setdefault(key, {})
            if fold in split or first.fields != row.fields:
                what = "is in this fold twice" if fold in split else f"is another in {first.source}"
                raise UserError(f"{row.source}: {key} {what}; {AS_EMOBOX}")
            split[fold] = part
    for key, row in rows.items():
        row.fields = {**row.fields, "split": " ".join(splits[key].get(i, "-") for i in folds)}
        yield row


def _columns(
    row: Row, corpus: str, labels: Mapping[str, str], speaker: Mapping[str, str]
) -> dict[str, str]:
    """Make columns of the fields of a row; a code that the label map lacks is the row's fault."""
    code, fields = row.fields["emo"], row.fields
    # Codes may differ in their case alone (s, S), and so may a code and the map (neutral, Neutral).
    alike = {labels[name] for name in labels if name.casefold() == code.casefold()}
    label = labels.get(code) or (alike.pop() if len(alike) == 1 else "")
    if not label:
        row.fault = f"its emo is {code!r}, which the label map of {corpus} lacks"
    name = fields["key"].removeprefix(f"{corpus}-")
    audio = fields["wav"].removeprefix(f"downloads/{corpus}/")
    who = [_speaker(row, {**fields, "name": name}, *rule) for rule in speaker.items()]
    return {"audio": audio, "name": name, "label": label, "speaker": "".join(who) or UNKNOWN}


def _speaker(row: Row, fields: Mapping[str, str], field: str, pattern: str) -> str:
    found = re.search(pattern, fields.get(field, ""))
    if found is None:
        raise UserError(
            f"{row.source}: its {field} {fields.get(field)!r} names no speaker by the pattern of "
            f"conf/{CORPORA}, {pattern}; correct one of them"
        )
    return "".join(found.groups(""))


if __name__ == "__main__":
    run(prepare)
