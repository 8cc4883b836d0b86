"""Make the whole tree: plan, speak, finish, write."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from egs.mini_iemocap.local import effects, layout, prosody
from egs.mini_iemocap.local.espeak import Espeak, engine
from egs.mini_iemocap.local.plan import SESSIONS, Turn, plan

# espeak-ng's scales: 50 is the voice's own pitch or range, and 50 steps of pitch are an octave.
_OWN, _STEPS_AN_OCTAVE = 50, 50
# The session whose archive has passed through macOS.
_APPLE_SESSION = 5

logger = logging.getLogger(__name__)


def make(root: Path, utterances_per_speaker: int, seed: int) -> None:
    """Write a tree of the shape of IEMOCAP_full_release into the directory `root`.

    Raises:
        UserError: espeak-ng is missing, or too old.
    """
    turns = plan(utterances_per_speaker, seed)
    with engine() as synthesiser:
        for session, group in itertools.groupby(turns, key=lambda turn: turn.session):
            spoken = list(group)
            folder = root / f"Session{session}"
            seconds = _session(folder, spoken, synthesiser, seed)
            if session == _APPLE_SESSION:
                layout.write_apple_doubles(folder, spoken[0].dialogue)
            logger.info(
                "corpus: session %d of %d, %d utterances, %.1f minutes",
                session, len(SESSIONS), len(spoken), seconds / 60,
            )  # fmt: skip


def _session(folder: Path, turns: list[Turn], synthesiser: Espeak, seed: int) -> float:
    """Record and write one session; returns the seconds of its audio."""
    total = 0.0
    for number, (dialogue, group) in enumerate(itertools.groupby(turns, lambda t: t.dialogue)):
        spoken = list(group)
        rng = np.random.default_rng([seed, 1, spoken[0].session, number])
        wavs = folder / "sentences" / "wav" / dialogue
        wavs.mkdir(parents=True)
        seconds = []
        for turn in spoken:
            wave = record(turn, synthesiser, rng)
            soundfile.write(wavs / f"{turn.name}.wav", wave, effects.RATE, subtype="PCM_16")
            seconds.append(len(wave) / effects.RATE)
        layout.write_dialogue(folder, layout.place(spoken, seconds, rng), rng)
        total += sum(seconds)
    return total


def record(turn: Turn, synthesiser: Espeak, rng: np.random.Generator) -> npt.NDArray[np.int16]:
    """Speak one turn with its speaker's voice and its emotion's cues: (n,) samples at 16 kHz."""
    voice = prosody.VOICES[turn.voice]
    cues = prosody.draw(turn.label, rng)
    wave = synthesiser.say(
        turn.spoken,
        voice.name,
        rate=round(voice.rate * 2**cues.rate),
        pitch=_clip(_OWN + (voice.pitch + cues.pitch) / 12 * _STEPS_AN_OCTAVE),
        span=_clip(_OWN * voice.span * 2**cues.span),
        seed=int(rng.integers(1, 2**31)),
    )
    return effects.finish(wave, synthesiser.rate, cues, voice.level + cues.level, rng)


def _clip(value: float) -> int:
    return min(99, max(0, round(value)))
