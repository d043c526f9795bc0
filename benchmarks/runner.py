"""Measuring one peer with one workload in this process, turn by turn, and checking that peers compute the same."""

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.hlo import loop_instructions
from benchmarks.peers import Session, open_session
from benchmarks.workloads import Workload, find

Record = dict[str, Any]
Talk = Callable[[Record], Record]
"""Gives an answer and waits for what to do next: ``{"do": "first"}``, ``{"do": "turn", "seconds": 2}`` or
``{"do": "end"}``."""

ROUNDS = 5
SECONDS = 2.0
FIRST_STEPS = 3
EPOCHS_AT_ONCE = 10**6
"""Of one call of a session's ``train``: more than are ever measured."""

SAMPLE = 64
"""How many of a prediction's numbers are compared, evenly spread over it."""


class DisagreementError(Exception):
    """Peers that do not compute the same thing, and by how much."""


class EndOfMeasurement(BaseException):
    """Leaves a peer's training in the middle; no peer's own handling of errors shall stop it."""


class Others:
    """How much of the machine's processors others use from now on: where it is much, no figure is to be believed."""

    def __init__(self) -> None:
        self.begun = self._now()

    def share(self) -> float | None:
        """From 0 to 1; None where no one tells."""
        wall, busy, own = (now - then for now, then in zip(self._now(), self.begun, strict=True))
        share = (busy - own) / (wall * (os.cpu_count() or 1))
        return None if math.isnan(share) else round(min(max(share, 0.0), 1.0), 3)

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.perf_counter(), machine.busy_seconds(), time.process_time()


class Turns:
    """What a session calls after each epoch: it ends turns, answers, and waits in between.

    One training goes on over all turns, so that a peer that waits has all of it at hand. Waiting is in no time: an
    epoch is timed whole, from the end of the one before, or from the beginning of its turn.
    """

    def __init__(self, session: Session, workload: Workload, first: Record, talk: Talk):
        self.session, self.workload, self.first, self.talk = session, workload, first, talk
        self.ends: list[float] = []
        self.seconds: float | None = None  # None while it warms up.
        self.idle, self.others = 0.0, Others()
        self.losses: list[float] = []

    def __call__(self, loss: float) -> None:
        """An epoch has ended."""
        self.ends.append(time.perf_counter())
        self.losses.append(loss)
        if self.seconds is None:
            self._next(self.first | {"epoch_loss": loss})
        elif self.ends[-1] - self.ends[0] >= self.seconds:
            self._next(self._record())

    def _next(self, answer: Record) -> None:
        begun, used = time.perf_counter(), time.process_time()
        command = self.talk(answer)
        waited = time.perf_counter() - begun
        self.idle = (time.process_time() - used) / waited if waited > 0.1 else 0.0
        if command["do"] == "end":
            self._end()
        self.others = Others()
        self.seconds, self.losses, self.ends = command["seconds"], [], [time.perf_counter()]

    def _end(self) -> None:
        peak = machine.peak_megabytes()  # Before the program is compiled once more for its text.
        text = self.session.program()
        loop = dict(sorted(loop_instructions(text).items())) if text else None
        self.talk({"loop": loop, "peak_megabytes": peak})
        raise EndOfMeasurement

    def _record(self) -> Record:
        steps = [1e3 * (end - start) / self.workload.steps for start, end in itertools.pairwise(self.ends)]
        return {
            "ms": {"median": statistics.median(steps), "min": min(steps), "max": max(steps)},
            "epochs": len(steps),
            "steps": self.workload.steps,
            "final_loss": self.losses[-1],
            "busy_while_waiting": round(self.idle, 4),
            "others": self.others.share(),
            "peak_megabytes": machine.peak_megabytes(),
            "device_megabytes": machine.device_megabytes(),
            "device": self.session.device,
            "processors": self.session.processors,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **machine.describe(),
        }


def first_call(session: Session, workload: Workload) -> Record:
    """The session's first work, which compiles: what it comes to, and how long it takes."""
    begun = time.perf_counter()
    if workload.task == "predict":
        outputs = np.ravel(session.outputs())
        some = outputs[np.linspace(0, outputs.size - 1, SAMPLE).astype(int)]
        found: Record = {"first_outputs": [float(number) for number in some]}
    else:
        found = {"first_losses": session.losses(min(FIRST_STEPS, workload.steps))}
    return {"first_call_seconds": time.perf_counter() - begun, **found}


def serve(workload: Workload, peer: str, talk: Talk) -> None:
    """Measure as the other side of ``talk`` says, until it says ``end``: ready; first call and an epoch to warm up;
    turns; the instructions of the loop.

    **Raises** ``LeftOutError`` where the peer cannot take part.
    """
    session = open_session(peer, workload)
    talk({"ready": True})
    turns = Turns(session, workload, first_call(session, workload), talk)
    goes_on = session.predict if workload.task == "predict" else session.train
    try:
        while True:
            goes_on(EPOCHS_AT_ONCE, turns)
    except EndOfMeasurement:
        return


def measure(name: str, peer: str, seconds: float = SECONDS) -> Record:
    """One turn of one peer in this process."""
    workload = find(name)
    answers: list[Record] = []
    commands = iter([{"do": "first"}, {"do": "turn", "seconds": seconds}, {"do": "end"}, {}])

    def talk(answer: Record) -> Record:
        answers.append(answer)
        return next(commands)

    serve(workload, peer, talk)
    return about(workload, peer) | {name: value for answer in answers[1:] for name, value in answer.items()}


def about(workload: Workload, peer: str) -> Record:
    """What is measured."""
    return {
        "workload": workload.name,
        "peer": peer,
        "platform": machine.platform(),
        "dtype": machine.dtype(),
        "random": workload.random,
        "drift": workload.drift,
        "epoch_drift": workload.epoch_drift,
    }


TOLERANCES = {"cpu float32": (1e-5, 0.0), "gpu float32": (2e-3, 2e-2), "bfloat16": (2e-2, 5e-2)}
"""How far apart the first loss may lie, and later ones at least, beside the workload's drift, relative: the first one
holds the forward pass to account, the others the gradients and the optimizer, where rounding grows from step to step.
GPUs round products to 10 bits."""

OUTPUTS_TOLERANCE = {"cpu float32": 1e-4, "gpu float32": 1e-2, "bfloat16": 5e-2}
"""For predictions, of the largest."""


def compared(record: Record) -> Iterator[tuple[str, float, float, float]]:
    """The figures that peers must agree on: what it is, its value, its tolerance, and that of what the latter is."""
    kind = "bfloat16" if record["dtype"] == "bfloat16" else f"{record['platform']} float32"
    if "first_outputs" in record:
        outputs = record["first_outputs"]
        largest = max(map(abs, outputs))
        for at, output in enumerate(outputs):
            yield f"output {at}", output, OUTPUTS_TOLERANCE[kind], largest
    else:
        first, later = TOLERANCES[kind]
        for step, loss in enumerate([] if record["random"] else record["first_losses"]):
            yield f"loss in step {step}", loss, max(later, record["drift"]) if step else first, abs(loss)
        yield "mean loss of the first epoch", record["epoch_loss"], record["epoch_drift"], abs(record["epoch_loss"])


def check_same(record: Record, reference: Record) -> None:
    """Raise :class:`DisagreementError` unless both began alike."""
    pairs = zip(compared(record), compared(reference), strict=True)
    for (what, value, tolerance, _), (_, expected, _, scale) in pairs:
        # Put this way round, a nan disagrees with everything.
        if not abs(value - expected) <= tolerance * scale:
            raise DisagreementError(
                f"{record['workload']}: from equal weights and batches, {record['peer']} has as {what} {value:.8g}, "
                f"{reference['peer']} {expected:.8g}; they may differ by {tolerance:g} of {scale:.3g}"
            )
