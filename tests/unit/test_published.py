"""conf/published.yaml against the paper's own text, cell by cell, where it is at hand."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from cfia.errors import UserError
from cfia.files import read_yaml
from cfia.metrics import METRICS
from cfia.study.published import Published, read_published

CONF = Path(__file__).resolve().parents[2] / "conf" / "published.yaml"
PAPER = os.environ.get("CFIA_PAPER", "")
needs_paper = pytest.mark.skipif(
    not PAPER, reason="CFIA_PAPER does not name the paper's text (cfia-net.txt)"
)
TABLES = ("table1", "table2", "table3", "table4")


def printed(number: int) -> tuple[str, list[list[str]]]:
    """Caption, and lines of cells, of a table in the paper's text; ends at the first blank line."""
    text = Path(PAPER).read_text(encoding="utf-8")
    text = text.replace("\\_", "_").replace("\\*", "*")
    match = re.search(rf"^Table {number}: ([^\n]*)\n\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
    assert match
    lines = [re.sub(r"</?b>|\$", "", line) for line in match[2].split("\n")]
    return match[1], [[cell.strip() for cell in line.split("\t")] for line in lines]


def cells(table: Published) -> list[list[str]]:
    """The same of conf/published.yaml: the headings, then headings of blocks and rows."""
    lines = [list(table.columns.values())]
    for block in table.blocks:
        if block.heading:
            lines.append([block.heading, *("" for _ in list(table.columns)[1:])])
        for row in block.rows.values():
            values = [
                "-" if value is None else f"{value:.2f}" if key in METRICS else str(value)
                for key, value in row.items()
            ]
            lines.append(values)
    return lines


def plain(text: str) -> str:
    """Without the marks of mathematics: `- $CFIA_3$ (i)` is `- CFIA3 (i)`."""
    return re.sub(r"[$_{}]", "", text)


# Of each table's title and cells, when the tests below had compared them with the paper; where the
# paper is not at hand, the two tests that need it do not run.
COMPARED = {
    "table1": "cbd0ef5b472e460c",
    "table2": "58be24435ce5a2af",
    "table3": "dfe4461f46fb629f",
    "table4": "3b7a2f5fc84204a7",
}


def digest(title: str, lines: list[list[str]]) -> str:
    """What stands for a table: any other title or cell would give another."""
    text = "\n".join([title, *("\t".join(line) for line in lines)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", TABLES)
def test_every_cell_is_still_the_one_that_was_compared(name: str) -> None:
    table = read_published(CONF)[name]
    assert digest(table.title, cells(table)) == COMPARED[name]


def test_what_is_quoted_from_the_paper_stands_in_it() -> None:
    tables = read_published(CONF)
    quoted = 0
    for block in tables["peers"].blocks:
        for key, row in block.rows.items():
            number = re.search(r"CFIA-Net's Table (\d)", row["source"])
            if number or row["source"] == "the paper":
                names = [f"table{number[1]}"] if number else ["table1", "table2"]
                lines = [
                    line for name in names for b in tables[name].blocks for line in b.rows.values()
                ]
                assert (row["wa"], row["ua"]) in [(one["wa"], one["ua"]) for one in lines], key
                quoted += 1
    assert quoted == 13


@needs_paper
@pytest.mark.parametrize("number", [1, 2, 4])
def test_every_cell_is_the_papers(number: int) -> None:
    caption, lines = printed(number)
    table = read_published(CONF)[f"table{number}"]
    assert caption.startswith(table.title)
    found = [[plain(cell) for cell in line] for line in lines]
    expected = [[plain(cell) for cell in line] for line in cells(table)]
    assert found == expected


@needs_paper
def test_every_number_of_table_3_is_the_papers() -> None:
    """Its tick marks lost their places in the text; how many there are is known."""
    caption, lines = printed(3)
    table = read_published(CONF)["table3"]
    assert caption.startswith(table.title)
    assert [plain(cell) for cell in lines[0]] == list(table.columns.values())
    expected = cells(table)[1:]
    assert [line[3:] for line in lines[1:]] == [line[3:] for line in expected]
    ticks = [sum(cell == "✓" for cell in line) for line in expected]
    assert ticks == [0, 1, 1, 1, 3]
    assert sum(cell == "✓" for line in lines for cell in line) == sum(ticks)
    assert [line[:3].index("✓") for line in expected[1:4]] == [0, 1, 2]


def test_the_slips_are_slips() -> None:
    """What the notes say of the paper's numbers follows from them."""
    tables = read_published(CONF)
    assert list(tables) == [*TABLES, "peers"]
    speaker = tables["table1"].row("speaker")
    assert speaker["wa"] - tables["table1"].row("atia")["wa"] == pytest.approx(0.97)
    ua = {key: row["ua"] for key, row in tables["table3"].blocks[0].rows.items()}
    assert max(ua, key=lambda key: ua[key]) == "con2"
    assert [key for key in ua if ua[key] < ua["none"]] == ["con1", "con3"]
    assert tables["table3"].row("all")["ua"] == speaker["ua"]
    assert tables["table4"].row("three")["ua"] == ua["none"]


def test_the_papers_counts_differ_from_the_recipes_as_its_note_says() -> None:
    """The paper gives angry the count of sad."""
    conf = CONF.parents[1] / "egs" / "iemocap" / "conf" / "corpus.yaml"
    expect = read_yaml(conf)["expect"]["4"]
    ang, sad = expect["classes"]["ang"], expect["classes"]["sad"]
    assert (
        "In the paper: the class counts of its section 3.1 sum to "
        f"{expect['total'] - ang + sad}; angry is {ang}, not {sad}, and the sum {expect['total']}."
    ) in read_published(CONF)["table1"].notes


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "published.yaml"
    path.write_text("table1: {title: a, columns: {wa: WA}}\n")
    with pytest.raises(UserError, match="table1 must have title, columns and blocks"):
        read_published(path)
    path.write_text(
        "table1: {title: a, columns: {wa: WA}, blocks: "
        "[{heading: '', protocol: p, rows: {x: {ua: 1}}}]}\n"
    )
    with pytest.raises(UserError, match="table1, x: its cells must be wa"):
        read_published(path)
