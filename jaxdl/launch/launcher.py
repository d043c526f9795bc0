"""Starting the processes of one machine, and ending all when one fails."""

import collections
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from jaxdl.core.machine import core_count
from jaxdl.launch.worker import ARRIVED, LAUNCHER

GRACE = 5.0
"""Seconds that the others have to end by themselves when one has failed; those that wait for it cannot."""

SHOWN = 40
"""Lines of a failed process that are shown, if its output was not."""

THREADS = "PJRT_NPROC"
"""The variable that says how many threads XLA's CPU devices have. An exchange blocks one until the others come, which
may be at another exchange: with as few threads as cores, four devices a process wait for one another for ever."""

THREADS_OF_DEVICE = 4

PAUSE = 0.05

STOPPED = -signal.SIGTERM, 128 + signal.SIGTERM
"""What a process ends with that was asked to."""

TOGETHER = 0.5
"""Seconds within which processes that fail are taken to fail of one cause."""


class Process:
    """One of them. What those after the first print is kept, or shown with their number before each line."""

    def __init__(self, command: Sequence[str], index: int, count: int, threads: int, all_output: bool):
        self.name, self.lines = f"process {index} of {count}", collections.deque[str](maxlen=SHOWN)
        self.arrived = False
        ours, theirs = socket.socketpair()
        self.line = ours
        self.popen = subprocess.Popen(
            command,
            env={THREADS: str(threads)} | os.environ | {LAUNCHER: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # signals come through the launcher, once
            stdin=subprocess.DEVNULL if index else None,
            stdout=subprocess.PIPE if index else None,
            stderr=subprocess.STDOUT if index else None,
        )
        theirs.close()
        ours.setblocking(False)
        self.shown = f"process {index}: " if all_output else ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        if index:
            self.reader.start()

    def _read(self) -> None:
        for line in self.popen.stdout or ():
            text = line.decode(errors="replace").rstrip("\n")
            if self.shown:
                print(f"{self.shown}{text}", flush=True)
            else:
                self.lines.append(text)

    def look(self) -> int | None:
        """Its exit status, None while it runs; and whether it has come to the others."""
        with suppress(BlockingIOError):
            self.arrived = self.arrived or self.line.recv(1) == ARRIVED
        return self.popen.poll()

    def end(self) -> None:
        """Have it end, if it has not."""
        self.popen.kill()
        self.popen.wait()
        self.line.close()

    def kept(self) -> list[str]:
        """The last lines that it printed and nobody saw."""
        if self.popen.stdout is not None:
            self.reader.join(timeout=1)
        return [*self.lines]


def launch(script: Sequence[str], count: int, devices: int, timeout: int, *, all_output: bool = False) -> int:
    """Run a script as so many processes of this machine; gives the status to exit with.

    Where one fails the others are ended: its status is that of all. Ctrl-C and SIGTERM are passed on to each.
    """
    place = ["--processes", count, "--coordinator", f"127.0.0.1:{_free_port()}", "--devices", devices]
    words = [sys.executable, "-m", "jaxdl.launch", *map(str, place), "--timeout", str(timeout)]
    threads = max(core_count() // count, THREADS_OF_DEVICE * devices)
    started: list[Process] = []
    with _passing_on(started) as signals:
        try:
            started.extend(
                Process([*words, "--process", str(index), *script], index, count, threads, all_output)
                for index in range(count)
            )
            failed = _first_failed(started, signals)
            if failed and not all(process.popen.returncode in STOPPED for process in failed):
                _tell(failed, started)
            return _ended(started, failed)
        finally:
            for process in started:
                process.end()


def _first_failed(started: Sequence[Process], signals: Sequence[float]) -> list[Process]:
    """Wait until one fails, and give it with those that do so together with it; none where all end well. A second
    signal gives them a while, and no longer."""
    codes = [process.look() for process in started]
    while not any(codes) and None in codes and (len(signals) < 2 or time.monotonic() < signals[1] + GRACE):
        time.sleep(PAUSE)
        codes = [process.look() for process in started]
    if any(codes):
        time.sleep(TOGETHER)
    # One that a signal ended is why others fail, which wait for it.
    return sorted((process for process in started if process.look()), key=lambda process: process.popen.returncode > 0)


def _ended(started: Sequence[Process], failed: Sequence[Process]) -> int:
    """End what still runs after a failure; gives the status of the first that failed, 0 where none did."""
    if not failed:
        return 130 if any(process.popen.poll() is None for process in started) else 0  # two signals came
    end = time.monotonic() + GRACE
    for process in started:
        if process.popen.poll() is None:
            process.popen.terminate()
    while any(process.popen.poll() is None for process in started) and time.monotonic() < end:
        time.sleep(PAUSE)
    code = failed[0].popen.returncode
    return 128 - code if code < 0 else code


def _tell(failed: Sequence[Process], started: Sequence[Process]) -> None:
    """Say which processes failed and how, with what the first of them printed, and which one never came."""
    for line in failed[0].kept():
        print(f"{failed[0].name}: {line}", file=sys.stderr)
    for process in failed:
        code = process.popen.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        why = ", as JAX does when another one does not answer" if code == -signal.SIGABRT else ""
        print(f"jaxdl.launch: {process.name} {how}{why}", file=sys.stderr)
    left = [process for process in started if process.popen.poll() is None]
    for process in left:
        what = "was at work still, or hangs" if process.arrived else "has not come to the others"
        print(f"jaxdl.launch: {process.name} {what}", file=sys.stderr)
    if left or failed[0].popen.returncode < 0:
        hint = "a run with checkpoint=… goes on from its last save with resume=True"
        print(f"jaxdl.launch: all are ended; {hint}", file=sys.stderr, flush=True)


@contextmanager
def _passing_on(started: Sequence[Process]) -> Iterator[Sequence[float]]:
    """Within it, Ctrl-C and SIGTERM go to the processes; it gives a list of when they came."""
    signals: list[float] = []

    def passed(number: int, frame: FrameType | None) -> None:
        signals.append(time.monotonic())
        for process in started:
            if process.popen.poll() is None:
                process.popen.send_signal(number)

    before = {number: signal.signal(number, passed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
