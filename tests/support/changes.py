"""A finished toy recipe, and the ways in which its files can be changed behind its back."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.support.data_files import tree
from tests.support.file_changes import watched
from tests.support.outputs import MADE, keep, outputs
from tests.support.stages import NETWORK, Outcome, Toy, write_corpus

Change = Callable[[], None]

# Another fold or another encoder, which has files of the same names.
SIBLINGS = {
    "fold1_seed1": "fold2_seed1", "fold2_seed1": "fold1_seed1",
    "folds/session/1": "folds/session/2", "folds/session/2": "folds/session/1",
    "folds/speaker/1": "folds/speaker/2", "folds/speaker/2": "folds/speaker/3",
    "folds/speaker/3": "folds/speaker/4", "folds/speaker/4": "folds/speaker/1",
    "folds/session": "folds/speaker", "folds/speaker": "folds/session",
    "dump/fbank": "dump/bert", "dump/bert": "dump/fbank",
}  # fmt: skip

EDITS = (
    ("experiment.yaml", b"  number: 2", b"  number: 1"),
    ("experiment.yaml", b"  number: 2", b"  number: 4"),
    ("experiment.yaml", b"selection: valid", b"selection: last"),
    ("experiment.yaml", b"lr: 0.05", b"lr: 0.01"),
    ("frontend.yaml", b"exposure: none", b"exposure: audio"),
)
PICTURES = (".png", ".svg")


class Finished:
    """A recipe after all stages.

    Attributes:
        earlier: versions of its files that it had in between, by relative path.
        outputs: the files of which bytes are promised.
    """

    def __init__(self, root: Path):
        self.toy = Toy(root)
        self.recipe = self.toy.directory
        another = {
            "train_args": f"{NETWORK} batch_size=4 lr=1e-1 epochs=2",
            "compression_method": "2",
            "corpus_dir": str(write_another_corpus(root / "another corpus")),
        }
        assert self.toy.run(1, 8, **another) == Outcome(0)
        self.another = keep(self.recipe, root / "another run")
        for made in MADE:
            shutil.rmtree(self.recipe / made)
        self.earlier: dict[str, list[bytes]] = {}
        with watched(self._note):
            assert self.toy.run(1, 8) == Outcome(0)
        self.copy = keep(self.recipe, root / "finished")
        self.outputs = outputs(self.recipe)
        self.files = tree(self.copy)
        self.earlier = {
            name: [old for old in dict.fromkeys(versions) if old != self.files.get(name)]
            for name, versions in self.earlier.items()
        }

    def _note(self, _: str, path: Path) -> None:
        """Keep a file that is about to be replaced."""
        if path.is_relative_to(self.recipe) and path.is_file():
            name = str(path.relative_to(self.recipe))
            self.earlier.setdefault(name, []).append(path.read_bytes())

    def paths(self) -> list[Path]:
        """All files and directories, relative."""
        return sorted(path.relative_to(self.copy) for path in self.copy.rglob("*"))

    def restore(self) -> None:
        """Put back what a change and the stages after it have changed."""
        now = tree_of(self.recipe)
        for name in now.keys() - self.files.keys():
            (self.recipe / name).unlink()
        for directory in sorted(self.recipe.rglob("*"), reverse=True):  # the innermost first
            inside = directory.relative_to(self.recipe)
            if inside.parts[0] in MADE and directory.is_dir() and not (self.copy / inside).is_dir():
                directory.rmdir()
        for name, content in self.files.items():
            if now.get(name) != content:
                (self.recipe / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.copy / name, self.recipe / name)

    def take_back_to_features(self) -> None:
        """Put back what stages 1 to 4 had made."""
        self.restore()
        shutil.rmtree(self.recipe / "exp")

    def take_back_to_training(self) -> None:
        """Put back what stage 5 had made, and what an earlier run has made of it."""
        self.restore()
        for name in ("posteriors.tsv", ".posteriors.json"):
            for path in self.recipe.glob(f"exp/*/*/fold*/{name}"):
                path.unlink()

    def take_back_to_first_epoch(self) -> None:
        """Put back what a training has after an epoch, killed before the next."""
        self.take_back_to_training()
        for name in (".done.json", "best.pt", "checkpoint.pt", "history.csv"):
            for path in self.recipe.glob(f"exp/*/*/fold*/{name}"):
                for old in self.earlier.get(str(path.relative_to(self.recipe)), [])[:1]:
                    path.write_bytes(old)

    def changes(self, path: Path) -> Iterator[tuple[str, Change]]:
        """All changes to a file or directory, with their names."""
        yield "lost", partial(remove, self.recipe / path)
        for way, source in self._others(path):
            if source.exists() and content(source) != content(self.copy / path):
                yield way, partial(replace, self.recipe / path, source)
        if (self.copy / path).is_dir():
            return
        ours, whole = self.recipe / path, self.files[str(path)]
        middle, end = len(whole) // 2, max(0, len(whole) - 3)
        if whole:
            yield "a byte in the middle", partial(flip, ours, middle)
        if path.suffix in PICTURES:  # to draw one takes longer than all other stages
            return
        yield "cut", partial(write, ours, whole[:middle])
        if whole:
            yield "emptied", partial(write, ours, b"")
            yield "a byte at the end", partial(flip, ours, end)
        for way, edited in edits(path.name, whole):
            yield way, partial(write, ours, edited)
        for number, old in enumerate(self.earlier.get(str(path), []), start=1):
            yield f"its version {number}", partial(write, ours, old)

    def _others(self, path: Path) -> Iterator[tuple[str, Path]]:
        yield "of another run", self.another / path
        for ours, theirs in SIBLINGS.items():
            if f"/{ours}/" in f"/{path}/":
                yield "of another fold", self.copy / str(path).replace(ours, theirs, 1)
                return


def edits(name: str, whole: bytes) -> Iterator[tuple[str, bytes]]:
    """What a person could do to a file of text."""
    for of, old, new in EDITS:
        if name == of and old in whole:
            yield f"{new.decode()!r}", whole.replace(old, new)
    try:
        lines = whole.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return
    if name.startswith(".") or len(lines) < 3:
        return
    yield "a line gone", "".join([*lines[:1], *lines[2:]]).encode()
    first, last = (re.fullmatch(r"(\S+)([ \t].+\n)", line) for line in (lines[1], lines[-1]))
    if first and last:
        exchanged = [lines[0], first[1] + last[2], *lines[2:-1], last[1] + first[2]]
        yield "two values exchanged", "".join(exchanged).encode()


def write_another_corpus(directory: Path) -> Path:
    """One with other words, and another label of one utterance."""
    write_corpus(directory)
    labels = next(directory.rglob("EmoEvaluation/Ses01F_impro01.txt"))
    labels.write_text(labels.read_text().replace("\tang\t", "\tsad\t", 1))
    for path in directory.rglob("transcriptions/[!.]*.txt"):
        path.write_text(path.read_text().replace(" cat", " mat"))
    return directory


def tree_of(recipe: Path) -> dict[str, bytes]:
    """All that the stages of a recipe have made."""
    return {
        f"{made}/{name}": data
        for made in MADE
        if (recipe / made).exists()
        for name, data in tree(recipe / made).items()
    }


def content(path: Path) -> object:
    """What tells two files or two directories apart."""
    return tree(path) if path.is_dir() else path.read_bytes()


def remove(path: Path) -> None:
    """Remove a file, or a directory with all that is in it."""
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace(path: Path, source: Path) -> None:
    """Put a copy of something else in the place of a file or directory."""
    remove(path)
    shutil.copytree(source, path) if source.is_dir() else shutil.copy2(source, path)


def write(path: Path, data: bytes) -> None:
    """Give a file another content."""
    path.write_bytes(data)


def flip(path: Path, place: int) -> None:
    """Change a bit of a file in place, which leaves its size and its time as they were."""
    status = path.stat()
    with open(path, "r+b") as handle:
        place = min(place, status.st_size - 1)
        handle.seek(place)
        byte = handle.read(1)[0]
        handle.seek(place)
        handle.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
