"""The sections of a document, rendered in Markdown here and as HTML by `cfia.report.html`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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


@dataclass(frozen=True)
class StudySection:
    """The tables of a study, in Markdown; an HTML page leads to the study's own."""

    name: str
    markdown: str
    page: str


Section = Heading | Text | Items | CodeBlock | Picture | Links | StudySection | Table


def to_markdown(sections: Iterable[Section]) -> str:
    """Render a document in Markdown."""
    blocks: list[str] = []
    for section in without_repeated_titles(sections):
        match section:
            case Heading(text, level):
                blocks.append(f"{'#' * level} {text}\n")
            case Table():
                blocks.append(markdown(section))
            case Picture() | Links():
                pass
            case StudySection(markdown=text):
                blocks.append(text)
            case Text(text, quoted):
                blocks.append(f"> {text}\n" if quoted else f"{text}\n")
            case Items(items):
                blocks.append("".join(f"- {item}\n" for item in items))
            case CodeBlock(language, lines):
                blocks.append("\n".join([f"```{language}", *lines, "```"]) + "\n")
    return "\n".join(blocks)


def without_repeated_titles(sections: Iterable[Section]) -> Iterator[Section]:
    """Yield all sections, a table without its title where the last heading is the same."""
    heading = ""
    for section in sections:
        if isinstance(section, Heading):
            heading = section.text
        elif isinstance(section, Table) and section.title == heading:
            section = replace(section, title="")
        yield section
