"""A server on loopback that stands for Weights & Biases, as far as views are saved there."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class LoopbackWandb(ThreadingHTTPServer):
    """Knows one user, and keeps the views that are sent.

    Attributes:
        views: the variables of every mutation that saves a view.
        queries: of everything that was asked.
        refusal: what it answers to those instead, if anything.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.views: list[dict[str, Any]] = []
        self.queries: list[str] = []
        self.refusal = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Answer a GraphQL request."""
        query = asked["query"]
        self.queries.append(query)
        if "upsertView" in query:
            if self.refusal:
                return {"errors": [{"message": self.refusal}], "data": None}
            self.views.append(asked["variables"])
            view = {"id": "Vmlldzox", "name": asked["variables"]["name"]}
            return {"data": {"upsertView": {"view": view, "inserted": True}}}
        viewer = {"id": "VXNlcjox", "username": "me", "entity": "me", "flags": "{}", "admin": False}
        viewer |= {"email": "me@example.org", "teams": {"edges": []}, "apiKeys": {"edges": []}}
        return {"data": {"viewer": viewer}}


class Answering(BaseHTTPRequestHandler):
    server: LoopbackWandb

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(self.server.answer(asked)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def serving() -> Iterator[LoopbackWandb]:
    """Serve in a thread, for a block."""
    server = LoopbackWandb()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
