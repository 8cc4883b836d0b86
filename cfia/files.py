"""Files that appear whole or not at all, and digests of them."""

from __future__ import annotations

import contextlib
import copy
import errno
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

from cfia.errors import UserError

# How the text begins that Git LFS leaves in the place of a file that was not fetched.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"

T = TypeVar("T")
R = TypeVar("R")


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; rename it to `path` when the block ends well.

    `mode` is "w" (UTF-8, "\\n" newlines) or "wb". Nothing is left behind on an error. The
    temporary name ends in the process id, so that two processes cannot write into one file. An
    error of the file system names `path`, or its directory where that is none.
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
    except OSError as error:
        # A write names no file, and the user knows nothing of the temporary one.
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        place = target.parent if error.errno in (errno.ENOENT, errno.ENOTDIR) else target
        raise OSError(error.errno, os.strerror(error.errno), str(place)) from error
    finally:
        with contextlib.suppress(OSError):  # of a directory that is none; the first error tells it
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Let an error of the file system name the file that the block writes: a write names none."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error


def write_if_changed(path: str | os.PathLike[str], content: str | bytes) -> bool:
    """Write a file whole, unless it has that content already; return whether it was written."""
    data = content.encode() if isinstance(content, str) else content
    target = Path(path)
    if target.exists() and target.read_bytes() == data:
        return False
    with atomic_write(target, "wb") as handle:
        handle.write(data)
    return True


def as_json(value: Any) -> str:
    """Render `value` as indented JSON, keys in the order given."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as `as_json`, whole or not at all."""
    with atomic_write(path) as handle:
        handle.write(as_json(value))


def read_json(
    path: str | os.PathLike[str], way_out: str = "delete it and run the stage again"
) -> Any:
    """Read a JSON file.

    Args:
        way_out: what to do about a damaged one; by default, about one that a stage has written.

    Raises:
        UserError: it is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid JSON ({error}); {way_out}") from None


def sha256(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Compute the SHA-256 of the canonical JSON of lists and mappings of strings and numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def digest_each(values: Iterable[Any]) -> str:
    """Compute the `digest` of a list whose values are never there all at once."""
    found = hashlib.sha256(b"[")
    for i, value in enumerate(values):
        found.update(b", " * bool(i) + json.dumps(value, sort_keys=True).encode())
    found.update(b"]")
    return found.hexdigest()


def stat_digest(paths: list[Path], root: Path) -> str:
    """Digest names, sizes and times of files whose bytes are too many to read, such as audio."""
    rows = []
    for path, name in _sorted(paths, root):
        status = path.stat()
        rows.append([name, status.st_size, status.st_mtime_ns])
    return digest(rows)


def _sorted(paths: list[Path], root: Path) -> list[tuple[Path, str]]:
    """Sort paths as paths are sorted, but faster, and give their names below `root`."""
    front = f"{root}/"
    named = []
    for path in sorted(paths, key=lambda path: path.parts):
        name = str(path)
        inside = name.startswith(front) and ".." not in name
        named.append((path, name.removeprefix(front) if inside else os.path.relpath(path, root)))
    return named


def content_digest(paths: list[Path], root: Path) -> str:
    """Digest names and bytes of files."""
    named = _sorted(paths, root)
    digests = in_threads(sha256, [path for path, _ in named])
    return digest([[name, value] for (_, name), value in zip(named, digests, strict=True)])


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Give the function's value of each item, in their order, computed in several threads.

    For what waits, or lets other threads run, as reading and hashing do.
    """
    items = iter(items)
    # A task for each would take longer than what it does.
    tasks = iter(lambda: list(islice(items, 16)), [])
    with ThreadPoolExecutor() as pool:
        for values in pool.map(lambda task: [function(item) for item in task], tasks):
            yield from values


# What the yaml package raises, besides its own errors, of a date such as 2024-13-01, a number of
# thousands of digits, a tag that does not fit its value, or brackets in thousands of brackets.
_FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@functools.cache
def _loader() -> Any:
    """Make a safe loader that refuses a key twice, of which PyYAML's own takes the last."""
    import yaml  # late: what needs Python alone reads no YAML

    class Loader(yaml.SafeLoader):
        def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
            node = super().compose_mapping_node(anchor)
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
                    line = key.start_mark.line + 1
                    raise yaml.YAMLError(f"the key {key.value} is there again in line {line}")
                seen.add((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else key)
            return node

    return Loader


@functools.lru_cache(maxsize=1000)
def _parse(text: str) -> Any:
    """Parse YAML; a plan reads a few files again and again, each for some ten milliseconds."""
    import yaml

    return yaml.load(text, _loader())


def read_yaml(path: Path, way_out: str | None = None) -> dict[str, Any]:
    """Read a YAML mapping, safely; an empty file is an empty mapping.

    Args:
        way_out: what to do where it is not as it should be, if that is not to correct it by hand.

    Raises:
        UserError: there is no such file; it is not UTF-8, not YAML, or no mapping; a mapping in it
            has a key twice.
    """
    import yaml

    mend = way_out or "correct it"
    try:
        value = copy.deepcopy(_parse(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; give the name of a file in conf/ or a path"
        ) from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8; {way_out or 'convert it with iconv'}") from None
    except (yaml.YAMLError, *_FAULTS) as error:
        clause = " ".join(str(error).split())
        raise UserError(f"{path} is not valid YAML: {clause}; {mend}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise UserError(f"{path} must hold `key: value` lines, not a {kind}; {mend}")
    return value


def read_with_bases(path: Path, shared: Path, what: str) -> list[tuple[Path, dict[str, Any]]]:
    """Read a YAML file, then the one that its key `base` names, the base's base, and so on.

    A base is looked for beside the file that names it, then in `shared`, by its name without .yaml.

    Args:
        what: what such files are, for messages: "configuration".

    Returns:
        Their paths and values without `base`, the file itself first.

    Raises:
        UserError: as `read_yaml`; there is no such base, or a file is its own.
    """
    files: list[tuple[Path, dict[str, Any]]] = []
    while True:
        if any(path.resolve() == earlier.resolve() for earlier, _ in files):
            raise UserError(f"{path} is its own base, by way of {files[-1][0]}; remove one `base:`")
        values = read_yaml(path)
        base = values.pop("base", None)
        files.append((path, values))
        if base is None:
            return files
        path = _base(path, str(base), shared, what)


def _base(path: Path, name: str, shared: Path, what: str) -> Path:
    for directory in (path.parent, path.resolve().parent, shared):
        place = directory / f"{name}.yaml"
        # A recipe's cfia_net.yaml may start from the shared one.
        if place.is_file() and place.resolve() != path.resolve():
            return place
    raise UserError(
        f"{path}: there is no base {name!r}; give the name, without .yaml, of another {what} in "
        f"{path.parent} or {shared}"
    )


def as_yaml(value: Mapping[str, Any]) -> str:
    """Render a mapping as YAML, keys in their order."""
    import yaml

    text: str = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=100)
    return text


def write_yaml(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as `as_yaml`, whole or not at all, unless the file has it already."""
    write_if_changed(path, as_yaml(value))
