"""Columns that only the corpus knows, spk2<column> and utt2<column>, in the tools of utils/."""

from __future__ import annotations

from pathlib import Path

import pytest

from cfia.errors import UserError
from cfia.kaldi import edit, layout, subset
from cfia.kaldi.combine import combine
from cfia.kaldi.copy import Affixes, copy
from cfia.kaldi.fix import fix
from cfia.kaldi.table import read_table
from cfia.kaldi.validate import Checks, validate
from tests.support.data_files import tree, write_tables

UTTS = [f"{s}-{i}" for s in ("s1", "s2", "s3") for i in range(3)]
LAX = Checks(feats=False, text=False, wav=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Without text and wav.scp; of s3 nobody knows the age, of most utterances no level."""
    speakers = ("s1", "s2", "s3")
    tables = {
        "utt2spk": {u: u[:2] for u in UTTS},
        "spk2utt": {s: " ".join(u for u in UTTS if u[:2] == s) for s in speakers},
        "spk2age": {"s1": "30 to 40", "s2": "20"},
        "utt2level": {"s1-0": "high", "s3-0": "low"},
    }
    return write_tables(tmp_path / "data", tables)


def test_columns_need_not_be_whole(data: Path) -> None:
    validate(data, LAX)
    before = tree(data)
    assert not fix(data).changed
    assert tree(data) == before


@pytest.mark.parametrize(("name", "key"), [("spk2age", "s9"), ("utt2level", "s9-0")])
def test_columns_of_others_are_a_fault_that_is_fixed(data: Path, name: str, key: str) -> None:
    before = tree(data)
    write_tables(data, {name: {**read_table(data / name), key: "x"}})
    with pytest.raises(UserError, match=f"(?s){name} differ, partial diff is:.*> {key}"):
        validate(data, LAX)
    report = fix(data)
    assert report.kept == report.total
    assert {k: v for k, v in tree(data).items() if not k.startswith(".backup")} == before


def test_a_subset_keeps_the_columns_of_its_own(data: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    tables = edit.read_tables(data, layout.kinds(data))
    subset.write(data, tables, [u for u in UTTS if u[:2] != "s1"], small)
    assert read_table(small / "spk2age") == {"s2": "20"}
    assert read_table(small / "utt2level") == {"s3-0": "low"}
    subset.write(data, tables, ["s2-1"], small)  # no column at all is left
    assert not (small / "utt2level").exists()
    validate(small, LAX)


def test_a_copy_renames_in_the_columns_too(data: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    copy(data, new, Affixes(spk_prefix="x-", utt_prefix="x-"), LAX)
    assert read_table(new / "spk2age") == {"x-s1": "30 to 40", "x-s2": "20"}
    assert read_table(new / "utt2level") == {"x-s1-0": "high", "x-s3-0": "low"}


def test_columns_are_combined(data: Path, tmp_path: Path) -> None:
    new, both = tmp_path / "new", tmp_path / "both"
    copy(data, new, Affixes(spk_prefix="x-", utt_prefix="x-"), LAX)
    warnings: list[str] = []
    assert combine(both, [data, new], warn=warnings.append) == 18
    assert set(read_table(both / "spk2age")) == {"s1", "s2", "x-s1", "x-s2"}
    assert warnings == []
    (new / "spk2age").unlink()
    (new / ".done.json").unlink()
    combine(both, [data, new], warn=warnings.append)
    (warning,) = warnings
    assert "not combining spk2age as it does not exist everywhere" in warning
    assert not (both / "spk2age").exists()
