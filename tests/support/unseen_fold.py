"""The same experiment but for what a fold tests, to see that nothing else depends on that."""

from __future__ import annotations

import shutil
from pathlib import Path

import kaldiio

from cfia.kaldi.data_dir import DataDir
from cfia.kaldi.table import read_table, write_table
from cfia.naming import split_folds_scheme
from cfia.training.folds import make_scheme
from tests.support.experiment import CLASSES, mark_again


def without_the_test_fold(root: Path, other: Path) -> None:
    """Copy data and features; what fold 1 tests gets other labels and features.

    Whatever reads its test part, be it the labels alone, must give something else there.
    """
    shutil.copytree(root / "data", other / "data")
    shutil.copytree(root / "dump", other / "dump")
    unseen = (root / "data" / "folds" / "session" / "1" / "test").read_text().split()
    table = other / "data" / "all" / "utt2emo"
    labels = read_table(table)
    moved = {u: CLASSES[(CLASSES.index(labels[u]) + 1) % len(CLASSES)] for u in unseen}
    write_table(table, labels | moved)
    for dump in (other / "dump").iterdir():
        scp = read_table(root / "dump" / dump.name / "feats.scp")
        features = {u: kaldiio.load_mat(path) for u, path in scp.items()}
        features |= {u: 3 - features[u] for u in unseen}
        kaldiio.save_ark(str(dump / "raw.1.ark"), features, scp=str(dump / "feats.scp"))
        mark_again(dump)
    for lists in (other / "data" / "folds").iterdir():
        cv, validation = split_folds_scheme(lists.name)
        shutil.rmtree(lists)
        make_scheme(DataDir.load(other / "data" / "all"), lists, cv, validation)
