"""A model hub on the loopback, for huggingface_hub (HF_ENDPOINT) and modelscope alike."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.listings import entries, info, tree
from tests.hub.snapshot import File, Snapshot, take

# A repository of Hugging Face is `owner/name`, or `name` alone for some old ones.
_REPO = r"(?P<repo>[^/]+(?:/[^/]+)?)"
_HF_INFO = re.compile(rf"/api/models/{_REPO}(?:/(?P<verb>revision|tree)/(?P<revision>[^/]+))?")
_HF_FILE = re.compile(rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_MS = re.compile(r"/api/v1/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<verb>revisions|repo/files|repo))?")
# ModelScope's codes: no such repository, no access to it, no files at this revision.
_MS_NOT_FOUND, _MS_NO_ACCESS, _MS_NO_REVISION = 10010205001, 10010200001, 10990101004


class Hub:
    """Serves directories as repositories of both hubs, in this process, on one port.

    As a context manager it is up inside the block. Whatever is asked of it is in `requests`.

    Attributes:
        port: of 127.0.0.1; the same after `stop` and `start`.
        requests: method and path (with the query) of every request since it was made, whether
            there was an answer to it or not.
        ranges: path and Range header of those that asked for a part of a file.
    """

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[tuple[str, str]] = []
        self.ranges: list[tuple[str, str]] = []
        self._commits: dict[str, dict[str, Snapshot]] = {}
        self._main: dict[str, str] = {}
        self._gated: set[str] = set()
        self._moved: dict[str, str] = {}
        self._cuts: dict[str, int] = {}
        self._speeds: dict[str, int] = {}
        self._server: _Server | None = None
        self._reserved: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self._reserved is not None:
            self._reserved.close()

    @property
    def endpoint(self) -> str:
        """The value of HF_ENDPOINT and MODELSCOPE_ENDPOINT."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen and serve."""
        self._server = _Server(self)
        self.port = self._server.server_port
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        # Bound and not listening: nobody else gets the port, and who connects is refused.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", self.port))
        self._server.disconnect()
        self._server = None

    def environment(self, cache: Path) -> dict[str, str]:
        """What a child process needs beside its own variables to use this hub and no other.

        Args:
            cache: directory for the caches and settings of both clients.
        """
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(cache / "huggingface"),
            "HF_HUB_CACHE": str(cache / "huggingface" / "hub"),
            "HF_TOKEN": "",
            "MODELSCOPE_ENDPOINT": self.endpoint,
            "MODELSCOPE_CACHE": str(cache / "modelscope"),
            "MODELSCOPE_HOME": str(cache / "modelscope_home"),
            "MODELSCOPE_API_TOKEN": "",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def add(self, repo_id: str, directory: Path, *, gated: bool = False) -> str:
        """Make a directory's files the newest commit of a repository; returns the commit.

        Older commits stay. Files over 16 MiB are read when they are asked for, so they must not
        change.

        Args:
            repo_id: `owner/name`, or a `name` for Hugging Face alone.
            directory: of the files; subdirectories belong to it.
            gated: whether files are given only to those who send a token.
        """
        snapshot = take(repo_id, directory)
        self._commits.setdefault(repo_id, {})[snapshot.sha] = snapshot
        self._main[repo_id] = snapshot.sha
        (self._gated.add if gated else self._gated.discard)(repo_id)
        return snapshot.sha

    def move(self, old: str, new: str) -> None:
        """Send Hugging Face's clients from an old id to a new one, as for bert-base-uncased."""
        self._moved[old] = new

    def cut(self, path: str, times: int = 1 << 30) -> None:
        """End the next `times` downloads of a file after half of the bytes that they announce."""
        self._cuts[path] = times

    def slow(self, path: str, bytes_per_second: int) -> None:
        """Send a file no faster than this."""
        self._speeds[path] = bytes_per_second

    def heal(self) -> None:
        """Take back `cut` and `slow`."""
        self._cuts.clear()
        self._speeds.clear()

    def _snapshot(self, repo_id: str, revision: str) -> Snapshot | None:
        name = self._main[repo_id] if revision in ("main", "master") else revision
        return self._commits[repo_id].get(name)

    def _is_cut(self, path: str) -> bool:
        left = self._cuts.get(path, 0)
        self._cuts[path] = max(0, left - 1)
        return left > 0


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.stopped = threading.Event()
        self.connections: set[socket.socket] = set()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", hub.port), _Handler)

    def disconnect(self) -> None:
        """Shut down the connections that clients keep open."""
        with self.lock:
            self.stopped.set()
            for connection in self.connections:
                _shut(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that was killed, or of our own stop."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections.add(self.connection)
            if self.server.stopped.is_set():
                _shut(self.connection)

    def finish(self) -> None:
        with self.server.lock:
            self.server.connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the hub keeps its own list."""

    def do_GET(self) -> None:
        hub, url = self.server.hub, urlsplit(self.path)
        hub.requests.append((self.command, self.path))
        if "Range" in self.headers:
            hub.ranges.append((self.path, self.headers["Range"]))
        path = unquote(url.path)
        if match := _MS.fullmatch(path):
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            self._modelscope(match["repo"], match["verb"], query)
        elif path == "/api/v1/repos/internalAccelerationInfo":
            # The real one names an address of its own cloud.
            address = f"{hub.endpoint}/latest/meta-data/region-id"
            self._json({"Code": 200, "Data": {"InternalRegionQueryAddress": address}})
        elif path == "/api/agent-harnesses":
            self._json({"standardEnvVars": ["AI_AGENT", "AGENT"], "harnesses": {}})
        elif (match := _HF_INFO.fullmatch(path)) or (match := _HF_FILE.fullmatch(path)):
            self._hugging_face(match)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "Sorry, we can't find the page you are looking for.")

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self.close_connection = True  # its body stays unread
        self.do_GET()

    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def _hugging_face(self, match: re.Match[str]) -> None:
        hub, repo, found = self.server.hub, match["repo"], match.groupdict()
        if repo in hub._moved:
            target = self.path.replace(repo, hub._moved[repo], 1)
            self._send(HTTPStatus.TEMPORARY_REDIRECT, b"", {"Location": target})
            return
        if repo not in hub._main:
            # Without a token it does not tell what is missing from what is private.
            status = HTTPStatus.NOT_FOUND if self._token() else HTTPStatus.UNAUTHORIZED
            message = "Repository not found" if self._token() else "Invalid username or password."
            self._refuse(status, message, "RepoNotFound")
            return
        snapshot = hub._snapshot(repo, found["revision"] or "main")
        if snapshot is None:
            message = f"Invalid rev id: {found['revision']}"
            self._refuse(HTTPStatus.NOT_FOUND, message, "RevisionNotFound")
        elif found.get("verb") == "tree":
            self._json(tree(snapshot))
        elif "path" not in found:
            self._json(info(repo, snapshot, gated=repo in hub._gated))
        elif repo in hub._gated and not self._token():
            message = (
                f"Access to model {repo} is restricted. You must have access to it and be "
                "authenticated to access it. Please log in."
            )
            self._refuse(HTTPStatus.UNAUTHORIZED, message, "GatedRepo")
        else:
            self._resolve(snapshot, found["path"])

    def _resolve(self, snapshot: Snapshot, path: str) -> None:
        commit = {"X-Repo-Commit": snapshot.sha}
        if path not in snapshot.files:
            self._refuse(HTTPStatus.NOT_FOUND, "Entry not found", "EntryNotFound", commit)
            return
        self._file(snapshot.files[path], commit)

    def _modelscope(self, repo: str, verb: str | None, query: Mapping[str, str]) -> None:
        hub = self.server.hub
        if repo not in hub._main:
            message = "获取模型目录树失败，信息：record not found"
            self._refuse_modelscope(_MS_NOT_FOUND, message)
            return
        if repo in hub._gated and not self._token():
            self._refuse_modelscope(_MS_NO_ACCESS, "获取模型版本失败，信息：获取模型失败")
            return
        snapshot = hub._snapshot(repo, query.get("Revision", "master"))
        if verb is None:
            owner, name = repo.split("/")
            self._succeed({"Path": owner, "Name": name, "Revision": "master"})
        elif verb == "revisions":
            branch = {"Revision": "master", "CommitId": hub._main[repo], "CreatedAt": 1700000000}
            self._succeed({"RevisionMap": {"Branches": [branch], "Tags": []}})
        elif snapshot is None:
            self._refuse_modelscope(_MS_NO_REVISION, "revision not found")
        elif verb == "repo/files":
            self._succeed({"Files": entries(snapshot, query.get("Root", ""))})
        elif (file := snapshot.files.get(query.get("FilePath", ""))) is None:
            self._refuse_modelscope(_MS_NOT_FOUND, "文件不存在")
        else:
            self._file(file, {})

    def _token(self) -> bool:
        return self.headers.get("Authorization", "").startswith("Bearer ")

    def _file(self, file: File, headers: Mapping[str, str]) -> None:
        """Answer with a file or the part of it that is asked for."""
        sent = dict(headers) | {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if file.pointer_size:
            sent |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(file.size)}
        status, start, stop = HTTPStatus.OK, 0, file.size
        if match := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            status, (start, stop) = HTTPStatus.PARTIAL_CONTENT, _part(match, file.size)
            if start >= stop:
                status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                self._send(status, b"", {"Content-Range": f"bytes */{file.size}"})
                return
            sent["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
        self.send_response(status)
        sent |= {"Content-Type": "application/octet-stream", "Content-Length": str(stop - start)}
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.hub._is_cut(file.path):
            self.close_connection = True
            stop = start + (stop - start) // 2
        speed = self.server.hub._speeds.get(file.path)
        for block in file.read(start, stop, max(1, speed // 20) if speed else 1 << 20):
            self.wfile.write(block)
            if speed and self.server.stopped.wait(len(block) / speed):
                raise ConnectionAbortedError

    def _succeed(self, data: object) -> None:
        self._json({"Code": 200, "Data": data, "Message": "success", "Success": True})

    def _refuse_modelscope(self, code: int, message: str) -> None:
        body = {"Code": code, "Message": message, "RequestId": "0", "Success": False}
        self._json(body, HTTPStatus.NOT_FOUND)

    def _refuse(
        self, status: HTTPStatus, message: str, code: str = "", headers: Mapping[str, str] = {}
    ) -> None:
        sent = dict(headers) | {"X-Error-Message": message.encode("ascii", "replace").decode()}
        if code:
            sent["X-Error-Code"] = code
        self._json({"error": message}, status, sent)

    def _json(
        self, body: object, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] = {}
    ) -> None:
        content = json.dumps(body).encode()
        self._send(status, content, dict(headers) | {"Content-Type": "application/json"})

    def _send(self, status: HTTPStatus, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # the client was quicker
        connection.shutdown(socket.SHUT_RDWR)


def _part(match: re.Match[str], size: int) -> tuple[int, int]:
    """First byte and the one after the last of a Range header."""
    first, last = match.groups()
    if not first:
        return max(0, size - int(last or 0)), size
    return int(first), min(size, int(last) + 1) if last else size
