"""What to say when a program does not fit into the device's memory."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxdl.train.feed import Segment


@contextmanager
def told_what_fills_it(call: str, state: Any, segment: Segment, kept: bool) -> Iterator[None]:
    """Within it, XLA's error for memory that is at an end becomes one that says what takes how much, and the mends.

    **Args** ``kept``: whether a copy of the state that a program begins with is held beside it.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        text = str(error).partition("\n")[0]
        if not text.startswith("RESOURCE_EXHAUSTED"):
            raise
        size = segment.batch_size
        held = {leaf.shape[0] * (1 if segment.order is not None else size) for leaf in jax.tree.leaves(segment.data)}
        examples = max(held)
        data = _bytes(segment.data)
        twice = ', twice, as on_nonfinite="raise" keeps the one before (None does not)' if kept else ""
        raise MemoryError(
            f"{call}: a step must fit into the memory of the device; got {text} With a train state of "
            f"{_shown(_bytes(state))}{twice}, {_shown(data)} of data on the device, and batches of {size} examples "
            f"({_shown(data * size // max(examples, 1))}), the rest is what the step computes. Did you mean a smaller "
            'batch_size, accumulate=… parts of a batch, dl.remat(…) of the layers, policy="bfloat16", or data from '
            "a source or a memory map, which are read in chunks?"
        ) from error


def _bytes(tree: Any) -> int:
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _shown(count: int) -> str:
    """A number of bytes in the largest unit that it has one of.

    >>> _shown(999), _shown(1_500_000), _shown(42_000_000_000)
    ('999 bytes', '1.5 MB', '42 GB')
    """
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
