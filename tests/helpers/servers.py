"""`wemoe-pl serve` in processes of its own, and clients that ask it, alone or many at once."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlencode

from helpers.process_groups import kill_group, members

import wemoe_pl

PATIENCE = 300.0  # seconds that anything may take on a busy machine
REFUSED, CLOSED = "refused", "closed"


class Reply(NamedTuple):
    """What came back: a status and JSON."""

    status: int
    said: Any


class Served:
    """A server that runs; it and all that it has started are killed when the block ends.

    Args:
        source: of the model.
        log: where its output goes.
        options: of the command.
    """

    def __init__(self, source: Path, log: Path, *options: str):
        self.log = log
        command = [sys.executable, "-m", "wemoe_pl", "serve", str(source), "--port", "0"]
        environment = os.environ | {"PYTHONPATH": str(Path(wemoe_pl.__file__).parents[1])}
        environment |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [*command, *options], stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> "Served":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        kill_group(self.process.pid)
        self.process.wait(PATIENCE)

    def ready(self) -> "Served":
        """The server, as soon as it listens."""
        end = time.monotonic() + PATIENCE
        while "curl" not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < end, self.output
            time.sleep(0.02)
        [port] = re.findall(r"listens on http://\S+?:(\d+),", self.output)
        self.port = int(port)
        return self

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def others(self, word: str = "") -> list[int]:
        """Processes that it has started, and that are still there; whose command has a word."""
        own = self.process.pid
        return [pid for pid, command in members(own).items() if pid != own and word in command]

    def wait_until_alone(self) -> None:
        """Wait until none of the processes that it has started is left."""
        end = time.monotonic() + PATIENCE
        while self.others():
            assert time.monotonic() < end, f"{self.others()} are left"
            time.sleep(0.02)

    def wait_until_closed(self) -> None:
        """Wait until no new connection is taken."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
            except OSError:
                return
            assert time.monotonic() < end, self.output
            time.sleep(0.02)

    def connect(self) -> HTTPConnection:
        """A new connection."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(
        self,
        body: bytes = b"",
        kind: str | None = "image/png",
        path: str = "/predict",
        **query: Any,
    ) -> Reply:
        """Send one request over a connection of its own."""
        connection = self.connect()
        try:
            return ask_over(connection, body, kind, path, **query)
        finally:
            connection.close()

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """The answer to a GET or a HEAD."""
        connection = self.connect()
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()


def ask_over(
    connection: HTTPConnection,
    body: bytes,
    kind: str | None = "image/png",
    path: str = "/predict",
    when_sent: Callable[[], None] = lambda: None,
    **query: Any,
) -> Reply:
    """Send one request over a connection."""
    headers = {"Content-Type": kind} if kind else {}
    connection.request("POST", f"{path}?{urlencode(query)}", body, headers)
    when_sent()
    response = connection.getresponse()
    return Reply(response.status, json.loads(response.read()))


class Case(NamedTuple):
    """A request, and what is answered to it."""

    body: bytes
    query: dict[str, Any]
    answer: dict[str, Any]


def is_right(said: Any, answer: dict[str, Any]) -> bool:
    """Whether an answer is that of a request, but for what rounding in other batches changes."""
    if not isinstance(said, dict) or said.keys() != answer.keys():
        return False
    if any(said[name] != answer[name] for name in ("task", "class")):
        return False
    numbers = [(said[name], answer[name]) for name in ("probability", "task_confidence")]
    return all(a is b is None or abs(a - b) < 1e-4 for a, b in numbers)


class Load:
    """Clients that ask one request after another until they are told to stop, or cannot any more.

    Args:
        server: that is asked.
        cases: what is asked, in an order that differs from client to client.
        clients: how many there are.
    """

    def __init__(self, server: Served, cases: Sequence[Case], clients: int = 8):
        self.server, self.cases = server, cases
        self.stop = Event()
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[Any] = []
        self.sent: set[int] = set()
        self.threads = [
            Thread(target=self.ask_on, args=(number,), daemon=True) for number in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def ask_on(self, number: int) -> None:
        """Ask until there is no server any more; every other client keeps its connection."""
        place, keep = number, number % 2 == 0
        connection = self.server.connect()
        while not self.stop.is_set():
            case = self.cases[place % len(self.cases)]
            place += 1 + number
            try:
                reply = ask_over(
                    connection, case.body, when_sent=lambda: self.sent.add(number), **case.query
                )
            except ConnectionRefusedError:
                self.outcomes[REFUSED] += 1
                return
            except (OSError, HTTPException):
                self.outcomes[CLOSED] += 1
                connection.close()
                continue
            self.outcomes[str(reply.status)] += 1
            if reply.status == 200 and not is_right(reply.said, case.answer):
                self.wrong.append((case.query, reply.said, case.answer))
            if not keep:
                connection.close()

    def wait_for(self, answers: int) -> None:
        """Wait until so many requests were answered."""
        end = time.monotonic() + PATIENCE
        while self.outcomes["200"] < answers:
            assert self.server.process.poll() is None, self.server.output
            assert time.monotonic() < end, self.outcomes
            time.sleep(0.005)

    def wait_until_taken(self) -> None:
        """Wait until the server has read a request of every client, and something after them."""
        end = time.monotonic() + PATIENCE
        while len(self.sent) < len(self.threads):
            assert time.monotonic() < end, self.sent
            time.sleep(0.005)
        assert self.server.get("/health")[0] == 200

    def join(self) -> None:
        """Wait until all clients have ended: none may hang."""
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a client hangs"
