"""Read a corpus as the recipe's conf/corpus.yaml says: its page.

A reader gives rows (`read_files`, `read_table`, `read_data_dir`), tables may add to them (`join`),
templates and codes make columns of them (`columns`), and columns become utterances (`builder`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cfia.corpus.builder import Builder
from cfia.corpus.columns import OWN, Columns
from cfia.corpus.corpus_conf import READING, WAYS_IN, CorpusConf, listed, read_corpus_conf
from cfia.corpus.join import join
from cfia.corpus.prepare import Corpus
from cfia.corpus.read_files import has, read_files
from cfia.corpus.read_table import CONSTANTS, entries, files_of, read_table
from cfia.corpus.rows import Row, add_groups, groups
from cfia.errors import UserError
from cfia.files import digest, sha256

log = logging.getLogger(__name__)

PAGE = "corpus.yaml"


@dataclass(frozen=True)
class Source:
    """Where the rows of a page come from.

    Attributes:
        root: the directory below which names of files are.
        rows: the rows; columns: those that they bring without being named; files: that are read.
    """

    root: Path
    rows: Iterable[Row]
    columns: Collection[str]
    files: list[Path]


def read(corpus_dir: Path, conf_dir: Path) -> Corpus:
    """Read a corpus, given its directory (absolute) and the recipe's conf/.

    Raises:
        UserError: corpus.yaml does not say where things are, or the corpus is not as it says.
    """
    conf = read_corpus_conf(conf_dir / PAGE)
    way = _way_in(conf, conf_dir / PAGE)
    source = _SOURCES[way](corpus_dir, conf)
    defaults = {column: f"{{{column}}}" for column in source.columns}
    if way == "files":
        defaults["audio"] = "{file}"
    columns = Columns(conf, defaults, conf_dir)
    patterns = {
        field: groups(pattern, f"match.{field}") for field, pattern in conf.get("match", {}).items()
    }
    joins = listed(conf.get("join"))
    rows = source.rows
    if patterns:
        rows = (add_groups(row, patterns, joined=not joins) for row in rows)
    files = source.files
    for table in joins:
        rows = join(rows, source.root, table, columns.fields)
        files += [source.root / file for file in files_of(source.root, table)]
    if patterns and joins:
        rows = (add_groups(row, patterns, joined=True) for row in rows)
    builder = Builder(source.root, columns, listed(conf.get("ignore")))
    for row in rows:
        builder.add(row)
    if way == "table":
        _warn_unlisted(source.root, builder)
    inputs = {PAGE: digest({key: conf[key] for key in READING if key in conf})}  # type: ignore[literal-required]
    inputs |= {c.file.name: sha256(c.file) for c in columns.codes.values() if c.file}
    return builder.corpus(files, inputs)


def _way_in(conf: CorpusConf, path: Path) -> str:
    ways = [way for way in WAYS_IN if way in conf]
    if len(ways) != 1:
        raise UserError(
            f"{path} has {' and '.join(ways) or 'neither files nor table nor data_dir'}; one of "
            "them says where the corpus's utterances are"
        )
    return ways[0]


def _root(corpus_dir: Path, conf: CorpusConf, patterns: list[str]) -> Path:
    """Find the first of the directories `root` that has a file of these names or globs.

    Raises:
        UserError: none has one.
    """
    roots = listed(conf.get("root")) or ["."]
    for root in roots:
        for pattern in patterns:
            here: Path = corpus_dir / root
            if has(here, pattern) or (here / pattern).exists():
                return here
    if not patterns:
        raise UserError("corpus.yaml: files.glob or table is an empty list; name a file or a glob")
    inside = "" if roots == ["."] else f" in {' or '.join(roots)}"
    raise UserError(
        f"{corpus_dir} has no {' and no '.join(patterns)}{inside}, where corpus.yaml has the "
        "corpus; give its directory by --corpus_dir, or correct corpus.yaml"
    )


def _of_files(corpus_dir: Path, conf: CorpusConf) -> Source:
    files = conf["files"]
    root = _root(corpus_dir, conf, listed(files["glob"]))
    named = groups(files["name"], "files.name").groupindex
    # Who names a group as a column is named means it; of a table others have named the columns.
    return Source(root, read_files(root, files), [c for c in OWN if c in named], [])


def _of_tables(corpus_dir: Path, conf: CorpusConf) -> Source:
    tables = entries(conf["table"])
    root = _root(corpus_dir, conf, listed(tables[0]["file"]) if tables else [])
    rows = chain.from_iterable(read_table(root, table) for table in tables)
    columns = [c for c in CONSTANTS if any(c in table for table in tables)]
    files = [root / file for table in tables for file in files_of(root, table)]
    return Source(root, rows, columns, files)


def _of_data_dir(corpus_dir: Path, conf: CorpusConf) -> Source:
    from cfia.corpus.read_data_dir import read_data_dir  # reads audio, which takes long to import

    root = _root(corpus_dir, conf, [f"{conf['data_dir']}/utt2spk"])
    directory = root / conf["data_dir"]
    rows = list(read_data_dir(directory))
    files = [p for p in directory.iterdir() if p.name.startswith(("utt2", "spk2"))]
    files += [p for name in ("text", "segments") if (p := directory / name).exists()]
    columns = list(rows[0].fields) if rows else []
    return Source(root, rows, columns, files)


_SOURCES = {"files": _of_files, "table": _of_tables, "data_dir": _of_data_dir}


def _warn_unlisted(root: Path, builder: Builder) -> None:
    """Say which audio is there, beside that of the table, and not listed in it."""
    found = sorted(_unlisted(root, builder))
    if found:
        log.warning(
            "%s: no table names it; such files are not used (%d of them in the directories of "
            "those that are named)",
            found[0], len(found),
        )  # fmt: skip


def _unlisted(root: Path, builder: Builder) -> Iterator[Path]:
    for folder, known in builder.audio.items():
        directory = root / folder
        endings = {name.rpartition(".")[2] for name in known}
        found = os.listdir(directory) if directory.is_dir() else []  # noqa: PTH208
        for name in set(found) - known:
            ours = name.rpartition(".")[2] in endings and not name.startswith(".")
            if ours and not builder.ignores(f"{folder}/{name}".removeprefix("/")):
                yield directory / name
