"""Feeds of data that are not resident: read ahead by a thread, in chunks of several steps."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value, describe
from jaxdl.data.split import count_examples
from jaxdl.train.feed import Check, Feed, Plan, Prepare, Segment, batch_spec, check_finite
from jaxdl.train.prefetch import prefetch

CHUNK_BYTES = 32 << 20
CHUNK_STEPS = 256


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
        return batch_spec(self.read(np.zeros(1, np.int32)), self.plan.batch_size)

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
        return batch_spec(jax.tree.map(np.asarray, batch), count_examples(self.call, batch))

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
