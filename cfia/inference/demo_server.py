"""The web server of `cfia demo`: a page of four files, and one question to the model at a time.

What a client sends names no path here, and is given to no program: a recording is written to a
file of our own name, read by libsndfile alone, and removed with its answer.
"""

from __future__ import annotations

import importlib.resources
import ipaddress
import json
import logging
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cfia.cli import explain
from cfia.errors import UserError

log = logging.getLogger(__name__)

Answer = Callable[[Path | None, str], Mapping[str, Any]]
"""From a recording's file, or None, and a text, "" for none, to what the page shows as JSON."""

# Path -> file of cfia/inference/page and its type: all that is ever served as a file.
_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/recorder.js": ("recorder.js", "text/javascript; charset=utf-8"),
}
_JSON = "application/json"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
# The body of a question is the text, of so many bytes, and behind it the recording.
TEXT_BYTES = "X-Text-Bytes"
_MOST_TEXT = 1 << 18  # bytes: more than the 5,000 words of half an hour
_BLOCK = 1 << 16
_MOST_CONNECTIONS = 16
_EVERY = ("0.0.0.0", "::")  # all addresses of the machine, and none to open in a browser


@dataclass(frozen=True)
class Limits:
    """The limits on what clients send.

    Attributes:
        megabytes: of a recording's file.
        patience: seconds in which a request must have arrived, and in which each piece of an
            answer must be taken.
    """

    megabytes: float = 50
    patience: float = 60

    @property
    def bytes(self) -> int:
        """Give the most bytes of a recording."""
        return int(self.megabytes * 1e6)


class RefusedError(UserError):
    """A request that is not answered, with its status."""

    def __init__(self, status: HTTPStatus, sentence: str):
        super().__init__(sentence)
        self.status = status


class Demo(socketserver.ThreadingTCPServer):
    """The page, on a port of this machine.

    Args:
        about: what the page says of the model, as JSON.
        answer: is called by one thread at a time; its `UserError`s are shown on the page.
        host: a name or an address of this machine; with a loopback one no other machine gets in.
        port: if it is taken, a free one is used.

    Raises:
        UserError: this machine has no such address, or lets this user have no such port.
    """

    allow_reuse_address = True
    daemon_threads = True  # so that Ctrl-C waits for no client
    block_on_close = False
    request_queue_size = _MOST_CONNECTIONS

    def __init__(
        self,
        about: Mapping[str, Any],
        answer: Answer,
        host: str = "127.0.0.1",
        port: int = 8000,
        limits: Limits = Limits(),
    ):
        folder = importlib.resources.files("cfia.inference") / "page"
        self.contents = {
            path: ((folder / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()
        }
        self.contents["/about"] = (json.dumps(about).encode(), _JSON)
        self.limits, self._answer = limits, answer
        self.one_at_a_time = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        # Of all recordings, so that none stays where the server ends in the midst of a question.
        self._place = tempfile.TemporaryDirectory(prefix="cfia-demo-", ignore_cleanup_errors=True)
        self._names = {"localhost", host.lower(), socket.gethostname().lower()}
        self.address_family, address = _address(host, port)
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            if not port or isinstance(error, PermissionError):
                raise UserError(
                    f"cannot listen at {host}, port {port} ({error.strerror}); give another --host "
                    "or --port"
                ) from None
            super().__init__((address[0], 0), _Handler)
            log.warning("port %d is taken; port %d is used", port, self.server_address[1])
        self.url = _url(host, self.server_address[1])

    @property
    def is_local(self) -> bool:
        """Whether only this machine gets in."""
        return ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def is_own(self, host: str) -> bool:
        """Whether a Host header names this server.

        A name of another's could lead here by his DNS, after a page of his was loaded from it
        (rebinding), and that page could then read our answers; an address in numbers cannot.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name in self._names:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def place(self) -> tempfile.TemporaryDirectory[str]:
        """Make a directory for one recording."""
        return tempfile.TemporaryDirectory(dir=self._place.name)

    def server_close(self) -> None:
        """Close the port, and remove what is not answered yet."""
        super().server_close()
        self._place.cleanup()

    def answer(self, sound: Path | None, text: str) -> Mapping[str, Any]:
        """Ask the model, when it has answered those before."""
        with self.one_at_a_time:
            return self._answer(sound, text)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a client a thread, or turn it away if too many are here."""
        if self._places.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except RuntimeError:  # no more threads
                self._places.release()
                raise
            return
        with suppress(OSError):
            request.setblocking(False)
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has gone."""
        log.debug("a request was not answered", exc_info=True)


def _address(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UserError(
            f"{host!r} is no name or address of this machine; give another --host"
        ) from None
    return family, (str(address[0]), port)


def _url(host: str, port: int) -> str:
    name = socket.gethostname() if host in _EVERY else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


class _Handler(BaseHTTPRequestHandler):
    """One request, and the end of the connection."""

    server: Demo
    disable_nagle_algorithm = True  # head and content of an answer are two pieces

    def setup(self) -> None:
        super().setup()
        patience = self.server.limits.patience
        self.connection.settimeout(patience)
        # A client that sends a byte now and then is cut off, too, and still gets its answer.
        self._late = threading.Timer(patience, self._stop_reading)
        self._late.daemon = True
        self._late.start()

    def finish(self) -> None:
        self._late.cancel()
        super().finish()

    def _stop_reading(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RD)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def version_string(self) -> str:
        return "cfia"

    def do_GET(self) -> None:
        try:
            self._check_host()
            path = self.path.partition("?")[0]
            if path not in self.server.contents:
                raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page here; go to /")
        except RefusedError as refused:
            self.send_error(refused.status, str(refused))
            return
        self._send(HTTPStatus.OK, *self.server.contents[path])

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        status, answer = self._asked()
        self._send(status, json.dumps(answer).encode(), _JSON)
        if not self._late.finished.is_set():  # it was refused before all of it was read
            self._let_it_read()

    def _asked(self) -> tuple[HTTPStatus, Mapping[str, Any]]:
        """Read a question and answer it, or say in a sentence why not."""
        try:
            self._check_host()
            self._check_origin()
            with self.server.place() as place:
                text, sound = self._read(Path(place) / "recording")
                self._late.cancel()
                return HTTPStatus.OK, self.server.answer(sound, text)
        except RefusedError as refused:
            return refused.status, {"error": str(refused)}
        except (UserError, MemoryError) as error:
            return HTTPStatus.UNPROCESSABLE_ENTITY, {"error": explain(error)}
        except Exception:
            log.exception("a question was not answered, by a fault of cfia")
            what = "the server failed on this; the window that it was started in says how"
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": what}

    def _check_host(self) -> None:
        if not self.server.is_own(self.headers.get("Host", "")):
            what = f"this page is not served under that name; open {self.server.url}"
            raise RefusedError(HTTPStatus.FORBIDDEN, what)

    def _check_origin(self) -> None:
        """Let only the page itself ask; browsers say with each POST whose page sends it."""
        if self.path != "/predict":
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such page here; go to /")
        if self.headers.get("Origin", "") != f"http://{self.headers['Host']}":
            what = f"only the page itself may ask; open {self.server.url}"
            raise RefusedError(HTTPStatus.FORBIDDEN, what)

    def _read(self, path: Path) -> tuple[str, Path | None]:
        """Read the text, and the recording into a file; None if there is none."""
        length, of_text = self._number("Content-Length"), self._number(TEXT_BYTES)
        most = self.server.limits
        if of_text > length:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"{TEXT_BYTES} is more than Content-Length")
        if of_text > _MOST_TEXT:
            what = "the text is too long; send one of fewer words"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what)
        if length - of_text > most.bytes:
            what = f"the recording is larger than {most.megabytes:g} MB; send a part of it"
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what)
        try:
            text = self._piece(of_text).decode()
        except UnicodeDecodeError:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, "the text is not UTF-8; send it so"
            ) from None
        with open(path, "xb") as file:
            for left in range(length - of_text, 0, -_BLOCK):
                file.write(self._piece(min(left, _BLOCK)))
        return text, path if length > of_text else None

    def _piece(self, size: int) -> bytes:
        piece = self.rfile.read(size)
        if len(piece) < size:
            what = "the upload ended early, or took too long; send it again"
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, what)
        return piece

    def _number(self, name: str) -> int:
        value = self.headers.get(name, "")
        if not (value.isascii() and value.isdigit() and len(value) < 20):
            what = f"the header {name} must be a number of bytes"
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, what)
        return int(value)

    def _let_it_read(self) -> None:
        """Take what a refused client still sends in its time, or it would not see the answer."""
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(_BLOCK):
                pass

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in a sentence, of http.server's own refuseds, too."""
        self._send(HTTPStatus(code), f"{message or HTTPStatus(code).phrase}\n".encode())

    def _send(
        self, status: HTTPStatus, content: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
