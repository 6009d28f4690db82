"""A webinar platform on an origin of its own: pages that embed the elements, and an address that gives tokens."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.browser.service import Service

Give = Callable[[], tuple[int, str]]


class Platform:
    """Serves what a test puts into `pages`, under a policy as strict as ours, and what `give` says at `/token`."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pages: dict[str, str] = {}
        self.give: Give = lambda: (404, "")
        self.asked = 0
        self.policy = ""
        platform = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                kind, status, body = "text/html; charset=utf-8", 200, platform.pages.get(path, "")
                if path == "/token":
                    platform.asked += 1
                    status, body = platform.give()
                    kind = "text/plain"
                elif path not in platform.pages:
                    status = 404
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if platform.policy:
                    self.send_header("Content-Security-Policy", platform.policy)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def page(self, service: Service, body: str, *, head: str = "", path: str = "/") -> str:
        """Put a page with the script and this body at a path; returns its address."""
        script = f'<script type="module" src="{service.url}/static/capacity.js"></script>'
        icon = '<link rel="icon" href="data:,">'
        self.pages[path] = (
            f'<!doctype html><html lang="en"><title>Platform</title>{icon}{head}{script}<body>{body}</body></html>'
        )
        websocket = service.url.replace("http", "ws", 1)
        self.policy = (
            f"default-src 'none'; script-src {service.url}; connect-src 'self' {service.url} {websocket}; "
            f"img-src data:; style-src 'self'; require-trusted-types-for 'script'"
        )
        return self.url + path

    @contextmanager
    def serving(self) -> Iterator[Platform]:
        """Serve for as long as the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
