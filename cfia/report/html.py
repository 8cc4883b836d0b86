"""A document as one self-contained HTML page: pictures inside, no script, no network."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote

from cfia.figures.figure_files import Picture
from cfia.report.sections import CodeBlock, Heading, Items, Links, Section, Text, without_title
from cfia.report.table import Column, Table, is_text
from cfia.scoring.cells import show

SENTENCE = 50  # letters from which a cell needs room to be read

_CSS = """\
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
  max-width: 100rem; padding: 1rem; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; margin: 2rem 0 .5rem; }
h1 { font-size: 1.7rem; margin-top: .5rem; } h2 { font-size: 1.3rem; } h3 { font-size: 1.05rem; }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; }
p, nav, ul { max-width: 46rem; }
a { color: #0059a0; }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: 4px solid #d55e00; }
.wide { overflow-x: auto; margin: 1rem 0 .5rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; padding-bottom: .4rem; }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top; min-width: 2rem; }
thead th { border-top: 2px solid #222; border-bottom: 1px solid #222; vertical-align: bottom; }
tbody th { font-weight: normal; }
tbody .block { font-style: italic; border-top: 1px solid #222; }
tbody tr:last-child > * { border-bottom: 2px solid #222; }
tbody tr { background: #fff; } tbody tr:nth-child(even) { background: #f5f5f5; }
.n { text-align: right; white-space: nowrap; }
.long { min-width: 20rem; }
tbody th:first-child { position: sticky; left: 0; background: inherit; }
.notes { font-size: .85rem; color: #444; padding-left: 1.2rem; margin-top: 0; }
pre { background: #f5f5f5; padding: .7rem; font-size: .8rem; line-height: 1.4;
  white-space: pre-wrap; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; max-width: 100%; }
img { max-width: 100%; height: auto; }
figcaption { font-size: .85rem; color: #444; }
@media print { body { font-size: 10pt; max-width: none; padding: 0; } nav { display: none; }
  .wide { overflow: visible; } table { font-size: 7pt; } .n { white-space: normal; }
  .long { min-width: 0; }
  .notes, figcaption, pre { font-size: 7.5pt; } th, td { padding: .1rem .3rem; }
  tr, figure { break-inside: avoid; }
  h1, h2, h3, caption { break-after: avoid; } }
"""


def page(title: str, sections: Sequence[Section]) -> str:
    """The page, HTML 5.

    Args:
        title: the page's name and its heading of level 1.
        sections: what stands on it; headings of level 2 make a list of contents, pictures one
            after the other stand side by side where there is room.
    """
    numbers = itertools.count(1)
    ids = {id(s): f"s{next(numbers)}" for s in sections if isinstance(s, Heading)}
    body: list[str] = []
    heading = ""
    for together, group in itertools.groupby(sections, lambda s: isinstance(s, Picture)):
        if together:
            figures = (_picture(s) for s in group if isinstance(s, Picture))
            body.append(f'<div class="pictures">\n{"".join(figures)}</div>\n')
            continue
        for section in group:
            if isinstance(section, Heading):
                heading = section.text
            body.append(_render(section, ids, heading))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{_contents(sections, ids)}{''.join(body)}</main>\n</body>\n"
        "</html>\n"
    )


def _contents(sections: Iterable[Section], ids: dict[int, str]) -> str:
    main = [s for s in sections if isinstance(s, Heading) and s.level == 2]
    if len(main) < 2:
        return ""
    links = "".join(f'<li><a href="#{ids[id(s)]}">{escape(s.text)}</a></li>\n' for s in main)
    return f'<nav aria-label="Contents">\n<ul>\n{links}</ul>\n</nav>\n'


def _render(section: Section, ids: dict[int, str], heading: str) -> str:
    match section:
        case Heading(text, level):
            return f'<h{level} id="{ids[id(section)]}">{escape(text)}</h{level}>\n'
        case Text(text, quoted):
            paragraph = f"<p>{_inline(text)}</p>"
            return f"<blockquote>{paragraph}</blockquote>\n" if quoted else f"{paragraph}\n"
        case Items(items):
            return f"<ul>\n{_items(items)}</ul>\n"
        case CodeBlock(_, lines):
            return f"<pre><code>{escape(chr(10).join(lines))}</code></pre>\n"
        case Links(links):
            listed = [f'<a href="{escape(_path(p))}">{escape(name)}</a>' for name, p in links]
            return f"<p>{', '.join(listed)}</p>\n"
        case Table():
            return _table(without_title(section, heading))
        case Picture():
            return _picture(section)


def _inline(text: str) -> str:
    """Escaped, with `code` between backticks as in Markdown."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _items(items: Iterable[str]) -> str:
    return "".join(f"<li>{_inline(item)}</li>\n" for item in items)


def _path(relative: str) -> str:
    """A relative path as a link; a first name with a colon would read as a scheme."""
    return f"./{quote(relative)}"


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.svg).decode("ascii")
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>\n" if picture.caption else ""
    return (
        f'<figure>\n<img src="data:image/svg+xml;base64,{data}" alt="{escape(picture.alt)}">\n'
        f"{caption}</figure>\n"
    )


def _mark(table: Table, column: Column) -> str:
    """The class of a column's cells: of numbers, of sentences, or of neither."""
    if not is_text(table, column):
        return ' class="n"'
    longest = max(len(show(row.get(column.key))) for row in table.rows)
    return ' class="long"' if longest > SENTENCE else ""


def _table(table: Table) -> str:
    marks = [_mark(table, column) for column in table.columns]
    head = "".join(
        f'<th scope="col"{mark}>{escape(column.title)}</th>'
        for column, mark in zip(table.columns, marks, strict=True)
    )
    rows = []
    for number, row in enumerate(table.rows):
        if number in table.blocks:
            heading = escape(table.blocks[number])
            rows.append(f'<tr><th class="block" colspan="{len(marks)}">{heading}</th></tr>\n')
        first, *others = [escape(show(row.get(column.key))) for column in table.columns]
        cells = "".join(f"<td{m}>{cell}</td>" for m, cell in zip(marks[1:], others, strict=True))
        rows.append(f'<tr><th scope="row"{marks[0]}>{first}</th>{cells}</tr>\n')
    caption = f"<caption>{escape(table.title)}</caption>\n" if table.title else ""
    notes = f'<ul class="notes">\n{_items(table.notes)}</ul>\n' if table.notes else ""
    label = escape(table.title or "table")
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{label}">\n'
        f"<table>\n{caption}<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{''.join(rows)}</tbody>\n</table>\n</div>\n{notes}"
    )
