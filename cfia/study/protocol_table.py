"""The table of what a habit is worth: points over the honest row, each row stamped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cfia.experiment import ORACLE, SPEAKERS_SHARED, in_brackets
from cfia.figures.points import PointBlock, PointRow
from cfia.metrics import METRICS
from cfia.report.probe_note import LEVEL
from cfia.report.score_tables import (
    counted,
    describe_protocol,
    if_one_seed,
    interval_notes,
    seed_notes,
)
from cfia.report.table import Column, Table
from cfia.scoring.cells import Cell, Estimate, show
from cfia.scoring.scores_file import Scored
from cfia.study.how_made import features_note, part_notes, training_in_words
from cfia.study.paper_tables import (
    Corpus,
    difference_cells,
    difference_columns,
    difference_notes,
    set_notes,
    stand_in_notes,
    whose_numbers,
)
from cfia.study.protocol_rows import (
    APART,
    BY_FOLD,
    HONEST,
    OWN_EPOCH,
    PAIRED,
    SESSIONS_SHARED,
    SHOWN,
    Block,
    Habit,
)
from cfia.study.study_file import BEST_SEED
from cfia.study.study_plan import StudyPlan
from cfia.study.study_rows import finished

_METRIC = "ua"  # what is said in words is said of it


def protocol_table(plan: StudyPlan, shown: Sequence[Block], corpus: Corpus) -> Table:
    """Lay out a row for each habit, the honest base at the top of each block."""
    habits = [habit for block in shown for habit in block.habits]
    starts = [sum(len(block.habits) for block in shown[:i]) for i in range(len(shown))]
    results = [habit.result for habit in habits]
    title = f"What a habit is worth, on {corpus.title}{if_one_seed(finished(results))}"
    return Table(
        title,
        _columns(habits),
        [_cells(plan, habit) for habit in habits],
        _notes(plan, shown, corpus),
        dict(zip(starts, (block.heading for block in shown), strict=True)),
        lead(shown, corpus, plan.request.corpus),
    )


def _columns(habits: Sequence[Habit]) -> list[Column]:
    results = [habit.result for habit in habits]
    whole = all(habit.scores and not habit.result.status for habit in habits)
    scores = [
        column
        for name in reversed(SHOWN)  # UA first: it is what is tested
        for title in [METRICS[name].title]
        for column in (
            Column(name, title),
            Column(_base(name), f"{title} of the honest row", data=name != _METRIC),
            Column(_difference(name), f"{title} difference"),
        )
    ]
    tests = [column for column in difference_columns(results) if column.key != "difference"]
    tests = [replace(column, title="p (UA)") if column.key == "p" else column for column in tests]
    return [
        Column("method", "habit"),
        Column("stamp", "what it is"),
        *scores,
        *tests,
        Column("n", "n"),
        Column("system", "system", data=True),
        Column("source", "numbers", data=whole),
        Column("protocol", "protocol"),
        Column("exposure", "encoders saw", data=True),
    ]


def _difference(name: str) -> str:
    return "difference" if name == _METRIC else f"{name}_difference"


def _base(name: str) -> str:
    return f"{name}_base"


def _cells(plan: StudyPlan, habit: Habit) -> dict[str, Cell]:
    result, scored = habit.result, habit.result.scored
    cells: dict[str, Cell] = {"method": habit.result.name, "system": result.row.system}
    if scored is None or not habit.scores:
        return {**cells, "source": result.status}
    trained, seeds = scored.trained, scored.outputs.in_words
    if habit.chosen is not None:
        seeds = f"seed {habit.chosen} of {seeds}"
    cells |= {
        "stamp": habit.in_words,
        "system": trained.label,
        "source": result.source,
        "protocol": f"{describe_protocol(trained, plan.standard)}; {seeds}",
        "exposure": trained.exposure_text,
        "n": habit.n,
        **difference_cells(result),
    }
    for name in SHOWN:
        cells[name] = habit.scores[name]
        if points := habit.points.get(name):
            cells[_difference(name)] = points
            cells[_base(name)] = Estimate(habit.scores[name].value - points.value)
    return cells


def pictured(shown: Sequence[Block]) -> list[PointBlock]:
    """Give what the picture shows: the rows of each block that have points over its base."""
    return [_pictured(block) for block in shown if block.others]


def _pictured(block: Block) -> PointBlock:
    titles = {name: METRICS[name].title for name in reversed(SHOWN)}
    base = ", ".join(
        f"{title} {block.base.scores[name].value:.1f}" for name, title in titles.items()
    )
    rows = [
        PointRow(
            habit.result.name,
            {title: habit.points[name] for name, title in titles.items()},
            habit.stamps,
            habit.how == PAIRED,
        )
        for habit in block.others
    ]
    return PointBlock(f"{block.heading}; the honest row: {base}", rows)


def in_words(blocks: Sequence[PointBlock]) -> str:
    """Say what the picture shows to those who cannot see it."""
    title = METRICS[_METRIC].title
    rows = (f"{block.heading}: {row.label}{in_brackets(row.stamps)} {show(row.points[title])}"
            for block in blocks for row in block.rows)  # fmt: skip
    return f"{title} over the honest row, in points: {'; '.join(rows)}"


def lead(shown: Sequence[Block], corpus: Corpus, recipe: str) -> list[str]:
    """Say in words what the table shows, by its numbers; [] where nothing can be compared."""
    told = [_of_block(block) for block in shown if block.others]
    if not told:
        return []
    title = METRICS[_METRIC].title
    first = (
        f"What it shows, in points of {title} over the honest row. Within noise is what has 0 in "
        f"its 95 % interval, each row by itself. {_corrected(shown)} {_ranges(shown)}"
    )
    return [first, *told, whose_numbers(corpus, recipe)]


def _corrected(shown: Sequence[Block]) -> str:
    """Say which rows are still more than chance when p is corrected for all of their block."""
    names = [f"{habit.result.name} ({block.heading})" for block in shown for habit in block.others
             if habit.result.comparison and habit.result.p_holm < LEVEL]  # fmt: skip
    said = "; ".join(names) or "none"
    return f"Corrected by Holm for all rows of a system, below {LEVEL} is p of {said}."


def _of_block(block: Block) -> str:
    """List the stamped habits and the honest ones of a system, and what of both is noise."""
    far = [habit for habit in block.others if habit.settled(_METRIC)]
    # Of rows that answer alike the difference is 0, and has no interval either.
    unknown = [habit for habit in block.others for points in [habit.points[_METRIC]]
               if points.low is None and points.value]  # fmt: skip
    near = [h for h in block.others if not h.settled(_METRIC) and h not in unknown]
    kinds = {
        "not honest, more than noise": [habit for habit in far if not habit.honest],
        "honest, more than noise": [habit for habit in far if habit.honest],
        "within noise": near,
        "without an interval": unknown,
    }
    lists = [f"{words}: {_listed(habits)}" for words, habits in kinds.items() if habits]
    base = block.base.scores[_METRIC].value
    return f"{block.heading} (honest row {base:.1f}): {'; '.join(lists)}."


def _listed(habits: Sequence[Habit]) -> str:
    ordered = sorted(habits, key=lambda habit: -habit.points[_METRIC].value)
    return ", ".join(f"{h.result.name} {h.points[_METRIC].value:+.1f}" for h in ordered)


def _ranges(shown: Sequence[Block]) -> str:
    """Say from where to where the points of all systems go, of stamped and of honest rows."""
    others = [habit for block in shown for habit in block.others]
    said = []
    for words, honest in (("Rows that are not honest", False), ("Honest rows", True)):
        points = [h.points[_METRIC].value for h in others if h.honest == honest]
        if points:
            ends = dict.fromkeys(f"{end:+.1f}" for end in (min(points), max(points)))
            said.append(f"{words} have {' to '.join(ends)}.")
    return " ".join(said)


def _notes(plan: StudyPlan, shown: Sequence[Block], corpus: Corpus) -> list[str]:
    """Say of every number how it was made."""
    habits = [habit for block in shown for habit in block.habits]
    results = [habit.result for habit in habits]
    scored = finished(results)
    tested = [(block.heading, sum(h.result.comparison is not None for h in block.habits))
              for block in shown]  # fmt: skip
    families = [f"{heading}, {n}" for heading, n in tested if n]
    compared = [result for result in results if result.comparison]
    notes = [*corpus.notes]
    if scored:
        notes += _training_notes(shown)
        notes += [*part_notes(scored), features_note(plan, results)]
        notes += _score_notes(habits, scored)
        notes += _difference_how(habits, scored[0])
        notes += difference_notes(compared, families)
        notes += seed_notes(list({row.trained.system: row for row in reversed(scored)}.values()))
    return [*notes, *set_notes(plan), *stand_in_notes(plan, results)]


def _training_notes(shown: Sequence[Block]) -> list[str]:
    """Say how the systems were trained in their honest rows; the others say what they change."""
    ways: dict[str, list[str]] = {}
    for block in shown:
        if block.base.result.scored:
            way = training_in_words(block.base.result.scored)
            ways.setdefault(way, []).append(block.heading)
    return [f"Trained, {', '.join(systems)}: {way}; in a row with a fixed number of epochs, or "
            "refitted, it does not stop early." for way, systems in ways.items()]  # fmt: skip


def _score_notes(habits: Sequence[Habit], scored: Sequence[Scored]) -> list[str]:
    stamps = {stamp for habit in habits for stamp in habit.stamps}
    remarks = " ".join(habit.in_words for habit in habits)
    notes = [
        "UA, WA: pooled over the test utterances (n) of all folds that a row tests, in percent; "
        "with several seeds the mean of what single networks score.",
        *interval_notes(scored),
        f"{HONEST.capitalize()}: nothing was chosen on a test fold, and no speaker of a test fold "
        "has trained. All other rows bear a stamp that says what they are: their numbers are not "
        "those of one network on new speakers.",
    ]
    if ORACLE in stamps:
        notes.append(f"{ORACLE}: each fold's epoch is the one with the best UA on its test fold.")
    if SPEAKERS_SHARED in stamps:
        notes.append(
            f"{SPEAKERS_SHARED}: utterances are divided at random, whoever says them, so that the "
            "networks know the voices that they are tested on."
        )
    if SESSIONS_SHARED in remarks:
        notes.append(
            f"{SESSIONS_SHARED}: the speakers of the test have not trained, but those who talk to "
            "them in the same sessions have."
        )
    return notes


def _difference_how(habits: Sequence[Habit], scored: Scored) -> list[str]:
    """Say how the differences of the rows, and their intervals, were made."""
    ways = {habit.how for habit in habits}
    n, cluster = len(scored.outputs.speakers), scored.outputs.cluster
    notes = []
    if PAIRED in ways:
        notes.append(
            "UA difference, WA difference: the row less the first row of its block, on the same "
            "utterances and by the seeds that both have, which is what the column of the honest "
            f"row has. In brackets 95 %: delete-one-{cluster} "
            f"jackknife of the difference, Student's t with df = {n - 1}, and with several seeds "
            f"what {cluster}s of a fold share of their networks' luck."
        )
    if BY_FOLD in ways:
        notes.append(
            f"{OWN_EPOCH}: the highest WA and the highest UA of any epoch on the test fold, by "
            "history.csv of each training, averaged over folds and seeds. Held against the honest "
            "row's mean over the same folds, in brackets 95 % by Student's t over the folds; no "
            "test, for of such epochs no posteriors are kept."
        )
    if any(habit.result.row.reported == BEST_SEED and habit.scores for habit in habits):
        notes.append(
            "Best of the seeds: the seed whose networks have the highest pooled UA on the test "
            "folds, less the mean of all of these seeds; no test, for its UA is never below theirs."
        )
    notes += [
        f"{habit.result.name}: tests {counted(habit.n, 'utterance')} alone, so its difference is "
        "not paired: the brackets are those of its own score less the honest row's, and there is "
        "no test."
        for habit in {h.result.name: h for h in habits if h.how == APART}.values()
    ]
    return notes
