"""The files of one commit of a repository, with the digests that hubs give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MIB = 1 << 20
# Smaller files are kept in memory, so that a commit outlives changes of its directory.
_IN_MEMORY = 16 * _MIB
# What both hubs put into Git LFS, whatever its size.
_LFS_SUFFIXES = {".bin", ".safetensors", ".h5", ".msgpack", ".pt", ".ot", ".onnx", ".wav"}


@dataclass(frozen=True)
class File:
    """One file of a commit.

    Attributes:
        path: its path in the repository.
        size: in bytes.
        sha256: digest of its contents.
        oid: its object in Git; in Git LFS, that of the pointer.
        pointer_size: bytes of the pointer in Git LFS; 0 for a file that is in Git itself.
        content: its bytes; None if they are read from `source` when asked for.
        source: where it lay when it was published.
    """

    path: str
    size: int
    sha256: str
    oid: str
    pointer_size: int
    content: bytes | None
    source: Path

    @property
    def etag(self) -> str:
        """What Hugging Face gives as the ETag, and its client calls the blob."""
        return self.sha256 if self.pointer_size else self.oid

    def read(self, start: int, stop: int, step: int = _MIB) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, `step` at a time."""
        if self.content is not None:
            for i in range(start, stop, step):
                yield self.content[i : min(i + step, stop)]
            return
        with open(self.source, "rb") as stream:
            stream.seek(start)
            while start < stop and (block := stream.read(min(step, stop - start))):
                start += len(block)
                yield block


@dataclass(frozen=True)
class Snapshot:
    """A commit.

    Attributes:
        sha: 40 hexadecimal digits that follow from repository, paths and contents.
        files: by path, in order.
    """

    sha: str
    files: dict[str, File]

    def directories(self) -> list[str]:
        """The directories that files are in, in order."""
        parents = {parent for path in self.files for parent in Path(path).parents}
        return sorted(map(str, parents - {Path()}))


def take(repo_id: str, directory: Path) -> Snapshot:
    """The commit that a directory's present files make."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    if not paths:
        raise ValueError(f"no files in {directory}")
    files = {file.path: file for file in (_file(directory, path) for path in paths)}
    state = [repo_id, [(file.path, file.sha256) for file in files.values()]]
    return Snapshot(hashlib.sha1(json.dumps(state).encode()).hexdigest(), files)


def _file(directory: Path, path: Path) -> File:
    size = path.stat().st_size
    content = path.read_bytes() if size <= _IN_MEMORY else None
    with open(path, "rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if content is None or path.suffix in _LFS_SUFFIXES:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
        oid, pointer_size = _blob(pointer.encode()), len(pointer)
    else:
        oid, pointer_size = _blob(content), 0
    name = path.relative_to(directory).as_posix()
    return File(name, size, sha256, oid, pointer_size, content, path.absolute())


def _blob(content: bytes) -> str:
    """The id of a Git object."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
