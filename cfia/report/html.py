"""A document as one self-contained HTML page: pictures inside, no script, no network."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from cfia.figures.figure_files import Picture
from cfia.report.sections import Heading, Section, without_repeated_titles
from cfia.report.table import Column, Table, is_text
from cfia.scoring.cells import show

SENTENCE = 45  # letters from which a cell needs room to be read


def page(title: str, sections: Sequence[Section]) -> str:
    """Render a page in HTML 5, by the template page.html.

    Args:
        title: the page's name and its heading of level 1.
        sections: the content; headings of level 2 make a list of contents, and successive
            pictures are put side by side where there is room.
    """
    blocks: list[tuple[str, Section | list[Section]]] = []
    groups = itertools.groupby(
        without_repeated_titles(sections), lambda section: isinstance(section, Picture)
    )
    for are_pictures, group in groups:
        if are_pictures:
            blocks.append(("Pictures", list(group)))
        else:
            blocks += [(type(section).__name__, section) for section in group]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
        autoescape=True, trim_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"base64": _base64, "code": _code, "marks": _marks, "show": show}
    headings = [section for section in sections if isinstance(section, Heading)]
    template = environment.get_template("page.html")
    return template.render(title=title, blocks=blocks, headings=headings)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _code(text: str) -> Markup:
    """Escape a text, with `code` between backticks as in Markdown."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _marks(table: Table) -> list[Markup]:
    """List the attribute `class` of each column's cells."""
    return [_mark(table, column) for column in table.shown]


def _mark(table: Table, column: Column) -> Markup:
    """Tell a column of numbers, one of sentences, and others ("")."""
    if not is_text(table, column):
        return Markup(' class="n"')
    longest = max(len(show(row.get(column.key))) for row in table.rows)
    return Markup(' class="long"' if longest > SENTENCE else "")
