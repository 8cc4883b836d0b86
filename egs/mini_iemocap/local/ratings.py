"""What the raters wrote: categories and attributes whose majority and mean are the label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from egs.mini_iemocap.local.plan import Turn

CATEGORIES = {
    "neu": "Neutral",
    "ang": "Anger",
    "hap": "Happiness",
    "exc": "Excited",
    "sad": "Sadness",
    "fru": "Frustration",
    "sur": "Surprise",
    "fea": "Fear",
    "dis": "Disgust",
    "oth": "Other",
}

# Valence, activation and dominance, 1 to 5, about which the raters scatter.
_ATTRIBUTES = {
    "neu": (3, 2, 3),
    "ang": (2, 4, 4),
    "hap": (4, 3, 3),
    "exc": (4, 4, 3),
    "sad": (2, 2, 2),
    "fru": (2, 3, 3),
    "sur": (3, 4, 3),
    "fea": (2, 4, 2),
    "dis": (2, 3, 3),
    "oth": (3, 3, 3),
    "xxx": (3, 3, 3),
}

_JUDGES = ("E2", "E3", "E4")
_UNANIMOUS = 0.55


@dataclass(frozen=True)
class Ratings:
    """One utterance's, by rater: E2 and so on, and F1 or M1 for the speaker's own."""

    categories: dict[str, str]
    attributes: dict[str, tuple[int, int, int]]  # valence, activation, dominance

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean valence, activation and dominance over the judges (not the speaker)."""
        judges = [values for rater, values in self.attributes.items() if rater in _JUDGES]
        return tuple(float(value) for value in np.mean(judges, axis=0))


def draw(turn: Turn, rng: np.random.Generator) -> Ratings:
    """Ratings that agree with the turn's label: a majority of the judges, or none for `xxx`."""
    own = f"{turn.speaker}1"
    categories = dict(zip(_JUDGES, _votes(turn.label, rng), strict=True))
    categories[own] = CATEGORIES.get(turn.label, "Other")
    attributes = {rater: _attributes(turn.label, rng) for rater in (*_JUDGES[1:], own)}
    return Ratings(categories, attributes)


def _votes(label: str, rng: np.random.Generator) -> list[str]:
    others = [name for key, name in CATEGORIES.items() if key != label]
    different = [others[int(i)] for i in rng.permutation(len(others))[:3]]
    if label == "xxx":
        return different
    votes = [CATEGORIES[label]] * 3
    if rng.random() >= _UNANIMOUS:
        votes[int(rng.integers(3))] = different[0]
    return votes


def _attributes(label: str, rng: np.random.Generator) -> tuple[int, int, int]:
    centre = np.array(_ATTRIBUTES[label]) + rng.normal(0, 0.5, size=3)
    valence, activation, dominance = np.clip(np.rint(centre), 1, 5)
    return int(valence), int(activation), int(dominance)
