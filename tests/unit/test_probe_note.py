"""What tables say of systems beside the probe, which has no seeds."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cfia.bin import score as score_program
from cfia.report.from_files import compare_files
from cfia.report.probe_note import probe_notes
from cfia.report.score_tables import flat_table, score_table
from cfia.report.table import markdown, to_csv
from cfia.scoring.scores_file import Scored, compare_systems, score
from cfia.scoring.trained import find_trained
from tests.support.made_up_experiments import read_pairs, run


def made(tmp: Path, network: float, seeds: tuple[int, ...] = (1, 2, 3)) -> list[Scored]:
    """A probe of some skill, and a network of another, on the same six speakers."""
    run(tmp, "net_fbank", skill=network, seeds=seeds)
    run(tmp, "probe_fbank", skill=1.0, network="probe", consistency=[])
    return [score(trained) for trained in find_trained(tmp / "exp")]


def pooled(directory: Path, seed: int) -> float:
    """UA of a seed's folds together."""
    pairs = [read_pairs(directory / f"fold{k}_seed{seed}" / "posteriors.tsv") for k in (1, 2, 3)]
    refs, hyps = (np.array([x for pair in pairs for x in pair[i]]) for i in (0, 1))
    return float(np.mean([100 * (hyps[refs == c] == c).mean() for c in np.unique(refs)]))


@pytest.mark.parametrize(
    ("skill", "verdict"), [(4.0, "beat it"), (1.0, "not shown to beat it"), (-1.0, "behind it")]
)
def test_a_note_says_which_networks_beat_it(skill: float, verdict: str, tmp_path: Path) -> None:
    rows = made(tmp_path, skill)
    nets, probe = tmp_path / "exp/net_fbank/session", tmp_path / "exp/probe_fbank/session"
    difference = np.mean([pooled(nets, seed) for seed in (1, 2, 3)]) - pooled(probe, 1)
    explained, note = probe_notes(rows)
    assert "has shown nothing" in explained
    found = re.fullmatch(r".* Holm for 1 comparison\): (.*): net_fbank (\S+) \(p (.*)\)\.", note)
    assert found is not None, note
    assert found[1] == verdict
    assert float(found[2]) == pytest.approx(difference, abs=0.005)
    assert (float(found[3]) < 0.05) == (verdict != "not shown to beat it")


def test_one_of_another_protocol_is_no_measure(tmp_path: Path) -> None:
    run(tmp_path, "probe_fbank", skill=1.0, network="probe", consistency=[])
    run(tmp_path, "net_fbank", scheme="session-test", selection="test")
    rows = [score(trained) for trained in find_trained(tmp_path / "exp")]
    assert probe_notes(rows) == []
    assert probe_notes(rows[:1]) == []
    run(tmp_path, "net_fbank", skill=2.0)
    run(tmp_path, "other_fbank", skill=2.0)
    rows = [score(trained) for trained in find_trained(tmp_path / "exp")]
    note = probe_notes([*rows, *rows])[1]  # a study may have one in several rows
    assert "Holm for 2 comparisons" in note
    assert note.count("net_fbank, session ") == note.count("other_fbank, session ") == 1
    assert "session-test" not in note


def test_luck_of_seeds_is_the_networks_alone(tmp_path: Path) -> None:
    net, probe = made(tmp_path, 1.0)
    directory = tmp_path / "exp" / "net_fbank" / "session"
    comparison = compare_systems(net.outputs, probe.outputs)
    assert comparison is not None
    of_seeds = [pooled(directory, seed) for seed in (1, 2, 3)]
    assert comparison.seeds == pytest.approx(np.std(of_seeds, ddof=1) / np.sqrt(3))
    one = compare_systems(net.outputs.only([1]), probe.outputs)
    assert one is not None
    assert one.seeds is None, "nobody knows it of one seed"
    assert one.mcnemar is not None
    neither = compare_systems(probe.outputs, probe.outputs)
    assert neither is not None
    assert neither.seeds is None


def test_tables_and_scores_say_that_it_has_no_seeds(tmp_path: Path) -> None:
    rows = made(tmp_path, 1.0)
    table = markdown(score_table(rows, {}))
    assert table.startswith(
        "**Scheme session: leave one session out, 3 folds; validation random20; "
    )
    assert "epoch selected on the validation part" in table.splitlines()[0]
    assert "- No seeds (probe_fbank): nothing of a probe is drawn" in table
    assert "- One seed" not in table
    one = markdown(score_table([rows[1]], {}))
    assert "C selected on the validation part" in one.splitlines()[0]
    assert "one seed" not in one.lower()
    lines = csv.DictReader(to_csv(flat_table(rows)).splitlines())
    assert [line["seeds"] for line in lines] == ["1 2 3", "1 2 3", ""]
    score_program.main(["--expdir", str(tmp_path / "exp")])
    found = json.loads((tmp_path / "exp/probe_fbank/session/scores.json").read_text())
    assert found["protocol"]["seeded"] is False
    assert list(found["seeds"]) == ["1"]
    assert set(found["seed_std"].values()) == {None}
    assert "ensemble" not in found
    net, probe = ([tmp_path / "exp" / name / "session"] for name in ("net_fbank", "probe_fbank"))
    assert "seeds ±" in compare_files(net, probe, None)
