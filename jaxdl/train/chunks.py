"""Feeds of data that are not resident: read ahead by a thread, in chunks of several steps."""

import functools
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple
from zlib import crc32

import jax
import numpy as np

from jaxdl.core import bad_value, describe
from jaxdl.core.checks import is_int
from jaxdl.data.split import count_examples
from jaxdl.train.feed import Check, Device, Feed, Plan, Prepare, Segment, batch_spec, check_finite, some_bytes
from jaxdl.train.prefetch import prefetch

CHUNK_BYTES = 32 << 20
CHUNK_STEPS = 256
"""What a chunk has room for at most."""

CHUNK_SECONDS = 0.3
"""About how long a chunk is read; nothing trains while the first one is, and a slow source leaves room in it."""

Kind = tuple[str, int]
_END = object()


def _chunk_steps(batch: Any) -> int:
    """How many batches like this one (or like its spec) make a chunk."""
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(batch))
    return max(1, min(CHUNK_STEPS, CHUNK_BYTES // max(size, 1)))


class _Chunk(NamedTuple):
    """Shares of some batches of ``size``, joined along the first axis, with room for more: all have one shape."""

    data: Any
    room: int
    size: int
    steps: int
    first: int
    mark: int = 0


def _chunk(parts: list[Any], share: slice, size: int, steps: int, room: int, first: int) -> _Chunk:
    width = share.stop - share.start

    def join(*leaves: np.ndarray) -> np.ndarray:
        if len(leaves) == 1 and steps == room:
            return leaves[0]
        joined = np.zeros((room * width, *leaves[0].shape[1:]), leaves[0].dtype)
        np.concatenate(leaves, out=joined[: steps * width])
        return joined

    return _Chunk(jax.tree.map(join, *parts), room, size, steps, first)


def _read_ahead(
    chunks: Callable[[int, int], Iterator[_Chunk]], to: Device, numbers: range, start: int
) -> Generator[Iterator[Segment], None, None]:
    """Each epoch's segments, read by a thread and put on the device there; the next epoch's first ones as well."""
    # Settings such as float64 are a thread's own.
    wide, device = jax.config.jax_enable_x64, jax.config.jax_default_device  # type: ignore[attr-defined]

    def read() -> Iterator[Segment | None]:
        for number in numbers:
            for chunk in chunks(number, start if number == numbers.start else 0):
                with jax.enable_x64(wide), jax.default_device(device):
                    data, order = to.chunk(chunk.data, chunk.room, chunk.size)
                yield Segment(data, order, chunk.steps, chunk.first, chunk.mark)
            yield None

    with closing(prefetch(read())) as ready:
        for _ in numbers:
            yield iter(ready.__next__, None)  # to the end of that epoch


class ChunkFeed(Feed):
    """A random-access source, read by the same indices as resident data, in chunks and ahead of time."""

    def __init__(self, call: str, read: Callable[[np.ndarray], Any], plan: Plan):
        self.call, self.read, self.plan, self.steps = call, read, plan, plan.steps
        self.checks: list[Check] = []
        self.spec = batch_spec(read(np.zeros(1, np.int32)), plan.batch_size)
        self.at_once = 1

    def example(self) -> Any:
        return self.spec

    def examples(self, epoch: int, step: int) -> np.ndarray:
        return self.plan.examples_of(epoch, step)

    def watch(self, check: Check) -> None:
        self.checks.append(check)

    def _load(self, rows: np.ndarray) -> Any:
        with self.reading:
            data = jax.tree.map(np.asarray, self.read(rows))
        if self.finite:
            check_finite(self.call, data, rows)
        for check in self.checks:
            check(data)
        return data

    def marks(self) -> Iterator[bytes]:
        yield f"{describe(self.spec)}, {self.plan}".encode()

    def _chunks(self, number: int, start: int) -> Iterator[_Chunk]:
        rows, tail = self.plan.rows(number)
        room = min(_chunk_steps(self.spec), len(rows))
        share, steady = self.device.share(self.plan.batch_size), self.device.team.count > 1
        at = start
        while at < len(rows):
            part = rows[at : at + (room if steady else min(room, self.at_once))]
            begun = time.perf_counter()
            data = self._load(part[:, share].ravel())
            seconds = (time.perf_counter() - begun) / len(part)
            yield _chunk([data], share, self.plan.batch_size, len(part), room, at)
            at += len(part)
            # Step by step longer, as one step may have been read faster than the next ones will be.
            self.at_once = max(1, min(4 * len(part), room, int(CHUNK_SECONDS / seconds)))
        if len(tail) and start <= len(rows):
            share = self.device.share(len(tail))
            yield _chunk([self._load(tail[share])], share, len(tail), 1, 1, len(rows))

    def epochs(self, numbers: range, start: int = 0) -> Generator[Iterator[Segment], None, None]:
        return _read_ahead(self._chunks, self.device, numbers, start)


class StreamFeed(Feed):
    """Batches as they come: from ``data(epoch, start)``, or from an iterable that is begun anew each epoch.

    An iterable that goes on in the middle of an epoch is read from its beginning up to there, so its order must be the
    same each time. An iterator that can be read only once lasts for one epoch, or for as many as ``steps_per_epoch``
    makes of it.
    """

    def __init__(self, call: str, data: Any, steps: int | None, prepare: Prepare):
        self.call, self.data, self.steps, self.prepare = call, data, steps, prepare
        self.checks: list[Check] = []
        self.once = isinstance(data, Iterator)
        self.numbered = callable(data)
        kinds: Any = getattr(data, "kinds", None)
        self.kinds = int(kinds) if is_int(kinds) else Feed.kinds
        self.spec: Any = None
        self.pending: list[Any] = []
        self.rooms: dict[Kind, int] = {}

    def _again(self) -> Iterator[Any]:
        """What :meth:`example` took from an iterator that cannot be begun anew is still to be trained on."""
        while self.pending:
            yield self.pending.pop(0)

    def _raw(self, number: int, start: int = 0) -> Iterator[Any]:
        if self.numbered:
            return iter(self.data(number, start))
        fresh = itertools.islice(iter(self.data), start, None)
        return itertools.chain(self._again(), fresh) if self.once else fresh

    def _batches(self, number: int, start: int) -> Iterator[Any]:
        left = None if self.steps is None else self.steps - start
        with self.reading:
            raw = itertools.islice(self._raw(number, start), left)
        while True:
            with self.reading:
                batch = next(raw, _END)
                if batch is _END:
                    return
                # Copied, since several are held and a source may fill one buffer again and again.
                batch = jax.tree.map(lambda leaf: np.array(leaf, copy=True), self.prepare(batch))
            yield batch

    def example(self) -> Any:
        if self.spec is None:
            batch = next(self._raw(0), None)
            if batch is None:
                raise bad_value(self.call, "data must give at least one batch", "none")
            if self.once:
                self.pending.append(batch)
            batch = jax.tree.map(np.asarray, self.prepare(batch))
            self.spec = batch_spec(batch, count_examples(self.call, batch))
        return self.spec

    def watch(self, check: Check) -> None:
        self.checks.append(check)

    def _chunks(self, number: int, start: int) -> Iterator[_Chunk]:
        first, kind = start, None
        held: list[Any] = []
        begun = time.perf_counter()
        for batch in self._batches(number, start):
            if self.finite:
                check_finite(self.call, batch)
            for check in self.checks:
                check(batch)
            this = _kind(self.call, batch)
            if held and this != kind:
                yield self._joined(held, kind, first)
                first, held = first + len(held), []
            kind = this
            held.append(batch)
            most = self.rooms.get(kind, _chunk_steps(batch))
            late = self.device.team.count == 1 and time.perf_counter() - begun > CHUNK_SECONDS
            if late or len(held) == most:
                self.rooms[kind] = most
                yield self._joined(held, kind, first)
                first, held, begun = first + len(held), [], time.perf_counter()
        if kind is None and not start:
            raise bad_value(self.call, f"data must give batches in epoch {number + 1}", "none")
        if held:
            yield self._joined(held, kind, first)

    def _joined(self, held: list[Any], kind: Any, first: int) -> _Chunk:
        # As many batches as an epoch has together (a smaller last one comes alone) make a chunk of that kind for good.
        room = self.rooms.setdefault(kind, len(held))
        share = self.device.share(kind[1])
        parts = [jax.tree.map(lambda leaf: leaf[share], batch) for batch in held]
        mark = (
            0
            if self.device.team.count == 1
            else functools.reduce(lambda mark, part: crc32(part, mark), some_bytes(held), 0)
        )
        return _chunk(parts, share, kind[1], len(held), room, first)._replace(mark=mark)

    def epochs(self, numbers: range, start: int = 0) -> Generator[Iterator[Segment], None, None]:
        return _read_ahead(self._chunks, self.device, numbers, start)


def _kind(call: str, batch: Any) -> Kind:
    """What two batches share that go through one program: the shapes and dtypes of examples, and how many they are."""
    return describe(jax.tree.map(lambda leaf: leaf[:0], batch)), count_examples(call, batch)
