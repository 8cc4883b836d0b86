"""What can be said of a figure without looking at it."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.text import Text


def words_apart(figure: Figure) -> int:
    """Check that all words, as drawn, are inside the figure and apart; how many there are."""
    figure.canvas.draw()
    words: list[Text] = figure.findobj(Text)
    beyond = set(map(id, _beyond_the_axes(figure)))
    shown = {id(word): word for word in words if word.get_visible() and word.get_text()}
    shown = {key: word for key, word in shown.items() if key not in beyond}
    boxes = [word.get_window_extent() for word in shown.values()]
    width, height = figure.canvas.get_width_height()
    for box in boxes:
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0
    inner = [box.shrunk(0.95, 0.8) for box in boxes]  # a line's box is higher than its letters
    overlapping = [(a, b) for i, a in enumerate(inner) for b in inner[i + 1 :] if a.overlaps(b)]
    assert not overlapping
    return len(boxes)


def _beyond_the_axes(figure: Figure) -> Iterator[Text]:
    """The labels of ticks that are kept, and not drawn, for they are out of an axis's range."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        yield from (t.label1 for t in axis.get_major_ticks() if not low <= t.get_loc() <= high)
