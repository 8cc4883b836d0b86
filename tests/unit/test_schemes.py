"""Folds by groups of speakers, by utterance and by official parts, and the check of them."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cfia.bin import folds as program
from cfia.errors import UserError
from cfia.kaldi.data_dir import DataDir
from cfia.training.fold_check import check, shares_speakers
from cfia.training.folds import Fold, MissingClassError, make_folds, make_scheme, read_folds
from cfia.training.schemes import ImpossibleError
from cfia.training.speaker_groups import balanced_groups
from tests.support.data_files import tree, write_tables

OFFICIAL = ("train", "valid", "test", "-")


def corpus(labels: Mapping[str, str], split: Mapping[str, str] | None = None) -> DataDir:
    """A corpus in memory; the speaker is what an id begins with, itself where it has no hyphen."""
    return DataDir(
        path=Path("data/all"),
        wav_scp=dict(labels),
        text={},
        utt2spk={u: u.split("-")[0] for u in labels},
        utt2dur={},
        further={"utt2emo": dict(labels), **({"utt2split": dict(split)} if split else {})},
    )


def by_speaker(counts: Mapping[str, Mapping[str, int]]) -> DataDir:
    return corpus(
        {
            f"{s}-{label}{i:03d}": label
            for s, n in counts.items()
            for label in n
            for i in range(n[label])
        }
    )


def on_disk(data: DataDir, path: Path) -> DataDir:
    """Write the tables of a corpus in memory, and read them."""
    write_tables(path, {"utt2spk": data.utt2spk, "wav.scp": data.wav_scp, **data.further})
    return DataDir.load(path, needed=())


speakers = st.dictionaries(
    st.integers(0, 40).map(lambda n: f"s{n:02d}"),
    st.fixed_dictionaries({"ang": st.integers(1, 9), "neu": st.integers(1, 30)}),
    min_size=5,
    max_size=16,
)


@settings(deadline=None, max_examples=20)
@given(counts=speakers, k=st.integers(2, 5))
def test_kfold_keeps_speakers_apart_and_tests_each_once(
    counts: dict[str, dict[str, int]], k: int
) -> None:
    data = by_speaker(counts)
    folds = list(make_folds(data, f"kfold{k}", "random20").values())
    assert len(folds) == k
    tested = [{data.utt2spk[u] for u in fold.test} for fold in folds]
    assert sorted(s for group in tested for s in group) == sorted(counts)
    for fold, group in zip(folds, tested, strict=True):
        assert fold.test == sorted(u for u in data.utt2spk if data.utt2spk[u] in group)
        assert sorted(fold.train + fold.valid + fold.test) == sorted(data.utt2spk)
    backwards = {u: data.utt2spk[u] for u in reversed(data.utt2spk)}
    again = make_folds(replace(data, utt2spk=backwards), f"kfold{k}", "random20")
    assert list(again.values()) == folds


@settings(deadline=None, max_examples=20)
@given(counts=speakers, k=st.integers(2, 5))
def test_no_change_of_two_speakers_balances_groups_better(
    counts: dict[str, dict[str, int]], k: int
) -> None:
    """By a computation of its own: the sum of squares of the groups' shares."""
    totals = {label: sum(n[label] for n in counts.values()) for label in ("ang", "neu")}

    def imbalance(groups: list[list[str]]) -> float:
        shares = [[sum(counts[s][c] for s in g) / totals[c] for c in totals] for g in groups]
        sizes = [sum(sum(counts[s].values()) for s in g) / sum(totals.values()) for g in groups]
        return sum(x * x for row in shares for x in row) + sum((2 * x) ** 2 for x in sizes)

    groups = balanced_groups(counts, k)
    assert all(groups)
    best = imbalance(groups)
    for a in range(k):
        for b in range(a):
            for s in groups[a]:
                for t in groups[b]:
                    changed = [list(g) for g in groups]
                    changed[a][changed[a].index(s)] = t
                    changed[b][changed[b].index(t)] = s
                    assert imbalance(changed) > best - 1e-4


@settings(deadline=None, max_examples=20)
@given(counts=st.lists(st.integers(4, 30), min_size=2, max_size=4), k=st.integers(2, 10))
def test_utterance_folds_are_even_in_size_and_in_every_class(counts: list[int], k: int) -> None:
    labels = {f"s{i % 3}-{c}{i:02d}": f"c{c}" for c, n in enumerate(counts) for i in range(n)}
    assume(len(labels) >= k)
    folds = list(make_folds(corpus(labels), f"utterance{k}", "random10").values())
    assert sorted(u for fold in folds for u in fold.test) == sorted(labels)
    sizes = [len(fold.test) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    for label in set(labels.values()):
        of_class = [Counter(labels[u] for u in fold.test)[label] for fold in folds]
        assert max(of_class) - min(of_class) <= 1
    for fold in folds:
        rest = fold.train + fold.valid
        assert sorted(rest + fold.test) == sorted(labels)
        assert len(fold.valid) == max(1, round(0.1 * len(rest)))


# Three speakers; in fold 2 one utterance is not used, and the third speaker is on two sides.
SPLIT = {
    f"s{s}-{label}{i}": words
    for s, words in enumerate(["train test", "valid train", "test -"])
    for label in ("ang", "neu")
    for i in range(4)
}
SPLIT["s2-ang0"] = "- train"
LABELS = {u: u[3:6] for u in SPLIT}


def parts(n: int) -> dict[str, list[str]]:
    """The official parts of fold `n`, from 0."""
    found: dict[str, list[str]] = {part: [] for part in OFFICIAL}
    for utterance in sorted(SPLIT):
        found[SPLIT[utterance].split()[n]].append(utterance)
    return found


def test_official_folds(tmp_path: Path) -> None:
    data = on_disk(corpus(LABELS, SPLIT), tmp_path / "all")
    with pytest.raises(ImpossibleError, match="has none in official fold 2; use --validation rand"):
        make_folds(data, "given", "given")
    for validation in ("random25", "none"):
        folds = make_folds(data, "given", validation)
        for n, fold in enumerate(folds.values()):
            official = parts(n)
            assert fold.test == official["test"]
            assert sorted(fold.train + fold.valid) == sorted(official["train"] + official["valid"])
            assert len(fold.valid) == (0 if validation == "none" else round(len(fold.train) / 3))
        directory = tmp_path / validation
        make_scheme(data, directory, "given", validation)
        assert list(read_folds(directory).values()) == list(folds.values())
    one = on_disk(corpus(LABELS, {u: w.split()[0] for u, w in SPLIT.items()}), tmp_path / "one")
    make_scheme(one, tmp_path / "given", "given", "given")
    (fold,) = read_folds(tmp_path / "given").values()
    assert (fold.train, fold.valid, fold.test) == tuple(parts(0)[part] for part in OFFICIAL[:3])


def test_who_is_on_two_sides_is_known(tmp_path: Path) -> None:
    data = on_disk(corpus(LABELS, SPLIT), tmp_path / "all")
    make_scheme(data, tmp_path / "apart", "given", "none")
    assert not shares_speakers(data.path, tmp_path / "apart", "train", "test")
    mixed = {**SPLIT, "s0-ang0": "train train"}
    data = on_disk(corpus(LABELS, mixed), tmp_path / "mixed")
    make_scheme(data, tmp_path / "both", "given", "none")
    assert shares_speakers(data.path, tmp_path / "both", "train", "test")
    log = (tmp_path / "both" / "folds.log").read_text()
    assert "fold 2 (tests s0): train 10, valid 0, test 7; train and test share 1 speakers" in log
    write_tables(data.path, {"utt2spk": {utterance: utterance for utterance in LABELS}})
    make_scheme(DataDir.load(data.path, needed=()), tmp_path / "unknown", "given", "none")
    assert "speaker" not in (tmp_path / "unknown" / "folds.log").read_text()


@pytest.mark.parametrize(
    ("utterance", "words", "message"),
    [
        ("s0-ang1", "train", r"s0-ang1 has 'train'; expected 2 of the words train, valid, test, -"),
        ("s0-ang1", "train tset", "s0-ang1 has 'train tset'; expected 2 of the words"),
        ("s0-ang1", "test test", "s0-ang1 is tested in folds 1 and 2, so scores over all folds"),
    ],
)
def test_broken_official_parts_are_named(utterance: str, words: str, message: str) -> None:
    with pytest.raises(UserError, match=f"data/all/utt2split: {message}"):
        make_folds(corpus(LABELS, {**SPLIT, utterance: words}), "given", "none")


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("".join(f"{u}\n" for u in sorted(change(path.read_text().split()))))


def move(folds: Path, utterance: str, source: str, target: str) -> None:
    edit(folds / source, lambda utts: [u for u in utts if u != utterance])
    edit(folds / target, lambda utts: [*utts, utterance])


def drop(folds: Path, utterance: str, part: str) -> None:
    edit(folds / part, lambda utts: [u for u in utts if u != utterance])


def no_validation(folds: Path) -> None:
    utterances = (folds / "2/valid").read_text().split()
    edit(folds / "2/train", lambda utts: [*utts, *utterances])
    (folds / "2/valid").write_text("")


def another_fold(folds: Path) -> None:
    shutil.copytree(folds / "4", folds / "5")


MISTAKES: list[tuple[str, str, Callable[[Path], None], str]] = [
    ("given", "random25", lambda f: drop(f, "s2-neu1", "1/test"),
     "fold 1 of .*: s2-neu1 stands in -, officially in test"),
    ("given", "random25", lambda f: edit(f / "1/train", lambda utts: [*utts, "s2-ang0"]),
     "fold 1 of .*: s2-ang0 stands in train, officially in -"),
    ("given", "none", lambda f: move(f, "s0-ang1", "1/train", "1/test"),
     "fold 1 of .*: s0-ang1 stands in test, officially in train"),
    ("given", "none", lambda f: move(f, "s1-ang1", "1/train", "1/valid"),
     "its validation part is not empty, with --validation none"),
    ("given", "none", lambda f: shutil.rmtree(f / "2"), "it has 1 folds where --cv given has 2"),
    ("kfold3", "random20", lambda f: move(f, "s1-ang1", "2/test", "2/train"),
     "fold 2 of .*: test and train share the speaker s1"),
    ("kfold3", "none", lambda f: move(f, "s0-neu1", "2/train", "2/valid"),
     "fold 2 of .*: its validation part is not empty, with --validation none"),
    ("kfold3", "random20", no_validation, "fold 2 of .*: its validation part is empty"),
    ("utterance4", "random20", lambda f: shutil.rmtree(f / "4"), "no fold tests"),
    ("utterance4", "random20", another_fold,
     "folds 4 and 5 both test"),
]  # fmt: skip


@pytest.mark.parametrize(("cv", "validation", "change", "message"), MISTAKES)
def test_a_wrong_list_stops(
    tmp_path: Path, cv: str, validation: str, change: Callable[[Path], None], message: str
) -> None:
    data, folds = on_disk(corpus(LABELS, SPLIT), tmp_path / "all"), tmp_path / "folds"
    make_scheme(data, folds, cv, validation)
    check(data.path, folds, cv, validation)
    change(folds)
    with pytest.raises(UserError, match=message):
        check(data.path, folds, cv, validation)


def test_another_number_of_groups_is_another_scheme(tmp_path: Path) -> None:
    data = on_disk(corpus(LABELS), tmp_path / "all")
    make_scheme(data, tmp_path / "kfold3", "kfold3", "random20")
    with pytest.raises(UserError, match="it has 3 folds where --cv kfold2 has 2"):
        check(data.path, tmp_path / "kfold3", "kfold2", "random20")


@pytest.mark.parametrize(
    ("labels", "split", "cv", "message"),
    [
        (LABELS, None, "given", r"has no official splits \(utt2split\); use --cv speaker, kfold"),
        (LABELS, None, "session", "has no sessions .*; use --cv speaker, kfold<k> or utterance<"),
        (LABELS, SPLIT, "kfold4", "--cv kfold4 needs 4 speakers at least, and data/all has 3"),
        ({u[3:]: e for u, e in LABELS.items()}, None, "speaker",
         r"data/all knows no speakers .*, so --cv speaker cannot keep .* out of training; use "
         "--cv utterance<k>$"),
        ({u.replace("-", ""): e for u, e in LABELS.items()},
         {u.replace("-", ""): w for u, w in SPLIT.items()}, "kfold2",
         "use --cv given or utterance<k>$"),
        (LABELS, None, "utterance99", "leaves the test list of fold 25 .* empty; the corpus is to"),
    ],
)  # fmt: skip
def test_what_a_corpus_lacks_is_said_with_what_it_offers(
    labels: dict[str, str], split: dict[str, str] | None, cv: str, message: str
) -> None:
    with pytest.raises(ImpossibleError, match=message):
        make_folds(corpus(labels, split), cv, "random20")


def test_without_speakers_there_are_utterances(tmp_path: Path) -> None:
    """And these are nobody's: nothing is known to stand on both sides."""
    data = on_disk(corpus({u.replace("-", ""): e for u, e in LABELS.items()}), tmp_path / "all")
    make_scheme(data, tmp_path / "folds", "utterance4", "random20")
    assert not shares_speakers(data.path, tmp_path / "folds", "train", "test")


def test_the_program_says_a_line_for_a_scheme(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    on_disk(corpus(LABELS, SPLIT), tmp_path / "all")
    caplog.set_level(logging.INFO)
    out = tmp_path / "folds"
    run = ["--data", str(tmp_path / "all"), "--out", str(out)]
    schemes = ["kfold3", "utterance4-none", "given-random50", "given-none"]
    program.main([*run, *schemes])
    assert [m.removeprefix(f"{out}/") for m in caplog.messages] == [
        "kfold3: 3 folds, each tests 8; of all utterances a fold tests 33.3 to 33.3 % (evenly: "
        "33.3 %); folds.log has more",
        "utterance4-none: 4 folds, each tests 6; speakers in training and test; folds.log has more",
        *(f"given-{name}: 2 folds, each tests 7 to 8; an official validation part goes into "
          "training first (but --validation given); folds.log has more"
          for name in ("random50", "none")),
    ]  # fmt: skip
    log = (out / "kfold3" / "folds.log").read_text()
    assert "of neu a fold tests 33.3 to 33.3 % (evenly: 33.3 %)" in log
    before = tree(out)
    program.main([*run, *schemes])
    assert tree(out) == before
    for scheme, message in (("kfold9", "needs 9 speakers"), ("given-partner", "does not go with")):
        with pytest.raises(SystemExit) as stop:
            program.main([*run, "--need", scheme, scheme])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        program.main([*run, "kfold5-random90"])
    assert stop.value.code == 2
    assert "kfold5-random90: 'random90'; expected random<percent>" in capsys.readouterr().err


def test_folds_of_many_speakers_are_made_where_they_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {f"s{i:03d}-{j}": "ab"[j] for i in range(101) for j in range(2)}
    on_disk(corpus(labels), tmp_path / "all")
    caplog.set_level(logging.INFO)
    run = ["--data", str(tmp_path / "all"), "--out", str(tmp_path / "folds")]
    program.main([*run, "--need", "kfold2", "kfold2", "speaker"])
    assert caplog.messages[-1] == (
        "no folds by speaker: it would have 101, and no --cv speaker asks for them"
    )
    assert [path.name for path in (tmp_path / "folds").iterdir()] == ["kfold2"]


def test_a_class_of_one_utterance_stops_folds_by_utterance() -> None:
    with pytest.raises(MissingClassError, match=r"fold 1 \(part 1 of 4\).*class fea; no utterance"):
        make_folds(corpus({**LABELS, "s0-fea": "fea"}), "utterance4", "random20")


def test_a_share_is_the_share_that_was_asked_for() -> None:
    (fold, *_) = make_folds(corpus(LABELS), "kfold3", "random50").values()
    assert (len(fold.train), len(fold.valid)) == (8, 8)
    assert isinstance(fold, Fold)
