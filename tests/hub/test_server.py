"""The hub on the loopback, asked by the real clients in processes of their own."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from urllib.parse import unquote

import pytest

from tests.hub.server import Hub

MIB = 1 << 20
WEIGHTS = "pytorch_model.bin"
HF_IMPORTS = "from huggingface_hub import hf_hub_download as file, snapshot_download as all_of"
MS_IMPORTS = "from modelscope import snapshot_download as all_of"
# Prints what a call gives, or the class and status of what it raises.
SAY = """
def say(call):
    try:
        print(call())
    except Exception as error:
        print(type(error).__name__, getattr(getattr(error, "response", None), "status_code", None))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory of three files, the weights over what the hub keeps in memory."""
    (tmp_path / "model" / "sub ü").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "sub ü" / "a b.txt").write_text("text")
    (tmp_path / "model" / WEIGHTS).write_bytes(Random(0).randbytes(24 * MIB))
    return tmp_path / "model"


def start(hub: Hub, cache: Path, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SAY + code],
        env=os.environ | hub.environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(hub: Hub, cache: Path, code: str) -> list[str]:
    """The lines that a new process prints."""
    process = start(hub, cache, code)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.splitlines()


def hugging_face(hub: Hub, cache: Path, *calls: str) -> list[str]:
    code = "".join(f"say(lambda: {call})\n" for call in calls)
    return run(hub, cache, f"{HF_IMPORTS}\n{code}")


def asked(hub: Hub) -> list[str]:
    """Method and path of each request since the last time, without what both clients report."""
    requests = [
        f"{method} {unquote(path)}"
        for method, path in hub.requests
        if path not in ("/api/agent-harnesses", "/api/v1/repos/internalAccelerationInfo")
        and not path.startswith("/latest/meta-data")
    ]
    hub.requests.clear()
    return requests


def same(found: Path, wanted: Path) -> bool:
    paths = [path.relative_to(wanted) for path in wanted.rglob("*") if path.is_file()]
    return all((found / path).read_bytes() == (wanted / path).read_bytes() for path in paths)


def test_hugging_face_downloads_a_repository_and_then_has_it(
    hub: Hub, model: Path, tmp_path: Path
) -> None:
    sha = hub.add("owner/name", model)
    (found,) = hugging_face(hub, tmp_path, "all_of('owner/name')")
    assert Path(found).name == sha
    assert same(Path(found), model)
    assert ("GET", "/api/agent-harnesses") in hub.requests
    info, tree, *files = asked(hub)
    assert info == "GET /api/models/owner/name/revision/main"
    assert tree == f"GET /api/models/owner/name/tree/{sha}?recursive=true&expand=false"
    assert sorted(files) == sorted(
        f"{method} /owner/name/resolve/{sha}/{path}"
        for path in ("config.json", WEIGHTS, "sub ü/a b.txt")
        for method in ("HEAD", "GET")
    )

    assert hugging_face(hub, tmp_path, "all_of('owner/name')") == [found]
    assert asked(hub) == [info]
    calls = f"all_of('owner/name', revision='{sha}')", f"file('owner/name', '{WEIGHTS}')"
    assert hugging_face(hub, tmp_path, *calls) == [found, f"{found}/{WEIGHTS}"]
    assert asked(hub) == [f"HEAD /owner/name/resolve/main/{WEIGHTS}"]

    hub.stop()
    calls = "all_of('owner/name')", "all_of('owner/other')"
    assert hugging_face(hub, tmp_path, *calls) == [found, "LocalEntryNotFoundError None"]
    hub.start()
    assert hugging_face(hub, tmp_path, "all_of('owner/name')") == [found]
    assert asked(hub) == [info]


def test_main_moves_with_the_files_and_old_commits_stay(
    hub: Hub, model: Path, tmp_path: Path
) -> None:
    (model / WEIGHTS).write_bytes(b"old")
    old = hub.add("bert", model)
    assert hub.add("bert", model) == old
    (model / WEIGHTS).write_bytes(b"new")
    new = hub.add("bert", model)
    hub.move("moved", "bert")
    calls = [
        "all_of('bert')",
        f"open(file('bert', '{WEIGHTS}', revision='{old}')).read()",
        f"open(file('moved', '{WEIGHTS}')).read()",
    ]
    found = hugging_face(hub, tmp_path, *calls)
    assert [Path(found[0]).name, *found[1:]] == [new, "old", "new"]


def test_what_hugging_face_refuses(hub: Hub, model: Path, tmp_path: Path) -> None:
    (model / WEIGHTS).write_bytes(b"tiny")
    hub.add("owner/gated", model, gated=True)
    hub.add("owner/name", model)
    found = hugging_face(
        hub,
        tmp_path,
        "all_of('owner/gated')",
        "file('owner/gated', 'config.json')",
        "open(file('owner/gated', 'config.json', token='hf_any')).read()",
        "all_of('owner/none')",
        "all_of('owner/none', token='hf_any')",
        "all_of('owner/name', revision='none')",
        "file('owner/name', 'none.json')",
    )
    assert found == [
        "GatedRepoError 401",
        "GatedRepoError 401",
        "{}",
        "RepositoryNotFoundError 401",
        "RepositoryNotFoundError 404",
        "RevisionNotFoundError 404",
        "RemoteEntryNotFoundError 404",
    ]


@pytest.mark.slow
def test_a_cut_download_goes_on_where_it_was(hub: Hub, model: Path, tmp_path: Path) -> None:
    hub.add("owner/name", model)
    hub.cut(WEIGHTS, times=1)
    (found,) = hugging_face(hub, tmp_path, f"file('owner/name', '{WEIGHTS}')")
    assert Path(found).read_bytes() == (model / WEIGHTS).read_bytes()
    # The client writes 10 MiB at a time, and forgets what came after.
    assert hub.ranges == [(f"/owner/name/resolve/main/{WEIGHTS}", f"bytes={10 * MIB}-")]


def kill_midway(hub: Hub, cache: Path, code: str) -> None:
    """Kill a process when it has some bytes of the weights on disk."""
    process = start(hub, cache, code)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in cache.rglob("*.incomplete")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_hugging_face_begins_again_after_a_kill(hub: Hub, model: Path, tmp_path: Path) -> None:
    hub.add("owner/name", model)
    hub.slow(WEIGHTS, 10 * MIB)
    call = f"file('owner/name', '{WEIGHTS}')"
    kill_midway(hub, tmp_path / "cache", f"{HF_IMPORTS}\nsay(lambda: {call})")
    hub.heal()
    (found,) = hugging_face(hub, tmp_path / "cache", call)
    assert Path(found).read_bytes() == (model / WEIGHTS).read_bytes()
    assert hub.ranges == []


@pytest.mark.slow
def test_modelscope_goes_on_after_a_kill(hub: Hub, model: Path, tmp_path: Path) -> None:
    hub.add("owner/name", model)
    hub.slow(WEIGHTS, 2 * MIB)
    cache = tmp_path / "cache"
    kill_midway(hub, cache, f"{MS_IMPORTS}\nsay(lambda: all_of('owner/name'))")
    repo = "GET /api/v1/models/owner/name/repo"
    listed, *files = asked(hub)
    assert listed == f"{repo}/files?Revision=master&Recursive=True"
    assert f"{repo}?Revision=master&FilePath={WEIGHTS}" in files
    hub.heal()
    code = (
        f"{MS_IMPORTS}\n"
        "say(lambda: all_of('owner/name'))\n"
        "say(lambda: all_of('owner/none'))\n"
        "from modelscope.hub.api import HubApi\n"
        "say(lambda: [entry['Path'] for entry in HubApi().get_model_files('owner/name')])\n"
        "say(lambda: HubApi().get_valid_revision('owner/name'))\n"
    )
    found, *others = run(hub, cache, code)
    assert same(Path(found), model)
    ((path, part),) = hub.ranges
    assert path.endswith(f"FilePath={WEIGHTS}")
    assert part != "bytes=0-"
    files = ["sub ü", "config.json", WEIGHTS, "sub ü/a b.txt"]
    assert others == ["HTTPError 404", str(files), "master"]
    assert "GET /api/v1/models/owner/name/revisions" in asked(hub)


def ask(hub: Hub, path: str, **headers: str) -> tuple[int, str | None, bytes]:
    """Status, Content-Range and body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=10)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    answer = response.status, response.getheader("Content-Range"), response.read()
    connection.close()
    return answer


def test_parts_of_a_file(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"0123456789")
    hub.add("name", tmp_path)
    path = "/name/resolve/main/a.txt"
    assert ask(hub, path, Range="bytes=2-4") == (206, "bytes 2-4/10", b"234")
    assert ask(hub, path, Range="bytes=8-") == (206, "bytes 8-9/10", b"89")
    assert ask(hub, path, Range="bytes=8-99") == (206, "bytes 8-9/10", b"89")
    assert ask(hub, path, Range="bytes=-3") == (206, "bytes 7-9/10", b"789")
    assert ask(hub, path, Range="bytes=10-") == (416, "bytes */10", b"")
    assert ask(hub, path) == (200, None, b"0123456789")


def test_stopping_cuts_what_is_open_and_refuses_more(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(MIB))
    hub.add("name", tmp_path)
    hub.slow("a.txt", MIB // 20)
    kept, sending = (http.client.HTTPConnection("127.0.0.1", hub.port) for _ in range(2))
    kept.request("GET", "/anything?x=1")
    assert kept.getresponse().read()
    sending.request("GET", "/name/resolve/main/a.txt")
    response = sending.getresponse()
    hub.stop()
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    with pytest.raises(ConnectionError):
        ask(hub, "/anything")
    kept.auto_open = 0
    with pytest.raises((ConnectionError, http.client.NotConnected)):
        kept.request("GET", "/anything")
        kept.getresponse()
    hub.start()
    assert ask(hub, "/anything")[0] == 404
    assert [path for _, path in hub.requests] == [
        "/anything?x=1",
        "/name/resolve/main/a.txt",
        "/anything",
    ]
