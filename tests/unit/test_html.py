"""The page: well-formed, self-contained, and holding what it was given."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from cfia.figures.figure_files import FIGURES, Picture
from cfia.report.html import page
from cfia.report.sections import CodeBlock, Heading, Items, Links, Section, Text, to_markdown
from cfia.report.table import Column, Table
from cfia.scoring.cells import Estimate
from tests.support.made_up_experiments import histories, run, stages

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Checker(HTMLParser):
    """Checks that elements nest, and gathers what a test asks for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.images: list[dict[str, str]] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.columns: list[int] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        assert tag not in ("script", "iframe", "object", "link")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.columns.append(0)
        if tag in ("td", "th"):
            self.columns[-1] += 1
            assert tag == "td" or values["scope"] in ("col", "row")
        if tag == "a":
            self.links.append(values["href"])
        if tag == "img":
            self.images.append(values)
        if "id" in values:
            self.ids.append(values["id"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="10pt" height="10pt"/>'
TABLE = Table(
    "Scores <of> all",
    [Column("a", "system & co"), Column("b", "UA")],
    [{"a": "x<y", "b": Estimate(70, 60, 80)}, {"a": "z"}],
    ["a note with `code`"],
)


def test_every_section_is_there_and_escaped() -> None:
    sections: list[Section] = [
        Heading("One & two"), Text("Words <b>", quoted=True), TABLE, Heading("Three"),
        Items(["first", "`second`"]), CodeBlock("yaml", ["key: <value>", "other: 2"]),
        Picture(SVG, 'a "picture"', "below it"), Picture(SVG, "another"),
        Links([("the folder", "exp/a b:c/ü#1/")]), Table("", TABLE.columns, TABLE.rows),
    ]  # fmt: skip
    whole = page("A & B", sections)
    for code in ("<li><code>second</code></li>", "<li>a note with <code>code</code></li>"):
        assert code in whole
    found = Checker(whole)
    text = "".join(found.words)
    for part in ("A & B", "One & two", "Words <b>", "x<y", "70.00 [60.00, 80.00]", "–", "code",
                 "key: <value>\nother: 2", "below it", "the folder"):  # fmt: skip
        assert part in text, part
    assert [image["alt"] for image in found.images] == ['a "picture"', "another"]
    for image in found.images:
        head, _, data = image["src"].partition(",")
        assert head == "data:image/svg+xml;base64"
        assert base64.b64decode(data) == SVG
    assert "./exp/a%20b%3Ac/%C3%BC%231/" in found.links
    anchors = [link[1:] for link in found.links if link.startswith("#")]
    assert len(anchors) == 2
    assert sorted(anchors) == sorted(set(found.ids))
    assert set(found.columns) == {2}


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_no_text_breaks_the_page(texts: list[str]) -> None:
    columns = [Column(str(i), text) for i, text in enumerate(texts)]
    table = Table(texts[0], columns, [{str(i): text for i, text in enumerate(texts)}], texts)
    sections: list[Section] = [Heading(texts[0]), table, Items(texts), CodeBlock("sh", texts)]
    sections += [Picture(SVG, texts[0], texts[-1]), Links([(text, text) for text in texts])]
    assert len(Checker(page(texts[0], sections)).images) == 1


def test_markdown_of_the_same_sections() -> None:
    sections: list[Section] = [
        Heading("Scores <of> all"), TABLE, Picture(SVG, "a picture"), Links([("a", "b")]),
        Text("quoted", quoted=True), Items(["one", "two"]), CodeBlock("sh", ["./run.sh"]),
    ]  # fmt: skip
    assert to_markdown(sections) == (
        "## Scores <of> all\n\n| system & co | UA |\n| --- | ---: |\n"
        "| x\\<y | 70.00 [60.00, 80.00] |\n| z | – |\n\n- a note with \\`code\\`\n\n"
        "> quoted\n\n- one\n- two\n\n```sh\n./run.sh\n```\n"
    )


def test_the_page_of_a_recipe(tmp_path: Path) -> None:
    directory = run(tmp_path)
    histories(tmp_path)
    stages(tmp_path)
    text = (tmp_path / "exp" / "report.html").read_text()
    assert 'src="http' not in text
    found = Checker(text)
    # One of the scheme and those of the run; the run has no consistency terms to draw.
    assert len(found.images) == 1 + len(FIGURES) - 1
    for image in found.images:
        assert "net_fbank" in image["alt"]
        ElementTree.fromstring(base64.b64decode(image["src"].partition(",")[2]))
    relative = [link for link in found.links if not link.startswith("#")]
    assert len(relative) == 3
    for link in relative:
        assert (tmp_path / "exp" / link).exists()
    # What was drawn stays while what it was drawn from does; what was damaged is drawn anew.
    path = directory / "confusion.svg"
    drawn = path.read_bytes()
    path.write_bytes(b"<svg")
    stages(tmp_path)
    assert path.read_bytes() == drawn
    assert (tmp_path / "exp" / "report.html").read_text() == text
