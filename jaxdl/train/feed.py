"""Where batches come from: resident on the device, or read ahead in chunks from whatever holds them.

A feed gives each epoch as segments: some examples on the device, and the order in which the program gathers batches.
"""

import itertools
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_type, bad_value, describe
from jaxdl.core.checks import positive_int
from jaxdl.data.order import epoch_order
from jaxdl.data.split import count_examples
from jaxdl.train.prefetch import prefetch

CHUNK_BYTES = 32 << 20
CHUNK_STEPS = 256

Prepare = Callable[[Any], Any]
Check = Callable[[Any], None]


class Segment(NamedTuple):
    """Steps over one set of examples: step ``i`` takes ``data[order[i]]``, for i below ``steps``."""

    data: Any
    order: Any
    steps: int
    first: int
    """The number of its first step within the epoch."""


class Feed(ABC):
    """What the engine reads. ``steps`` is the number of steps of an epoch, None where nobody knows before it ends."""

    steps: int | None

    @abstractmethod
    def epoch(self, number: int) -> Iterator[Segment]:
        """The segments of the epoch of that number."""

    @abstractmethod
    def example(self) -> Any:
        """The spec of a batch."""

    @abstractmethod
    def watch(self, check: Check) -> None:
        """Have a check look at all data on the host: at once where they are at hand, else as they are read."""

    def tail(self) -> tuple[Any, Any] | None:
        """The data and the spec of the order of a smaller last batch, where they are known before they are met."""
        return None


def check_finite(call: str, data: Any) -> None:
    """Raise when a floating leaf of ``data``, on the host, holds a nan or an inf."""
    for path, leaf in jax.tree.leaves_with_path(data):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        finite = np.isfinite(np.asarray(leaf))
        if not finite.all():
            bad = np.argwhere(~finite)
            got = f"{len(bad)} nan or inf in data{jax.tree_util.keystr(path)}, the first in example {bad[0][0]}"
            raise bad_value(call, "data must be finite", got)


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
    """The feed for a data set: arrays, a random-access source, a callable ``(epoch, start)``, or an iterable of
    batches.

    **Args** ``prepare``: brings a batch, or all arrays at once, into the form that the step takes, and checks it.
    """
    if remainder not in ("train", "drop"):
        raise bad_value(call, 'remainder must be "train" or "drop"', repr(remainder))
    whole = jax.tree.leaves(data)
    arrays = bool(whole) and all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in whole)
    if not arrays and (callable(data) or not hasattr(data, "__getitem__") or not hasattr(data, "__len__")):
        if not callable(data) and not isinstance(data, Iterable):
            needs = "data must be arrays, a source with len() and [index], a callable (epoch, start), or an iterable"
            raise bad_type(call, needs, data)
        return StreamFeed(call, data, steps_per_epoch, prepare)
    if isinstance(data, dict | tuple) and not arrays:
        raise bad_type(call, "data must hold arrays", data)
    if steps_per_epoch is not None:
        raise bad_value(call, "steps_per_epoch goes with a stream of batches", steps_per_epoch)
    if arrays:
        data = prepare(data)
        count = count_examples(call, data)
    else:
        count = len(data)
    if batch_size is None:
        raise bad_value(call, "batch_size must be given", None)
    size = positive_int(call, "batch_size", batch_size)
    if count == 0:
        raise bad_value(call, "data must hold at least one example", "no example")
    if size > count:
        raise bad_value(call, f"batch_size must be at most the number of examples, {count}", size)
    plan = Plan(count, size, seed, shuffle, remainder == "drop")
    if not arrays:
        return ChunkFeed(call, lambda rows: prepare(_stack([data[int(row)] for row in rows])), plan)
    check_finite(call, data)
    if sum(leaf.nbytes for leaf in jax.tree.leaves(data)) <= resident_bytes():
        return ResidentFeed(data, plan)
    return ChunkFeed(call, lambda rows: jax.tree.map(lambda leaf: leaf[rows], data), plan)


def resident_bytes() -> int:
    """How much data may stay on the device: half of its memory, or of the machine's where it does not say."""
    memory = jax.devices()[0].memory_stats() or {}
    return int(memory.get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")) // 2


def _stack(examples: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *examples)


def _batch_spec(data: Any, size: int) -> Any:
    def spec(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((size, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype))

    return jax.tree.map(spec, data)


class Plan(NamedTuple):
    """Which examples each step of an epoch takes."""

    examples: int
    batch_size: int
    seed: int
    shuffle: bool
    drop: bool

    @property
    def full(self) -> int:
        return self.examples // self.batch_size

    @property
    def tail(self) -> int:
        return 0 if self.drop else self.examples % self.batch_size

    @property
    def steps(self) -> int:
        return self.full + bool(self.tail)

    def rows(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The indices of the full batches, one batch a row, and those of the tail batch."""
        order = epoch_order(self.examples, seed=self.seed, epoch=epoch, shuffle=self.shuffle)
        whole = self.full * self.batch_size
        return order[:whole].reshape(self.full, self.batch_size), order[whole : whole + self.tail]


class ResidentFeed(Feed):
    """Data that stay on the device: only the order of an epoch goes there."""

    def __init__(self, data: Any, plan: Plan):
        self.host, self.plan, self.steps = data, plan, plan.steps
        self.data: Any = None

    def example(self) -> Any:
        return _batch_spec(self.host, self.plan.batch_size)

    def watch(self, check: Check) -> None:
        check(self.host)

    def tail(self) -> tuple[Any, Any] | None:
        return (self.data, jax.ShapeDtypeStruct((1, self.plan.tail), jnp.int32)) if self.plan.tail else None

    def epoch(self, number: int) -> Iterator[Segment]:
        if self.data is None:
            self.data = jax.tree.map(jnp.asarray, self.host)
        rows, tail = self.plan.rows(number)
        yield Segment(self.data, jnp.asarray(rows), len(rows), 0)
        if len(tail):
            yield Segment(self.data, jnp.asarray(tail[None]), 1, len(rows))


def _chunk_steps(batch: Any) -> int:
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(batch))
    return max(1, min(CHUNK_STEPS, CHUNK_BYTES // max(size, 1)))


def _chunk(batches: Any, batch_size: int, steps: int, room: int, first: int) -> Segment:
    """Some batches, joined along the first axis, as a segment with room for more: all chunks have one shape."""

    def fill(leaf: np.ndarray) -> jax.Array:
        if steps < room:
            leaf = np.concatenate([leaf, np.zeros(((room - steps) * batch_size, *leaf.shape[1:]), leaf.dtype)])
        return jnp.asarray(leaf)

    order = np.arange(room * batch_size, dtype=np.int32).reshape(room, batch_size)
    return Segment(jax.tree.map(fill, batches), jnp.asarray(order), steps, first)


class ChunkFeed(Feed):
    """A random-access source, read by the same indices as resident data, in chunks and ahead of time."""

    def __init__(self, call: str, read: Callable[[np.ndarray], Any], plan: Plan):
        self.call, self.read, self.plan, self.steps = call, read, plan, plan.steps
        self.checks: list[Check] = []

    def example(self) -> Any:
        return _batch_spec(self.read(np.zeros(1, np.int32)), self.plan.batch_size)

    def watch(self, check: Check) -> None:
        self.checks.append(check)

    def _load(self, rows: np.ndarray) -> Any:
        data = jax.tree.map(np.asarray, self.read(rows))
        check_finite(self.call, data)
        for check in self.checks:
            check(data)
        return data

    def _segments(self, number: int) -> Iterator[Segment]:
        rows, tail = self.plan.rows(number)
        size = self.plan.batch_size
        room = min(_chunk_steps(self.read(rows[0])), len(rows))
        for first in range(0, len(rows), room):
            part = rows[first : first + room]
            yield _chunk(self._load(part.ravel()), size, len(part), room, first)
        if len(tail):
            yield _chunk(self._load(tail), len(tail), 1, 1, len(rows))

    def epoch(self, number: int) -> Iterator[Segment]:
        with closing(prefetch(self._segments(number))) as segments:
            yield from segments


class StreamFeed(Feed):
    """Batches as they come: from ``data(epoch, start)``, or from an iterable that is begun anew each epoch.

    An iterator that can be read only once lasts for one epoch, or for as many as ``steps_per_epoch`` makes of it.
    """

    def __init__(self, call: str, data: Any, steps: int | None, prepare: Prepare):
        self.call, self.data, self.steps, self.prepare = call, data, steps, prepare
        self.checks: list[Check] = []
        self.pending: list[Any] = []

    def _batches(self, number: int) -> Iterator[Any]:
        raw = iter(self.data(number, 0) if callable(self.data) else self.data)
        # What example() took from an iterator that cannot be begun anew is still to be trained on.
        taken, self.pending = (self.pending, []) if raw is self.data else ([], self.pending)
        for batch in itertools.islice(itertools.chain(taken, raw), self.steps):
            yield jax.tree.map(np.asarray, self.prepare(batch))

    def example(self) -> Any:
        raw = iter(self.data(0, 0) if callable(self.data) else self.data)
        batch = next(raw, None)
        if batch is None:
            raise bad_value(self.call, "data must give at least one batch", "none")
        if raw is self.data:
            self.pending.append(batch)
        batch = self.prepare(batch)
        return _batch_spec(jax.tree.map(np.asarray, batch), count_examples(self.call, batch))

    def watch(self, check: Check) -> None:
        self.checks.append(check)

    def _segments(self, number: int) -> Iterator[Segment]:
        first, room, kind = 0, 0, None
        held: list[Any] = []
        for batch in self._batches(number):
            check_finite(self.call, batch)
            for check in self.checks:
                check(batch)
            this = describe(jax.tree.map(lambda leaf: leaf[:0], batch)), count_examples(self.call, batch)
            if held and (this != kind or len(held) == room):
                yield self._join(held, kind[1], room, first)  # type: ignore[index]
                first, held = first + len(held), []
            if this != kind:
                kind, room = this, _chunk_steps(batch)
            held.append(batch)
        if not first and not held:
            hint = "An iterator lasts for one epoch: did you mean epochs=1, steps_per_epoch=… or a callable?"
            raise bad_value(self.call, f"data must give batches in epoch {number + 1}", "none", hint if number else "")
        if held:
            yield self._join(held, kind[1], room, first)  # type: ignore[index]

    @staticmethod
    def _join(held: list[Any], batch_size: int, room: int, first: int) -> Segment:
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *held)
        # A batch that stands alone, such as a smaller last one, is not worth a chunk's room.
        return _chunk(joined, batch_size, len(held), room if len(held) > 1 else 1, first)

    def epoch(self, number: int) -> Iterator[Segment]:
        with closing(prefetch(self._segments(number))) as segments:
            yield from segments


def steps_in(feed: Feed, train_step: int) -> int:
    """The number of whole epochs that so many steps make, 0 where the epochs' length is unknown."""
    return math.floor(train_step / feed.steps) if feed.steps else 0
