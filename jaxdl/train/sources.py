"""The feed that suits a data set."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from jaxdl.core import bad_type, bad_value
from jaxdl.core.checks import check_seed, positive_int
from jaxdl.core.machine import memory_bytes
from jaxdl.data.examples import stack_examples
from jaxdl.data.split import count_examples
from jaxdl.train.chunks import ChunkFeed, StreamFeed
from jaxdl.train.feed import Feed, Plan, Prepare, ResidentFeed, check_finite


def open_feed(
    call: str,
    data: Any,
    *,
    batch_size: int | None,
    seed: int = 0,
    shuffle: bool = True,
    remainder: str = "train",
    steps_per_epoch: int | None = None,
    prepare: Prepare = lambda batch: batch,
) -> Feed:
    """The feed for arrays, a random-access source, a callable ``(epoch, start)``, or an iterable of batches.

    **Args** ``prepare``: brings a batch, or all arrays at once, into the form that the step takes, and checks it.
    """
    if remainder not in ("train", "drop"):
        raise bad_value(call, 'remainder must be "train" or "drop"', repr(remainder))
    arrays = _are_arrays(data)
    if arrays:
        _check_arrays(call, data)
    if not arrays and not _is_source(data):
        if isinstance(data, dict | tuple | str) or not (callable(data) or isinstance(data, Iterable)):
            needs = "data must be arrays, a source with len() and [index], a callable (epoch, start), or an iterable"
            raise bad_type(call, needs, data, "Did you mean np.asarray(…)?" if isinstance(data, dict | tuple) else "")
        return StreamFeed(call, data, steps_per_epoch, prepare)
    if steps_per_epoch is not None:
        raise bad_value(call, "steps_per_epoch goes with a stream of batches", steps_per_epoch)
    data = prepare(data) if arrays else data
    count = count_examples(call, data) if arrays else len(data)
    size = _batch_size(call, batch_size, count)
    plan = Plan(count, size, check_seed(call, seed), shuffle, remainder == "drop")
    if not arrays:
        return ChunkFeed(call, lambda rows: prepare(stack_examples(call, data, rows)), plan)
    leaves = jax.tree.leaves(data)
    if not any(map(_is_mapped, leaves)) and sum(leaf.nbytes for leaf in leaves) <= resident_bytes():
        check_finite(call, data)
        return ResidentFeed(data, plan)
    return ChunkFeed(call, lambda rows: jax.tree.map(lambda leaf: leaf[rows], data), plan)


def _are_arrays(data: Any) -> bool:
    """Whether it is a pytree of arrays, examples first; a list is none: it holds examples."""
    leaves = jax.tree.leaves(data)
    return not isinstance(data, list) and bool(leaves) and all(hasattr(leaf, "dtype") for leaf in leaves)


def _check_arrays(call: str, data: Any) -> None:
    """Raise for another library's tensors, whose dtypes are not NumPy's."""
    for leaf in jax.tree.leaves(data):
        if not isinstance(leaf.dtype, np.dtype) and not isinstance(leaf, jax.Array):
            got = f"{type(leaf).__module__}.{type(leaf).__name__}"
            raise bad_type(call, "data must be arrays of NumPy or JAX", got, "Did you mean .numpy() of it?")


def _is_mapped(leaf: Any) -> bool:
    """Whether an array is one of a file, or a view of one: who maps a file does not want it in memory."""
    while isinstance(leaf, np.ndarray):
        if isinstance(leaf, np.memmap):
            return True
        leaf = leaf.base
    return False


def _is_source(data: Any) -> bool:
    return hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, dict | tuple | str)


def _batch_size(call: str, batch_size: int | None, count: int) -> int:
    if batch_size is None:
        raise bad_value(call, "batch_size must be given", None)
    size = positive_int(call, "batch_size", batch_size)
    if count == 0:
        raise bad_value(call, "data must hold at least one example", "no example")
    if size > count:
        raise bad_value(call, f"batch_size must be at most the number of examples, {count}", size)
    return size


def resident_bytes() -> int:
    """How much data may stay on the device: half of its free memory, or of the machine's where it does not say."""
    memory = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in memory:
        return int(memory["bytes_limit"] - memory.get("bytes_in_use", 0)) // 2
    return (memory_bytes() or 8 << 30) // 2
