"""Normalisation."""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.core.checks import floating, fraction, positive, positive_int
from jaxdl.core.errors import bad_value
from jaxdl.functional.moments import (
    batch_normalised,
    check_vectors,
    check_where,
    moments,
    normalised,
    standardised,
    widened,
)
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
    check_vectors("batch_norm", x, scale=scale, bias=bias, mean=mean, var=var)
    check_where("batch_norm", x, where)
    fraction("batch_norm", "momentum", momentum)
    positive("batch_norm", "epsilon", epsilon)
    wide = widened(x, where)
    if train and x.size:
        y, centre, spread, count = batch_normalised(wide, where, scale, bias, epsilon)
        mean, var = (
            jnp.where(count.reshape(1) > 0, momentum * old + (1 - momentum) * new, old).astype(old.dtype)
            for old, new in (
                (mean, lax.stop_gradient(centre).reshape(-1)),
                (var, lax.stop_gradient(spread).reshape(-1)),
            )
        )
        return y.astype(x.dtype), mean, var
    centre, spread = (along_last(vector.astype(wide.dtype), x.ndim) for vector in (mean, var))
    return normalised(wide, centre, spread, scale, bias, epsilon).astype(x.dtype), mean, var


def layer_norm(
    x: jax.Array, scale: jax.Array | None = None, bias: jax.Array | None = None, *, epsilon: float = 1e-5
) -> jax.Array:
    """Layer normalisation: each position over its channels.

    ``y = (x − μ) / √(σ² + ε) · scale + bias``, where μ and σ² are the mean and the biased variance of the last axis.

    Conventions: ε stands under the root and is 1e-5 for every norm of this page, as in PyTorch (Flax has 1e-6, Keras
    1e-3): float32 rounds the variance of numbers around 1 by 1e-7, of bfloat16 inputs by more, and 1e-5 is well above
    it. Statistics are computed in ``promote_types(x.dtype, float32)``, the variance in two passes.

    **Shapes** ``x: (…, channels)``; ``scale``, ``bias``: ``(channels,)`` ``->`` the shape of ``x``.

    **Raises** ``ValueError`` for vectors of another length, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> layer_norm(jnp.array([[1.0, 3.0], [10.0, 30.0]])).round(3).tolist()
        [[-1.0, 1.0], [-1.0, 1.0]]

    **References** Ba, Kiros and Hinton, Layer normalization, 2016.
    """
    check_channels("layer_norm", x)
    check_vectors("layer_norm", x, scale=scale, bias=bias)
    positive("layer_norm", "epsilon", epsilon)
    return _by_rows(x, scale, bias, epsilon, centred=True)


def rms_norm(x: jax.Array, scale: jax.Array | None = None, *, epsilon: float = 1e-5) -> jax.Array:
    """Normalisation by the root mean square: layer normalisation that does not centre.

    ``y = x / √(mean(x²) + ε) · scale`` over the last axis, in ``promote_types(x.dtype, float32)`` up to the end. ε is
    1e-5, as in Llama 2 and 3 (Flax and Keras have 1e-6, PyTorch the dtype's own epsilon).

    **Shapes** ``x: (…, channels)``, ``scale: (channels,)`` ``->`` the shape of ``x``.

    **Raises** ``ValueError`` for a scale of another length, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> rms_norm(jnp.array([[4.0, -4.0]])).round(3).tolist()
        [[1.0, -1.0]]

    **References** Zhang and Sennrich, Root mean square layer normalization, 2019.
    """
    check_channels("rms_norm", x)
    check_vectors("rms_norm", x, scale=scale)
    positive("rms_norm", "epsilon", epsilon)
    return _by_rows(x, scale, None, epsilon, centred=False)


def group_norm(
    x: jax.Array,
    groups: int,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    epsilon: float = 1e-5,
    where: jax.Array | None = None,
) -> jax.Array:
    """Group normalisation: each example over its positions and each of ``groups`` parts of its channels.

    ``y = (x − μ) / √(σ² + ε) · scale + bias``, where μ and σ² are the mean and the biased variance of an example's
    group, over all positions; scale and bias are one for each channel. Conventions as in :func:`layer_norm`.

    **Shapes** ``x: (batch, …, channels)``; ``scale``, ``bias``: ``(channels,)``; ``where``: broadcasts to ``x``, the
    last axis of size 1, False for padding, which then counts in no statistic ``->`` the shape of ``x``.

    **Raises** ``ValueError`` unless the channels are a multiple of ``groups``.

    Example:
        >>> import jax.numpy as jnp
        >>> group_norm(jnp.array([[[1.0, 3.0, 20.0, 20.0], [3.0, 1.0, 40.0, 40.0]]]), 2).round(3).tolist()
        [[[-1.0, 1.0, -1.0, -1.0], [1.0, -1.0, 1.0, 1.0]]]

    **References** Wu and He, Group normalization, 2018.
    """
    check_group_norm("group_norm", x, groups)
    return _group_norm("group_norm", x, groups, scale, bias, epsilon, where)


def instance_norm(
    x: jax.Array,
    scale: jax.Array | None = None,
    bias: jax.Array | None = None,
    *,
    epsilon: float = 1e-5,
    where: jax.Array | None = None,
) -> jax.Array:
    """Instance normalisation: each channel of each example over its positions.

    :func:`group_norm` with a group for each channel.

    **Shapes** ``x: (batch, *spatial, channels)``; ``scale``, ``bias``: ``(channels,)``; ``where`` as in
    :func:`group_norm` ``->`` the shape of ``x``.

    **Raises** ``ValueError`` for an input without spatial axes, ``TypeError`` for one that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> instance_norm(jnp.array([[[1.0, 30.0], [3.0, 10.0]]])).round(3).tolist()
        [[[-1.0, 1.0], [1.0, -1.0]]]

    **References** Ulyanov, Vedaldi and Lempitsky, Instance normalization: the missing ingredient for fast stylization,
    2016.
    """
    check_instance_norm("instance_norm", x)
    return _group_norm("instance_norm", x, x.shape[-1], scale, bias, epsilon, where)


def check_channels(call: str, x: jax.Array) -> None:
    """Raise unless ``x`` is a floating array with a channel axis."""
    floating(call, "input", x)
    if not x.shape:
        raise bad_value(call, "input must have a channel axis, (…, channels)", x)


def check_group_norm(call: str, x: jax.Array, groups: int) -> None:
    """Raise unless ``x`` is a floating array ``(batch, …, channels)`` whose channels divide into ``groups``."""
    check_batch_norm(call, x)
    if x.shape[-1] % positive_int(call, "groups", groups):
        raise bad_value(call, f"the input's channels must be a multiple of groups={groups}", x)


def check_instance_norm(call: str, x: jax.Array) -> None:
    """Raise unless ``x`` is a floating array with positions to take statistics over."""
    floating(call, "input", x)
    if len(x.shape) < 3:
        needs = "input must have a batch axis, spatial axes and a channel axis, (batch, *spatial, channels)"
        raise bad_value(call, needs, x, "Did you mean layer_norm?")


def _by_rows(
    x: jax.Array, scale: jax.Array | None, bias: jax.Array | None, epsilon: float, *, centred: bool
) -> jax.Array:
    """Each position normalised over its channels, all positions as the rows of one matrix."""
    y = standardised(widened(x).reshape(math.prod(x.shape[:-1]), x.shape[-1]), epsilon, centred)
    y = y if scale is None else y * scale[None]
    y = y if bias is None else y + bias[None]
    return y.reshape(x.shape).astype(x.dtype)


def _group_norm(
    call: str,
    x: jax.Array,
    groups: int,
    scale: jax.Array | None,
    bias: jax.Array | None,
    epsilon: float,
    where: jax.Array | None,
) -> jax.Array:
    check_vectors(call, x, scale=scale, bias=bias)
    check_where(call, x, where)
    positive(call, "epsilon", epsilon)
    wide = widened(x, where)
    mean, var, _ = moments(wide, tuple(range(1, x.ndim - 1)), where, groups)
    return normalised(wide, mean, var, scale, bias, epsilon).astype(x.dtype)
