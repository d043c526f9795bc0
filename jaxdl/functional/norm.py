"""Normalisation."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import floating
from jaxdl.core.errors import bad_value, describe
from jaxdl.functional.shape import along_last


def check_batch_norm(call: str, x: jax.Array) -> None:
    """Raise unless ``x`` is a floating array with a batch and a channel axis."""
    floating(call, "input", x)
    if len(x.shape) < 2:
        raise bad_value(call, "input must have a batch axis and a channel axis, (batch, …, channels)", x)


def batch_norm(
    x: jax.Array,
    scale: jax.Array | None,
    bias: jax.Array | None,
    mean: jax.Array,
    var: jax.Array,
    *,
    train: bool,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    where: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Batch normalisation over all axes but the last, and the new running statistics.

    ``y = (x − μ) / √(σ² + ε) · scale + bias``. While training, μ and σ² are the batch's mean and its biased variance
    (mean of squared deviations), and ``running ← momentum · running + (1 − momentum) · batch``; otherwise they are the
    running ones.

    Conventions: momentum is the share that is *kept*, as in Flax and Keras (PyTorch's momentum is 1 minus it); the
    running variance takes the biased variance, as in Flax and Keras (PyTorch puts the unbiased one, ``n/(n−1)`` times
    it, into the running variance, and normalises by the biased one as we do). Statistics are computed in
    ``promote_types(x.dtype, float32)`` and kept in the dtype they came in; the variance in two passes, which a large
    mean does not spoil (Flax by default takes ``E[x²] − E[x]²``). An empty batch leaves the statistics as they are.

    **Shapes** ``x: (batch, …, channels)``; ``scale``, ``bias``, ``mean``, ``var``: ``(channels,)``; ``where``:
    broadcasts to ``x``, False for padding, which then counts in no statistic. ``-> y`` shaped like ``x``, new ``mean``,
    new ``var``.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1.0], [3.0]])
        >>> y, mean, var = batch_norm(x, None, None, jnp.zeros(1), jnp.ones(1), train=True)
        >>> [round(float(v), 3) for v in (*y[:, 0], mean[0], var[0])]
        [-1.0, 1.0, 0.2, 1.0]

    **References** Ioffe and Szegedy, Batch normalization, 2015.
    """
    check_batch_norm("batch_norm", x)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    for name, vector in (("scale", scale), ("bias", bias), ("mean", mean), ("var", var)):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise bad_value("batch_norm", f"{name} must have shape {x.shape[-1:]} for input {describe(x)}", vector)
    if where is not None and (where.ndim != x.ndim or where.shape[-1] != 1):
        raise bad_value("batch_norm", f"where must have {x.ndim} axes, the last of size 1", where)
    wide = _kept(x.astype(dtype), where)
    batch_mean, batch_var = mean.astype(dtype), var.astype(dtype)
    if train and x.size:
        axes = tuple(range(x.ndim - 1))
        count = x.size // x.shape[-1] if where is None else jnp.broadcast_to(where, (*x.shape[:-1], 1)).sum()
        share = 1 / jnp.maximum(count, 1)
        batch_mean = wide.sum(axes) * share
        batch_var = jnp.square(_kept(wide - along_last(batch_mean, x.ndim), where)).sum(axes) * share
        mean, var = (
            jnp.where(count > 0, momentum * old + (1 - momentum) * lax.stop_gradient(new), old).astype(old.dtype)
            for old, new in ((mean, batch_mean), (var, batch_var))
        )
    factor = lax.rsqrt(batch_var + epsilon)
    if scale is not None:
        factor = factor * scale
    y = (wide - along_last(batch_mean, x.ndim)) * along_last(factor, x.ndim)
    if bias is not None:
        y = y + along_last(bias, x.ndim)
    return y.astype(x.dtype), mean, var


def _kept(x: jax.Array, where: jax.Array | None) -> jax.Array:
    return x if where is None else jnp.where(where, x, 0)
