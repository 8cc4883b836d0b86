"""Requests to the page of `cfia demo`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cfia.inference.demo_server import TEXT_BYTES, Demo


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def request(
    demo: Demo,
    method: str,
    path: str,
    headers: Mapping[str, str | None] = {},
    body: bytes = b"",
    *,
    cut: bool = False,
) -> Reply:
    """Send a request as a browser does whom the page's own script tells to.

    Args:
        headers: besides; None takes one away.
        cut: whether the client stops to send behind `body`.
    """
    own = f"127.0.0.1:{demo.server_address[1]}"
    sent: dict[str, str | None] = {"Host": own, "Origin": f"http://{own}", **headers}
    connection = http.client.HTTPConnection(own, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders()
        connection.send(body)
        if cut:
            connection.sock.shutdown(1)
        reply = connection.getresponse()
        return Reply(reply.status, dict(reply.getheaders()), reply.read())
    finally:
        connection.close()


def ask(
    demo: Demo,
    sound: bytes,
    text: bytes = b"",
    headers: Mapping[str, str | None] = {},
    *,
    cut: bool = False,
) -> Reply:
    """Ask the model about a recording, a text, or both."""
    body = text + sound
    own = {"Content-Length": str(len(body)), TEXT_BYTES: str(len(text))}
    return request(demo, "POST", "/predict", {**own, **headers}, body, cut=cut)
