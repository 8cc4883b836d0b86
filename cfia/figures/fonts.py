"""Find fonts on the machine for characters that matplotlib's own lacks, such as Chinese ones."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)


def use_fonts(figure: Figure) -> None:
    """Give each text of a figure the fonts that it needs besides matplotlib's own.

    Characters that no font on the machine has are drawn as boxes; a warning says which font to
    install. What matplotlib's own font has looks the same on all machines.
    """
    from matplotlib.text import Text

    for axes in figure.axes:  # ticks get their texts when they are asked for
        axes.get_xticklabels(), axes.get_yticklabels()
    texts: list[Text] = figure.findobj(Text)
    missing = {text: {c for c in text.get_text() if c.isprintable()} for text in texts}
    missing = {text: found - _own_characters() for text, found in missing.items()}
    families = _families(frozenset().union(*missing.values()))
    for text in (text for text in texts if missing[text]):
        text.set_fontfamily([*text.get_fontfamily(), *families])


@functools.cache
def _own_characters() -> frozenset[str]:
    """List the characters of the font that comes with matplotlib."""
    from matplotlib import font_manager

    return _characters(font_manager.findfont("DejaVu Sans"))


def _characters(path: str) -> frozenset[str]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):  # no font, or one of a kind that is not drawn
        return frozenset()


@functools.cache
def _families(missing: frozenset[str]) -> tuple[str, ...]:
    """Find fonts that together have some characters; the one with most of them comes first.

    Matplotlib's own list of fonts is of the day when it first ran, so the machine is asked.
    """
    from matplotlib import font_manager

    if not missing:
        return ()
    paths = sorted(font_manager.findSystemFonts(), key=lambda path: (Path(path).name, path))
    found: list[str] = []
    while missing and paths:
        best = max(paths, key=lambda path: len(missing & _characters(path)))
        if not missing & _characters(best):
            break
        font_manager.fontManager.addfont(best)
        found.append(font_manager.FontProperties(fname=best).get_name())
        missing -= _characters(best)
    if missing:
        _warn("".join(sorted(missing)))
    return tuple(found)


@functools.cache
def _warn(missing: str) -> None:
    _log.warning(
        "no font on this machine has the characters %s, which figures show as boxes; install one, "
        "such as Noto Sans CJK (fonts-noto-cjk in Debian) for Chinese, Japanese and Korean, and "
        "run stage 8 again",
        missing,
    )
