"""Ask a server many questions at once, in batches and one by one; print ratios as a table.

    python benchmarks/serve_load.py runs/demo

Starts `wemoe-pl serve` twice, in batches and with --batch-size 1, and asks both in turns for the
tasks of the run in a mix, a third of the images without a task. The number of clients bounds how
many requests wait at once. Clients and servers share the processors of this machine: only the
ratios of one run are comparable.
"""

import argparse
import io
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count
from threading import Lock
from urllib.parse import urlencode

import numpy as np
from PIL import Image

import wemoe_pl

WARM_UP = 50  # requests that are not timed


def pictures(number: int, size: int = 256) -> list[bytes]:
    """JPEG files of random colours."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(number):
        file = io.BytesIO()
        coarse = Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(file, "JPEG")
        files.append(file.getvalue())
    return files


class Serving:
    """`wemoe-pl serve` on a free port of the loopback."""

    def __init__(self, run: str, batch_size: int, batch_wait: float):
        command = [sys.executable, "-m", "wemoe_pl", "serve", run, "--port", "0"]
        options = ["--batch-size", str(batch_size), "--batch-wait", str(batch_wait)]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"listens on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return
        sys.exit("The server did not start.")

    def stop(self) -> None:
        """End the server."""
        self.process.terminate()
        self.process.communicate()


def measured(
    port: int, paths: Sequence[str], bodies: Sequence[bytes], requests: int, clients: int
) -> list[float]:
    """The seconds that some clients took together, then those of each request."""
    numbers, lock, seconds = count(), Lock(), []

    def ask() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                number = next(numbers)
            if number >= requests:
                connection.close()
                return
            began = time.perf_counter()
            connection.request("POST", paths[number % len(paths)], bodies[number % len(bodies)])
            response = connection.getresponse()
            response.read()
            assert response.status == 200, response.status
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(ask) for _ in range(clients)]:
            done.result()
    return [time.perf_counter() - began, *seconds]


def main() -> None:
    """Measure both servers in turns, and print their medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="a run or an export")
    parser.add_argument("--requests", type=int, default=600, help="requests of each measurement")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--batch-wait", type=float, default=5.0, help="milliseconds")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    tasks = wemoe_pl.load(options.run).tasks
    paths = [
        "/predict" if n % 3 == 0 else f"/predict?{urlencode({'task': tasks[n % len(tasks)]})}"
        for n in range(48)
    ]
    bodies = pictures(31)
    servers = {
        "batches": Serving(options.run, options.batch_size, options.batch_wait),
        "one by one": Serving(options.run, 1, 0.0),
    }
    print("| clients | requests per second | 50th percentile | 99th percentile |")
    print("|---|---|---|---|")
    try:
        for server in servers.values():
            measured(server.port, paths, bodies, WARM_UP, 4)
        for clients in options.clients:
            rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in servers}
            for _ in range(options.repeats):
                for name, server in servers.items():
                    whole, *each = measured(server.port, paths, bodies, options.requests, clients)
                    p50, p99 = np.percentile(each, [50, 99])
                    rows[name].append((options.requests / whole, float(p50), float(p99)))
            ratios = [
                [a / b for a, b in zip(x, y, strict=True)]
                for x, y in zip(*rows.values(), strict=True)
            ]
            rate, p50, p99 = (statistics.median(values) for values in zip(*ratios, strict=True))
            print(f"| {clients} | {rate:.2f} | {p50:.2f} | {p99:.2f} |", flush=True)
    finally:
        for server in servers.values():
            server.stop()


if __name__ == "__main__":
    main()
