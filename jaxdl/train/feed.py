"""Where batches come from: resident on the device, or read ahead in chunks from whatever holds them.

A feed gives each epoch as segments: some examples on the device, and the order in which the program gathers batches.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import Ragged, bad_value, describe
from jaxdl.core.checks import check_lengths
from jaxdl.core.processes import ALONE, Team
from jaxdl.core.targets import without_masked
from jaxdl.data.order import epoch_order
from jaxdl.train.prefetch import prefetch

Prepare = Callable[[Any], Any]
Check = Callable[[Any], None]

DRAWN_AHEAD = 1 << 15
"""Examples from which on the order of an epoch is drawn by a thread, while the epoch before it runs."""


MARKED = 256
"""Rows of each array that processes compare, to see that they were given the same."""


class Segment(NamedTuple):
    """Steps over one set of examples: step ``i`` takes ``data[order[i]]``, for i below ``steps``.

    Without an order the data lie batch by batch, and it takes ``data[i]``.
    """

    data: Any
    order: Any
    steps: int
    first: int
    """The number of its first step within the epoch."""
    mark: int = 0
    """What tells the batches of a stream from others."""

    @property
    def batch_size(self) -> int:
        shaped = jax.tree.leaves(self.data)[0] if self.order is None else self.order
        size: int = shaped.shape[1]
        return size


def alike(call: str, team: Team, segments: Iterator[Segment]) -> Iterator[Segment]:
    """The segments, of which all processes must have the same; an error in each where one has others, or fewer."""
    if team.count == 1:
        yield from segments
        return
    while True:
        segment = next(segments, None)
        what = (-1,) * 4 if segment is None else (segment.first, segment.steps, segment.batch_size, segment.mark)
        if others := team.others(np.array(what, np.int64)):
            needs = "a stream must give the same batches, of all examples, in each process"
            hint = "Did you mean a source with len() and [index], of which each process reads its share?"
            raise bad_value(call, needs, f"others, or fewer, in process {others} than in process 0", hint)
        if segment is None:
            return
        yield segment


class Device:
    """Where what is read is put: on the one device that JAX would take."""

    team: Team = ALONE
    """The processes that read it together. Where they are several, nothing that they read goes by the clock."""

    def data(self, data: Any) -> Any:
        return jax.tree.map(jnp.asarray, data)

    def order(self, order: np.ndarray) -> Any:
        return jnp.asarray(order)

    def order_spec(self, shape: tuple[int, int]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    def share(self, size: int) -> slice:
        """Which examples of a batch of so many are read here."""
        return slice(0, size)

    def chunk(self, data: Any, room: int, size: int) -> tuple[Any, Any]:
        """The shares of ``room`` batches of ``size``, one after the other, as a segment's data and order."""
        order = np.arange(room * size, dtype=np.int32).reshape(room, size)
        return self.data(data), self.order(order)


class Feed(ABC):
    """What the engine reads. ``steps`` is the number of steps of an epoch, None where nobody knows before it ends."""

    steps: int | None
    once = False
    """Whether it is used up after one epoch, unless ``steps`` says where an epoch ends."""
    numbered = False
    """Whether it asks for the number of an epoch whose length nobody knows."""
    kinds = 2
    """Of how many shapes its batches are, as far as it is known: whole ones and a smaller last one."""
    finite = True
    """Whether what is not finite is an error as it is read; the guard that skips such steps takes it as it comes."""
    reading: AbstractContextManager[Any] = nullcontext()
    """Held while the source gives something; a lock where another feed reads the same source."""
    device: Device = Device()
    """Where the segments are put."""

    def check_epochs(self, call: str, epochs: int) -> None:
        """Raise, before anything is trained, when the data cannot last for so many epochs."""
        if self.once and self.steps is None and epochs > 1:
            hint = "Did you mean steps_per_epoch=…, or a callable data(epoch, start)?"
            raise bad_value(call, f"data must last for {epochs} epochs", "an iterator, which lasts for one", hint)

    @abstractmethod
    def epochs(self, numbers: range, start: int = 0) -> Generator[Iterator[Segment], None, None]:
        """The segments of each of these epochs, of the first from the one that holds step ``start``.

        What can be read or drawn ahead is, also from the next epoch; each epoch's segments are taken in turn.
        """

    def epoch(self, number: int) -> Iterator[Segment]:
        """The segments of one epoch alone."""
        with closing(self.epochs(range(number, number + 1))) as epochs:
            for segments in epochs:
                yield from segments

    @abstractmethod
    def example(self) -> Any:
        """The spec of a batch."""

    @abstractmethod
    def watch(self, check: Check) -> None:
        """Have a check look at all data on the host: at once where they are at hand, else as they are read."""

    def tail(self) -> tuple[Any, Any] | None:
        """The data and the spec of the order of a smaller last batch, where they are known before they are met."""
        return None

    def examples(self, epoch: int, step: int) -> np.ndarray | None:
        """Which of the data's examples a step takes; None where they have no numbers."""
        return None

    def marks(self) -> Iterator[bytes]:
        """What tells these data from others."""
        yield f"{describe(self.example())}, {self.steps} steps".encode()


def check_finite(call: str, data: Any, rows: np.ndarray | None = None) -> None:
    """Raise when a floating leaf of ``data``, on the host, holds a nan or an inf, or a ragged one impossible lengths.

    Targets (``"y"``) may be nan where they are masked: by a ``"weight"`` of 0, or as padding. ``rows``: the numbers of
    the examples within the whole data, if these are a part.
    """
    for node in jax.tree.leaves(data, is_leaf=lambda node: isinstance(node, Ragged)):
        if isinstance(node, Ragged):
            check_lengths(call, node.lengths, node.x)
    if isinstance(data, dict) and "y" in data:
        data = data | {"y": without_masked(data["y"], data.get("weight"))}
    for path, leaf in jax.tree.leaves_with_path(data):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        with np.errstate(over="ignore"):  # What float32 cannot hold becomes inf on the device, so here.
            here = jax.dtypes.canonicalize_dtype(leaf.dtype)
            finite = np.isfinite(np.asarray(leaf).astype(here, copy=False))
        if not finite.all():
            bad = np.argwhere(~finite)
            first = bad[0][0] if rows is None else rows[bad[0][0]]
            got = f"{len(bad)} nan or inf in data{jax.tree_util.keystr(path)}, the first in example {first}"
            raise bad_value(call, "data must be finite", got)


def some_bytes(tree: Any) -> Iterator[bytes]:
    """Of each array that is whole in this process the bytes of up to MARKED rows, evenly over it."""
    for leaf in jax.tree.leaves(tree):
        if getattr(leaf, "is_fully_addressable", True) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            rows = leaf.reshape(len(leaf) if leaf.ndim else 1, -1)
            yield np.asarray(rows[:: max(1, len(rows) // MARKED)]).tobytes()


def batch_spec(data: Any, size: int) -> Any:
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

    def examples_of(self, epoch: int, step: int) -> np.ndarray:
        """The indices of one batch."""
        rows, tail = self.rows(epoch)
        found: np.ndarray = rows[step] if step < len(rows) else tail
        return found


class ResidentFeed(Feed):
    """Data that stay on the device: only the order of an epoch goes there."""

    def __init__(self, data: Any, plan: Plan):
        self.host, self.plan, self.steps = data, plan, plan.steps
        self.data: Any = None

    def example(self) -> Any:
        return batch_spec(self.host, self.plan.batch_size)

    def examples(self, epoch: int, step: int) -> np.ndarray:
        return self.plan.examples_of(epoch, step)

    def marks(self) -> Iterator[bytes]:
        yield f"{describe(self.host)}, {self.plan}".encode()
        yield from some_bytes(self.host)

    def watch(self, check: Check) -> None:
        check(self.host)

    def tail(self) -> tuple[Any, Any] | None:
        return (self.data, self.device.order_spec((1, self.plan.tail))) if self.plan.tail else None

    def epochs(self, numbers: range, start: int = 0) -> Generator[Iterator[Segment], None, None]:
        if self.data is None:
            self.data = self.device.data(self.host)
        drawn = map(self.plan.rows, numbers)
        # A short order is drawn in less time than it takes to hand it from thread to thread.
        with closing(prefetch(drawn)) if self.plan.examples >= DRAWN_AHEAD else nullcontext(drawn) as orders:
            for rows, tail in orders:
                yield self._segments(rows, tail, start)
                start = 0

    def _segments(self, rows: np.ndarray, tail: np.ndarray, start: int) -> Iterator[Segment]:
        if start < len(rows):
            yield Segment(self.data, self.device.order(rows), len(rows), 0)
        if len(tail) and start <= len(rows):
            yield Segment(self.data, self.device.order(tail[None]), 1, len(rows))
