"""A process that the launcher has started: what it prints, whether it has come to the others, and its end."""

import collections
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from jaxdl.launch.worker import ARRIVED, LAUNCHER

SHOWN = 40
"""Lines of a failed process that are shown, if its output was not."""


class Process:
    """One of them, of a session of its own: signals come to it through the launcher, once.

    What those after the first print is kept, or shown with their number before each line. ``ended``: when it was seen
    to have ended.
    """

    def __init__(
        self, command: Sequence[str], index: int, count: int, settings: Mapping[str, str], *, all_output: bool
    ):
        self.name, self.lines = f"process {index} of {count}", collections.deque[str](maxlen=SHOWN)
        self.shown = f"process {index}: " if all_output else ""
        self.arrived, self.ended = False, float("inf")
        self.line, theirs = socket.socketpair()
        self.line.setblocking(False)
        self.popen = subprocess.Popen(
            command,
            env={**settings, **os.environ, LAUNCHER: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            stdin=subprocess.DEVNULL if index else None,
            stdout=subprocess.PIPE if index else None,
            stderr=subprocess.STDOUT if index else None,
        )
        theirs.close()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.popen.stdout or ():
            text = line.decode(errors="replace").rstrip("\n")
            if self.shown:
                with suppress(OSError):  # nobody reads any more; what comes is to be taken off the pipe still
                    print(f"{self.shown}{text}", flush=True)
            else:
                self.lines.append(text)

    @property
    def code(self) -> int | None:
        """Its exit status, below 0 for a signal; None while it runs."""
        return self.popen.poll()

    def look(self) -> None:
        """Take note of whether it has come to the others, and has ended."""
        with suppress(BlockingIOError, ConnectionError):
            self.arrived = self.arrived or self.line.recv(1) == ARRIVED
        if self.code is not None:
            self.ended = min(self.ended, time.monotonic())

    def send(self, number: int) -> None:
        """Pass on a signal."""
        if self.code is None:
            self.popen.send_signal(number)

    def kept(self) -> list[str]:
        """The last lines that it printed and nobody saw."""
        self.reader.join(timeout=1)
        return [*self.lines]

    def end(self) -> None:
        """Have it end, if it has not, with all that it has begun."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()
        self.reader.join(timeout=1)
        if self.popen.stdout is not None:
            self.popen.stdout.close()
        self.line.close()
