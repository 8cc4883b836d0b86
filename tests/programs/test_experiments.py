"""The list of what is under exp/, the removal of one experiment, and scores of some folds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cfia.bin import experiments, report, score
from cfia.errors import UserError
from cfia.experiment import read
from tests.support import made_up_experiments as made_up
from tests.support.data_files import tree


def partial_run(tmp: Path) -> Path:
    """Two seeds, of which one has two folds of three, and the other one."""
    directory = made_up.run(tmp, "net_try", seeds=(1, 2))
    for name in ("fold3_seed1", "fold2_seed2", "fold3_seed2"):
        made_up.untest(directory / name)
    return directory


def score_partial(tmp: Path) -> None:
    score.main(["--expdir", str(tmp / "exp"), "--partial", "true"])


def test_some_folds_are_scored_and_marked_and_make_no_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    directory, whole = partial_run(tmp_path), made_up.run(tmp_path)
    score_partial(tmp_path)
    scores = json.loads((directory / "scores.json").read_text())
    assert scores["protocol"]["partial"] is True
    assert scores["protocol"]["folds"] == [1, 2]
    assert list(scores["seeds"]) == ["1"]
    for fold in ("1", "2"):
        ua = made_up.recall(directory / f"fold{fold}_seed1" / "posteriors.tsv")
        assert scores["folds"][fold]["ua"] == pytest.approx(ua)
    assert scores["pooled"]["n"] == 120
    assert f"{directory} (partial: folds 1 2 of 3): UA" in caplog.text
    assert json.loads((whole / "scores.json").read_text())["protocol"]["partial"] is False
    report.main(["--expdir", str(tmp_path / "exp")])
    page = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "| net_try" not in page
    assert "net_try, scheme session: no posteriors of fold3_seed1" in page


def test_unasked_a_part_is_no_score(tmp_path: Path) -> None:
    directory = partial_run(tmp_path)
    made_up.run(tmp_path)
    score_partial(tmp_path)
    score.main(["--expdir", str(tmp_path / "exp")])
    assert not (directory / "scores.json").exists()


def listed(capsys: pytest.CaptureFixture[str], tmp: Path) -> dict[str, str]:
    """The rows of the list, by experiment, blanks squeezed."""
    experiments.main(["--expdir", str(tmp / "exp")])
    rows = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    return {row.split()[0]: row for row in rows if "/session" in row}


def test_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="holds no experiment; run stage 5"):
        listed(capsys, tmp_path)
    partial_run(tmp_path)
    made_up.run(tmp_path, "net_oracle", selection="test")
    broken = made_up.run(tmp_path, "net_broken")
    score_partial(tmp_path)
    (broken / "experiment.yaml").write_text("- no mapping\n")
    rows = listed(capsys, tmp_path)
    ua = json.loads((tmp_path / "exp/net_try/session/scores.json").read_text())["pooled"]["ua"]
    assert rows["net_try/session"].startswith(f"net_try/session 1 2 6 of 6 3 of 6 {ua:.2f} [")
    assert rows["net_try/session"].endswith("] partial")
    assert rows["net_oracle/session"].startswith("net_oracle/session 1 3 of 3 3 of 3 ")
    assert rows["net_oracle/session"].endswith("] oracle")
    assert "was cut or edited" in rows["net_broken/session"]


def test_removal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up.run(tmp_path, "net_try")
    kept = made_up.run(tmp_path, "net_fbank")
    made_up.stages(tmp_path)
    before = tree(kept)
    for wrong in ("net_try", "net_try/../net_fbank", "../exp/net_try", "/", ""):
        with pytest.raises(UserError, match=r"there is no experiment .*; it has net_fbank/session"):
            experiments.main(["--expdir", str(tmp_path / "exp"), "--remove", wrong])
    experiments.main(["--expdir", str(tmp_path / "exp"), "--remove", "net_try/session"])
    assert not (tmp_path / "exp" / "net_try").exists()
    assert tree(kept) == before
    made_up.stages(tmp_path)
    assert "net_try" not in (tmp_path / "exp" / "RESULTS.md").read_text()
    assert list(listed(capsys, tmp_path)) == ["net_fbank/session"]


def test_of_an_edited_one_too(tmp_path: Path) -> None:
    directory = made_up.run(tmp_path, "net_try")
    (directory / "experiment.yaml").write_text("")
    with pytest.raises(UserError):
        read(directory)
    experiments.main(["--expdir", str(tmp_path / "exp"), "--remove", "net_try/session"])
    assert not directory.exists()
    shutil.rmtree(tmp_path / "exp")
