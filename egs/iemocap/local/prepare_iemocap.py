"""IEMOCAP: labels of EmoEvaluation, gold transcripts, one WAV per utterance.

    SessionN/sentences/wav/<dialogue>/<utterance>.wav
    SessionN/dialog/EmoEvaluation/<dialogue>.txt      [6.29 - 8.23] <utterance> neu [2.5, 2.5, 2.5]
    SessionN/dialog/transcriptions/<dialogue>.txt     <utterance> [006.29-008.23]: Excuse me.

Both kinds of files hold lines of other forms, which are passed over.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cfia.cli import run
from cfia.corpus.prepare import Corpus, main
from cfia.corpus.utterances import NO_AUDIO, Utterance
from cfia.errors import UserError

log = logging.getLogger(__name__)

_LABEL = re.compile(r"\[[\d.]+ - [\d.]+\]\s+(\S+)\s+(\S+)\s+\[[^\]]*\]\s*")
_TRANSCRIPT = re.compile(r"(\S+)\s+\[[\d.\s-]+\]:(.*)")
# Turns such as Ses01F_impro01_MXX0 are of nobody that is heard well; they carry no label.
_NOBODY = re.compile(r"[FM]XX\d*")
_SESSION = re.compile(r"(Ses\d+)[FM]")
_TURN = re.compile(r"([FM])\d+")
_TYPES = ("impro", "script")


@dataclass(frozen=True)
class Name:
    """What the name of an utterance says, such as `Ses01F_impro01_M005`.

    The speaker is the letter of the last token: the one in front wore the motion capture markers.
    """

    session: str
    gender: str
    dialogue: str
    type: str

    @property
    def speaker(self) -> str:
        """Such as `Ses01M`."""
        return self.session + self.gender

    @classmethod
    def parse(cls, name: str, where: str) -> Name:
        """Take a name apart; it has suffixes now and then, so split it and count nothing.

        Raises:
            UserError: it is not of this form.
        """
        first, *middle, last = name.split("_")
        session, turn = _SESSION.fullmatch(first), _TURN.fullmatch(last)
        kinds = [kind for kind in _TYPES if middle and middle[0].startswith(kind)]
        if session is None or turn is None or not kinds:
            raise UserError(
                f"{where}: {name!r} is not the name of an utterance of IEMOCAP, such as "
                "Ses01F_impro01_M005; mend the line"
            )
        return cls(session.group(1), turn.group(1), name.rpartition("_")[0], kinds[0])


def read(corpus_dir: Path, conf: Path) -> Corpus:
    """Read the labels and transcripts of all sessions.

    Raises:
        UserError: `corpus_dir` is not IEMOCAP, or a file is not as it should be.
    """
    del conf  # nothing of the recipe is needed to read this corpus
    utterances: list[Utterance] = []
    files: list[Path] = []
    missing: list[str] = []
    for session in sorted(path for path in corpus_dir.glob("Session*") if path.is_dir()):
        labels = _files(session / "dialog" / "EmoEvaluation")
        transcripts = _files(session / "dialog" / "transcriptions")
        if not labels:
            missing.append(f"{session.name}/dialog/EmoEvaluation/*.txt")
        texts = _transcripts(transcripts)
        for path in labels:
            utterances.extend(_utterances(session, path, texts))
        files.extend([*labels, *transcripts])
    if not utterances:
        raise UserError(
            f"{corpus_dir} is not IEMOCAP, as it has no Session*/dialog/EmoEvaluation with "
            "labels; give the directory IEMOCAP_full_release"
        )
    return Corpus(
        utterances,
        spk2gender={u.speaker: u.speaker[-1].lower() for u in utterances},
        files=files,
        missing=missing,
    )


def describe(turn: str, label: str, source: Path, line: int) -> Utterance:
    """What the name of an utterance says, as an utterance without audio and transcript.

    Args:
        source: the file that labels it, in this line.

    Raises:
        UserError: it is not the name of an utterance.
    """
    name = Name.parse(turn, f"{source}, line {line}")
    return Utterance(
        id=f"{name.speaker}-{turn}",
        name=turn,
        speaker=name.speaker,
        label=label,
        source=source,
        audio=NO_AUDIO,
        transcript=None,
        session=name.session,
        type=name.type,
        dialogue=name.dialogue,
    )


def _files(directory: Path) -> list[Path]:
    """The text files at this level, without what macOS leaves in archives (`._x.txt`)."""
    return sorted(path for path in directory.glob("*.txt") if not path.name.startswith("."))


def _utterances(session: Path, path: Path, texts: dict[str, str]) -> Iterator[Utterance]:
    """The utterances that one EmoEvaluation file labels."""
    wavs = session / "sentences" / "wav"
    for number, line in enumerate(_lines(path), start=1):
        if not line.startswith("["):
            continue
        found = _LABEL.fullmatch(line)
        if found is None:
            raise UserError(
                f"{path}, line {number}: {line!r} is not `[start - end] utterance label "
                "[v, a, d]`; mend it"
            )
        turn, label = found.groups()
        if _NOBODY.fullmatch(turn.rpartition("_")[2]):
            continue
        named = describe(turn, label, path, number)
        audio = wavs / named.dialogue / f"{turn}.wav"
        yield replace(named, audio=audio, transcript=texts.get(turn))


def _transcripts(paths: list[Path]) -> dict[str, str]:
    """Utterance -> transcript, tags and all; also of turns that have no label."""
    texts: dict[str, str] = {}
    for path in paths:
        for line in _lines(path):
            found = _TRANSCRIPT.fullmatch(line)
            if found is None or _NOBODY.fullmatch(found.group(1).rpartition("_")[2]):
                continue
            turn, text = found.group(1), found.group(2).strip()
            if texts.setdefault(turn, text) != text:
                log.warning("%s: %s has two transcripts; the first is taken", path, turn)
    return texts


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, each in UTF-8 or else in a Windows or Latin-1 encoding."""
    for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        yield _decode(line).strip()


def _decode(line: bytes) -> str:
    for encoding in ("utf-8", "cp1252"):
        try:
            return line.decode(encoding)
        except UnicodeDecodeError:
            continue
    return line.decode("latin-1")


if __name__ == "__main__":
    run(lambda argv: main("IEMOCAP", read, argv))
