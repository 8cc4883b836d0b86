"""Read EmoDB: one WAV or FLAC file per utterance, whose name says everything.

    03a01Fa.wav     speaker 03, text a01, emotion F, version a

The ten texts are those of conf/texts.yaml.
"""

from __future__ import annotations

import re
from pathlib import Path

from cfia.cli import run
from cfia.corpus.prepare import Corpus, main
from cfia.corpus.utterances import Utterance
from cfia.errors import UserError
from cfia.files import read_yaml, sha256

_NAME = re.compile(r"(\d\d)([a-z]\d\d)([A-Z])([a-z])")
_SUFFIXES = (".wav", ".flac")
_SPK2GENDER = {
    "03": "m", "08": "f", "09": "f", "10": "m", "11": "m",
    "12": "m", "13": "f", "14": "f", "15": "m", "16": "f",
}  # fmt: skip


def read(corpus_dir: Path, conf: Path) -> Corpus:
    """Read the names of the audio files, and the texts that they refer to.

    Raises:
        UserError: `corpus_dir` is not EmoDB, or a name is not of the form above.
    """
    texts = conf / "texts.yaml"
    sentences = read_yaml(texts)
    utterances = [_utterance(path, texts, sentences) for path in _audio(corpus_dir)]
    return Corpus(
        utterances, {"spk2gender": _SPK2GENDER}, inputs={"texts.yaml": sha256(texts)}
    )


def _audio(corpus_dir: Path) -> list[Path]:
    """Find the audio files of wav/, of flac/, or of the directory itself, the first with any."""
    for directory in (corpus_dir / "wav", corpus_dir / "flac", corpus_dir):
        paths = [path for path in directory.glob("[!.]*") if path.suffix.lower() in _SUFFIXES]
        if paths:
            return sorted(paths)
    raise UserError(
        f"{corpus_dir} is not EmoDB, as it has no wav/*.wav and no flac/*.flac; give the directory "
        "that holds wav"
    )


def _utterance(path: Path, texts: Path, sentences: dict[str, str]) -> Utterance:
    name = _NAME.fullmatch(path.stem)
    if name is None:
        raise UserError(
            f"{path} is not named as in EmoDB, such as 03a01Fa (speaker, text, emotion, version); "
            "rename it or move it away"
        )
    speaker, text, emotion, _ = name.groups()
    if speaker not in _SPK2GENDER:
        raise UserError(
            f"{path} names the speaker {speaker}, who is none of EmoDB's ten; rename it or move it "
            "away"
        )
    if text not in sentences:
        raise UserError(f"{path} names the text {text}, which {texts} lacks; rename it or add it")
    return Utterance(
        id=path.stem,
        name=path.stem,
        speaker=speaker,
        label=emotion,
        source=path,
        audio=path,
        transcript=sentences[text],
    )


if __name__ == "__main__":
    run(lambda argv: main("EmoDB", read, argv))
