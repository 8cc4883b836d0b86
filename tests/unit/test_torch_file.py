"""Files of torch.save: the numbers that torch itself reads, and nothing of the file is run."""

from __future__ import annotations

import argparse
import builtins
import datetime
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cfia.errors import UserError
from cfia.upstream import torch_file
from tests.support.payload import Payload

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8]
DTYPES += [torch.bool, torch.int8, torch.int16, torch.int32, torch.complex64]


def save(path: Path, value: Any, zipped: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def numbers(value: Any) -> Any:
    """All tensors of a structure read."""
    if isinstance(value, torch_file.StoredTensor):
        return value.read()
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [numbers(item) for item in value]
    return value


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Tensors of all kinds, views among them: a part, transposed, expanded, empty, a number."""
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    base = torch.randint(0, 2, (sum(shape) + 3, *shape)).to(dtype)
    view = draw(st.sampled_from(["whole", "part", "transposed", "expanded"]))
    if view == "part":
        return base[2:]
    if view == "transposed":
        return base.transpose(0, -1)
    return base[:1].expand(3, *shape) if view == "expanded" else base


@FORMATS
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(), st.lists(tensors(), max_size=3), max_size=4), st.data())
def test_it_reads_what_torch_reads(
    tmp_path: Path, zipped: bool, value: dict[str, list[torch.Tensor]], data: st.DataObject
) -> None:
    shared = [t for several in value.values() for t in several[:1]]
    path = save(tmp_path / "x.pt", {"model": value, "shared": shared, "n": 3}, zipped)
    found = numbers(torch_file.load(path))
    wanted = torch.load(path, weights_only=True)
    assert found["n"] == 3
    for name, several in {**wanted["model"], "shared": wanted["shared"]}.items():
        read = found["shared"] if name == "shared" else found["model"][name]
        for mine, theirs in zip(read, several, strict=True):
            assert mine.dtype == theirs.dtype
            assert mine.shape == theirs.shape
            assert torch.equal(mine, theirs)


class Builds:
    """Its state is set by a call, its items by others."""

    def __init__(self, state: object) -> None:
        self.state = state

    def __reduce__(self) -> tuple[object, ...]:
        return argparse.Namespace, (), self.state, iter([self.state]), iter([("k", self.state)])


def touch(path: Path) -> None:
    """What must not be called."""
    path.touch()


def payloads(mark: Path) -> dict[str, object]:
    quoted = f"open({str(mark)!r}, 'w')"
    return {
        "system": Payload(os.system, f"touch '{mark}'"),
        "exec": Payload(builtins.exec, quoted),
        "eval": Payload(builtins.eval, quoted),
        "open": Payload(open, str(mark), "w"),
        "ours": Payload(touch, mark),
        "state": Builds({"a": Payload(touch, mark)}),
        "in a key": {(Payload(touch, mark),): 1},
    }


PLAIN = {
    "namespace": argparse.Namespace(lr=1e-4, nested=argparse.Namespace(a=[1])),
    "omegaconf": OmegaConf.create({"a": [1, {"b": None}], "c": "${a}"}),
    "numpy scalar": np.float64(3),
    "numpy array": np.arange(6).reshape(2, 3),
    "a date": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "a set": {1, 2},
    "a module": torch.nn.Linear(2, 3),
    "a dtype": torch.float16,
    "a size": torch.Size([1, 2]),
}


@FORMATS
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_in_it_runs(tmp_path: Path, zipped: bool, protocol: int) -> None:
    mark = tmp_path / "ran"
    value = {"cfg": {**payloads(mark), **PLAIN}, "model": {"w": torch.arange(6.0)}}
    path = tmp_path / "x.pt"
    torch.save(value, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = torch_file.load(path)
    assert torch.equal(found["model"]["w"].read(), torch.arange(6.0))
    assert found["cfg"].keys() >= PLAIN.keys()
    assert not mark.exists()


@FORMATS
def test_a_class_of_a_package_that_is_not_here(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = types.ModuleType("gone_package")
    gone.Gone = type("Gone", (), {"__module__": gone.__name__})  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, gone.__name__, gone)
        path = save(tmp_path / "x.pt", {"task": gone.Gone(), "w": torch.ones(2)}, zipped)
    assert torch.equal(torch_file.load(path)["w"].read(), torch.ones(2))


def raw(path: Path, pickled: bytes) -> Path:
    """A zip file of torch with this pickle and no storage."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        archive.writestr("x/byteorder", "little")
    return path


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'touch MARK'\ntR.",
        b"(S'touch MARK'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch MARK'\no.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\ntouch MARK\x85R.",  # STACK_GLOBAL
        b"\x80\x02cos\nsystem\nX\n\x00\x00\x00touch MARK\x85\x81.",  # NEWOBJ
        b'cbuiltins\nexec\n(S\'open("MARK", "w")\'\ntR.',
        # The state of a stand-in's class, then of an instance: its attributes are set.
        b"cos\nsystem\n(NdS'__setstate__'\ncos\nsystem\nstbS'touch MARK'\nb.",
        b"ccollections\nOrderedDict\n(dS'a'\ncos\nsystem\nsb.",
    ],
)
def test_opcodes_by_hand_run_nothing(
    tmp_path: Path, code: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        torch_file.load(raw(tmp_path / "x.pt", code))
    except UserError as error:
        assert "not a whole file of torch.save" in str(error)  # noqa: PT017
    assert not (tmp_path / "MARK").exists()
    assert pickle.loads(pickle.dumps(OrderedDict(a=1))) == {"a": 1}


@FORMATS
def test_a_cut_or_changed_file_is_refused(tmp_path: Path, zipped: bool) -> None:
    whole = save(tmp_path / "x.pt", {"w": torch.rand(50, 20)}, zipped).read_bytes()
    cuts = [whole[:size] for size in (0, 3, 60, len(whole) // 2, len(whole) - 1)]
    cuts += [whole[:500] + whole[1000:], whole[: len(whole) // 2] + whole[len(whole) // 2 + 300 :]]
    for content in cuts:
        (tmp_path / "cut.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"cut\.pt is not a whole file of torch\.save"):
            numbers(torch_file.load(tmp_path / "cut.pt"))


def test_a_storage_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pt", {"w": torch.rand(9), "v": torch.rand(9)}, zipped=True)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, content[:-4] if name.endswith("/data/0") else content)
    found = torch_file.load(path)
    found["v"].read()
    with pytest.raises(UserError, match="not a whole file"):
        found["w"].read()


def build(code: bytes) -> bytes:
    """A tensor of four floats whose shape and stride are made by pickled `code`."""
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00" + code + b"\x89ccollections\n"
        b"OrderedDict\n)RtR."
    )


@pytest.mark.parametrize(
    "code",
    [
        b"(K\x05t(K\x01t",  # more than there is
        b"(K\x02K\x02t(K\x01t",  # of unequal length
        b"(K\x02t(J\xff\xff\xff\xfft",  # backwards
        b"(K\x02t(\x8a\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7ft",  # beyond 64 bits
    ],
)
def test_a_tensor_that_cannot_be_is_refused(tmp_path: Path, code: bytes) -> None:
    def file(pickled: bytes) -> Path:
        with zipfile.ZipFile(raw(tmp_path / "x.pt", pickled), "a") as archive:
            archive.writestr("x/data/0", np.arange(4, dtype=np.float32).tobytes())
        return tmp_path / "x.pt"

    right = torch_file.load(file(build(b"(K\x04t(K\x01t"))).read()
    assert torch.equal(right, torch.arange(4.0))
    with pytest.raises(UserError, match="not a whole file"):
        torch_file.load(file(build(code))).read()


def test_what_is_compressed_or_conjugate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\x80\x02}" + b"N0" * 1000 + b".")
    with pytest.raises(UserError, match="not a whole file"):
        torch_file.load(path)
    save(path, {"w": torch.tensor([1 + 2j]).conj()}, zipped=True)
    with pytest.raises(UserError, match="not a whole file"):
        torch_file.load(path)


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4f14\nsize 1125606009\n"
    )
    with pytest.raises(UserError, match=r"a pointer of Git LFS, not the weights; fetch them with"):
        torch_file.load(path)
    for content in (b"<html>404</html>", pickle.dumps({"a": 1}), b"\x80\x02N."):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a whole file"):
            torch_file.load(path)
