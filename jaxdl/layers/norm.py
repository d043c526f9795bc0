"""Normalisation."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Ragged, each_position, layer, positions, stateless
from jaxdl.core.checks import fraction, positive, positive_int
from jaxdl.functional.norm import check_batch_norm, check_channels, check_group_norm, check_instance_norm
from jaxdl.layers.initializers import Initializer, draw, ones, zeros


@layer
def batch_norm(
    *,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    use_scale: bool = True,
    use_bias: bool = True,
    scale_init: Initializer = ones,
    param_dtype: Any = jnp.float32,
) -> Any:
    """Batch normalisation over all axes but the last; see :func:`jaxdl.functional.batch_norm` for formula and
    conventions.

    Over a :class:`jaxdl.Ragged` input the padded positions count in no statistic. Under a mesh the statistics are those
    of the global batch; micro-batches one after the other update them one after the other.

    **Shapes** ``x: (batch, …, channels) ->`` the same. **Params** ``scale``: ones, ``bias``: zeros: ``(channels,)``, so
    that it starts as the plain normalisation.
    **State** ``mean``, ``var``: ``(channels,)``, the running statistics that ``train=False`` uses, in
    ``promote_types(param_dtype, float32)``.

    **Args** ``momentum``: the share of the running statistics that is kept at each step. ``scale_init``: zeros let a
    residual block start as the identity.

    **Raises** ``ValueError`` for an input without a batch and a channel axis, ``TypeError`` for one that is not
    floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> norm = batch_norm()
        >>> params, state = norm.init(jax.random.key(0), jnp.ones((8, 4)))
        >>> y, state = norm.apply(params, state, jnp.ones((8, 4)), train=True)
        >>> float(y.max()), round(float(state["mean"][0]), 6)
        (0.0, 0.1)

    **References** Ioffe and Szegedy, Batch normalization, 2015.
    """
    fraction("batch_norm", "momentum", momentum)
    positive("batch_norm", "epsilon", epsilon)
    statistics_dtype = jnp.promote_types(param_dtype, jnp.float32)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = positions("batch_norm", x)
        check_batch_norm("batch_norm", array)
        shape = array.shape[-1:]
        params = _vectors(key, array, param_dtype, use_scale, use_bias, scale_init)
        return params, {"mean": jnp.zeros(shape, statistics_dtype), "var": jnp.ones(shape, statistics_dtype)}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        y, mean, var = F.batch_norm(
            positions("batch_norm", x),
            params.get("scale"),
            params.get("bias"),
            state["mean"],
            state["var"],
            train=train,
            momentum=momentum,
            epsilon=epsilon,
            where=_real(x),
        )
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), {"mean": mean, "var": var}

    return init, apply, each_position(apply)


@stateless
def layer_norm(
    *, epsilon: float = 1e-5, use_scale: bool = True, use_bias: bool = True, param_dtype: Any = jnp.float32
) -> Any:
    """Layer normalisation over the last axis; see :func:`jaxdl.functional.layer_norm` for formula and conventions.

    **Shapes** ``x: (…, channels) ->`` the same. **Params** ``scale``: ones, ``bias``: zeros: ``(channels,)``, so that
    it starts as the plain normalisation.

    **Raises** ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> norm = layer_norm()
        >>> params, state = norm.init(jax.random.key(0), jnp.ones((2, 4)))
        >>> norm.apply(params, state, jnp.array([[1.0, 1.0, 3.0, 3.0]]), train=False)[0].round(3).tolist()
        [[-1.0, -1.0, 1.0, 1.0]]

    **References** Ba, Kiros and Hinton, Layer normalization, 2016.
    """
    positive("layer_norm", "epsilon", epsilon)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_channels("layer_norm", x)
        return _vectors(key, x, param_dtype, use_scale, use_bias)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.layer_norm(x, params.get("scale"), params.get("bias"), epsilon=epsilon)

    return init, apply


@stateless
def rms_norm(*, epsilon: float = 1e-5, use_scale: bool = True, param_dtype: Any = jnp.float32) -> Any:
    """Normalisation by the root mean square of the last axis; see :func:`jaxdl.functional.rms_norm`.

    **Shapes** ``x: (…, channels) ->`` the same. **Params** ``scale``: ones, ``(channels,)``, so that it starts as the
    plain normalisation.

    **Raises** ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> norm = rms_norm()
        >>> params, state = norm.init(jax.random.key(0), jnp.ones((2, 2)))
        >>> norm.apply(params, state, jnp.array([[4.0, -4.0]]), train=False)[0].round(3).tolist()
        [[1.0, -1.0]]

    **References** Zhang and Sennrich, Root mean square layer normalization, 2019.
    """
    positive("rms_norm", "epsilon", epsilon)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_channels("rms_norm", x)
        return _vectors(key, x, param_dtype, use_scale, False)

    def apply(params: dict[str, Any], x: jax.Array) -> jax.Array:
        return F.rms_norm(x, params.get("scale"), epsilon=epsilon)

    return init, apply


@layer
def group_norm(
    groups: int,
    *,
    epsilon: float = 1e-5,
    use_scale: bool = True,
    use_bias: bool = True,
    param_dtype: Any = jnp.float32,
) -> Any:
    """Group normalisation: each example over its positions and each of ``groups`` parts of its channels; see
    :func:`jaxdl.functional.group_norm`.

    Over a :class:`jaxdl.Ragged` input the padded positions count in no statistic.

    **Shapes** ``x: (batch, …, channels) ->`` the same. **Params** ``scale``: ones, ``bias``: zeros: ``(channels,)``, so
    that it starts as the plain normalisation.

    **Raises** ``ValueError`` unless the channels are a multiple of ``groups``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> norm = group_norm(2)
        >>> params, state = norm.init(jax.random.key(0), jnp.ones((1, 8, 8, 6)))
        >>> norm.apply(params, state, jnp.ones((1, 8, 8, 6)), train=False)[0].shape
        (1, 8, 8, 6)

    **References** Wu and He, Group normalization, 2018.
    """
    positive_int("group_norm", "groups", groups)
    positive("group_norm", "epsilon", epsilon)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = positions("group_norm", x)
        check_group_norm("group_norm", array, groups)
        return _vectors(key, array, param_dtype, use_scale, use_bias), {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        array = positions("group_norm", x)
        y = F.group_norm(array, groups, params.get("scale"), params.get("bias"), epsilon=epsilon, where=_real(x))
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), state

    return init, apply


@layer
def instance_norm(
    *, epsilon: float = 1e-5, use_scale: bool = True, use_bias: bool = True, param_dtype: Any = jnp.float32
) -> Any:
    """Instance normalisation: each channel of each example over its positions; see
    :func:`jaxdl.functional.instance_norm`.

    With scale and bias, as the other norms here have them (PyTorch's has neither by default). Over a
    :class:`jaxdl.Ragged` input the padded positions count in no statistic.

    **Shapes** ``x: (batch, *spatial, channels) ->`` the same. **Params** ``scale``: ones, ``bias``: zeros:
    ``(channels,)``, so that it starts as the plain normalisation.

    **Raises** ``ValueError`` for an input without spatial axes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> norm = instance_norm()
        >>> params, state = norm.init(jax.random.key(0), jnp.ones((1, 2, 1)))
        >>> norm.apply(params, state, jnp.array([[[1.0], [3.0]]]), train=False)[0].round(3).tolist()
        [[[-1.0], [1.0]]]

    **References** Ulyanov, Vedaldi and Lempitsky, Instance normalization: the missing ingredient for fast stylization,
    2016.
    """
    positive("instance_norm", "epsilon", epsilon)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = positions("instance_norm", x)
        check_instance_norm("instance_norm", array)
        return _vectors(key, array, param_dtype, use_scale, use_bias), {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        array = positions("instance_norm", x)
        y = F.instance_norm(array, params.get("scale"), params.get("bias"), epsilon=epsilon, where=_real(x))
        return (Ragged(y, x.lengths) if isinstance(x, Ragged) else y), state

    return init, apply


def _vectors(
    key: jax.Array, x: jax.Array, dtype: Any, use_scale: bool, use_bias: bool, scale_init: Initializer = ones
) -> dict[str, jax.Array]:
    scale = {"scale": (scale_init, x.shape[-1:])} if use_scale else {}
    bias = {"bias": (zeros, x.shape[-1:])} if use_bias else {}
    return draw(key, dtype, **scale, **bias)


def _real(x: Any) -> jax.Array | None:
    """Where the positions of a ragged batch are real, with an axis for each of its array."""
    return x.mask(x.x.ndim) if isinstance(x, Ragged) else None
