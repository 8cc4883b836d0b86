"""What one hears in the synthetic corpus: ten voices, and emotions that can be told, not always."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from tests.support.mini_iemocap import Corpus, Utterance, make

SPEAKERS = [f"Ses{session:02d}{letter}" for session in range(1, 6) for letter in "FM"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    directory = tmp_path_factory.mktemp("audio") / "corpus"
    make("--utterances_per_speaker", "20", directory)
    return Corpus(directory)


def frames(utterance: Utterance, size: int = 640) -> np.ndarray:
    """(n, size) frames of 40 ms, the loudest half."""
    samples = utterance.samples()
    rows = samples[: len(samples) // size * size].reshape(-1, size)
    energy = (rows**2).sum(axis=1)
    loudest: np.ndarray = rows[energy >= np.median(energy)]
    return loudest


def level(utterance: Utterance) -> float:
    return float(10 * np.log10(np.mean(frames(utterance) ** 2)))


def autocorrelation(rows: np.ndarray) -> np.ndarray:
    """(n, 640) to (n, 320), lags from 0."""
    product: np.ndarray = np.fft.irfft(np.abs(np.fft.rfft(rows, 1280, axis=1)) ** 2)[:, :320]
    return product


def pitch(utterance: Utterance) -> np.ndarray:
    """Semitones above 50 Hz of the frames with a clear period, by their autocorrelation."""
    rows = frames(utterance) * np.hanning(640)
    correlation = autocorrelation(rows) / autocorrelation(np.hanning(640)[None])
    correlation /= correlation[:, :1]
    lags = 40 + correlation[:, 40:270].argmax(axis=1)  # 400 Hz to 60 Hz
    clear = correlation[np.arange(len(lags)), lags] > 0.6
    semitones: np.ndarray = 12 * np.log2(16000 / lags[clear] / 50)
    return semitones


def tilt(utterance: Utterance) -> float:
    """Energy above 1 kHz relative to that below, in dB."""
    power = (np.abs(np.fft.rfft(frames(utterance), axis=1)) ** 2).mean(axis=0)
    return float(10 * np.log10(power[40:].sum() / power[2:40].sum()))


def pace(utterance: Utterance) -> float:
    """Letters a second."""
    return len(utterance.transcript) / (utterance.end - utterance.start)


def median_pitch(utterance: Utterance) -> float:
    return float(np.median(pitch(utterance)))


def pitch_range(utterance: Utterance) -> float:
    """Semitones; frames far from the median are octave errors."""
    semitones = pitch(utterance) - median_pitch(utterance)
    return float(np.subtract(*np.percentile(semitones[np.abs(semitones) < 7], [90, 10])))


@pytest.mark.parametrize(
    ("measure", "more", "less"),
    [
        (level, "ang", "neu"),
        (level, "neu", "sad"),
        (pace, "ang", "neu"),
        (pace, "neu", "sad"),
        (tilt, "ang", "neu"),
        (tilt, "neu", "sad"),
        (tilt, "ang", "hap"),
        (median_pitch, "hap", "neu"),
        (median_pitch, "neu", "sad"),
        (median_pitch, "hap", "ang"),
        (pitch_range, "hap", "neu"),
        (pitch_range, "hap", "sad"),
    ],
)
def test_emotions_go_where_the_literature_says(
    corpus: Corpus, measure: Callable[[Utterance], float], more: str, less: str
) -> None:
    """On average over speakers, each compared with the same speaker; but not every time."""
    values = {
        name: {s: [measure(u) for u in corpus.of_class(name) if u.speaker == s] for s in SPEAKERS}
        for name in (more, less)
    }
    differences = [np.mean(values[more][s]) - np.mean(values[less][s]) for s in SPEAKERS]
    standard_error = np.std(differences, ddof=1) / np.sqrt(len(SPEAKERS))
    assert np.mean(differences) > 2 * standard_error
    assert any(min(values[more][s]) < max(values[less][s]) for s in SPEAKERS)


def test_ten_voices(corpus: Corpus) -> None:
    """Half of each speaker's utterances name the speaker of the other half by their spectrum."""

    def spectrum(utterance: Utterance) -> np.ndarray:
        power = (np.abs(np.fft.rfft(frames(utterance), axis=1)) ** 2).mean(axis=0)[2:]
        bands = np.log(power[: len(power) // 8 * 8].reshape(-1, 8).mean(axis=1))
        centred: np.ndarray = bands - bands.mean()
        return np.append(centred, median_pitch(utterance))

    halves = {
        speaker: [
            np.mean([spectrum(u) for u in said[part::2]], axis=0) for part in (0, 1)
        ]
        for speaker in SPEAKERS
        if (said := [u for u in corpus.utterances if u.speaker == speaker])
    }  # fmt: skip
    for one, other in itertools.product(SPEAKERS, SPEAKERS):
        if one != other:
            own = np.linalg.norm(halves[one][0] - halves[one][1])
            assert own < np.linalg.norm(halves[one][0] - halves[other][1]), (one, other)


def test_letters_are_voices(corpus: Corpus) -> None:
    """F is the higher voice of each session, as its letter says."""
    for session in range(1, 6):
        female, male = (
            np.median([median_pitch(u) for u in corpus.utterances if u.speaker == speaker])
            for speaker in (f"Ses0{session}F", f"Ses0{session}M")
        )
        assert female > male + 2


def test_nothing_is_clipped_or_silent(corpus: Corpus) -> None:
    for utterance in corpus.utterances:
        samples = utterance.samples()
        assert np.abs(samples).max() < 0.99
        assert -50 < level(utterance) < -10
