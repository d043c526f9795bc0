"""Starting the processes of one machine, and ending all when one fails."""

import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from jaxdl.core.machine import core_count
from jaxdl.launch.process import Process

GRACE = 5.0
"""Seconds that the others have to end by themselves when one has failed; those that wait for it cannot."""

TOGETHER = 0.5
"""Seconds within which processes that fail are taken to fail of one cause."""

PAUSE = 0.05

STOPPED = -signal.SIGTERM, 128 + signal.SIGTERM, -signal.SIGINT, 128 + signal.SIGINT
"""What a process ends with that was asked to."""

THREADS = "PJRT_NPROC"
"""The variable that says how many threads XLA's CPU devices have. An exchange blocks one until the others come, which
may be at another exchange: with as few threads as cores, four devices a process wait for one another for ever."""

THREADS_OF_DEVICE = 4

BIND, VISIBLE = "JAX_COORDINATOR_BIND_ADDRESS", "JAX_LOCAL_DEVICE_IDS"
"""The variables that say where JAX's coordinator listens (to this machine alone), and which GPUs a process has."""

Signals = Sequence[tuple[int, float]]
"""Which came, and when."""


def launch(script: Sequence[str], count: int, devices: int, timeout: int, *, all_output: bool = False) -> int:
    """Run a script as so many processes of this machine; gives the status to exit with.

    Where one fails the others are ended: its status is that of all. Ctrl-C and SIGTERM, unless they are
    ignored, are passed on to each.
    """
    address = f"127.0.0.1:{_free_port()}"
    place = ["--processes", count, "--coordinator", address, "--devices", devices, "--timeout", timeout]
    words = [sys.executable, "-m", "jaxdl.launch", *map(str, place)]
    settings = {THREADS: str(max(core_count() // count, THREADS_OF_DEVICE * devices)), BIND: address}
    started: list[Process] = []
    with _passing_on(started) as signals:
        try:
            for index in range(count):
                own = {VISIBLE: ",".join(map(str, range(index * devices, (index + 1) * devices)))}
                command = [*words, "--process", str(index), *script]
                started += [Process(command, index, count, settings | own, all_output=all_output)]
            failed = _first_failed(started, signals, timeout)
            if signals and failed and all(process.code in STOPPED for process in failed):
                _wait(started, timeout)
            elif failed:
                _tell(failed, started)
            return _ended(started, failed)
        finally:
            for process in started:
                process.end()


def _first_failed(started: Sequence[Process], signals: Signals, timeout: float) -> list[Process]:
    """Wait until one fails, and give it and those that fail together with it, the cause before what came of it; none
    where all end well, or do not end after a signal."""

    def going() -> bool:
        for process in started:
            process.look()
        codes = [process.code for process in started]
        return not any(codes) and None in codes and time.monotonic() < _last_moment(signals, timeout)

    while going():
        time.sleep(PAUSE)
    if any(process.code for process in started):
        time.sleep(TOGETHER)
        going()
    # One that a signal ended is why others fail, which wait for it; else the first one is.
    failed = [process for process in started if process.code]
    return sorted(failed, key=lambda process: ((process.code or 0) > 0, process.ended))


def _last_moment(signals: Signals, timeout: float) -> float:
    """Until when processes that were asked to end are waited for: for ever after one Ctrl-C, not after two."""
    if len(signals) > 1:
        return signals[1][1] + GRACE
    return signals[0][1] + timeout if signals and signals[0][0] == signal.SIGTERM else float("inf")


def _ended(started: Sequence[Process], failed: Sequence[Process]) -> int:
    """End what still runs; gives the status of the first that failed, 0 where none did."""
    left = [process for process in started if process.code is None]
    for process in left:
        process.send(signal.SIGTERM)
    _wait(left, GRACE)
    if not failed:
        return 130 if left else 0  # signals came, and no end
    code = failed[0].code or 0
    return 128 - code if code < 0 else code


def _wait(processes: Sequence[Process], seconds: float) -> None:
    """Wait for their end, so long at most."""
    end = time.monotonic() + seconds
    while any(process.code is None for process in processes) and time.monotonic() < end:
        time.sleep(PAUSE)


def _tell(failed: Sequence[Process], started: Sequence[Process]) -> None:
    """Say which processes failed and how, with what they printed and nobody saw, and which one never came."""
    seen: set[str] = set()
    for process in failed:
        lines = process.kept()
        if lines and lines[-1] not in seen:
            seen.add(lines[-1])
            print(*(f"{process.name}: {line}" for line in lines), sep="\n", file=sys.stderr)
    for process in failed:
        code = process.code or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        why = ", as JAX does when another one does not answer" if code == -signal.SIGABRT else ""
        print(f"jaxdl.launch: {process.name} {how}{why}", file=sys.stderr)
    left = [process for process in started if process.code is None]
    for process in left:
        what = "was at work still, or hangs" if process.arrived else "has not come to the others"
        print(f"jaxdl.launch: {process.name} {what}", file=sys.stderr)
    if left or any((process.code or 0) < 0 for process in failed):
        hint = "a run with checkpoint=… goes on from its last save with resume=True"
        print(f"jaxdl.launch: all are ended; {hint}", file=sys.stderr, flush=True)


@contextmanager
def _passing_on(started: Sequence[Process]) -> Iterator[Signals]:
    """Within it, Ctrl-C and SIGTERM go to the processes, where they are not ignored; it gives a list of what came."""
    signals: list[tuple[int, float]] = []

    def passed(number: int, frame: FrameType | None) -> None:
        signals.append((number, time.monotonic()))
        for process in started:
            process.send(number)

    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, passed) for number in heard}
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
