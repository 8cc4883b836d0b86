"""Recognised text on disk for tests of what reads it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from cfia.asr.word_errors import JSON, Errors, WordErrors
from cfia.files import write_json


def write_error_rate(directory: Path, percent: float) -> None:
    """What stage 4 says of the errors of a text of 400 words."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = Errors(40, 400, round(4 * percent), 0, 0)
    write_json(directory / JSON, asdict(WordErrors({}, "", 0, whole, {}, {})))
