"""Reading and writing posteriors.tsv, averaging and joining."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cfia.errors import UserError
from cfia.posteriors import Posteriors, average, concatenate, read_posteriors, write_posteriors

GOOD = "utt\tref\tang\tsad\nu1\tang\t0.75\t0.25\nu2\tsad\t0.5\t0.5\nu3\tsad\t0.1\t0.9\n"


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def read(path: Path, text: str) -> Posteriors:
    return read_posteriors(write(path / "posteriors.tsv", text))


def test_written_posteriors_are_read_back_in_the_order_of_the_ids(tmp_path: Path) -> None:
    path = tmp_path / "a dir with ünï" / "posteriors.tsv"
    path.parent.mkdir()
    probs = np.array([[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 1e-30]])
    write_posteriors(path, ["a", "b", "c"], ["z", "é", "B"], ["c", "a", "b"], probs)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "utt\tref\ta\tb\tc"
    assert [line.split("\t")[0] for line in lines[1:]] == ["B", "z", "é"]
    assert lines[3] == "é\ta\t0.333333333\t0.333333333\t0.333333333"
    found = read_posteriors(path)
    assert (found.utts, found.classes) == (["B", "z", "é"], ["a", "b", "c"])
    assert list(found.refs) == [1, 2, 0]
    assert list(found.hyps) == [0, 2, 0]
    assert found.probs == pytest.approx(probs[[2, 0, 1]], abs=1e-9)


def test_a_posterior_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "posteriors.tsv"
    with pytest.raises(UserError, match="u2 is not finite"):
        write_posteriors(path, ["a", "b"], ["u1", "u2"], ["a", "b"], [[0.5, 0.5], [0.5, np.nan]])
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_tools_are_read(tmp_path: Path) -> None:
    plain = read(tmp_path, GOOD)
    windows = read(tmp_path, "\ufeff" + GOOD.replace("\n", "\r\n"))
    shuffled = GOOD.splitlines()
    no_last_newline = read(tmp_path, "\n".join([shuffled[0], *shuffled[:0:-1]]))
    for other in (windows, no_last_newline):
        assert other.utts == plain.utts
        assert (other.probs == plain.probs).all()
        assert (other.refs == plain.refs).all()
    rounded = read(tmp_path, "utt\tref\ta\tb\tc\nu1\ta\t0.33\t0.33\t0.33\n")
    assert rounded.probs.sum() == pytest.approx(0.99)


def test_confusion_by_group(tmp_path: Path) -> None:
    counts = read(tmp_path, GOOD).confusion([0, 1, 1], 2)
    assert counts.tolist() == [[[1, 0], [0, 0]], [[0, 0], [1, 1]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("utt\tref\ta\tb\n", "holds no utterance"),
        ("utterance\tref\ta\tb\nu\ta\t1\t0\n", "line 1: the header"),
        ("utt\tref\ta\nu\ta\t1\n", "line 1: the header"),
        ("utt ref a b\nu a 1 0\n", "line 1: the header"),
        ("utt\tref\ta\ta\nu\ta\t1\t0\n", "line 1: a class stands there twice"),
        (GOOD + "u4\tsad\t0.5\n", "line 5: expected 4 columns"),
        (GOOD + "\tsad\t0.5\t0.5\n", "line 5: expected 4 columns"),
        (GOOD + "\n", "line 5: expected 4 columns"),
        (GOOD + "u4\tsad\tx\t0.5\n", "line 5: 'x' of u4 is not a probability"),
        (GOOD + "u4\tsad\tnan\t0.5\n", "line 5: 'nan' of u4 is not a probability"),
        (GOOD + "u4\tsad\tinf\t0.5\n", "line 5: 'inf' of u4 is not a probability"),
        (GOOD + "u4\tsad\t-0.5\t1.5\n", "line 5: '-0.5' of u4 is not a probability"),
        (GOOD + "u4\tsad\t0.5\t0.4\n", "line 5: the probabilities of u4 sum to 0.9, not 1"),
        (GOOD + "u1\tsad\t0.5\t0.5\n", "line 5: u1 stands there twice"),
        (GOOD + "u4\thap\t0.5\t0.5\n", "line 5: the reference 'hap' of u4 is none of the classes"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "posteriors.tsv") in str(caught.value)


def test_a_missing_file_and_one_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.tsv cannot be read \(No such file"):
        read_posteriors(tmp_path / "none.tsv")
    (tmp_path / "latin.tsv").write_bytes("utt\tref\tä\tb\n".encode("latin-1"))
    with pytest.raises(UserError, match="is not UTF-8"):
        read_posteriors(tmp_path / "latin.tsv")


def test_average_is_over_seeds(tmp_path: Path) -> None:
    one = read(tmp_path, GOOD)
    two = read(tmp_path, GOOD.replace("0.75\t0.25", "0.05\t0.95"))
    mean = average([one, two])
    assert mean.probs[0] == pytest.approx([0.4, 0.6])
    assert (mean.probs[1:] == one.probs[1:]).all()
    assert list(mean.hyps) == [1, 0, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("u3\tsad\t0.1\t0.9\n", "", "seed2.tsv lacks u3, which .*seed1.tsv has"),
        ("u3\tsad\t0.1", "u4\tsad\t0.1", "seed2.tsv lacks u3"),
        ("u1\tang", "u1\tsad", "u1 is ang in .*seed1.tsv, but sad in .*seed2.tsv"),
        ("ang\tsad\n", "sad\tang\n", "seed2.tsv has the classes sad, ang, but"),
    ],
)
def test_seeds_of_other_utterances_are_not_averaged(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    one = read_posteriors(write(tmp_path / "seed1.tsv", GOOD))
    two = read_posteriors(write(tmp_path / "seed2.tsv", GOOD.replace(old, new)))
    with pytest.raises(UserError, match=message):
        average([one, two])


def test_folds_are_joined_and_must_not_overlap(tmp_path: Path) -> None:
    one = read_posteriors(write(tmp_path / "1.tsv", "utt\tref\tang\tsad\nu9\tsad\t0\t1\n"))
    two = read_posteriors(write(tmp_path / "2.tsv", GOOD))
    both = concatenate([one, two])
    assert both.utts == ["u1", "u2", "u3", "u9"]
    assert list(both.refs) == [0, 1, 1, 1]
    assert both.probs[3].tolist() == [0, 1]
    with pytest.raises(UserError, match="u9 is in both"):
        concatenate([one, one])
    other = read_posteriors(write(tmp_path / "3.tsv", "utt\tref\tang\thap\nu8\tang\t0\t1\n"))
    with pytest.raises(UserError, match="other classes"):
        concatenate([one, other])
