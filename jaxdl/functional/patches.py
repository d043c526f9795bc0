"""Windows of the input as rows, and back."""

import math

import jax

from jaxdl.core.checks import floating, per_axis
from jaxdl.core.errors import bad_value
from jaxdl.functional.window import Padding, Sizes, check_spatial, make_window


def patches(
    x: jax.Array, window: Sizes, *, strides: Sizes = 1, padding: Padding = "VALID", dilation: Sizes = 1
) -> jax.Array:
    """What a window sees at each position, one after the other (unfold, im2col).

    The last axis goes through the window row by row, then through the channels, as a convolution's kernel does:
    ``patches(x, window) @ kernel.reshape(-1, out)`` is ``conv(x, kernel)``. ``torch.nn.Unfold`` and
    ``lax.conv_general_dilated_patches`` go through the channels first: reshape the last axis to ``(taps, channels)``
    and swap these two for their order.

    **Shapes** ``x: (batch, *spatial, channels) -> (batch, *positions, taps · channels)``.

    **Args** ``window``, ``strides``, ``dilation``: an int or one for each spatial axis. ``padding``: as in
    :func:`conv`.

    **Raises** ``ValueError`` for a wrong rank or a window that does not fit, ``TypeError`` for an input that is not
    floating.

    Example:
        >>> import jax.numpy as jnp
        >>> patches(jnp.arange(4.0).reshape(1, 4, 1), 2)
        Array([[[0., 1.],
                [1., 2.],
                [2., 3.]]], dtype=float32)

    **References** Chellapilla, Puri and Simard, High performance convolutional neural networks for document
    processing, 2006.
    """
    floating("patches", "input", x)
    check_spatial("patches", x)
    return make_window("patches", x.shape[1:-1], window, strides, padding, dilation).patches(x)


def fold(
    x: jax.Array,
    window: Sizes,
    spatial: Sizes,
    *,
    strides: Sizes = 1,
    padding: Padding = "VALID",
    dilation: Sizes = 1,
) -> jax.Array:
    """The sum of patches in their places: the transpose of :func:`patches`, and its inverse where none overlap.

    What several patches cover is their sum, as in ``torch.nn.Fold``, accumulated in ``promote_types(x.dtype,
    float32)``; ``fold(x) / fold(ones_like(x))`` is their mean. The order of the last axis is that of :func:`patches`.

    **Shapes** ``x: (batch, *positions, taps · channels) -> (batch, *spatial, channels)``.

    **Args** ``spatial``: the sizes of the result, an int or one for each axis; the rest as in :func:`patches`, of which
    ``positions`` must be what it gives for an input of these sizes.

    **Raises** ``ValueError`` for sizes that do not fit, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> fold(jnp.ones((1, 3, 2)), 2, 4).ravel()
        Array([1., 2., 2., 1.], dtype=float32)
    """
    floating("fold", "input", x)
    check_spatial("fold", x)
    sizes = per_axis("fold", "spatial", spatial, len(x.shape) - 2)
    frame = make_window("fold", sizes, window, strides, padding, dilation)
    positions = frame.positions(sizes)
    if x.shape[1:-1] != positions:
        needs = f"input must have positions {positions}, as many as the window has over spatial sizes {sizes}"
        raise bad_value("fold", needs, x)
    if x.shape[-1] % math.prod(frame.size):
        raise bad_value("fold", f"the last axis must be a multiple of the window's {math.prod(frame.size)} taps", x)
    return frame.fold(x, sizes)
