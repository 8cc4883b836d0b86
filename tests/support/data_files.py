"""Small corpora and data directories that tests make for themselves."""

from __future__ import annotations

import functools
import importlib.util
import io
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
RATE = 16000
RECIPES = (
    "mini_iemocap", "emodb", "iemocap", "ravdess", "cremad", "meld", "esd", "savee", "msp_podcast",
)  # fmt: skip


@functools.cache
def _noise(seconds: float, ending: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).standard_normal(int(RATE * seconds))
    soundfile.write(buffer, 0.1 * noise, RATE, format=ending)
    return buffer.getvalue()


def write_audio(path: Path, seconds: float = 0.1) -> Path:
    """Noise, in the format that the file's ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_noise(seconds, path.suffix[1:]))
    return path


def load_script(path: str) -> ModuleType:
    """Import a recipe's own program, given its path from the repository's root."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def tree(directory: Path) -> dict[str, bytes]:
    """All files under a directory: relative path -> bytes."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def write_tables(directory: Path, tables: Mapping[str, Mapping[str, str]]) -> Path:
    """Tables as plain text, sorted, without the code under test."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        lines = [f"{key} {value}\n" for key, value in sorted(rows.items())]
        (directory / name).write_text("".join(lines), encoding="utf-8")
    return directory


def dialogue_corpus(directory: Path, sessions: int = 5, per_speaker: int = 12) -> Path:
    """A data directory like IEMOCAP's: two speakers per session, who share dialogues.

    Each speaker has `per_speaker` utterances, in two dialogues and four classes by turns. Every
    third transcript recurs in all sessions.
    """
    tables: dict[str, dict[str, str]] = {
        name: {}
        for name in (
            "wav.scp", "text", "utt2spk", "utt2dur", "utt2emo", "utt2session", "utt2dialogue",
        )
    }  # fmt: skip
    for session in (f"Ses{number:02d}" for number in range(1, sessions + 1)):
        for gender in "FM":
            for i in range(per_speaker):
                dialogue = f"{session}_{('impro', 'script')[i % 2]}"
                utt = f"{session}{gender}-{dialogue}_{gender}{i:03d}"
                row = {
                    "wav.scp": f"/nowhere/{utt}.wav",
                    "text": f"line {i}" if i % 3 == 0 else f"{utt} speaks",
                    "utt2spk": session + gender,
                    "utt2dur": "1.5",
                    "utt2emo": ("ang", "hap", "neu", "sad")[i // 2 % 4],
                    "utt2session": session,
                    "utt2dialogue": dialogue,
                }
                for name, value in row.items():
                    tables[name][utt] = value
    speakers = sorted(set(tables["utt2spk"].values()))
    tables["spk2utt"] = {
        s: " ".join(u for u in sorted(tables["utt2spk"]) if tables["utt2spk"][u] == s)
        for s in speakers
    }
    return write_tables(directory, tables)


def mounted(path: Path, size: str) -> Iterator[Path]:
    """A file system of this size, such as "128k", at a new directory; for a fixture."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield path
    subprocess.run(["umount", str(path)], check=True)
