"""Read the tensors of a file of `torch.save` without running anything that is in it.

Such a file is a pickle, and unpickling calls whatever the pickle names. `torch.load` with
`weights_only=True` therefore refuses a file that names more than it knows, as the checkpoint of a
training may: options as an argparse.Namespace, numbers of numpy, classes of packages that are not
here. This module reads the pickle with inert stand-ins for all classes but torch's storages and
`OrderedDict`: no name of the file is ever imported or called. And it reads nothing but the
pickle: a tensor's numbers stay in the file until `StoredTensor.read` is called, so that the two
moments that Adam keeps of each weight cost nothing.

Both formats of torch/serialization.py are read: the zip file of torch 1.6 and newer, and what
was before it (`_use_new_zipfile_serialization=False`).
"""

from __future__ import annotations

import contextlib
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cfia.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

# Name of a storage's class in torch -> name of its numbers' type.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}

# What the files begin with: a zip file; the older format's first pickle; one that Git LFS did not
# fetch.
ZIP = b"PK\x03\x04"
MAGIC = 0x1950A86A20F9469CFC6C
LFS_POINTER = b"version https://git-lfs"

# Where storages are in the file: key -> first byte, bytes.
Places = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class _Storage:
    """An array of numbers in the file, under the key that the pickle gives it."""

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose numbers are still in the file: where they are, and its shape."""

    path: Path
    places: Places
    storage: _Storage
    offset: int  # of the tensor's first number in its storage
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """Read the tensor into memory of its own.

        Raises:
            UserError: the file has not all of it, or not numbers that torch knows.
        """
        import torch

        with _whole(self.path):
            dtype = getattr(torch, self.storage.dtype)
            if 0 in self.shape:
                return torch.empty(self.shape, dtype=dtype)
            # Of a storage that tensors share, only what this one reaches is read.
            steps = zip(self.shape, self.stride, strict=True)
            count = 1 + sum((size - 1) * stride for size, stride in steps)
            first, size = self.places.get(self.storage.key, (0, 0))
            if min(self.offset, *self.shape, *self.stride, 0) < 0 or (
                (self.offset + count) * dtype.itemsize > size
            ):
                raise _damaged(self.path)
            numbers = bytearray(count * dtype.itemsize)
            with open(self.path, "rb") as handle:
                handle.seek(first + self.offset * dtype.itemsize)
                if handle.readinto(numbers) < len(numbers):
                    raise _damaged(self.path)
            return torch.frombuffer(numbers, dtype=dtype).as_strided(self.shape, self.stride)


def load(path: Path) -> Any:
    """Read the object in a file of `torch.save`.

    Returns:
        Its plain containers, strings and numbers as they are, a `StoredTensor` for each tensor,
        an inert object for everything else.

    Raises:
        UserError: it is no such file, or it is cut or damaged.
    """
    with open(path, "rb") as handle:
        head = handle.peek(len(LFS_POINTER))
        if head.startswith(LFS_POINTER):
            raise UserError(
                f"{path} is a pointer of Git LFS, not the weights; fetch them with "
                "`git lfs pull`, or download the file again"
            )
        with _whole(path):
            return _read_zip(path, handle) if head.startswith(ZIP) else _read_older(path, handle)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Say that a file is damaged, whatever pickle, zipfile or torch raise of it."""
    try:
        yield
    except UserError:
        raise
    except Exception:
        raise _damaged(path) from None


def _damaged(path: Path) -> UserError:
    return UserError(
        f"{path} is not a whole file of torch.save: it is cut, damaged or of another kind; "
        "download it again"
    )


def _read_zip(path: Path, handle: IO[bytes]) -> Any:
    """Read the pickle, `<name>/data.pkl`, and find the storages, `<name>/data/<key>`."""
    places: Places = {}
    with zipfile.ZipFile(handle) as archive:
        names = archive.namelist()
        (pickled,) = (n for n in names if n.count("/") == 1 and n.endswith("/data.pkl"))
        folder = pickled.removesuffix(".pkl") + "/"
        size = path.stat().st_size
        for record in archive.infolist():
            # torch compresses nothing, so a record is no larger than the file.
            if record.compress_type != zipfile.ZIP_STORED or record.file_size > size:
                raise _damaged(path)
            if record.filename.startswith(folder):
                key = record.filename.removeprefix(folder)
                places[key] = _first_byte(handle, record), record.file_size
        order = folder.removesuffix("data/") + "byteorder"
        if order in names and archive.read(order) != b"little":
            raise UserError(f"{path} was saved on a big-endian machine; save it again on this one")
        with archive.open(pickled) as stream:
            return _Unpickler(stream, path, places).load()


def _first_byte(handle: IO[bytes], record: zipfile.ZipInfo) -> int:
    """Find where the bytes of a record begin: behind its header, its name and its padding."""
    handle.seek(record.header_offset)
    header = handle.read(30)
    name, extra = struct.unpack("<HH", header[26:])
    return record.header_offset + len(header) + int(name) + int(extra)


def _read_older(path: Path, handle: IO[bytes]) -> Any:
    """Read five pickles: magic number, version, the writer's machine, the object, storages' keys.

    Then each storage in the order of the keys, its count (int64) before its numbers.
    """
    import torch

    places: Places = {}
    magic, _, machine = (_Unpickler(handle, path, {}).load() for _ in range(3))
    if magic != MAGIC or not machine["little_endian"]:
        raise _damaged(path)
    unpickler = _Unpickler(handle, path, places)
    value = unpickler.load()
    for key in _Unpickler(handle, path, {}).load():
        storage = unpickler.storages[key]
        (count,) = struct.unpack("<q", handle.read(8))
        if count != storage.numel:
            raise _damaged(path)
        places[key] = handle.tell(), count * getattr(torch, storage.dtype).itemsize
        handle.seek(sum(places[key]))
    if handle.tell() > path.stat().st_size:
        raise _damaged(path)
    return value


class _Inert:
    """A stand-in for anything that is not a tensor: it takes everything and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> _Inert:
        return self

    # How a pickle fills an object, a mapping, a list and a set.
    __setstate__ = __setitem__ = append = add = __call__


class _Unpickler(pickle.Unpickler):
    """Reads a pickle of torch. `storages` are those that it names, by their keys."""

    def __init__(self, stream: IO[bytes], path: Path, places: Places) -> None:
        super().__init__(stream, encoding="utf-8")
        self._path, self._places = path, places
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in, new each time since a pickle may change it, never the class itself."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        stand_in = type("_StandIn", (_Inert,), {})
        if module == "torch" and name in STORAGES:
            stand_in.dtype = STORAGES[name]  # type: ignore[attr-defined]
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return lambda *arguments: self._rebuild_tensor(*arguments)
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda tensor, *_: tensor
        return stand_in

    def persistent_load(self, pid: Any) -> Any:
        """Read a storage: ("storage", class, key, device, count), and None in older files."""
        kind, stored, key, *rest = pid
        if kind == "module":  # the class of a whole network, with its source
            return stored
        if kind != "storage" or rest[2:] not in ([], [None]):
            raise pickle.UnpicklingError(f"unknown persistent id {kind}")
        storage = _Storage(str(key), str(getattr(stored, "dtype", "")), int(rest[1]))
        return self.storages.setdefault(key, storage)

    def _rebuild_tensor(
        self, storage: _Storage, offset: int, shape: Any, stride: Any, *more: Any
    ) -> StoredTensor:
        # Behind the gradient's flag and hooks stands whether it is conjugate or negative.
        if not isinstance(storage, _Storage) or any(more[2:]):
            raise pickle.UnpicklingError("a tensor of another kind")
        sizes, steps = tuple(map(int, shape)), tuple(map(int, stride))
        return StoredTensor(self._path, self._places, storage, int(offset), sizes, steps)
