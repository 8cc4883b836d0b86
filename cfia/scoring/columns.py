"""What a corpus says of its speakers and utterances, as groups whose scores are compared.

The columns are the tables spk2<column> and utt2<column> that no stage gives a meaning
(`cfia.kaldi.layout.kind`), and spk2gender.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from cfia.kaldi import layout
from cfia.kaldi.layout import Key
from cfia.kaldi.table import read_table

MOST_WORDS = 20  # values of a column that are not numbers; more make no groups
MOST_NUMBERS = 6  # numbers that are groups each; more are cut into GROUPS
GROUPS = 4

Groups = dict[str, list[str]]
"""The name of a group, such as `gender f` or `age 19 to 27` -> its utterances, sorted."""


def column_groups(data: Path, utts: Iterable[str]) -> tuple[Groups, list[str]]:
    """Group utterances by each column of a data directory.

    Bounds of numbers are those of the whole data directory, so that they are the same for all
    experiments. A column that has one group says nothing.

    Returns:
        The groups of those of `utts` whose value is known, and sentences about columns that
        have too many values.

    Raises:
        UserError: a table is broken.
    """
    tested = sorted(utts)
    groups: Groups = {}
    too_many: list[str] = []
    for name, key in layout.kinds(data).items():
        table = layout.kind(name)
        if table is None or (table.whole and name != "spk2gender"):
            continue
        if not (data / name).is_file():
            continue
        values = _of_utterances(data, name, key)
        named = grouped(values)
        if len(set(named.values())) > MOST_WORDS:
            too_many.append(
                f"{data / name} makes no subsets: it has {len(set(named.values()))} values, more "
                f"than {MOST_WORDS}, that are not numbers"
            )
        elif len(set(named.values())) > 1:
            column = name.partition("2")[2]
            for group in dict.fromkeys(named.values()):
                members = [utt for utt in tested if named.get(utt) == group]
                groups.setdefault(f"{column} {group}", members)  # of spk2x before utt2x
    return groups, too_many


def column_of(group: str) -> str:
    """Name the column of a group; "" of a subset that is of none."""
    column, blank, _ = group.partition(" ")
    return column if blank else ""


def _of_utterances(data: Path, name: str, key: Key) -> dict[str, str]:
    table = read_table(data / name)
    if key is not Key.SPEAKER:
        return table
    speakers = read_table(data / "utt2spk")
    return {utt: table[speaker] for utt, speaker in speakers.items() if speaker in table}


def grouped(values: Mapping[str, str]) -> dict[str, str]:
    """Map keys to the names of their groups, in the order of the groups.

    A few numbers, or any words, are groups of their own. Of many numbers each quarter of the keys
    is one, named by the least and the greatest in it; equal numbers stay together, so that there
    may be fewer.
    """
    numbers = {key: _number(value) for key, value in values.items()}
    if not all(map(math.isfinite, numbers.values())):
        return {key: values[key] for key in sorted(values, key=lambda key: values[key])}
    order = sorted(values, key=lambda key: (numbers[key], key))
    if len(set(numbers.values())) <= MOST_NUMBERS:
        return {key: values[key] for key in order}
    ranked = [numbers[key] for key in order]
    parts = np.arange(1, GROUPS) / GROUPS
    edges = np.unique(np.quantile(ranked, parts, method="inverted_cdf"))
    places = np.searchsorted(edges, ranked)  # in the first group are those up to the first edge
    bounds: dict[int, tuple[str, str]] = {}
    for key, place in zip(order, places, strict=True):
        bounds[int(place)] = (bounds.get(int(place), (values[key],))[0], values[key])
    names = {place: " to ".join(dict.fromkeys(ends)) for place, ends in bounds.items()}
    return {key: names[int(place)] for key, place in zip(order, places, strict=True)}


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
