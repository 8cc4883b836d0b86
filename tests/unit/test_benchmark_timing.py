"""How benchmarks take times: when they are believed, and what else the machine did."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cfia.config import load
from cfia.model.encoder import Sequences
from tests.bench import bench_epoch, iemocap, products, timing
from tests.bench.bench_step import counted, network, sequences
from tests.bench.busy import covered
from tests.bench.others import Others, Watch
from tests.bench.timing import Conditions, Turn, in_turns

CPU = "cpu  {user} 0 {system} 5000 9 0 {softirq} {steal} 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n"


def write(proc: Path, busy: int, waited: int) -> None:
    """A /proc with so many hundredths of seconds of processors, and microseconds of waiting."""
    (proc / "pressure").mkdir(exist_ok=True)
    cpu = CPU.format(user=busy // 2, system=busy - busy // 2, softirq=0, steal=0)
    (proc / "stat").write_text(cpu)
    (proc / "loadavg").write_text("3.27 3.81 3.91 4/108 10475\n")
    pressure = f"some avg10=1.00 avg60=2.00 avg300=3.00 total={waited}\nfull avg10=0 total=7\n"
    (proc / "pressure" / "cpu").write_text(pressure)


def compute(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_what_others_did_is_what_was_busy_without_us(tmp_path: Path) -> None:
    write(tmp_path, busy=1000, waited=0)
    began = time.perf_counter()
    watch = Watch(tmp_path, before=0)
    compute(0.2)
    write(tmp_path, busy=1000 + 1020, waited=2_000_000)
    found = watch.so_far()
    took = time.perf_counter() - began
    assert found.before is None
    assert found.during is not None
    assert found.waited is not None
    assert found.during * took == pytest.approx(10, rel=0.02), "10.2 s, of which 0.2 are ours"
    assert found.waited * took == pytest.approx(2, rel=0.02)
    assert found.load == 3.27


def test_interrupts_and_what_other_machines_took_are_of_others(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(CPU.format(user=1, system=0, softirq=0, steal=0))
    watch = Watch(tmp_path, before=0)
    (tmp_path / "stat").write_text(CPU.format(user=1, system=0, softirq=5000, steal=5000))
    began = time.perf_counter()
    while time.perf_counter() - began < 0.05:
        pass
    found = watch.so_far().during
    assert found is not None
    assert found > 100


@pytest.mark.parametrize("stat", [None, "cpu  0 0 0 0 0 0 0 0 0 0\n", "intr 5\n"])
def test_what_a_system_does_not_tell_is_unknown(tmp_path: Path, stat: str | None) -> None:
    if stat is not None:
        (tmp_path / "stat").write_text(stat)
    assert Watch(tmp_path, before=0.01).so_far() == Others(None, None, None, None)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="looks into /proc")
def test_a_busy_process_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            before = Watch(before=0.4).so_far().before
        finally:
            process.kill()
    assert before is not None
    assert before > 0.2, "of another process: it has not ended, so it is not ours"


def scripted(seconds: list[float], order: list[str], side: str) -> Iterator[Turn]:
    for value in seconds:
        order.append(side)
        yield Turn(value, value / 2)


@given(st.lists(st.lists(st.floats(1, 100), min_size=1, max_size=6), min_size=1, max_size=3))
@settings(max_examples=50)
def test_sides_alternate_until_the_fastest_two_of_each_agree(times: list[list[float]]) -> None:
    order: list[str] = []
    # At the end all agree: twice a time that is less than any.
    sides = {
        f"side{i}": scripted([*of, *[0.5] * (8 - len(of))], order, f"side{i}")
        for i, of in enumerate(times)
    }
    turns = in_turns({side: of.__next__ for side, of in sides.items()}, float("inf"), before=0)
    n = turns.conditions.turns
    assert order == [*sides] * n
    for rounds in range(1, n + 1):
        each = [sorted(turn.seconds for turn in of[:rounds])[:2] for of in turns.of.values()]
        all_agree = all(len(two) == 2 and two[1] <= 1.05 * two[0] + 1e-9 for two in each)
        assert all_agree == (rounds == n)
    for side, of in turns.of.items():
        fastest = min(turn.seconds for turn in of)
        assert turns.fastest(side).seconds == fastest
        assert turns.least(side) == (fastest, fastest / 2)


def test_a_time_limit_ends_it_and_the_figure_says_so() -> None:
    def turn(seconds: Iterator[int]) -> Turn:
        compute(0.02)
        return Turn(next(seconds), 0)

    growing = itertools.count(1)
    turns = in_turns({"growing": lambda: turn(growing)}, time_limit=0.2, before=0)
    assert 2 <= turns.conditions.turns <= 10
    assert turns.conditions.gaps == {"growing": 1.0}
    assert "the fastest two of growing differ by 100%" in turns.conditions.words()
    once = in_turns({"growing": lambda: turn(growing)}, time_limit=0, before=0).conditions
    assert (once.turns, once.gaps) == (1, {"growing": None})
    assert "there was one turn of each side" in once.not_alone


def test_a_busy_machine_is_said_where_all_agree() -> None:
    quiet = Others(0.0, 0.02, 0.5, 0.0)
    busy = Others(0.0, 0.73, 0.5, 0.0)
    assert timing._conditions({"a": [Turn(1, 1), Turn(1.04, 1)]}, quiet).words() == ""
    found = timing._conditions({"a": [Turn(1, 1), Turn(1.04, 1)]}, busy)
    assert found.words() == "  not alone: other processes kept 0.7 processors busy\n"
    assert json.loads(json.dumps(found.record()))["others"]["during"] == 0.73


def test_figures_are_in_their_file_as_soon_as_they_are_there(tmp_path: Path) -> None:
    figures = timing.Figures(tmp_path / "figures.json")
    figures.add({"a": 1})
    assert json.loads((tmp_path / "figures.json").read_text()) == [{"a": 1}]
    figures.add(Conditions("", 2, {"x": None}, Others(None, None, None, None)))
    assert len(json.loads((tmp_path / "figures.json").read_text())) == 2
    timing.Figures(None).add({"a": 1})


def test_an_epochs_products_are_those_that_torch_counts() -> None:
    """The formula leaves out the convolutions of the stack, and the classifier."""
    scale = 0.001
    utterances, n_train = bench_epoch.names(scale), round(bench_epoch.TRAIN * scale)
    lengths = iemocap.lengths(len(utterances), seed=0)
    config = load([bench_epoch.CONFIG])
    model = network("cfia_net", config, iemocap.DIM)

    def batch(part: slice) -> dict[str, Sequences]:
        return {
            name: sequences(torch.from_numpy(of[part]), iemocap.DIM) for name, of in lengths.items()
        }

    train, select = batch(slice(n_train)), batch(slice(n_train, None))
    flop = counted(model, train, config)
    with torch.inference_mode():
        flop += products.operations(lambda: model(select))[1]
    formula = sum(bench_epoch.operations(config.model, scale).values())
    assert formula == pytest.approx(flop, rel=0.05)


def test_operations_and_the_rate() -> None:
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    value, flop = products.operations(lambda: a @ b)
    assert (value.shape, flop) == ((3, 5), 2 * 3 * 4 * 5)
    rate = products.rate(torch.device("cpu"), small=True)
    assert 0.1 < rate < 1e5
    assert products.share(3e9, seconds=2, gflops=3) == 0.5


def test_time_that_is_covered() -> None:
    assert covered([(0, 2), (1, 3), (1, 1.5), (10, 11), (4, 5)]) == 5
    assert covered([]) == 0
