"""Recognisers of speech, whose text stands in for transcripts.

from cfia.asr import load

load("pocketsphinx").recognise(samples, rate)
"""

from cfia.asr.recogniser import Recogniser
from cfia.asr.registry import find, load

__all__ = ["Recogniser", "find", "load"]
