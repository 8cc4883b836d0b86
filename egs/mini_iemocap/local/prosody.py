"""Voices, and rules by which an emotion changes rate, pitch, range, level and voice quality.

The directions follow the literature. The sizes do not: they were chosen small and are blurred,
because clean rules would make the task trivial.

- K. R. Scherer, "Vocal communication of emotion: a review of research paradigms", Speech
  Communication 40 (2003), table of acoustic patterns: anger and joy are faster, louder and
  higher, with a wider range and more energy in the high frequencies; sadness is the reverse.
- P. N. Juslin and P. Laukka, "Communication of emotions in vocal expression and music
  performance", Psychological Bulletin 129 (2003): the same by meta-analysis; anger has much
  high-frequency energy, happiness a medium amount with a high and varied pitch; periods are
  irregular in anger, fear and sadness.
- R. Banse and K. R. Scherer, "Acoustic profiles in vocal emotion expression", Journal of
  Personality and Social Psychology 70 (1996): arousal moves pitch and level most, so that
  emotions alike in arousal lie close together: here anger and joy, and sadness and neutral.
- F. Burkhardt and W. F. Sendlmeier, "Verification of acoustical correlates of emotional speech
  using formant-synthesis", ISCA workshop Speech and Emotion (2000): tense voice for anger,
  breathy voice and a narrow range for sadness, a wide range and a faster pace for joy, a high
  pitch for fear, tried on a synthesiser as here.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np


@dataclass(frozen=True)
class Voice:
    """One speaker: an espeak-ng voice, and this person's usual rate, pitch, range and level."""

    name: str
    rate: float  # words a minute
    pitch: float  # semitones from the voice's own
    span: float  # pitch range as a ratio of the voice's own
    level: float  # dB relative to full scale, root mean square


@dataclass(frozen=True)
class Cues:
    """The changes that an emotion makes to a speaker's neutral voice."""

    rate: float  # log2 ratio of the speaking rate
    pitch: float  # semitones
    span: float  # log2 ratio of the pitch range
    level: float  # dB
    tilt: float  # dB an octave: tense voice above zero, lax voice below
    breath: float  # dB of aspiration noise above that of neutral speech
    jitter: float  # irregularity of the period, percent, above that of neutral speech


VOICES: dict[str, Voice] = {
    #               espeak-ng voice           rate  pitch  span  level
    "Ses01F": Voice("en-us+f1",               168,   0.0,  1.00, -27.0),
    "Ses01M": Voice("en-us+m1",               162,   0.5,  1.10, -25.5),
    "Ses02F": Voice("en-us+f2",               174,  -0.5,  0.90, -26.0),
    "Ses02M": Voice("en+m3",                  166,  -1.0,  1.00, -27.5),
    "Ses03F": Voice("en-gb-x-rp+f3",          160,   0.5,  1.05, -28.0),
    "Ses03M": Voice("en-us+m2",               171,   0.0,  0.95, -26.5),
    "Ses04F": Voice("en-us+f4",               165,  -1.0,  1.10, -26.5),
    "Ses04M": Voice("en-gb-scotland+m4",      169,   1.0,  0.90, -28.0),
    "Ses05F": Voice("en-us+belinda",          172,  -2.0,  0.95, -27.0),
    "Ses05M": Voice("en-us+m6",               163,   0.0,  1.05, -25.5),
}  # fmt: skip

EMOTIONS: dict[str, Cues] = {
    #           rate  pitch   span  level   tilt  breath  jitter
    "neu": Cues(0.00,  0.0,   0.00,  0.0,   0.0,   0.0,   0.0),
    "ang": Cues(0.16,  1.0,   0.20,  5.0,   1.8,   0.0,   1.0),
    "hap": Cues(0.10,  3.0,   0.60,  2.0,   0.4,   1.0,   0.0),
    "exc": Cues(0.18,  3.8,   0.70,  3.0,   0.6,   0.0,   0.0),
    "sad": Cues(-.20, -1.2,  -0.50, -3.5,  -1.5,   7.0,   0.3),
    "fru": Cues(0.04,  0.5,   0.10,  2.0,   0.8,   0.0,   0.4),
    "sur": Cues(0.10,  3.5,   0.60,  1.0,   0.2,   2.0,   0.0),
    "fea": Cues(0.20,  3.0,  -0.10, -1.0,   0.0,   5.0,   1.2),
    "dis": Cues(-.10, -0.5,   0.10,  0.5,   0.5,   2.0,   0.5),
    "oth": Cues(-.04,  0.5,   0.10, -0.5,  -0.2,   1.0,   0.0),
}  # fmt: skip

# The standard deviations of one speaker's utterances within one emotion: what blurs the classes.
SPREAD = Cues(rate=0.09, pitch=1.0, span=0.22, level=1.8, tilt=0.7, breath=2.5, jitter=0.3)

# How strongly an utterance is expressed, as a factor on all its cues at once.
STRENGTH_MEAN, STRENGTH_SPREAD = 1.0, 0.35


def draw(emotion: str, rng: np.random.Generator) -> Cues:
    """Draw the cues of one utterance: the rules times a strength, plus noise on each cue alone.

    `xxx` (raters did not agree) is a mixture in equal parts of two emotions drawn at random.
    """
    strength = max(0.0, rng.normal(STRENGTH_MEAN, STRENGTH_SPREAD))
    noise = rng.standard_normal(7) * np.array(astuple(SPREAD))
    mixed = rng.choice(sorted(EMOTIONS), size=2, replace=False) if emotion == "xxx" else [emotion]
    rule = np.mean([astuple(EMOTIONS[name]) for name in mixed], axis=0)
    return Cues(*(float(value) for value in strength * rule + noise))
