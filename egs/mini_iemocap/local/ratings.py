"""Draw ratings: categories and attributes whose majority and mean make the label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from egs.mini_iemocap.local.plan import Turn

# The raters' name of a label, and the valence, activation and dominance, 1 to 5, about which they
# scatter. For `xxx` (the judges did not agree) they scatter as for `oth`, which the speaker names.
_LABELS = {
    "neu": ("Neutral", (3, 2, 3)),
    "ang": ("Anger", (2, 4, 4)),
    "hap": ("Happiness", (4, 3, 3)),
    "exc": ("Excited", (4, 4, 3)),
    "sad": ("Sadness", (2, 2, 2)),
    "fru": ("Frustration", (2, 3, 3)),
    "sur": ("Surprise", (3, 4, 3)),
    "fea": ("Fear", (2, 4, 2)),
    "dis": ("Disgust", (2, 3, 3)),
    "oth": ("Other", (3, 3, 3)),
}

_JUDGES = ("E2", "E3", "E4")
_UNANIMOUS = 0.55


@dataclass(frozen=True)
class Ratings:
    """The ratings of one utterance, by rater: E2 to E4 are judges, F1 or M1 is the speaker."""

    categories: dict[str, str]
    attributes: dict[str, tuple[int, int, int]]  # valence, activation, dominance

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean valence, activation and dominance over the judges (not the speaker)."""
        judges = [values for rater, values in self.attributes.items() if rater in _JUDGES]
        return tuple(float(value) for value in np.mean(judges, axis=0))


def draw(turn: Turn, rng: np.random.Generator) -> Ratings:
    """Draw ratings that agree with the turn's label: by most judges, or by none for `xxx`."""
    speaker = f"{turn.speaker}1"
    category, centre = _LABELS.get(turn.label, _LABELS["oth"])
    categories = dict(zip(_JUDGES, _votes(turn.label, rng), strict=True))
    categories[speaker] = category
    attributes = {rater: _attributes(centre, rng) for rater in (*_JUDGES[1:], speaker)}
    return Ratings(categories, attributes)


def _votes(label: str, rng: np.random.Generator) -> list[str]:
    others = [category for key, (category, _) in _LABELS.items() if key != label]
    different = [others[int(i)] for i in rng.permutation(len(others))[:3]]
    if label == "xxx":
        return different
    votes = [_LABELS[label][0]] * 3
    if rng.random() >= _UNANIMOUS:
        votes[int(rng.integers(3))] = different[0]
    return votes


def _attributes(centre: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int, int]:
    blurred = np.array(centre) + rng.normal(0, 0.5, size=3)
    valence, activation, dominance = np.clip(np.rint(blurred), 1, 5)
    return int(valence), int(activation), int(dominance)
