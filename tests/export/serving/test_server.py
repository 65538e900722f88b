"""A server answers what `model.predict` answers, and ends without losing what it has taken."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.process_groups import members
from helpers.servers import CLOSED, REFUSED, Case, Load, Reply, Served, is_right

from wemoe_pl.errors import ConfigError
from wemoe_pl.export.serving.server import ServerOptions, is_loopback, parsed_device
from wemoe_pl.model.classifier import MultiTaskClassifier

SLOW_BATCHES = ("--batch-wait", "3000", "--batch-size", "1000")
DIED = "a process of the server has ended"


@pytest.fixture
def start(bundle: Path, tmp_path: Path) -> Callable[..., Served]:
    """`start("--batch-size", "1")`: a server of its own for a test."""
    return lambda *options: Served(bundle, tmp_path / "log", *options)


def counted(served: Served) -> tuple[int, int]:
    """How many requests it has answered, and how many it had taken, as it says in the end."""
    [(answered, taken)] = re.findall(r"^(\d+) of (\d+) requests were", served.output, re.MULTILINE)
    return int(answered), int(taken)


def test_no_two_requests_have_the_same_answer_and_some_are_of_no_task(cases: list[Case]) -> None:
    for place, case in enumerate(cases):
        assert [i for i, other in enumerate(cases) if is_right(other.answer, case.answer)] == [
            place
        ]
    assert 0 < sum(case.answer["task"] is None for case in cases) < 6


def test_a_mixed_load_gets_the_answers_of_the_model(server: Served, cases: list[Case]) -> None:
    load = Load(server, cases, clients=12)
    load.wait_for(300)
    load.stop.set()
    load.join()
    assert load.wrong == []
    assert set(load.outcomes) == {"200"}


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [False, True], ids=["the command", "all its processes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_every_request_that_was_taken_is_answered_after_a_signal(
    number: signal.Signals, to_all: bool, start: Callable[..., Served], cases: list[Case]
) -> None:
    with start() as served:
        load = Load(served.ready(), cases, clients=12)
        load.wait_for(60)
        (os.killpg if to_all else os.kill)(served.process.pid, number)
        assert served.process.wait(60) == 128 + number
        load.join()
        left = members(served.process.pid).values()  # the tracker of resources ends by itself
        assert [command for command in left if "resource_tracker" not in command] == []
        assert load.wrong == []
        assert set(load.outcomes) <= {"200", CLOSED, REFUSED}
        assert counted(served) == (load.outcomes["200"], load.outcomes["200"])
        assert f"wemoe-pl: Stopped by {number.name}; " in served.output
        assert "Traceback" not in served.output


@pytest.mark.slow
def test_requests_that_wait_for_a_batch_are_answered_although_the_server_ends(
    start: Callable[..., Served], cases: list[Case]
) -> None:
    with start(*SLOW_BATCHES) as served:
        load = Load(served.ready(), cases, clients=6)
        load.wait_until_taken()
        served.process.terminate()
        assert served.process.wait(60) == 143
        load.join()
        assert load.outcomes["200"] == counted(served)[0] == counted(served)[1]
        assert load.wrong == []
        assert re.search(r"^Requests still to be answered: \d+\. ", served.output, re.M)


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(start: Callable[..., Served], cases: list[Case]) -> None:
    with start("--batch-size", "1000", "--batch-wait", "10000") as served:
        load = Load(served.ready(), cases, clients=2)
        load.wait_until_taken()
        served.process.terminate()
        served.wait_until_closed()
        served.process.terminate()
        assert served.process.wait(60) == 143
        served.wait_until_alone()
        load.join()
        assert "200" not in load.outcomes  # their batch would have been answered later


@pytest.mark.slow
def test_when_it_is_killed_connections_are_closed_and_no_process_is_left(
    start: Callable[..., Served], cases: list[Case]
) -> None:
    with start(*SLOW_BATCHES) as served:
        load = Load(served.ready(), cases, clients=6)
        load.wait_until_taken()
        assert len(served.others()) >= 2
        served.process.kill()
        served.wait_until_alone()
        load.join()
        assert load.outcomes[CLOSED] >= 6
        assert set(load.outcomes) == {CLOSED, REFUSED}
        assert "Traceback" not in served.output


@pytest.mark.slow
def test_when_the_model_dies_waiting_requests_are_refused_and_the_server_ends(
    start: Callable[..., Served], cases: list[Case]
) -> None:
    with start(*SLOW_BATCHES) as served:
        load = Load(served.ready(), cases, clients=6)
        load.wait_until_taken()
        [worker] = served.others("spawn_main")
        os.kill(worker, signal.SIGKILL)
        assert served.process.wait(60) == 1
        load.join()
        served.wait_until_alone()
        assert load.outcomes["503"] >= 6
        assert set(load.outcomes) <= {"503", CLOSED, REFUSED}
        assert "'inference-worker' was killed by signal 9" in served.output
        assert "Traceback" not in served.output


@pytest.mark.slow
def test_when_the_queues_die_the_server_ends(
    start: Callable[..., Served], cases: list[Case]
) -> None:
    with start(*SLOW_BATCHES) as served:
        load = Load(served.ready(), cases, clients=4)
        load.wait_until_taken()
        [queues] = served.others(" serve ")
        os.kill(queues, signal.SIGKILL)
        assert served.process.wait(60) == 1
        load.join()
        served.wait_until_alone()
        assert "200" not in load.outcomes
        assert "wemoe-pl: The process '" in served.output


@pytest.mark.soak
def test_twenty_restarts_under_load_lose_double_and_confuse_no_answer(
    bundle: Path, cases: list[Case], tmp_path: Path
) -> None:
    for life in range(20):
        with Served(bundle, tmp_path / f"{life}.log") as served:
            load = Load(served.ready(), cases, clients=12)
            load.wait_for(10 + 7 * life)
            served.process.send_signal((signal.SIGTERM, signal.SIGINT)[life % 2])
            served.process.wait(60)
            load.join()
            served.wait_until_alone()
            assert load.wrong == []
            assert set(load.outcomes) <= {"200", CLOSED, REFUSED}
            assert counted(served) == (load.outcomes["200"], load.outcomes["200"])


def test_it_says_how_it_is_asked(server: Served, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{server.port}"
    assert f"The server listens on {address}, and describes itself on {address}/docs." in (
        server.output
    )
    assert f"\ncurl --data-binary @photo.png '{address}/predict'\n" in server.output


def test_it_is_healthy_and_tells_what_it_serves(server: Served, model: MultiTaskClassifier) -> None:
    assert server.get("/health") == (200, b"ok")
    assert server.get("/health", "HEAD") == (200, b"")
    status, info = server.get("/info")
    assert status == 200
    assert all(f'"{name}"'.encode() in info for name in (*model.tasks, "wemoe_pl", "torch"))
    assert b'"max_payload_size":20000000' in info
    assert str(server.log.parent).encode() not in info


def refused(served: Served) -> str:
    """What a server says that cannot start."""
    assert served.process.wait(120) == 1, served.output
    served.wait_until_alone()
    assert "Traceback" not in served.output
    return served.output


@pytest.mark.slow
def test_a_port_that_is_in_use_is_named(start: Callable[..., Served]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start("--port", str(port)) as served:
            assert f"Port {port} of 127.0.0.1 is in use: choose another by" in refused(served)


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    with Served(tmp_path / "nothing", tmp_path / "log") as served:
        assert f"There is no {tmp_path / 'nothing'}: give the folder of a run" in refused(served)


@pytest.mark.slow
def test_a_signal_while_the_model_is_loaded_ends_it(start: Callable[..., Served]) -> None:
    with start() as served:
        while not served.others("spawn_main"):
            assert served.process.poll() is None, served.output
            time.sleep(0.01)
        served.process.terminate()
        assert served.process.wait(60) == 143
        served.wait_until_alone()
        assert "listens" not in served.output


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 0}, "--batch-size is 0: give a number from 1"),
        ({"batch_wait": -1.0}, "--batch-wait is -1: give milliseconds, from 0 to 10000"),
        ({"batch_wait": float("nan")}, "--batch-wait is nan: give"),
        ({"port": 70000}, "--port is 70000: give a number from 0 to 65535"),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        ServerOptions(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("gpu", "--device is 'gpu': give cpu, cuda, cuda:NUMBER, mps or auto"),
        ("cuda:x", "--device is 'cuda:x': give cpu"),
        ("cuda:99", r"--device is 'cuda:99', and torch sees \d+ such devices"),
    ],
)
def test_a_device_that_is_none_is_refused(device: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parsed_device(device)


def test_only_this_machine_reaches_the_loopback() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("fe80::1%eth0")


@pytest.mark.slow
def test_an_open_host_is_warned_of(start: Callable[..., Served], cases: list[Case]) -> None:
    with start("--host", "0.0.0.0") as served:
        said = served.ready().output
        assert "Whoever can reach 0.0.0.0 can use this server: it has no passwords" in said
        assert "listens on http://127.0.0.1:" in said  # which curl can ask
        reply = served.ask(cases[1].body, **cases[1].query)
        assert is_right(reply.said, cases[1].answer)
        assert isinstance(reply, Reply)
