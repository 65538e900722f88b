"""Start the server of a merged model, and end it with all that it has started."""

import logging
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from errno import EADDRINUSE
from ipaddress import ip_address
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import torch
from litserve import LitServer, configure_logging
from litserve.utils import wrap_litserve_start

from wemoe_pl.errors import ConfigError, WeMoEError, at_least
from wemoe_pl.export.serving.api import ServingAPI
from wemoe_pl.export.serving.children import signals_held
from wemoe_pl.export.serving.description import ModelDescription
from wemoe_pl.export.serving.http_server import LONGEST_WAIT, Counting, Tally, WatchedServer
from wemoe_pl.export.serving.pages import PREDICT, describe_pages
from wemoe_pl.export.serving.reception import Reception
from wemoe_pl.export.serving.request import RequestLimits
from wemoe_pl.system.signals import REQUEST

LOOK = 0.1  # seconds between two looks at signals while the model is loaded
ACCELERATORS = ("cpu", "cuda", "mps")
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # by the address that stands for all
EXPOSED = (
    "Whoever can reach {host} can use this server: it has no passwords and no encryption. Put it "
    "behind a proxy that has both, or leave out --host."
)


@dataclass(frozen=True)
class ServerOptions:
    """The options of a server say where it listens, and how it answers.

    Args:
        host: the address that it listens on.
        port: the port; 0 for any that is free.
        batch_size: the largest number of requests that are answered together.
        batch_wait: the time for which the first request of a batch waits for others, in
            milliseconds.
        device: the device of the model: "cpu", "cuda", "cuda:1", or "auto".
        limits: the limits of a request's size.
        specialised: the number of tasks that have a plain model; see `Answerer`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    batch_size: int = 32
    batch_wait: float = 5.0
    device: str = "auto"
    limits: RequestLimits = field(default_factory=RequestLimits)
    specialised: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers out of range before anything is loaded."""
        at_least(1, "--batch-size", self.batch_size)
        at_least(0, "--specialise", self.specialised)
        if not 0 <= self.batch_wait <= 10_000:
            raise ConfigError(
                f"--batch-wait is {self.batch_wait:g}: give milliseconds, from 0 to 10000."
            )
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port is {self.port}: give a number from 0 to 65535.")


def run_server(
    source: str, options: ServerOptions, tell: Callable[[str], None], allow: Sequence[str] = ()
) -> None:
    """Serve a model until a signal asks this process to end.

    Args:
        source: the run, checkpoint or export, as `load` takes it.
        options: the options of the server.
        tell: the function that is given each line for the user.
        allow: the packages whose classes the source may name.

    Raises:
        WeMoEError: the model cannot be loaded, the port is taken, or a process has died.
        Stopped: a signal has asked the process to end, and all requests were answered.
    """
    accelerator, device = parsed_device(options.device)
    tell(f"Loading {source}.")
    listening_socket(options).close()  # so that a port in use is known before a model is loaded
    configure_logging(logging.ERROR, stream=sys.stderr)
    reports, report = Pipe(duplex=False)
    tally = Tally()
    server = LitServer(
        ServingAPI(
            source,
            allow,
            report,
            batch_size=options.batch_size,
            batch_wait=options.batch_wait / 1000,
            specialised=options.specialised,
        ),
        accelerator=accelerator,
        devices=device,
        timeout=LONGEST_WAIT,
        middlewares=[(Counting, {"tally": tally})],
    )
    describe_pages(server.app)
    with worker_of(server):
        report.close()
        model = await_report(reports)
        reception = Reception(model, options.limits)
        server.app.state.reception = reception
        server.model_metadata = model.public
        server.max_payload_size = options.limits.most_bytes  # only told by /info
        with listening_socket(options) as place:
            lines_at_start(options, model, place, tell)
            http = WatchedServer(server, reception, tally, tell)
            REQUEST.deferred = True  # until all requests that were taken are answered
            http.run([place])
    tell(f"{tally.answered} of {tally.taken} requests were answered.")
    if http.lost:
        raise WeMoEError(
            f"{http.lost}: the server has refused what it could no longer answer, and has ended. "
            "Start it again."
        )
    REQUEST.obey()


@contextmanager
def worker_of(server: LitServer) -> Iterator[None]:
    """Run the process that holds the model, and the one with the queues, while a block runs.

    Both end if this process is killed. Neither is ended by the signals that are meant for this one.
    """
    starting = wrap_litserve_start(server)
    with signals_held():
        starting.__enter__()
    try:
        server.manager.parent_watch()
        yield
    finally:
        for worker in server.inference_workers:
            worker.kill()  # it ignores gentler signals, and has nothing to save
        with suppress(EOFError, OSError):  # the process with the queues may have died
            starting.__exit__(None, None, None)


def await_report(reports: Connection) -> ModelDescription:
    """Wait for the description of the model that is being loaded.

    Raises:
        WeMoEError: it cannot be loaded.
        Stopped: a signal asks this process to end.
    """
    while not reports.poll(LOOK):
        REQUEST.obey_if_due()
    try:
        report = reports.recv()
    except EOFError:
        raise WeMoEError(
            "The process that loads the model has ended, perhaps because memory ran out."
        ) from None
    if isinstance(report, BaseException):
        raise report
    assert isinstance(report, ModelDescription)
    return report


def listening_socket(options: ServerOptions) -> socket.socket:
    """Return a socket that listens where the server shall.

    Raises:
        ConfigError: the port is in use, or the host is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == EADDRINUSE:
            raise ConfigError(
                f"Port {options.port} of {options.host} is in use: choose another by --port, or "
                "--port 0 for any that is free."
            ) from None
        raise ConfigError(
            f"The server cannot listen on port {options.port} of {options.host}: "
            f"{error.strerror or error}."
        ) from None


def lines_at_start(
    options: ServerOptions, model: ModelDescription, place: Any, tell: Callable[[str], None]
) -> None:
    """Say where the server listens, how it is asked, and what to know about it."""
    host, port, *_ = place.getsockname()
    reached = LOOPBACK.get(host, host)
    address = f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"
    for note in model.notes:
        tell(note)
    if not is_loopback(host):
        tell(EXPOSED.format(host=host))
    tell(f"The server listens on {address}, and describes itself on {address}/docs. Try it:")
    task = f"?task={next(iter(model.classes))}" if model.cannot_infer else ""
    tell(f"curl --data-binary @photo.png '{address}{PREDICT}{task}'")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    return ip_address(host.partition("%")[0]).is_loopback


def parsed_device(device: str) -> tuple[str, int | list[int]]:
    """Return the kind of a device, and which of this kind, as LitServe takes them.

    Raises:
        ConfigError: there is no such device.

    >>> parsed_device("cpu"), parsed_device("mps:0")
    (('cpu', 1), ('mps', [0]))
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ACCELERATORS or not (number.isdecimal() or device == kind):
        raise ConfigError(f"--device is '{device}': give cpu, cuda, cuda:NUMBER, mps or auto.")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"--device is '{device}', and torch sees {torch.cuda.device_count()} such devices."
        )
    if kind == "cpu":
        return kind, 1
    return kind, [int(number or 0)]
