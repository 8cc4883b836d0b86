"""Tables of parts of the test utterances, as values: by class, and on subsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cfia.report.score_tables import if_one_seed, no_interval_notes
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Estimate
from cfia.scoring.columns import column_of
from cfia.scoring.scores_file import Scored
from cfia.scoring.subsets import TAGGED, UNSEEN
from cfia.scoring.subsets import TITLES as SUBSETS

MOST_CLASSES = 10  # whose confusions a page has room for; of more the largest are named
MOST_NAMED = 5  # classes that a subset lacks


def class_table(title: str, pooled: Mapping[str, Any]) -> Table:
    """List the confusions and scores of each class, from the `pooled` of a scores.json."""
    classes = list(pooled["classes"])
    few = len(classes) <= MOST_CLASSES
    columns = [Column("ref", "reference")]
    columns += [Column(f"as {name}", f"as {name}") for name in classes] if few else []
    columns += [Column(key, key) for key in ("n", "precision", "recall")] + [Column("f1", "F1")]
    columns += [] if few else [Column("mostly", "mostly taken for")]
    rows: list[dict[str, Cell]] = []
    for name, counts in zip(classes, pooled["confusion"], strict=True):
        scores = pooled["classes"][name]
        row: dict[str, Cell] = {"ref": name, "n": scores["n"]}
        row |= {f"as {other}": n for other, n in zip(classes, counts, strict=True)}
        row |= {key: Estimate(scores[key]) for key in ("precision", "recall", "f1")}
        row["mostly"] = _mostly(name, dict(zip(classes, counts, strict=True)))
        rows.append(row)
    notes = () if few else ("Mostly taken for: the three other classes with the most utterances.",)
    return Table(title, columns, rows, notes)


def _mostly(name: str, counts: Mapping[str, int]) -> str:
    """Name the classes that a class is mostly taken for, up to three, and their counts."""
    others = sorted((-n, other) for other, n in counts.items() if n and other != name)
    return ", ".join(f"{other} {-n}" for n, other in others[:3])


def subset_tables(rows: Sequence[Scored]) -> dict[str, Table]:
    """List UA of the systems of one scheme on each subset; a table for each column of the corpus.

    Subsets that are of no column, such as improvised ones, are a table of their own, named "".
    """
    names = list(dict.fromkeys(name for row in rows for name in row.subsets))
    columns = dict.fromkeys(["", *map(column_of, names)])
    tables = ([name for name in names if column_of(name) == column] for column in columns)
    pairs = zip(columns, tables, strict=True)
    return {column: _subset_table(rows, column, of) for column, of in pairs if of}


def _subset_table(rows: Sequence[Scored], column: str, names: Sequence[str]) -> Table:
    columns = [Column("system", "system")]
    columns += [Column(name, f"UA, {SUBSETS.get(name, name)}") for name in names]
    cells: list[dict[str, Cell]] = []
    for row in rows:
        scores = {name: Estimate.of(subset, "ua") for name, subset in row.subsets.items()}
        cells.append({"system": row.trained.label, **scores})
    title = f"Subsets of the test utterances{f' by {column}' if column else ''}"
    title += f", scheme {rows[0].trained.scheme}{if_one_seed(rows)}"
    return Table(title, columns, cells, _subset_notes(rows, names))


def _subset_notes(rows: Sequence[Scored], names: Sequence[str]) -> list[str]:
    sizes, lacking = [], []
    for name in names:
        subsets = [row.subsets[name] for row in rows if name in row.subsets]
        n = sorted({subset["n"] for subset in subsets})
        sizes.append(f"{SUBSETS.get(name, name)} {n[0]}{f' to {n[-1]}' if n[1:] else ''}")
        absent = sorted({c for subset in subsets for c in subset.get("absent", ())})
        few = len(absent) <= MOST_NAMED
        which = ", ".join(absent) if few else f"{len(absent)} of {len(rows[0].outputs.classes)}"
        lacking += [f"{SUBSETS.get(name, name)} lacks {which}"] if absent else []
    notes = [f"Utterances: {', '.join(sizes)}. Other scores are in scores.json."]
    if lacking:
        notes.append(f"UA is over the classes that there are: {'; '.join(lacking)}.")
    if UNSEEN in names:
        notes.append(
            "Text not seen in training: no training utterance of the fold has the same transcript, "
            "word for word."
        )
    if TAGGED in names:
        notes.append("With a tag: annotators wrote one, such as [LAUGHTER], in the transcript.")
    return notes + no_interval_notes(rows)
