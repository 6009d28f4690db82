"""A small HTTP server on loopback that keeps what it is sent, and answers what it is told to, in order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl


class Request(NamedTuple):
    """A request as it came. The names of `headers` are in lower case."""

    line: str
    """Method and path."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), strict_parsing=True)) if self.body else {}


class Answer(NamedTuple):
    """What is answered: JSON, or the very bytes."""

    status: int
    content: Any

    @property
    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


class RecordingServer:
    """`answers` are given in their order; when there are none left, `otherwise`."""

    def __init__(self, otherwise: Answer) -> None:
        self.requests: list[Request] = []
        self.answers: list[Answer] = []
        self.otherwise = otherwise
        self._lock = threading.Lock()
        record = self._record

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = record(Request(f"{self.command} {self.path}", headers, body))
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: the requests are kept."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def play(self, *answers: Answer) -> None:
        """Answer so from now on, and forget what came."""
        with self._lock:
            self.requests.clear()
            self.answers[:] = answers

    def _record(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            return self.answers.pop(0) if self.answers else self.otherwise

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def recording_server(otherwise: Answer) -> Iterator[RecordingServer]:
    """Run a server; yields it."""
    server = RecordingServer(otherwise)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join()
