"""Measuring: one peer in this process, or several in processes of their own, by turns."""

import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.hlo import loop_instructions
from benchmarks.peers import open_session
from benchmarks.workloads import Workload

Record = dict[str, Any]

EPOCHS = 5
ROUNDS = 3
FIRST_STEPS = 3

TOLERANCES = (1e-5, 1e-3, 1e-3)
"""How far apart the losses of the first steps may lie, relative: the first one holds the forward pass to account, the
others the gradients and the optimizer, where rounding grows from step to step."""


class DisagreementError(Exception):
    """Peers that do not compute the same thing, and by how much."""


def measure(workload: Workload, peer: str, epochs: int = EPOCHS) -> Record:
    """Train one peer in this process: the first steps, an epoch to warm up, and the measured epochs.

    An epoch is timed whole, from the end of the one before: shuffle, gather, steps, and the loss on the host.

    **Raises** ``LeftOutError`` where the peer cannot take part.
    """
    session = open_session(peer, workload)
    begun = time.perf_counter()
    first_losses = session.losses(FIRST_STEPS)
    first_call = time.perf_counter() - begun
    ends: list[float] = []
    losses: list[float] = []

    def done(loss: float) -> None:
        ends.append(time.perf_counter())
        losses.append(loss)

    session.train(1 + epochs, done)
    steps = [1e3 * (end - start) / workload.steps for start, end in itertools.pairwise(ends)]
    peak = machine.peak_megabytes()  # Before the program is compiled once more for its text.
    text = session.program()
    return {
        "workload": workload.name,
        "peer": peer,
        "ms": {"median": statistics.median(steps), "min": min(steps), "max": max(steps)},
        "epochs": epochs,
        "steps": workload.steps,
        "first_call_seconds": first_call,
        "peak_megabytes": peak,
        "first_losses": first_losses,
        "final_loss": losses[-1],
        "loop": dict(sorted(loop_instructions(text).items())) if text else None,
        "device": session.device,
        "threads": session.threads,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **machine.describe(),
    }


def measure_apart(workload: str, peer: str, epochs: int) -> Record | None:
    """:func:`measure` in a process of its own; None where the peer was left out, which the process has said."""
    command = [sys.executable, "-m", "benchmarks", "run", workload, "--peer", peer, "--epochs", str(epochs)]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1], check=True)
    return json.loads(result.stdout.splitlines()[-1]) if result.stdout.strip() else None


def by_turns(workload: str, peers: Sequence[str], rounds: int, epochs: int) -> Iterator[Record]:
    """Rounds of all peers, A B A B, so that a machine that slows down slows all of them."""
    peers = list(peers)
    for number in range(rounds):
        for peer in list(peers):
            record = measure_apart(workload, peer, epochs)
            if record is None:
                peers.remove(peer)
            else:
                yield {**record, "round": number}


def check_same(records: Iterable[Record]) -> None:
    """Raise :class:`DisagreementError` unless all records of a workload began with the same losses."""
    references: dict[str, Record] = {}
    for record in records:
        reference = references.setdefault(record["workload"], record)
        pairs = zip(record["first_losses"], reference["first_losses"], TOLERANCES, strict=True)
        for step, (loss, expected, tolerance) in enumerate(pairs):
            # Put this way round, a nan disagrees with everything.
            if not abs(loss - expected) <= tolerance * abs(expected):
                raise DisagreementError(
                    f"{record['workload']}: from equal weights and batches, {record['peer']} has loss {loss:.8g} in "
                    f"step {step}, {reference['peer']} {expected:.8g}; they may differ by {tolerance:g} of it"
                )
