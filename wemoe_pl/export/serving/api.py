"""Define what LitServe calls: how a model is loaded, how batches are collected and answered."""

import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from queue import Empty, Queue
from typing import Annotated, Any

from fastapi import Depends
from litserve import LitAPI
from litserve.loops.simple_loops import BatchedLoop
from litserve.transport.base import MessageTransport
from litserve.utils import set_log_level

from wemoe_pl.errors import WeMoEError
from wemoe_pl.export.serving.children import end_with_parent, leave_signals_to_parent
from wemoe_pl.system.quick_imports import quick_imports
from wemoe_pl.system.terminal import guard_output

with quick_imports():  # the process that holds the model begins with the import of this file
    from wemoe_pl.export.loading import load
    from wemoe_pl.export.serving.answers import Answerer, Asked, ServedAnswer
    from wemoe_pl.export.serving.description import described_model
    from wemoe_pl.export.serving.reception import received

IDLE = 1.0  # seconds between two looks at whether there is still a server


class PatientLoop(BatchedLoop):  # type: ignore[misc]
    """A patient loop sleeps until there is a request, and then waits for others to join it.

    LitServe's own loops ask for requests without a pause, which keeps two processors busy while
    nobody asks for anything; and they count the wait from when the last batch was answered.
    """

    def get_batch_requests(
        self, lit_api: LitAPI, request_queue: Queue[Any], transport: MessageTransport
    ) -> tuple[list[Any], list[Any]]:
        """Return the requests of the next batch, and those that have waited too long."""
        requests = []
        try:
            requests.append(request_queue.get(timeout=IDLE))
            end = time.monotonic() + lit_api.batch_timeout
            while len(requests) < lit_api.max_batch_size:
                left = end - time.monotonic()
                requests.append(
                    request_queue.get(timeout=left) if left > 0 else request_queue.get_nowait()
                )
        except Empty:
            pass
        except (EOFError, OSError):  # the process with the queues is gone, and the server with it
            sys.exit(1)
        patience, now = lit_api.request_timeout, time.monotonic()
        in_time: list[Any] = []
        too_late: list[Any] = []
        for back, uid, begun, asked in requests:
            if patience and now - begun > patience:
                too_late.append((back, uid))
            else:
                in_time.append((back, uid, asked))
        return in_time, too_late


class ServingAPI(LitAPI):  # type: ignore[misc]
    """The API loads a model in a process of its own, and answers batches of requests there.

    Args:
        source: the run, checkpoint or export that is served, as `load` takes it.
        allow: the packages whose classes it may name.
        report: the end of a pipe that gets the model's description, or the error of loading it.
        batch_size: the largest number of requests that are answered together.
        batch_wait: the time for which the first request of a batch waits for others, in seconds.
        specialised: the number of tasks that have a plain model; see `Answerer`.
    """

    def __init__(
        self,
        source: str,
        allow: Sequence[str],
        report: Connection,
        batch_size: int,
        batch_wait: float,
        specialised: int = 0,
    ):
        super().__init__(max_batch_size=batch_size, batch_timeout=batch_wait, loop=PatientLoop())
        self.source, self.allow, self.report = source, tuple(allow), report
        self.specialised = specialised

    def setup(self, device: str) -> None:
        """Load the model to a device, and report its description or what is wrong."""
        leave_signals_to_parent()
        end_with_parent()
        guard_output()
        set_log_level("ERROR")
        try:
            model = load(self.source, self.allow).to(device).eval()
            self.answerer = Answerer(model, self.specialised)
        except (WeMoEError, OSError) as error:
            self.report.send(error)
            sys.exit(1)
        self.report.send(described_model(model, self.specialised))

    def decode_request(self, request: Annotated[Asked, Depends(received)]) -> Asked:
        """Return a request as it was received: all that may be wrong with it was checked there."""
        return request

    def predict(self, x: Sequence[Asked], **kwargs: Any) -> list[dict[str, Any]]:
        """Answer a batch of requests."""
        return self.answerer(x)

    def encode_response(self, output: dict[str, Any]) -> ServedAnswer:
        """Return an answer as it is: FastAPI reads the annotation for its description of it."""
        return output  # type: ignore[return-value]
