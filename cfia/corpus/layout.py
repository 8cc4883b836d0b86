"""Say where a corpus is to be had, and whether a directory looks like it (stage 0)."""

from __future__ import annotations

from pathlib import Path

from cfia.corpus.corpus_conf import listed, read_corpus_conf
from cfia.corpus.read_files import has


def describe(path: Path, corpus_dir: Path | None) -> str:
    """Say what a page has of its corpus's source, licence and layout, and what a directory lacks.

    Args:
        path: corpus.yaml; what it does not say is left out.
        corpus_dir: where the user has the corpus; None to say nothing of it.

    Raises:
        UserError: the page is not one.
    """
    conf = read_corpus_conf(path)
    said = {"from": conf.get("source"), "licence": conf.get("licence")}
    lines = [f"{name:<9}{value}" for name, value in said.items() if value]
    layout = conf.get("layout", {})
    lines += [f"{'' if i else 'layout':<9}{item}" for i, item in enumerate(_items(layout))]
    if corpus_dir is not None:
        lines += _lacks(corpus_dir, listed(conf.get("root")) or ["."], layout)
    return "\n".join(lines)


def _items(layout: dict[str, str]) -> list[str]:
    return [f"{pattern}   {what}" for pattern, what in layout.items()]


def _lacks(corpus_dir: Path, roots: list[str], layout: dict[str, str]) -> list[str]:
    """Say what is not there, below any of the directories `roots`."""
    if not corpus_dir.is_dir():
        return [f"differs  there is no directory {corpus_dir}; give the corpus by --corpus_dir"]
    inside = "" if roots == ["."] else f", directly or in {', '.join(r for r in roots if r != '.')}"
    return [
        f"differs  {corpus_dir} has no {pattern}{inside}"
        for pattern in layout
        if not any(has(corpus_dir / root, pattern) for root in roots)
    ]
