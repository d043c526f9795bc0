"""One process of several: it joins the others through JAX, and then runs the script."""

import os
import runpy
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import jax

LAUNCHER = "JAXDL_LAUNCHER"
"""The variable that says through which file descriptor the launcher is spoken to."""

ARRIVED = b"a"
"""What it is told when this process is about to join the others."""


PATIENCE = 7 * 24 * 3600
"""Seconds that processes that have ended wait for those that still work, such as the first one that draws pictures.
That one has died they hear sooner."""

GLOO = b"connected peer ranks is :"
"""What stands in each line that Gloo prints."""


class Place(NamedTuple):
    """Which process this is; what is None, the cluster says: see :func:`jax.distributed.initialize`."""

    processes: int | None = None
    process: int | None = None
    coordinator: str | None = None
    devices: int | None = None
    timeout: int = 100


def work(place: Place, script: str, arguments: Sequence[str]) -> int:
    """Join the others and run the script; its exit status. One that fails ends the process at once: the others, which
    may be waiting for what it was to send, are not waited for."""
    _tell_launcher()
    _without_gloo()
    if not _join(place):
        return 2
    sys.argv = [script, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(script).resolve().parent)
    code = _run(script)
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    jax.distributed.shutdown()
    return 0


def _run(script: str) -> int:
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        if isinstance(error.code, int | None):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        traceback.print_exception(type(error), error, _of_script(error.__traceback__, script))
        return 1
    return 0


def _of_script(found: TracebackType | None, script: str) -> TracebackType | None:
    """A traceback from the script on."""
    at = found
    while at is not None and at.tb_frame.f_code.co_filename != script:
        at = at.tb_next
    return at or found


def _join(place: Place) -> bool:
    """Join the other processes; whether there is anything to join."""
    known = place.process is not None
    visible = (
        list(range(place.devices)) if known and place.devices and "JAX_LOCAL_DEVICE_IDS" not in os.environ else None
    )
    # It would take SIGTERM to itself, which without a run that saves is to end the process.
    jax.config.update("jax_enable_preemption_service", False)
    if known and place.devices is not None:
        jax.config.update("jax_num_cpu_devices", place.devices)
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.processes,
            place.process,
            local_device_ids=visible,
            cluster_detection_method="deactivate" if known else None,
            initialization_timeout=place.timeout,
            heartbeat_timeout_seconds=place.timeout,
            shutdown_timeout_seconds=PATIENCE,
        )
    except ValueError as error:
        if known:
            raise
        got = "of SLURM, Open MPI, Kubernetes or a Cloud TPU none was found"
        text = f"jaxdl.launch: without --processes the cluster must say which process this is; {got} ({error})"
        print(text, file=sys.stderr)
        print("  Did you mean python -m jaxdl.launch --processes 2 …, for two on this machine?", file=sys.stderr)
        return False
    return True


def _tell_launcher() -> None:
    """Say that this process is there, and end it when its launcher is gone."""
    given = os.environ.pop(LAUNCHER, None)
    if given is None:
        return
    descriptor = int(given)
    os.write(descriptor, ARRIVED)

    def watch() -> None:
        if not os.read(descriptor, 1):
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _without_gloo() -> None:
    """Leave out what Gloo, by which CPU devices of several processes talk, prints of each of its connections.

    It writes to the descriptor of the standard output, so that goes through a thread; what Python prints does not.
    """
    sys.stdout.flush()
    terminal = os.dup(1)
    reading, writing = os.pipe()
    os.dup2(writing, 1)
    os.close(writing)
    sys.stdout = os.fdopen(terminal, "w", buffering=1, encoding=sys.stdout.encoding, closefd=False)

    def forward() -> None:
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                with suppress(OSError):  # nobody reads any more; what comes is to be taken off the pipe still
                    if GLOO not in line:
                        os.write(terminal, line)

    threading.Thread(target=forward, daemon=True).start()
