"""Files that appear whole or not at all, and digests of them."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from cfia.errors import UserError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; rename it to `path` when the block ends well.

    `mode` is "w" (UTF-8, "\\n" newlines) or "wb". Nothing is left behind on an error. The
    temporary name ends in the process id, so that two processes cannot write into one file.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.tmp.{os.getpid()}")
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with open(temporary, mode, **text) as handle:  # type: ignore[call-overload]
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_if_changed(path: str | os.PathLike[str], content: str | bytes) -> bool:
    """Write a file whole, unless it has that content already; return whether it was written."""
    data = content.encode() if isinstance(content, str) else content
    target = Path(path)
    if target.exists() and target.read_bytes() == data:
        return False
    with atomic_write(target, "wb") as handle:
        handle.write(data)
    return True


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a temporary directory beside `path`; it replaces `path` when the block ends well."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{glob.escape(target.name)}.tmp.*"):
        shutil.rmtree(leftover)  # of a process that was killed
    temporary = target.with_name(f".{target.name}.tmp.{os.getpid()}")
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            # Two renames, not one: for a moment neither name exists, which a reader takes
            # for "not made yet", never for a mixture of the old and the new.
            old = temporary.with_name(temporary.name + ".old")
            os.replace(target, old)
            os.replace(temporary, target)
            shutil.rmtree(old)
        else:
            os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, keys in the order given, whole or not at all."""
    with atomic_write(path) as handle:
        json.dump(value, handle, indent=1, ensure_ascii=False, allow_nan=False)
        handle.write("\n")


def remove_directory(path: Path) -> None:
    """Remove a directory at once: a kill leaves it whole, or none of it under its name."""
    path.rename(path.with_name(f".{path.name}.old.{os.getpid()}"))
    for old in path.parent.glob(f".{glob.escape(path.name)}.old.*"):  # of killed processes too
        shutil.rmtree(old, ignore_errors=True)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file that a program of cfia wrote; `UserError` if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path} is not valid JSON ({error}); delete it and run the stage again"
        ) from None


def sha256(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Compute the SHA-256 of the canonical JSON of lists and mappings of strings and numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def stat_digest(paths: list[Path], root: Path) -> str:
    """Digest names, sizes and times of files whose bytes are too many to read, such as audio."""
    rows = []
    for path in sorted(paths):
        status = path.stat()
        rows.append([os.path.relpath(path, root), status.st_size, status.st_mtime_ns])
    return digest(rows)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, safely; an empty file is an empty mapping."""
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; give the name of a file in conf/ or a path"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold `key: value` lines, not a {type(value).__name__}")
    return value


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as YAML, keys in their order, whole or not at all."""
    import yaml

    with atomic_write(path) as handle:
        yaml.safe_dump(dict(value), handle, sort_keys=False, allow_unicode=True, width=100)
