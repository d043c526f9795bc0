"""Computing in half precision over weights kept in full: the casts, and the scale that float16 needs."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from jaxdl.core import LayerLike, Sum, bad_value
from jaxdl.core.checks import positive, positive_int
from jaxdl.core.sums import count
from jaxdl.train.transformation import check_optimizer, rule_of, transformation

POLICIES = (None, "bfloat16", "float16")


def check_policy(call: str, policy: str | None) -> str | None:
    """The policy, or an error that lists what there is."""
    if policy not in POLICIES:
        raise bad_value(call, 'policy must be "bfloat16", "float16" or None', repr(policy))
    return policy


def cast(tree: Any, dtype: Any) -> Any:
    """The tree with its floating leaves in that dtype."""
    floats = (leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating))
    if all(jnp.result_type(leaf) == dtype for leaf in floats):
        return tree
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating) else leaf, tree
    )


def apply_in(
    policy: str | None, model: LayerLike, params: Any, state: Any, x: Any, *, train: bool, key: jax.Array | None = None
) -> tuple[Any, Any]:
    """``model.apply`` with floating parameters and inputs cast to the policy's dtype.

    What is narrower than float32 in the output comes back as float32. The state goes in and comes out in its own
    dtypes.
    """
    if policy is None:
        return model.apply(params, state, x, train=train, key=key)
    dtype = jnp.dtype(policy)
    output, new = model.apply(cast(params, dtype), state, cast(x, dtype), train=train, key=key)
    wide = jax.tree.map(lambda leaf: cast(leaf, jnp.promote_types(leaf.dtype, jnp.float32)), output)
    return wide, jax.tree.map(lambda leaf, old: leaf.astype(jnp.result_type(old)), new, state)


@struct.dataclass
class LossScale:
    """The state of :func:`loss_scaled`: the scale, how many steps in a row were ``good``, whether the last one was
    ``skipped``, and the state of the optimizer within."""

    scale: Any
    good: Any
    skipped: Any
    inner: Any


def loss_scaled(
    optimizer: optax.GradientTransformation, *, initial: float = 2.0**16, interval: int = 2000
) -> optax.GradientTransformation:
    """The optimizer with the dynamic loss scale that float16 needs: small gradients would be 0 in it.

    A step that is made with it multiplies its loss by the scale and divides the gradient by it, so that clipping and
    decay within the optimizer see the gradient as it is. After ``interval`` good steps in a row the scale doubles.
    Where an entry of the gradient is not finite it halves (down to 1), and the step is skipped: parameters, the
    optimizer's state (with its averages and its count of steps) and the layers' state stay as they are. The rule is
    that of PyTorch's ``GradScaler``.

    ``fit(…, policy="float16")`` puts it around the optimizer by itself. It must be the outermost: a scale within
    ``optax.chain`` is not seen.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> optimizer, params = loss_scaled(optax.sgd(1.0)), {"w": jnp.ones(2)}
        >>> updates, state = optimizer.update({"w": jnp.array([1.0, jnp.inf])}, optimizer.init(params), params)
        >>> updates["w"].tolist(), float(state.scale), bool(state.skipped)
        ([0.0, 0.0], 32768.0, True)

    **References** Micikevicius, Narang, Alben, Diamos, Elsen, Garcia, Ginsburg, Houston, Kuchaiev, Venkatesh and Wu:
    "Mixed precision training", 2018.
    """
    check_optimizer("loss_scaled", optimizer)
    initial, interval = positive("loss_scaled", "initial", initial), positive_int("loss_scaled", "interval", interval)
    return transformation(_Scaled(optimizer, initial, interval))


@dataclass(frozen=True)
class _Scaled:
    optimizer: optax.GradientTransformation
    initial: float
    interval: int

    def init(self, params: Any) -> LossScale:
        scale = jnp.asarray(self.initial, jnp.float32)
        return LossScale(scale, jnp.zeros((), jnp.int32), jnp.zeros((), bool), self.optimizer.init(params))

    def update(self, updates: Any, state: LossScale, params: Any = None, **extra: Any) -> tuple[Any, LossScale]:
        finite = jnp.asarray(True)
        for leaf in jax.tree.leaves(updates):
            finite &= jnp.isfinite(leaf).all()
        inner = optax.with_extra_args_support(self.optimizer)
        updates, advanced = inner.update(updates, state.inner, params, **extra)
        updates = jax.tree.map(lambda leaf: jnp.where(finite, leaf, jnp.zeros_like(leaf)), updates)
        grown = finite & (state.good + 1 >= self.interval)
        # At most 2¹²⁷, so that it stays finite where all gradients are zero.
        scale = jnp.where(grown, jnp.minimum(state.scale * 2, 2.0**127), state.scale)
        scale = jnp.where(finite, scale, jnp.maximum(state.scale / 2, 1.0))
        good = jnp.where(grown | ~finite, 0, state.good + 1)
        return updates, LossScale(scale, good, ~finite, select(finite, advanced, state.inner))


def is_scaled(optimizer: optax.GradientTransformation) -> bool:
    """Whether it is one of :func:`loss_scaled`."""
    return isinstance(rule_of(optimizer), _Scaled)


def select(condition: jax.Array, new: Any, old: Any) -> Any:
    """The new tree where the condition holds, else the old one."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def unscaled(gradients: Any, scale: jax.Array) -> Any:
    """Gradients divided by the scale, each in its own dtype."""

    def divide(leaf: jax.Array) -> jax.Array:
        return (leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)) / scale).astype(leaf.dtype)

    return jax.tree.map(divide, gradients)


def scale_metrics(before: LossScale, after: LossScale, metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a step, with ``loss_scale`` and ``skipped``.

    Of a step that was skipped since its numbers overflowed, what is not finite does not count. At a scale of 1 it does:
    there is nothing left to lower, and the numbers are wrong for another reason.
    """
    if {"loss_scale", "skipped"} & set(metrics):
        raise bad_value("make_step", "a loss scale needs the names loss_scale and skipped", sorted(metrics))
    overflow = after.skipped & (before.scale > 1)

    def counted(metric: Any) -> Any:
        metric = metric if isinstance(metric, Sum) else Sum.of(jnp.asarray(metric))
        drop = overflow & ~(jnp.isfinite(metric.total).all() & jnp.isfinite(metric.weight))
        return select(~drop, metric, jax.tree.map(jnp.zeros_like, metric))

    kept = {name: counted(metric) for name, metric in metrics.items()}
    skipped = Sum(after.skipped.astype(jnp.float32), jnp.ones(()), count)
    return kept | {"loss_scale": Sum.of(before.scale), "skipped": skipped}
