"""Stage 8: a study's experiments have their place in the study's tables."""

from __future__ import annotations

from pathlib import Path

from cfia.report.studies import RESULTS, write_list
from tests.support.made_up_experiments import run, stages


def test_experiments_of_a_study_are_shown_in_its_tables(tmp_path: Path) -> None:
    both, plain, alone = (run(tmp_path, name) for name in ("both", "plain", "alone"))
    study = tmp_path / "exp" / "study" / "paper"
    write_list(study, [both, alone])
    (study / RESULTS).write_text("## Study paper\n\n| its table |\n")
    write_list(tmp_path / "exp" / "log" / "0a1b", [both, plain])
    stages(tmp_path)
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "\n## Study paper\n\n| its table |\n" in results
    for name, shown in (("both", True), ("plain", True), ("alone", False)):
        assert (f"| {name} | audio |" in results) is shown
        assert (f"### {name}, scheme session" in results) is shown
        assert (tmp_path / "exp" / name / "session" / "scores.json").exists()
    assert "alone" in (tmp_path / "exp" / "tables" / "results.csv").read_text()
    page = (tmp_path / "exp" / "report.html").read_text()
    assert 'href="./study/paper/report.html"' in page


def test_an_experiment_of_no_list_is_shown(tmp_path: Path) -> None:
    run(tmp_path, "made_by_hand")
    stages(tmp_path)
    assert "| made_by_hand | audio |" in (tmp_path / "exp" / "RESULTS.md").read_text()


def test_where_there_are_studies_alone_their_tables_are_all(tmp_path: Path) -> None:
    study = tmp_path / "exp" / "study" / "smoke"
    write_list(study, [run(tmp_path, "net")])
    (study / RESULTS).write_text("## Study smoke\n")
    stages(tmp_path)
    results = (tmp_path / "exp" / "RESULTS.md").read_text()
    assert "## Study smoke" in results
    assert "## By class" not in results
    assert "Trained at commit abc123" in results
