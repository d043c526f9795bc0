"""Which program runs next, and for how many of its steps."""

import time
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core import bad_value, describe, specs
from jaxdl.core.processes import ALONE
from jaxdl.train.feed import Feed, Segment
from jaxdl.train.guard import Begun, are_finite, is_finite_loss, stopped
from jaxdl.train.memory import told_what_fills_it
from jaxdl.train.pace import Pace
from jaxdl.train.placement import Spread
from jaxdl.train.program import (
    Flat,
    OnNonfinite,
    StepFn,
    Totals,
    copy_program,
    evaluation_program,
    trace_count,
    train_program,
    zero_totals,
    zeros_like,
)
from jaxdl.train.step import Transform


class Dispatcher:
    """The programs of one run or evaluation: one for each shape of segment, each with a pace of its own.

    **Args** ``call``: whom a warning names. ``key``: of a run's transforms; None in evaluation, where nothing is
    augmented and the state stays as it is. ``beside``: where the program of a smaller last batch is compiled while the
    first epoch runs. ``guard``: what is done about a loss that is not finite.
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
        guard: OnNonfinite = None,
        placement: Spread | None = None,
    ):
        self.call, self.step, self.transform, self.feed = call, step, transform, feed
        self.key, self.beside, self.guard, self.placement = key, beside, guard, placement
        self.finite: np.ndarray | None = None
        self.kept: Any = None
        self.paces: dict[Any, Pace] = {}
        self.tail: Future[Any] | None = None
        self.zero: Totals | None = None

    def advance(
        self, state: Any, totals: Any, segment: Segment, epoch: int, at: int, most: int
    ) -> tuple[Any, Totals, int]:
        """Run a segment's next steps, ``most`` at most, from step ``at``, adding their metrics to ``totals``.

        Returns the new state, the new totals, and how many steps they were.
        """
        if not isinstance(totals, dict):  # None at the start of an epoch; the bare sums in a resumed one
            zero = self._zero(state, segment)
            totals = zero if totals is None else _resumed(zero, totals)
            totals = totals if self.placement is None else self.placement.whole(totals)
        if not self.paces and self.placement is not None and self.key is not None:
            self._check_parts(segment.batch_size, self.placement.layout.parts)
        leaves = jax.tree.leaves((segment.order, segment.data))
        shapes = segment.batch_size, *((leaf.shape, leaf.dtype) for leaf in leaves)
        if shapes not in self.paces:
            state, totals = self._prepared(state, totals, segment)
            self.paces[shapes] = Pace()
        pace = self.paces[shapes]
        team = ALONE if self.placement is None else self.placement.team
        count = team.said_by_first(pace.steps(min(segment.steps - at, most)))
        begun = time.perf_counter()
        before = self._before(state, totals, segment, epoch, at)
        state, totals, reached = self._call(state, totals, segment, epoch, at, at + count)
        pace.measured(count, time.perf_counter() - begun)
        if before is not None:
            self._check(before, state, totals, reached)
        return state, totals, count

    def _check_parts(self, size: int, parts: int) -> None:
        """Warn where whole batches cannot be shared out: every device computes all of each."""
        if size % parts and size > 1:
            near = " or ".join(str(found) for found in (size - size % parts, size + -size % parts) if found)
            warnings.warn(
                f"{self.call}: batches of {size} do not divide by the {parts} devices that examples are spread over, "
                f"so that each computes all of them. Did you mean a batch_size of {near}?",
                stacklevel=2,
            )

    def _before(self, state: Any, totals: Totals, segment: Segment, epoch: int, at: int) -> Begun | None:
        """Where a watched program begins, in a copy, since it takes what it is given."""
        if self.guard != "raise" or "loss" not in totals:
            return None
        begin = state, totals
        self.kept = _copied(begin) if self.kept is None else copy_program(self.kept, begin)
        state, totals = self.kept
        return Begun(state, totals, segment, epoch, at)

    def _check(self, before: Begun, state: Any, totals: Totals, reached: int) -> None:
        """Raise when a step of the program came to something that is not finite."""
        if not is_finite_loss(before.totals):
            needs = "the losses of the epoch that is gone on with must be finite"
            hint = "Did you mean an earlier checkpoint, or on_nonfinite=None, as it was saved with?"
            raise bad_value(self.call, needs, "a sum of them that is not", hint)
        if self.finite is None:
            self.finite = are_finite(before.state)
        now = are_finite(state)
        if not is_finite_loss(totals) or (self.finite & ~now).any():

            def replay(state: Any, totals: Totals, start: int, stop: int) -> Any:
                state, totals = _copied((state, totals))
                return self._call(state, totals, before.segment, before.epoch, start, stop)

            setting = self.call, self.step, self.transform, self.key
            raise stopped(*setting, before, self.finite, reached, replay, self.feed.examples)
        self.finite = now

    def _zero(self, state: Any, segment: Segment) -> Totals:
        if self.zero is not None:
            return zeros_like(self.zero)
        arguments = state, segment.data, segment.order, self.key
        totals = zero_totals(self.step, self.transform, self.guard, *arguments, placement=self.placement)
        self.zero = specs(totals)
        return totals

    def _call(
        self, state: Any, totals: Totals, segment: Segment, epoch: int, start: int, stop: int
    ) -> tuple[Any, Totals, int]:
        where = np.array([start, stop, segment.first, epoch], np.int32)
        data, reached = (segment.data, segment.order), stop
        with told_what_fills_it(self.call, state, segment, self.guard == "raise"):
            if self.key is None:
                fixed = self.step, self.transform
                totals = evaluation_program(*fixed, state, totals, *data, where, placement=self.placement)
            else:
                guarded, rest = (self.step, self.transform, self.guard), (state, totals, *data, self.key, where)
                state, totals, reached = train_program(*guarded, *rest, placement=self.placement)
            return state, jax.block_until_ready(totals), int(reached)

    def _prepared(self, state: Any, totals: Totals, segment: Segment) -> Any:
        """Have the program for a segment's shapes compiled, by running none of its steps."""
        if self.tail is not None:
            self.tail.result()
            self.tail = None
        before = trace_count()
        state, totals, _ = self._call(state, totals, segment, 0, 0, 0)
        if trace_count() > before and len(self.paces) >= self.feed.kinds:
            earlier = ", ".join(str(size) for size, *_ in self.paces)
            warnings.warn(
                f"{self.call}: compiled again, for batches of {segment.batch_size} from "
                f"{describe(specs(segment.data))}, after batches of {earlier}. A shape is compiled once: let all "
                "batches but the last have one size",
                stacklevel=2,
            )
        if self.beside is not None and not self.paces and (tail := self.feed.tail()) is not None:
            where = jax.ShapeDtypeStruct((4,), jnp.int32)
            arguments = (*jax.tree.map(_lying, (state, totals, *tail, self.key)), where)
            # Traced here, where the caller's settings (float64, say) hold: they are a thread's own.
            fixed = self.step, self.transform, self.guard
            lowered = train_program.lower(*fixed, *arguments, placement=self.placement)
            self.tail = self.beside.submit(lowered.compile)
        return state, totals


def _resumed(zero: Totals, saved: Sequence[tuple[str, Any, Any]]) -> Totals:
    """The sums of an epoch that is gone on with; what was not measured before, such as what the guard skips, counts
    from here on."""
    sums = {name: (high, low) for name, high, low in saved}

    def found(name: str, zeros: tuple[Flat, Flat]) -> tuple[Flat, Flat]:
        high, low = zeros
        if name not in sums or sums[name][0].shape != high.numbers.shape:
            return zeros
        return Flat(sums[name][0], high.shape, high.finish), Flat(sums[name][1], low.shape, low.finish)

    return {name: found(name, zeros) for name, zeros in zero.items()}


def _lying(leaf: Any) -> jax.ShapeDtypeStruct:
    """The spec of an array, with where it was put; what nobody put anywhere goes where the rest of a program is."""
    where = leaf.sharding if getattr(leaf, "committed", True) else None
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _copied(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
