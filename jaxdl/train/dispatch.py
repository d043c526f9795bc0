"""Which program runs next, and for how many of its steps."""

import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import describe, specs
from jaxdl.train.feed import Feed, Segment
from jaxdl.train.pace import Pace
from jaxdl.train.program import StepFn, Totals, evaluation_program, trace_count, train_program, zero_totals, zeros_like
from jaxdl.train.step import Transform


class Dispatcher:
    """The programs of one run or evaluation: one for each shape of segment, each with a pace of its own.

    **Args** ``call``: whom a warning names. ``key``: of a run's transforms; None in evaluation, where nothing is
    augmented and the state stays as it is. ``beside``: where the program of a smaller last batch is compiled while the
    first epoch runs.
    """

    def __init__(
        self,
        call: str,
        step: StepFn,
        transform: Transform | None,
        feed: Feed,
        *,
        key: jax.Array | None = None,
        beside: ThreadPoolExecutor | None = None,
    ):
        self.call, self.step, self.transform, self.feed = call, step, transform, feed
        self.key, self.beside = key, beside
        self.paces: dict[Any, Pace] = {}
        self.tail: Future[Any] | None = None
        self.zero: Totals | None = None

    def advance(
        self, state: Any, totals: Any, segment: Segment, epoch: int, at: int, most: int
    ) -> tuple[Any, Totals, int]:
        """Run a segment's next steps, ``most`` at most, from step ``at``, adding their metrics to ``totals``.

        Returns the new state, the new totals, and how many steps they were.
        """
        if not isinstance(totals, dict):  # None at the start of an epoch; the bare leaves in a resumed one
            zero = self._zero(state, segment)
            totals = zero if totals is None else jax.tree.unflatten(jax.tree.structure(zero), totals)
        shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves((segment.order, segment.data)))
        if shapes not in self.paces:
            state, totals = self._prepared(state, totals, segment)
            self.paces[shapes] = Pace()
        pace = self.paces[shapes]
        count = pace.steps(min(segment.steps - at, most))
        begun = time.perf_counter()
        state, totals = self._call(state, totals, segment, epoch, at, at + count)
        pace.measured(count, time.perf_counter() - begun)
        return state, totals, count

    def _zero(self, state: Any, segment: Segment) -> Totals:
        if self.zero is not None:
            return zeros_like(self.zero)
        totals = zero_totals(self.step, self.transform, state, segment.data, segment.order, self.key)
        self.zero = specs(totals)
        return totals

    def _call(self, state: Any, totals: Totals, segment: Segment, epoch: int, start: int, stop: int) -> Any:
        where = np.array([start, stop, segment.first, epoch], np.int32)
        arguments = self.step, self.transform, state, totals, segment.data, segment.order
        if self.key is None:
            totals = evaluation_program(*arguments, where)
        else:
            state, totals = train_program(*arguments, self.key, where)
        return state, jax.block_until_ready(totals)

    def _prepared(self, state: Any, totals: Totals, segment: Segment) -> Any:
        """Have the program for a segment's shapes compiled, by running none of its steps."""
        if self.tail is not None:
            self.tail.result()
            self.tail = None
        before = trace_count()
        state, totals = self._call(state, totals, segment, 0, 0, 0)
        if trace_count() > before and len(self.paces) >= self.feed.kinds:
            earlier = ", ".join(str(order[0][1]) for order, *_ in self.paces)
            warnings.warn(
                f"{self.call}: compiled again, for batches of {segment.order.shape[1]} from "
                f"{describe(specs(segment.data))}, after batches of {earlier}. A shape is compiled once: let all "
                "batches but the last have one size",
                stacklevel=2,
            )
        if self.beside is not None and not self.paces and (tail := self.feed.tail()) is not None:
            arguments = (*specs((state, totals, *tail, self.key)), jax.ShapeDtypeStruct((4,), jnp.int32))
            # Traced here, where the caller's settings (float64, say) hold: they are a thread's own.
            lowered = train_program.lower(self.step, self.transform, *arguments)
            self.tail = self.beside.submit(lowered.compile)
        return state, totals
