"""Groups of utterances and speakers by what a corpus says of them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cfia.scoring.columns import GROUPS, MOST_NUMBERS, column_groups, column_of, grouped
from tests.support.data_files import write_tables


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(-9, 99).map(str), min_size=1))
def test_numbers_are_cut_where_their_names_say(values: dict[str, str]) -> None:
    named = grouped(values)
    assert named.keys() == values.keys()
    groups = {
        name: [int(values[key]) for key, of in named.items() if of == name]
        for name in named.values()
    }
    cut = len(set(values.values())) > MOST_NUMBERS
    assert len(groups) <= (GROUPS if cut else MOST_NUMBERS)
    last = -10
    for name, members in groups.items():  # in order, and apart
        low, *high = name.split(" to ")
        assert (min(members), max(members)) == (int(low), int((high or [low])[0]))
        assert min(members) > last
        last = max(members)


def test_quarters_have_as_many_members() -> None:
    ages = {f"u{i:02d}": str(20 + i) for i in range(40)}
    counts: dict[str, int] = {}
    for name in grouped(ages).values():
        counts[name] = counts.get(name, 0) + 1
    assert counts == {"20 to 29": 10, "30 to 39": 10, "40 to 49": 10, "50 to 59": 10}


def test_columns_of_speakers_and_utterances(tmp_path: Path) -> None:
    utts = {f"s{i}-{k}": f"s{i}" for i in range(3) for k in range(10)}
    tables = {
        "utt2spk": utts,
        "utt2emo": {utt: utt[-1] for utt in utts},  # which stages give a meaning
        "spk2gender": {"s0": "m", "s1": "f", "s2": "f"},
        "spk2age": {"s0": "30", "s1": "21"},
        "utt2race": {utt: "of two words" if utt[-1] == "0" else "other" for utt in utts},
        "utt2one": dict.fromkeys(utts, "same"),
        "utt2name": {utt: f"name {utt}" for utt in utts},
    }
    tested = [utt for utt in utts if utt != "s0-0"]
    found, too_many = column_groups(write_tables(tmp_path, tables), tested)
    sizes = {name: len(of) for name, of in found.items()}
    assert sizes == {
        "age 21": 10, "age 30": 9, "race of two words": 2, "race other": 27,
        "gender f": 20, "gender m": 9,
    }  # fmt: skip
    assert {column_of(name) for name in sizes} == {"age", "race", "gender"}
    assert column_of("improvised") == ""
    (sentence,) = too_many
    assert sentence.endswith("utt2name makes no subsets: it has 30 values, more than 20, that are "
                             "not numbers")  # fmt: skip
