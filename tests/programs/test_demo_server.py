"""What the page's server takes, and what it refuses: the real server, on a port of this machine."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cfia.errors import UserError
from cfia.inference.demo_server import _MOST_CONNECTIONS, Answer, Demo, Limits
from tests.support.questions import ask, request

UNLIMITED = Limits()
PAGES = ("/", "/page.css", "/page.js", "/recorder.js", "/about")


def echo(sound: Path | None, text: str) -> Mapping[str, Any]:
    """Answer with what has arrived."""
    assert sound is None or sound.name == "recording"
    return {"text": text, "sound": None if sound is None else sound.read_bytes().hex()}


@contextmanager
def served(answer: Answer = echo, limits: Limits = UNLIMITED) -> Iterator[Demo]:
    with Demo({}, answer, port=0, limits=limits) as demo:
        threading.Thread(target=demo.serve_forever, args=[0.01], daemon=True).start()
        yield demo
        demo.shutdown()


def connected(demo: Demo) -> socket.socket:
    return socket.create_connection(("127.0.0.1", demo.server_address[1]))


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with served(limits=Limits(megabytes=1)) as demo:
        yield demo


def test_the_page_is_whole_and_asks_nobody_else(demo: Demo) -> None:
    for path in PAGES:
        reply = request(demo, "GET", path)
        assert reply.status == 200
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "unsafe" not in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        text = reply.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "")  # no address of anybody else's
    with connected(demo) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.makefile("rb").read().endswith(b"\r\n\r\n")


@settings(max_examples=30)
@given(st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"])))
@example("/../../../../etc/passwd")
@example("//etc/passwd")
@example("/%2e%2e/demo.py")
@example("/page.css/../page.html")
@example("/page/")
@example("/./page.js")
def test_no_other_path_is_served(demo: Demo, path: str) -> None:
    path = path if path.startswith("/") else f"/{path}"
    status = request(demo, "GET", path).status
    assert status == (200 if path.partition("?")[0] in PAGES else 404)


@settings(max_examples=30)
@given(st.binary(max_size=300), st.text(max_size=50))
def test_text_and_recording_arrive_as_they_were_sent(demo: Demo, sound: bytes, text: str) -> None:
    sent = text.encode(errors="replace")
    said = ask(demo, sound, sent)
    assert said.json() == {"text": sent.decode(), "sound": sound.hex() if sound else None}


@pytest.mark.parametrize(
    "host", ["localhost:{}", "127.0.0.1:{}", "[::1]:{}", "10.1.2.3", "LOCALHOST"]
)
def test_the_page_is_served_under_names_of_its_own(demo: Demo, host: str) -> None:
    host = host.format(demo.server_address[1])
    assert request(demo, "GET", "/", {"Host": host}).status == 200
    assert ask(demo, b"1", headers={"Host": host, "Origin": f"http://{host}"}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{}", "localhost.evil.example", "127.0.0.1.evil.example",
             "", "[", "x@evil.example", "127.0.0.1@evil.example"],
)  # fmt: skip
def test_another_name_that_leads_here_is_refused(demo: Demo, host: str) -> None:
    host = host.format(demo.server_address[1])
    for reply in (
        request(demo, "GET", "/", {"Host": host}),
        ask(demo, b"1", headers={"Host": host, "Origin": f"http://{host}"}),
    ):
        assert reply.status == 403
        assert f"open {demo.url}" in reply.body.decode()


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1"])
def test_another_page_may_not_ask(demo: Demo, origin: str | None) -> None:
    reply = ask(demo, b"1", headers={"Origin": origin})
    assert (reply.status, reply.json()["error"]) == (
        403,
        f"only the page itself may ask; open {demo.url}",
    )
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    ("headers", "status", "sentence"),
    [
        ({"Content-Length": None}, 411, "the header Content-Length must be a number of bytes"),
        ({"Content-Length": "-1"}, 411, "the header Content-Length must be a number of bytes"),
        ({"Content-Length": "9" * 30}, 411, "the header Content-Length must be a number"),
        ({"Content-Length": "1000003"}, 413, "the recording is larger than 1 MB; send a part"),
        ({"Content-Length": "9" * 18}, 413, "the recording is larger than 1 MB; send a part"),
        ({"X-Text-Bytes": "3"}, 400, "X-Text-Bytes is more than Content-Length"),
        ({"X-Text-Bytes": "x"}, 411, "the header X-Text-Bytes must be a number of bytes"),
        ({"X-Text-Bytes": "300000", "Content-Length": "300002"}, 413, "the text is too long"),
    ],
)
def test_what_is_too_large_or_has_no_size_is_refused_unread(
    demo: Demo, headers: dict[str, str | None], status: int, sentence: str
) -> None:
    reply = ask(demo, b"ab", headers=headers)
    assert reply.status == status
    assert reply.json()["error"].startswith(sentence)


def test_a_recording_that_is_too_large_is_told_so_while_it_is_still_sent(demo: Demo) -> None:
    reply = ask(demo, bytes(60_000_000))
    assert (reply.status, "larger than 1 MB" in reply.json()["error"]) == (413, True)


def test_a_text_must_be_text(demo: Demo) -> None:
    reply = ask(demo, b"", b"\xff\xfe")
    assert (reply.status, reply.json()["error"]) == (400, "the text is not UTF-8; send it so")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X"])
def test_other_methods_are_not_known(demo: Demo, method: str) -> None:
    reply = request(demo, method, "/predict")
    assert reply.status == 501
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/", "/about", "/predict/", "/predict?x", "/../predict"])
def test_only_one_path_takes_questions(demo: Demo, path: str) -> None:
    assert request(demo, "POST", path, {"Content-Length": "0"}).status == 404


def test_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    there: list[str] = []

    def answer(sound: Path | None, text: str) -> Mapping[str, Any]:
        there.extend(path.name for path in tmp_path.rglob("*") if path.is_file())
        raise UserError("no")

    with served(answer) as demo:
        assert ask(demo, b"sound").status == 422
        assert ask(demo, b"sound", headers={"Content-Length": "90"}, cut=True).status == 408
    assert there == ["recording"]
    assert not list(tmp_path.iterdir())


def test_slow_clients_are_cut_off(demo: Demo) -> None:
    with served(limits=Limits(patience=0.3)) as hasty:
        began = time.monotonic()
        with connected(hasty) as connection:
            head = "POST /predict HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
            connection.sendall(f"{head}X-Text-Bytes: 0\r\nContent-Length: 9000\r\n\r\n".encode())
            with suppress(ConnectionError):  # as soon as it is cut off
                for _ in range(1000):  # a byte now and then, which a limit of single waits allows
                    connection.sendall(b"x")
                    time.sleep(0.02)
            said = connection.makefile("rb").read().decode()
        assert "408" in said.splitlines()[0]
        assert "took too long" in said
        assert time.monotonic() - began < 15
        with connected(hasty) as connection:
            connection.sendall(b"GET / HT")
            assert b"<title>" not in connection.makefile("rb").read()


def test_questions_are_answered_one_after_the_other() -> None:
    at_work: list[int] = [0]
    most: list[int] = []

    def answer(sound: Path | None, text: str) -> Mapping[str, Any]:
        at_work[0] += 1
        most.append(at_work[0])
        time.sleep(0.02)
        at_work[0] -= 1
        return {}

    with served(answer) as demo:
        threads = [threading.Thread(target=ask, args=(demo, b"1")) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == [1] * 5


def test_too_many_clients_are_turned_away_and_let_in_again(demo: Demo) -> None:
    crowd = [connected(demo) for _ in range(_MOST_CONNECTIONS)]
    assert request(demo, "GET", "/").status == 503
    for connection in crowd:
        connection.close()
    end = time.monotonic() + 10
    while request(demo, "GET", "/").status != 200:
        assert time.monotonic() < end


def test_a_fault_is_told_to_the_one_who_started_it_and_not_to_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(sound: Path | None, text: str) -> Mapping[str, Any]:
        raise ZeroDivisionError("secret")

    with served(answer) as demo, caplog.at_level(logging.ERROR):
        reply = ask(demo, b"1")
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body
    assert "ZeroDivisionError: secret" in caplog.text


def test_a_port_that_is_taken_is_not_waited_for(
    demo: Demo, caplog: pytest.LogCaptureFixture
) -> None:
    taken = demo.server_address[1]
    with Demo({}, echo, port=taken) as other:
        free = other.server_address[1]
        assert other.url == f"http://127.0.0.1:{free}/"
    assert f"port {taken} is taken; port {free} is used" in caplog.text


def test_a_host_of_another_machine_is_refused() -> None:
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(UserError, match=f"{host}.* give another --host"):
            Demo({}, echo, host=host, port=0)


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_who_gets_in_is_known(host: str, local: bool) -> None:
    with Demo({}, echo, host=host, port=0) as demo:
        assert demo.is_local is local
        name = socket.gethostname() if host == "0.0.0.0" else host
        assert demo.url == f"http://{name}:{demo.server_address[1]}/"
