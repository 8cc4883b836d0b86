"""Stage 8 on made-up runs of corpora of several kinds: unbalanced, of nobody knows whom."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from cfia.bin.compare import main as compare
from cfia.bin.experiments import main as experiments
from cfia.bin.score import main as score
from cfia.corpus.corpus_conf import is_standard, read_corpus_conf
from cfia.errors import UserError
from cfia.files import read_json
from cfia.kaldi.table import write_table
from cfia.metrics import METRICS, confusion
from cfia.report.comparison_table import comparison_table
from cfia.report.score_tables import score_table
from cfia.scoring.cells import Estimate
from cfia.scoring.scores_file import score as score_one
from cfia.scoring.trained import read_trained
from tests.support.made_up_experiments import (
    corpus,
    mark,
    run,
    stages,
)


@pytest.mark.parametrize(
    ("protocol", "is_one"),
    [
        ({"cv": "session", "validation": "random20", "selection": "last"}, True),
        ({"cv": "session", "validation": "next_session", "selection": "valid"}, False),
        ({"cv": "speaker", "validation": "random20", "selection": "valid"}, False),
        ({"cv": "session", "validation": "random20", "selection": "test"}, False),
    ],
)
def test_what_is_the_corpus_standard(protocol: dict[str, str], is_one: bool) -> None:
    assert is_standard({"cv": "session"}, protocol) == is_one
    assert not is_standard({}, protocol)


@pytest.mark.parametrize(
    ("standard", "message"),
    [
        ("{cv: kfold}", "standard is 'kfold' with validation 'random20'; expected session, spea"),
        ("{validation: random20}", "standard is '' with validation"),
        ("{cv: speaker, validation: given}", "--validation given does not go with --cv speaker"),
        ("speaker", "standard is 'speaker', not a mapping"),
    ],
)
def test_a_standard_that_is_none_is_named(tmp_path: Path, standard: str, message: str) -> None:
    path = tmp_path / "corpus.yaml"
    path.write_text(f"standard: {standard}\n")
    with pytest.raises(UserError, match=message):
        read_corpus_conf(path)


def test_unbalanced_classes_are_counted_and_have_macro_f1(tmp_path: Path) -> None:
    refs = {u: "ang" if i % 5 else "sad" for i, u in enumerate(corpus(tmp_path))}
    shutil.rmtree(tmp_path / "data" / "all")
    (tmp_path / "data" / "all").mkdir()
    write_table(tmp_path / "data" / "all" / "utt2spk", {utt: utt.split("-")[0] for utt in refs})
    write_table(tmp_path / "data" / "all" / "utt2emo", refs)
    directory = run(tmp_path, "a_fbank")
    relabel(directory, refs)
    table = score_table([score_one(read_trained(directory))], {})
    assert [column.title for column in table.columns[3:7]] == ["WA", "UA", "macro F1", "WF1"]
    assert "Unbalanced classes: ang 144, hap 0, neu 0, sad 36; the largest" in table.notes[1]
    system, chance = table.rows
    counts = confusion([int(ref == "sad") for ref in refs.values()], [0] * len(refs), 2)
    assert chance["macro_f1"] == Estimate(float(METRICS["macro_f1"].score(counts)))
    assert isinstance(system["macro_f1"], Estimate)


def relabel(directory: Path, refs: dict[str, str]) -> None:
    """Give the posteriors of an experiment other references."""
    for path in directory.glob("fold*/posteriors.tsv"):
        head, *rows = [line.split("\t") for line in path.read_text().splitlines()]
        rows = [[utt, refs[utt], *probs] for utt, _, *probs in rows]
        path.write_text("".join("\t".join(row) + "\n" for row in [head, *rows]))
    mark(directory)


def test_where_nobody_knows_who_speaks_every_interval_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    refs = corpus(tmp_path)
    write_table(tmp_path / "data" / "all" / "utt2spk", {utt: utt for utt in refs})
    write_table(tmp_path / "data" / "all" / "skipped", {"Spk1-99": "no audio file in the corpus"})
    b = run(tmp_path, "b_fbank")
    stages(tmp_path)
    exp, words = tmp_path / "exp", "takes utterances as independent"
    protocol = read_json(b / "scores.json")["protocol"]
    assert protocol["clusters"] == "utterance"
    assert protocol["interval"].startswith("95 %, delete-one-utterance jackknife, Student's t with")
    assert protocol["interval"].endswith(f"; {words}")
    results = (exp / "RESULTS.md").read_text()
    assert f"The interval {words}" in " ".join(results.split())
    assert f"- No speakers are known: the interval {words}" in results
    assert re.search(
        "^- Left out of the corpus: 1 utterance, which .*skipped lists[.]$", results, re.M
    )
    assert "speaker's" not in results
    assert "speakers of a fold" not in results
    assert f"No speakers are known: the interval {words}" in (exp / "report.html").read_text()
    (said,) = (line for line in caplog.messages if ": UA " in line)
    assert all(words in text for text in (said, capsys.readouterr().out))
    experiments(["--expdir", str(exp)])
    assert words in capsys.readouterr().out
    score([str(b)])
    assert f"; {words}" in capsys.readouterr().out
    a = run(tmp_path, "a_fbank")
    table = comparison_table([score_one(read_trained(directory)) for directory in (a, b)])
    assert table is not None
    assert f"No speakers are known: every p here {words}." in table.notes
    compare([str(a), str(b)])
    assert f"No speakers are known: every p and interval here {words}" in capsys.readouterr().out
