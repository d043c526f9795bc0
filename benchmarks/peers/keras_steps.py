"""Keras 3 on JAX: as :mod:`benchmarks.peers.keras`, with a whole epoch an execution, the most that its guide allows.

On JAX, Keras 3.15 runs the steps of an execution as a loop in Python, one program a step: what it spares are the
callbacks and the reading of the metrics in between.
"""

from benchmarks.peers import keras as plain
from benchmarks.peers.keras import MODELS

__all__ = ["MODELS", "Session"]


class Session(plain.Session):
    """See :class:`benchmarks.peers.Session`."""

    def steps_per_execution(self) -> int:
        return self.workload.steps
