"""Tables: one structure, and four renderings (Markdown, LaTeX, CSV, aligned plain text).

A cell is a value, not a string, so that each rendering decides how it looks: in CSV an interval
becomes three columns of numbers, on paper `75.21 [70.10, 79.90]`.
"""

from __future__ import annotations

import csv
import io
import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cfia.scoring.cells import Cell, Difference, Estimate, PValue, Spread, show


@dataclass(frozen=True)
class Column:
    """A column: the key of its cells and the heading; `data`: for those who read the CSV alone."""

    key: str
    title: str
    data: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a title above and notes below it; rows map the columns' keys to cells.

    `blocks` are headings inside it, by the index of the row below each; `lead` are paragraphs above
    it, which say what it shows.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[dict[str, Cell]]
    notes: Sequence[str] = field(default_factory=list)
    blocks: Mapping[int, str] = field(default_factory=dict)
    lead: Sequence[str] = ()

    @property
    def shown(self) -> list[Column]:
        """The columns that are for reading."""
        return [column for column in self.columns if not column.data]

    def only(self, keys: Iterable[str]) -> Table:
        """Keep only some of the columns."""
        kept = set(keys)
        return replace(self, columns=[column for column in self.columns if column.key in kept])


def markdown(table: Table) -> str:
    """Render in GitHub's Markdown, the title (if any) in bold above, the notes listed below."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    lines = [f"**{_md(table.title)}**", ""] if table.title else []
    lines += [line for paragraph in table.lead for line in (_md(paragraph), "")]
    lines.append(line(_md(c.title) for c in table.shown))
    lines.append(line("---" if is_text(table, c) else "---:" for c in table.shown))
    for i, row in enumerate(table.rows):
        if i in table.blocks:
            lines.append(line([f"**{_md(table.blocks[i])}**", *("" for _ in table.shown[1:])]))
        lines.append(line(_md(show(row.get(c.key))) for c in table.shown))
    if table.notes:
        lines += ["", *(f"- {_md(note)}" for note in table.notes)]
    return "\n".join(lines) + "\n"


LATEX_COLUMNS = 8  # that fit a page without being shrunk

LATEX_NEEDS = (
    "% To be read by \\input; the preamble needs \\usepackage{booktabs}, and for tables of many "
    "columns\n% \\usepackage{graphicx}.\n"
)


def latex(table: Table, name: str) -> str:
    """Render as a LaTeX table environment with the rules of booktabs (see LATEX_NEEDS).

    A table of many columns is shrunk to the page (graphicx), over both columns of a paper.

    Args:
        name: what the table is referred to as, `\\ref{tab:<name>}`.
    """

    def line(cells: Iterable[str]) -> str:
        return "    " + " & ".join(cells) + r" \\"

    kinds = "".join("l" if is_text(table, c) else "r" for c in table.shown)
    environment, shrink, end = "table", "", ""
    if len(table.shown) > LATEX_COLUMNS:
        environment, shrink, end = "table*", r"\resizebox{\textwidth}{!}{", "}"
    lines = [rf"\begin{{{environment}}}", r"  \centering"]
    lines.append(rf"  \caption{{{_tex(table.title)}}}\label{{tab:{name}}}")
    lines += [rf"  {shrink}\begin{{tabular}}{{{kinds}}}", r"    \toprule"]
    lines.append(line(_tex(c.title) for c in table.shown))
    for i, row in enumerate(table.rows):
        if i == 0 or i in table.blocks:
            lines.append(r"    \midrule")
        if i in table.blocks:
            heading = rf"\textit{{{_tex(table.blocks[i])}}}"
            lines.append(rf"    \multicolumn{{{len(table.shown)}}}{{l}}{{{heading}}} \\")
        lines.append(line(_tex(show(row.get(c.key))) for c in table.shown))
    lines += [r"    \bottomrule", rf"  \end{{tabular}}{end}"]
    said = (*table.lead, *table.notes)
    lines += [rf"  \par\footnotesize {_tex(words)}" for words in said]
    return "\n".join([*lines, rf"\end{{{environment}}}"]) + "\n"


def renderings(table: Table, name: str) -> dict[str, str]:
    """Render a table for files of its own, by their endings; `name` is as for `latex`."""
    tex = f"{LATEX_NEEDS}{latex(table, name)}"
    return {"md": markdown(table), "tex": tex, "csv": to_csv(table)}


def plain(table: Table) -> str:
    """Render as aligned columns for a terminal."""
    body = [[show(row.get(c.key)) for c in table.shown] for row in table.rows]
    cells = [[c.title for c in table.shown], *body]
    widths = [max(_width(line[i]) for line in cells) for i in range(len(table.shown))]
    left = [is_text(table, c) for c in table.shown]
    lines = [table.title, "", *(line for paragraph in table.lead for line in (paragraph, ""))]
    for number, row in enumerate(cells):
        if number - 1 in table.blocks:
            lines += ["", table.blocks[number - 1]]
        padded = [_pad(*cell) for cell in zip(row, widths, left, strict=True)]
        lines.append("  ".join(padded).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join([*lines, *(f"  {note}" for note in table.notes)]) + "\n"


def to_csv(table: Table) -> str:
    """Render as CSV: an `Estimate` in columns `x, x_low, x_high`, a `Spread` in `x, x_std`.

    The headings of a table's blocks are a first column, `block`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [(column.key, _endings(table, column)) for column in table.columns]
    block = ["block"] if table.blocks else []
    writer.writerow([*block, *(f"{key}{end}" for key, endings in columns for end in endings)])
    for i, row in enumerate(table.rows):
        block = [table.blocks.get(i, block[0] if i else "")] if table.blocks else []
        numbers = [_numbers(row.get(key), len(endings)) for key, endings in columns]
        writer.writerow([*block, *itertools.chain(*numbers)])
    return text.getvalue()


def _endings(table: Table, column: Column) -> tuple[str, ...]:
    """Name the columns of numbers that a column becomes, by the endings of their names."""
    cells = [row.get(column.key) for row in table.rows]
    if any(_in_brackets(cell) for cell in cells):
        return ("", "_low", "_high")
    return ("", "_std") if any(isinstance(cell, Spread) for cell in cells) else ("",)


def _in_brackets(cell: Cell) -> bool:
    """Whether a cell is of a kind with an interval; a difference need not have one."""
    return isinstance(cell, Estimate) or (isinstance(cell, Difference) and cell.low is not None)


def _numbers(cell: Cell, n: int) -> list[str]:
    """Split a cell into `n` columns, those that it does not have empty."""
    match cell:
        case Estimate(value, low, high):
            values = [_number(value), _number(low), _number(high)]
        case Difference(value, low, high):
            values = ["" if x is None else f"{x:.6g}" for x in (value, low, high)]
        case Spread(mean, std):
            values = [_number(mean), _number(std)]
        case _:
            values = [_number(cell)]
    return values[:n] + [""] * (n - len(values))


def _number(cell: Cell | float) -> str:
    match cell:
        case None:
            return ""
        case PValue(value):
            return f"{value:.6g}"
        case float():
            return f"{cell:.4f}"
        case _:
            return str(cell)


def is_text(table: Table, column: Column) -> bool:
    """Whether a column has words, which are aligned on the left, or numbers."""
    return any(isinstance(row.get(column.key), str) for row in table.rows)


def _width(text: str) -> int:
    """Count the columns of a text on a terminal, where East Asian wide characters take two."""
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
    "✓": r"$\surd$", "|": r"\textbar{}",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
