"""A document as values, for two renderings: Markdown here, HTML in `cfia.report.html`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cfia.figures.figure_files import Picture
from cfia.report.table import Table, markdown


@dataclass(frozen=True)
class Heading:
    """A heading; the document's title is level 1."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph, or a quotation."""

    text: str
    quoted: bool = False


@dataclass(frozen=True)
class Items:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True)
class CodeBlock:
    """Lines to be shown as they are: `sh`, `yaml`."""

    language: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Links:
    """Files beside the page, as pairs of a name and a relative path; not in Markdown."""

    links: Sequence[tuple[str, str]]


Section = Heading | Text | Items | CodeBlock | Picture | Links | Table


def to_markdown(sections: Iterable[Section]) -> str:
    """The document in Markdown; a table whose title is its heading's comes without it."""
    parts: list[str] = []
    heading = ""
    for section in sections:
        match section:
            case Heading(text, level):
                parts.append(f"{'#' * level} {text}\n")
                heading = text
            case Table():
                parts.append(markdown(without_title(section, heading)))
            case Picture() | Links():
                pass
            case Text(text, quoted):
                parts.append(f"> {text}\n" if quoted else f"{text}\n")
            case Items(items):
                parts.append("".join(f"- {item}\n" for item in items))
            case CodeBlock(language, lines):
                parts.append("\n".join([f"```{language}", *lines, "```"]) + "\n")
    return "\n".join(parts)


def without_title(table: Table, heading: str) -> Table:
    """The table; without its title where the heading says it already."""
    return replace(table, title="") if table.title == heading else table
