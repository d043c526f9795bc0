"""Many steps as one XLA program whose loop bounds are arguments: compiled once, it serves any number of steps."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from jaxdl.core import Sum, bad_type, bad_value, describe
from jaxdl.core.spread import spreading
from jaxdl.core.sums import Finish, count
from jaxdl.train.placement import Spread
from jaxdl.train.step import Transform

StepFn = Callable[[Any, Any], tuple[Any, Any]]
OnNonfinite = Literal["raise", "skip"] | None


@struct.dataclass
class Flat:
    """A :class:`jaxdl.Sum` as one vector: its total, of that shape, and then its weight."""

    numbers: Any
    shape: tuple[int, ...] = struct.field(pytree_node=False)
    finish: Finish = struct.field(pytree_node=False)


Totals = dict[str, tuple[Flat, Flat]]
"""For each metric its sum over the steps so far, as ``(high, low)``: see :func:`_plus`."""

LARGE = 1 << 14
"""Entries from which on a product begins sooner than a reduction ends."""

_traces = 0


def trace_count() -> int:
    """How many programs have been traced in this process; one that is found in the cache is not traced again."""
    return _traces


@functools.lru_cache(maxsize=128)
def _checked_step(step: StepFn, placement: Spread | None) -> StepFn:
    """The step with its results checked; jitted, so that one trace serves the totals' structure and each program."""

    def checked(carry: Any, batch: Any) -> tuple[Any, Any]:
        with spreading(None if placement is None else placement.where(carry)):
            return _checked(step(carry, batch), carry)

    return jax.jit(checked)


def _batch(
    transform: Transform | None,
    data: Any,
    order: jax.Array | None,
    key: Any,
    where: jax.Array,
    i: Any,
    placement: Spread | None = None,
) -> Any:
    """Row ``i`` of the order, gathered from the data and transformed by a key of its own.

    Without an order, row ``i`` of the data.
    """
    if order is None:
        batch = jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, i, keepdims=False), data)
    else:
        rows = lax.dynamic_index_in_dim(order, i, keepdims=False)
        batch = jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), data)
    if placement is not None:
        batch = placement.batch(batch)
    if transform is None:
        return batch
    _, _, first, epoch = where
    return transform(batch, None if key is None else jax.random.fold_in(jax.random.fold_in(key, epoch), first + i))


def zero_totals(
    step: StepFn,
    transform: Transform | None,
    guard: OnNonfinite,
    carry: Any,
    data: Any,
    order: Any,
    key: Any,
    placement: Spread | None = None,
) -> Totals:
    """The totals that an epoch begins with, of the metrics that the step will give. It traces, so once a run."""
    where, i = jax.ShapeDtypeStruct((4,), jnp.int32), jax.ShapeDtypeStruct((), jnp.int32)
    batch = jax.eval_shape(functools.partial(_batch, transform), data, order, key, where, i)
    one_step = functools.partial(_one_step, step, guard, placement)
    _, metrics = jax.eval_shape(lambda carry, batch: one_step(_begin(guard, carry, placement), batch), carry, batch)
    return zeros_like({name: (metric, metric) for name, metric in metrics.items()})


def zeros_like(totals: Totals) -> Totals:
    """Totals of nothing, each in a buffer of its own, which is donated; made from arrays or specs."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), totals)


def _plus(total: tuple[Flat, Flat], value: Flat) -> tuple[Flat, Flat]:
    """Add a step's total and weight. What rounding takes from ``high`` is kept in ``low`` (Knuth's two-sum).

    A plain float32 sum counts exactly only up to 2²⁴; and one that is begun anew each program depends on their lengths.
    """
    high, low = (flat.numbers for flat in total)
    new = high + value.numbers
    kept = new - high
    low = low + ((high - (new - kept)) + (value.numbers - kept))
    return Flat(new, value.shape, value.finish), Flat(low, value.shape, value.finish)


Guarded = tuple[Any, Any]
"""What goes from step to step and, with the guard ``"skip"``, which of its leaves are finite; else None."""


def _begin(guard: OnNonfinite, carry: Any, placement: Spread | None) -> Guarded:
    return carry, finite_leaves(carry, placement is not None) if guard == "skip" else None


def finite_leaves(tree: Any, spread: bool = False) -> jax.Array:
    """For each leaf whether all its entries are finite; what is not floating is. ``spread``: as for all_finite."""
    found = [all_finite(leaf, spread) if is_inexact(leaf) else jnp.bool_(True) for leaf in jax.tree.leaves(tree)]
    return jnp.stack(found) if found else jnp.ones(0, bool)


def all_finite(leaf: jax.Array, spread: bool = False) -> jax.Array:
    """Whether all entries are finite; ``spread``: of a leaf over several devices, which is not to be gathered for that.

    Of a large leaf by its product with zeros, which is nan where an entry is not: XLA:CPU reads it several times as
    fast for that as for a logical reduction, which it does not vectorise.
    """
    width = math.gcd(leaf.size, 512)
    if spread or leaf.size < LARGE or width < 16 or leaf.dtype not in (jnp.float32, jnp.float64):
        return jnp.isfinite(leaf).all()
    rows = jnp.matmul(leaf.reshape(-1, width), jnp.zeros(width, leaf.dtype), precision="highest")  # 3e38 stays finite
    return jnp.isfinite(rows).all()


def is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def _one_step(
    step: StepFn, guard: OnNonfinite, placement: Spread | None, now: Guarded, batch: Any
) -> tuple[Guarded, dict[str, Flat]]:
    """One step; with ``"skip"`` the state as it was, and metrics of no weight, where a step came to no finite one.

    What was not finite before may stay so, such as a best loss of inf.
    """
    carry, metrics = _checked_step(step, placement)(now[0], batch)
    if guard != "skip":
        return (carry, None), metrics
    if "loss" not in metrics:
        raise bad_value("step", 'on_nonfinite="skip" needs a step with a metric named loss', sorted(metrics))
    finite = finite_leaves(carry, placement is not None)
    good = jnp.isfinite(metrics["loss"].numbers).all() & (finite | ~now[1]).all()
    kept = jax.tree.map(functools.partial(jnp.where, good), (carry, finite), now)
    # A step that skips by itself, as with a loss scale, counts so already.
    own = metrics.get("skipped", Flat(jnp.array([0.0, 1.0]), (), count))
    weighed = {name: metric.replace(numbers=jnp.where(good, metric.numbers, 0)) for name, metric in metrics.items()}
    return kept, weighed | {"skipped": own.replace(numbers=jnp.where(good, own.numbers, 1))}


def _loop(
    step: StepFn,
    transform: Transform | None,
    guard: OnNonfinite,
    carry: Any,
    totals: Totals,
    data: Any,
    order: jax.Array | None,
    key: jax.Array | None,
    where: jax.Array,
    placement: Spread | None = None,
) -> tuple[Any, Totals, jax.Array]:
    """Run steps ``start`` to ``stop`` over ``data[order[i]]``, where ``start, stop, first, epoch = where``.

    ``first`` is the number of the order's first row within the epoch: with it, a transform's key is a function of
    (seed, epoch, step), whatever the chunks. Gives the state, the totals, and the step that would be next: with the
    guard ``"raise"`` the loop ends after a step whose loss is not finite. It asks the total that is carried anyway, so
    that its body is the same. With a placement each batch and each state lies as that says.
    """
    global _traces
    _traces += 1

    def going(loop: tuple[jax.Array, Guarded, Totals]) -> jax.Array:
        i, _, totals = loop
        if guard != "raise" or "loss" not in totals:
            return i < where[1]
        return (i < where[1]) & jnp.isfinite(totals["loss"][0].numbers).all()

    def body(loop: tuple[jax.Array, Guarded, Totals]) -> tuple[jax.Array, Guarded, Totals]:
        i, now, totals = loop
        batch = _batch(transform, data, order, key, where, i, placement)
        now, metrics = _one_step(step, guard, placement, now, batch)
        if placement is not None:
            now = placement.state(now[0]), now[1]
        return i + 1, now, {name: _plus(totals[name], metric) for name, metric in metrics.items()}

    reached, (carry, _), totals = lax.while_loop(going, body, (where[0], _begin(guard, carry, placement), totals))
    if placement is not None:
        totals, reached = placement.everywhere((totals, reached))
    return carry, totals, reached


def _checked(result: Any, carry: Any) -> tuple[Any, dict[str, Flat]]:
    """The step's two results: the state as it came in kind, and each metric's sum; else an error."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise bad_type("step", "a step must return (train_state, metrics), where metrics is a dict", result)
    new, metrics = result
    tree, new_tree = str(jax.tree.structure(carry)), str(jax.tree.structure(new))
    if tree != new_tree:
        raise bad_type("step", f"a step must return a train state like the one it got, {tree}", new_tree)
    for (path, old), leaf in zip(jax.tree.leaves_with_path(carry), jax.tree.leaves(new), strict=True):
        if jnp.shape(old) != jnp.shape(leaf) or jnp.result_type(old) != jnp.result_type(leaf):
            needs = f"train state{jax.tree_util.keystr(path)} must stay {describe(old)}"
            raise bad_type("step", needs, leaf)
    return new, {name: _flat(name, metric) for name, metric in metrics.items()}


def _flat(name: str, metric: Any) -> Flat:
    if name in ("epoch", "steps", "seconds"):
        raise bad_value("step", "metrics must have other names than epoch, steps and seconds", repr(name))
    if not isinstance(metric, Sum):
        if jnp.shape(metric):
            raise bad_value("step", f"the metric {name!r} must be a Sum or a scalar", metric)
        metric = Sum(metric, 1)
    if jnp.shape(metric.weight):
        raise bad_value("step", f"the weight of the metric {name!r} must be a scalar", metric.weight)
    dtype = jnp.promote_types(jnp.result_type(metric.total), jnp.float32)
    parts = jnp.ravel(metric.total), jnp.ravel(metric.weight)
    return Flat(jnp.concatenate([part.astype(dtype) for part in parts]), jnp.shape(metric.total), metric.finish)


train_program = jax.jit(_loop, static_argnums=(0, 1, 2), static_argnames="placement", donate_argnums=(3, 4))
"""``(step, transform, guard, carry, totals, data, order, key, where, placement=None) -> (carry, totals, reached)``;
carry and totals are donated."""


@functools.partial(jax.jit, donate_argnums=0, keep_unused=True)
def copy_program(spare: Any, tree: Any) -> Any:
    """A copy of a tree in the memory of a spare one like it: fresh memory would cost several times as much."""
    return jax.tree.map(jnp.copy, tree)


batch_program = jax.jit(_batch, static_argnums=0)
"""``(transform, data, order, key, where, i)``: the batch of step ``i`` alone."""


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames="placement", donate_argnums=3)
def evaluation_program(
    measure: StepFn,
    transform: Transform | None,
    variables: Any,
    totals: Totals,
    data: Any,
    order: Any,
    where: Any,
    placement: Spread | None = None,
) -> Totals:
    """The totals of ``measure(variables, batch) -> (variables, metrics)`` over the same loop."""
    return _loop(measure, transform, None, variables, totals, data, order, None, where, placement)[1]


def means(totals: Totals) -> dict[str, Any]:
    """Each metric's figure, the loss first; nan where nothing had weight. Waits for the program.

    Figures are floats, or NumPy arrays where a metric has several.
    """
    # XLA gives dicts back sorted by name; the loss comes first for people.
    host = jax.device_get(totals)
    return {name: _figure(*host[name]) for name in sorted(host, key=lambda name: name != "loss")}


def _figure(high: Flat, low: Flat) -> Any:
    numbers = np.add(high.numbers, low.numbers, dtype=np.float64)
    total, weight = numbers[:-1].reshape(high.shape), numbers[-1]
    figure = np.asarray(high.finish(total, weight if weight else np.float64(1)), np.float64)
    figure = figure if weight else np.full_like(figure, np.nan)
    return figure if figure.ndim else float(figure)
