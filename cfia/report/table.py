"""Tables: one structure, and four renderings (Markdown, LaTeX, CSV, aligned plain text).

A cell is a value, not a string, so that each rendering decides how it looks: in CSV an interval
becomes three columns of numbers, on paper `75.21 [70.10, 79.90]`.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cfia.scoring.cells import Cell, Difference, Estimate, PValue, Spread, show


@dataclass(frozen=True)
class Column:
    """A column: the key of its cells and the heading."""

    key: str
    title: str


@dataclass(frozen=True)
class Table:
    """A table with a title above and notes below it; rows map the columns' keys to cells.

    `blocks` are headings inside it, by the index of the row that they stand over.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Cell]]
    notes: Sequence[str] = field(default_factory=list)
    blocks: Mapping[int, str] = field(default_factory=dict)

    def only(self, keys: Iterable[str]) -> Table:
        """The same table with fewer columns."""
        kept = set(keys)
        columns = [column for column in self.columns if column.key in kept]
        return Table(self.title, columns, self.rows, self.notes, self.blocks)


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, the title (if any) in bold above, the notes listed below."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    lines = [f"**{_md(table.title)}**", ""] if table.title else []
    lines.append(line(_md(c.title) for c in table.columns))
    lines.append(line("---" if is_text(table, c) else "---:" for c in table.columns))
    for i, row in enumerate(table.rows):
        if i in table.blocks:
            lines.append(line([f"**{_md(table.blocks[i])}**", *("" for _ in table.columns[1:])]))
        lines.append(line(_md(show(row.get(c.key))) for c in table.columns))
    if table.notes:
        lines += ["", *(f"- {_md(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


LATEX_COLUMNS = 8  # that fit a page without being shrunk


def latex(table: Table) -> str:
    """A LaTeX table environment with the rules of booktabs.

    A table of many columns is shrunk to the page (graphicx), over both columns of a paper.
    """

    def line(cells: Iterable[str]) -> str:
        return "    " + " & ".join(cells) + r" \\"

    kinds = "".join("l" if is_text(table, c) else "r" for c in table.columns)
    wide = len(table.columns) > LATEX_COLUMNS
    name, shrink, end = (
        ("table*", r"\resizebox{\textwidth}{!}{", "}") if wide else ("table", "", "")
    )
    lines = [rf"\begin{{{name}}}", r"  \centering", rf"  \caption{{{_tex(table.title)}}}"]
    lines += [rf"  {shrink}\begin{{tabular}}{{{kinds}}}", r"    \toprule"]
    lines.append(line(_tex(c.title) for c in table.columns))
    for i, row in enumerate(table.rows):
        if i == 0 or i in table.blocks:
            lines.append(r"    \midrule")
        if i in table.blocks:
            heading = rf"\textit{{{_tex(table.blocks[i])}}}"
            lines.append(rf"    \multicolumn{{{len(table.columns)}}}{{l}}{{{heading}}} \\")
        lines.append(line(_tex(show(row.get(c.key))) for c in table.columns))
    lines += [r"    \bottomrule", rf"  \end{{tabular}}{end}"]
    lines += [rf"  \par\footnotesize {_tex(note)}" for note in table.notes]
    return "\n".join([*lines, rf"\end{{{name}}}"]) + "\n"


def plain(table: Table) -> str:
    """Aligned columns for a terminal."""
    body = [[show(row.get(c.key)) for c in table.columns] for row in table.rows]
    cells = [[c.title for c in table.columns], *body]
    widths = [max(_width(line[i]) for line in cells) for i in range(len(table.columns))]
    left = [is_text(table, c) for c in table.columns]
    lines = [table.title, ""]
    for number, row in enumerate(cells):
        if number - 1 in table.blocks:
            lines += ["", table.blocks[number - 1]]
        padded = [_pad(*cell) for cell in zip(row, widths, left, strict=True)]
        lines.append("  ".join(padded).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join([*lines, *(f"  {note}" for note in table.notes)]) + "\n"


def to_csv(table: Table) -> str:
    """Comma-separated numbers: an `Estimate` is `x, x_low, x_high`, a `Spread` `x, x_std`.

    The headings of a table's blocks are a first column, `block`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    split = {column.key: _splitter(table, column.key) for column in table.columns}
    block = ["block"] if table.blocks else []
    writer.writerow([*block, *(name for c in table.columns for name in split[c.key](c.key, None))])
    for i, row in enumerate(table.rows):
        block = [table.blocks.get(i, block[0] if i else "")] if table.blocks else []
        cells = [(split[c.key], row.get(c.key)) for c in table.columns]
        writer.writerow([*block, *(value for cut, cell in cells for value in cut(None, cell))])
    return text.getvalue()


def _splitter(table: Table, key: str) -> Callable[[str | None, Cell], list[str]]:
    """Turn a heading, or a cell, of a column into those of its parts."""
    cells = [row.get(key) for row in table.rows]
    if any(isinstance(cell, Estimate) for cell in cells):
        return _split_estimate
    if any(isinstance(cell, Spread) for cell in cells):
        return _split_spread
    return lambda name, cell: [name] if name is not None else [_number(cell)]


def _split_estimate(name: str | None, cell: Cell) -> list[str]:
    if name is not None:
        return [name, f"{name}_low", f"{name}_high"]
    if isinstance(cell, Estimate):
        return [_number(cell.value), _number(cell.low), _number(cell.high)]
    return [_number(cell), "", ""]


def _split_spread(name: str | None, cell: Cell) -> list[str]:
    if name is not None:
        return [name, f"{name}_std"]
    if isinstance(cell, Spread):
        return [_number(cell.mean), _number(cell.std)]
    return [_number(cell), ""]


def _number(cell: Cell | float) -> str:
    match cell:
        case None:
            return ""
        case Difference(value) | PValue(value):
            return f"{value:.6g}"
        case float():
            return f"{cell:.4f}"
        case _:
            return str(cell)


def is_text(table: Table, column: Column) -> bool:
    """Whether a column has words, to stand on the left, or numbers."""
    return any(isinstance(row.get(column.key), str) for row in table.rows)


def _width(text: str) -> int:
    """Columns that a text takes on a terminal: East Asian wide characters take two."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def _pad(text: str, width: int, left: bool) -> str:
    fill = " " * (width - _width(text))
    return text + fill if left else fill + text


def _md(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\|*<`" else character for character in text)


_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "–": "--", "<": r"$<$", ">": r"$>$", "−": "$-$", "α": r"$\alpha$",
    "✓": r"$\surd$",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
