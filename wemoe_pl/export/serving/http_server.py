"""Run the HTTP server of uvicorn so that it ends with every request that it took answered."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from typing import Any

import uvicorn
from fastapi import HTTPException
from litserve import LitServer
from litserve.utils import LitAPIStatus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wemoe_pl.export.serving.pages import PREDICT
from wemoe_pl.export.serving.reception import UNAVAILABLE, Reception
from wemoe_pl.system.signals import REQUEST

TICK = 0.05  # seconds between two looks at signals and at the other processes
MOST_CONNECTIONS = 512  # more are told that the server is busy, with status 503
LONGEST_WAIT = 60.0  # seconds after which a request that no batch has taken is given up, with 504
GRACE_AT_END = (
    90.0  # seconds for which a server that is to end waits for requests that it has taken
)
LOST = "A process of the server has ended, so that the request cannot be answered."


@dataclass
class Tally:
    """A tally counts the requests for an answer that have come in, and those that were answered."""

    taken: int = 0
    answered: int = 0


class Counting:
    """`Counting` is the part of an app that keeps its tally.

    Args:
        app: the rest of the app.
        tally: the tally to keep.
    """

    def __init__(self, app: ASGIApp, tally: Tally):
        self.app, self.tally = app, tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count a request for an answer when it comes in, and when its answer is complete."""
        if scope["type"] != "http" or scope["path"] != PREDICT:
            await self.app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.tally.answered += 1

        self.tally.taken += 1
        await self.app(scope, receive, counted)


class WatchedServer(uvicorn.Server):
    """A watched server ends when the command is asked to, or when another of its processes dies.

    Args:
        server: LitServe's server, whose app it runs.
        reception: the reception of its requests.
        tally: the tally of its requests.
        tell: the function that is given each line for the user.

    Attributes:
        lost: the sentence about a process that has died; empty if none has.
    """

    def __init__(
        self, server: LitServer, reception: Reception, tally: Tally, tell: Callable[[str], None]
    ):
        config = uvicorn.Config(
            server.app,
            http="h11",  # bounds the headers of a request, which httptools does not
            loop="asyncio",  # uvloop takes Python's own notice of signals away
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=int(GRACE_AT_END),
        )
        super().__init__(config)
        self.lit, self.reception, self.tally, self.tell = server, reception, tally, tell
        self.lost = ""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the command, which says when the server is to end."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take requests, and to watch."""
        await super().startup(sockets)
        self.children = {child.name: child for child in active_children()}
        self.watching = asyncio.create_task(self.watch())

    async def watch(self) -> None:
        """Look at signals and at the other processes until the server has ended."""
        while True:
            if REQUEST.signum is not None and not self.should_exit:
                self.should_exit = True
                self.tell_who_waits()
            self.lost = self.lost or what_has_died(self.children)
            if self.lost:
                self.reception.closed = LOST
                self.should_exit = True
                self.refuse_all()
            await asyncio.sleep(TICK)

    def tell_who_waits(self) -> None:
        """Say how many requests are answered before the server ends, if there are any."""
        if waiting := self.tally.taken - self.tally.answered:
            self.tell(f"Requests still to be answered: {waiting}. A second signal ends at once.")

    def refuse_all(self) -> None:
        """Answer all requests that wait for a process that is no more."""
        for waiting in list(self.lit.response_buffer.values()):
            if not waiting.event.is_set():
                waiting.response = (HTTPException(UNAVAILABLE, LOST), LitAPIStatus.ERROR)
                waiting.event.set()


def what_has_died(children: Mapping[str, Any]) -> str:
    """Say which of some processes has ended, and how; return an empty text if none has."""
    for name, child in children.items():
        if not child.is_alive():
            status = child.exitcode or 0
            how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
            return f"The process '{name}' {how}, perhaps because memory ran out"
    return ""
