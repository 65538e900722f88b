"""What goes wrong on a connection is survived, and no answer has a traceback."""

import ast
import asyncio
import json
import runpy
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.servers import Case, Served, ask_over, is_right

from wemoe_pl.export.serving.http_server import Counting, Tally, what_has_died


def raw(server: Served, *pieces: bytes, end: bool = True) -> bytes:
    """What comes back for some bytes over a connection, as far as it is not closed before."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        found = b""
        try:
            for piece in pieces:
                connection.sendall(piece)
            if end:
                connection.shutdown(socket.SHUT_WR)
                while more := connection.recv(65536):
                    found += more
        except OSError:
            pass
        return found


EXAMPLE = Path(__file__).parents[3] / "examples" / "ask_server.py"
POST = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
HOSTILE = {
    "no HTTP": b"\x00\xff" * 500,
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a gigantic header": POST + b"X: " + b"a" * 10_000_000 + b"\r\n\r\n",
    "many headers": POST + b"X: a\r\n" * 200_000 + b"\r\n",
    "a gigantic path": b"POST /predict?task=" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
    "a body that ends early": POST + b"Content-Length: 5000\r\n\r\n" + b"x" * 100,
    "a negative length": POST + b"Content-Length: -5\r\n\r\n",
    "a gigantic length": POST + b"Content-Length: 99999999999999999999\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 7\r\n\r\nabcdefg",
    "a wrong chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\nabc\r\n",
    "chunks that end early": POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "a path upwards": b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    "another method": b"DELETE /predict HTTP/1.1\r\nHost: a\r\n\r\n",
    "a shutdown": b"POST /shutdown HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_connection_changes_nothing_for_others(
    name: str, server: Served, cases: list[Case]
) -> None:
    said = raw(server, HOSTILE[name])
    assert b"Traceback" not in said
    assert b" 200 " not in said.split(b"\r\n", 1)[0]
    reply = server.ask(cases[2].body, **cases[2].query)
    assert reply.status == 200
    assert is_right(reply.said, cases[2].answer)


@pytest.mark.parametrize(
    ("asked", "status", "sentence"),
    [
        ({"body": b"hello"}, 422, "The image is not a readable image: it is none of JPEG, PNG"),
        ({"body": b""}, 422, "The request has no image"),
        ({"taks": "mnist"}, 422, "There is no option 'taks'. Did you mean 'task'? Valid names: "),
        ({"task": "minst"}, 422, "There is no task 'minst'. Did you mean 'mnist'?"),
        ({"top": 0}, 422, "'top' is '0' and should be greater than or equal to 1."),
        ({"top": "9" * 5000}, 422, "'top' is '99999"),
        ({"reject": "maybe"}, 422, "'reject' is 'maybe' and should be a valid boolean"),
        ({"url": "https://example.org/a.png"}, 422, "The server fetches no URLs: send"),
        ({"kind": "text/plain"}, 415, "A body of type 'text/plain' is not read"),
        ({"kind": "application/json", "body": b"{"}, 422, "The body of the request is not valid"),
        ({"body": bytes(20_000_001)}, 413, "The request is larger than 20000000 bytes"),
        ({"path": "/predicts"}, 404, "Not Found"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_in_a_sentence(
    asked: dict[str, Any], status: int, sentence: str, server: Served, cases: list[Case]
) -> None:
    reply = server.ask(**{"body": cases[0].body, **asked})
    assert reply.status == status
    assert reply.said.keys() == {"detail"}
    assert reply.said["detail"].startswith(sentence)


def test_a_wrong_request_does_not_change_what_others_of_its_batch_get(
    server: Served, cases: list[Case]
) -> None:
    connections = [server.connect() for _ in range(12)]
    for place, connection in enumerate(connections):  # all are sent before any is answered
        body = b"torn" if place % 3 == 0 else cases[place].body
        task = cases[place].query.get("task")
        target = f"/predict?task={task}" if task else "/predict"
        connection.request("POST", target, body, {"Content-Type": "image/png"})
    for place, connection in enumerate(connections):
        response = connection.getresponse()
        said = json.loads(response.read())
        assert response.status == (422 if place % 3 == 0 else 200)
        if response.status == 200 and "reject" not in cases[place].query:
            assert is_right(said, cases[place].answer)
        connection.close()


def test_a_client_that_leaves_before_its_answer_is_forgotten(
    server: Served, cases: list[Case]
) -> None:
    body = cases[3].body
    whole = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for _ in range(20):
        raw(server, whole, end=False)
    connection = server.connect()
    for case in cases:  # over one connection
        reply = ask_over(connection, case.body, **case.query)
        assert is_right(reply.said, case.answer)
    connection.close()


def test_the_example_of_a_client_asks(
    server: Served, cases: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "photo.png").write_bytes(cases[1].body)
    address = f"http://127.0.0.1:{server.port}"
    asked = ["ask_server.py", address, str(tmp_path / "photo.png")]
    monkeypatch.setattr("sys.argv", [*asked, f"task={cases[1].query['task']}"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert is_right(ast.literal_eval(capsys.readouterr().out), cases[1].answer)
    monkeypatch.setattr("sys.argv", [*asked, "task=minst"])
    with pytest.raises(SystemExit, match=r"^422: There is no task 'minst'\. Did you mean"):
        runpy.run_path(str(EXAMPLE), run_name="__main__")


def test_of_dead_processes_the_first_is_named_with_its_end() -> None:
    alive = SimpleNamespace(is_alive=lambda: True, exitcode=None)
    killed = SimpleNamespace(is_alive=lambda: False, exitcode=-9)
    ended = SimpleNamespace(is_alive=lambda: False, exitcode=1)
    assert what_has_died({"a": alive}) == ""
    assert what_has_died({"a": alive, "b": killed}).startswith("The process 'b' was killed by si")
    assert what_has_died({"c": ended}).startswith("The process 'c' ended with 1")


def test_requests_are_counted_when_they_come_and_when_they_are_answered() -> None:
    tally, sent = Tally(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start"})
        await send({"type": "http.response.body", "more_body": True})
        sent.append((tally.taken, tally.answered))
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        pass

    counting = Counting(app, tally)
    for path in ("/predict", "/health", "/predict"):
        asyncio.run(counting({"type": "http", "path": path}, send, send))  # type: ignore[arg-type]
    assert sent == [(1, 0), (1, 1), (2, 1)]
    assert (tally.taken, tally.answered) == (2, 2)
