"""Recurrent networks whose loops have derivatives of their own, beside the plain ``lax.scan``."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax

from benchmarks.lowerings.rounds import Measuring, Round, beside, forward, gradients
from jaxdl import functional as F

ROUNDS: dict[str, Round] = {"forward": forward, "gradient": functools.partial(gradients, (0, 1, 2, 3))}

KINDS: dict[str, tuple[Callable[..., Any], int]] = {
    "simple_rnn": (F.simple_rnn, 1),
    "lstm": (F.lstm, 4),
    "gru": (F.gru, 3),
    "gru, reset before": (functools.partial(F.gru, reset="before"), 3),
}
"""Each recurrence and the number of its packed gates."""


class Sequences(NamedTuple):
    """What is read, and whether every output is wanted or the last alone."""

    kind: str
    batch: int
    time: int
    features: int
    hidden: int
    every: bool = False

    def __str__(self) -> str:
        wanted = "all" if self.every else "last"
        return f"{self.kind}, {self.batch} of {self.time} steps, {self.features} to {self.hidden}, {wanted}"


SEQUENCES = (
    Sequences("simple_rnn", 32, 100, 32, 32),
    Sequences("simple_rnn", 32, 100, 64, 256, every=True),
    Sequences("lstm", 1, 100, 32, 64),
    Sequences("lstm", 32, 100, 32, 64),
    Sequences("lstm", 32, 100, 32, 64, every=True),
    Sequences("lstm", 256, 50, 32, 32),
    Sequences("lstm", 32, 50, 64, 256),
    Sequences("lstm", 16, 20, 128, 512),
    Sequences("gru", 32, 100, 32, 64),
    Sequences("gru", 32, 50, 64, 256),
    Sequences("gru, reset before", 32, 100, 32, 64),
    Sequences("gru, reset before", 32, 50, 64, 256),
)


def recurrent_rows(how: Measuring) -> Iterator[list[str]]:
    """One row for each of the recurrences."""
    for sequences in SEQUENCES:
        function, gates = KINDS[sequences.kind]
        packed = gates * sequences.hidden
        shapes = [(sequences.batch, sequences.time, sequences.features), (sequences.features, packed)]
        shapes += [(sequences.hidden, packed), (packed,)]
        keys = jax.random.split(jax.random.key(0), len(shapes))
        x, *weights = (jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True))
        small = [leaf * sequences.hidden**-0.5 for leaf in weights]

        def run(*arguments: jax.Array, read: Any, every: bool, method: str) -> jax.Array:
            y, carry = read(*arguments, method=method)
            return y if every else jax.tree.leaves(carry)[0]

        fast, plain = (
            functools.partial(run, read=function, every=sequences.every, method=method) for method in ("auto", "lax")
        )
        yield beside(str(sequences), ROUNDS, fast, plain, (x, *small), how)


TABLES = {"recurrent": (ROUNDS, recurrent_rows)}
