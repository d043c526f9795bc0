"""Who trains the workloads: one file a peer, each with a :class:`Session` and a table ``MODELS`` of its forms."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from benchmarks.workloads import Workload

PEERS = {
    "jaxdl": "jaxdl",
    "plain": "optax",
    "torch": "torch",
    "torch_compile": "torch",
    "nnx": "flax",
    "equinox": "equinox",
    "keras": "keras",
    "keras_steps": "keras",
}
"""The package that each peer needs."""


class LeftOutError(Exception):
    """A peer that cannot take part here, and the word that says why."""


class Session(Protocol):
    """One peer with one workload at hand. What trains begins from the workload's weights, on every call.

    ``__init__`` puts the data where the peer's users have them before they train, and no more: it builds no model,
    draws no weights and compiles nothing. All that belongs to the first work, which is timed, and may be kept from
    there on: for jaxdl its model, ``create_state`` and its program, for the others their modules and initialisers, and
    for all of them the workload's weights in place of those that they drew.
    """

    device: str
    processors: int
    """How many the peer may use: where it is PyTorch, the threads that it is given."""

    def losses(self, steps: int) -> list[float]:
        """Train on the first batches of epoch 0, one at a time: the loss of each, before its update."""

    def train(self, epochs: int, done: Callable[[float], None]) -> None:
        """Train as the peer's users do, in the workload's order; call ``done(mean loss)`` after each epoch."""

    def outputs(self) -> np.ndarray:
        """The prediction for the first batch of the data, in the order of the data, with the initial weights."""

    def predict(self, passes: int, done: Callable[[float], None]) -> None:
        """Predict all batches, one call each, from the host and to it; ``done(0.0)`` after each pass."""

    def program(self) -> str | None:
        """The optimized HLO of the program that trains, where there is one."""


def open_session(peer: str, workload: Workload) -> Session:
    """The peer's session for a workload.

    **Raises** ``LeftOutError`` where the peer's package is not installed, or the peer has no form of the model.
    """
    package = PEERS[peer]
    if importlib.util.find_spec(package) is None:
        raise LeftOutError(f"{peer} is left out: {package} is not installed")
    module: Any = importlib.import_module(f"{__name__}.{peer}")
    if type(workload.network) not in module.MODELS:
        raise LeftOutError(f"{peer} is left out: it has no {type(workload.network).__name__} (for {workload.name})")
    session: Session = module.Session(workload)
    return session
