"""Keras 3 on JAX: as :mod:`benchmarks.peers.keras`, with a whole epoch an execution, the most that its guide allows."""

from benchmarks.peers import keras as plain
from benchmarks.peers.keras import MODELS

__all__ = ["MODELS", "Session"]


class Session(plain.Session):
    """See :class:`benchmarks.peers.Session`."""

    def steps_per_execution(self) -> int:
        return self.workload.steps
