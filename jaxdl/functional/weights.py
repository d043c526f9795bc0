"""Kernels made of other arrays: by length and direction, by their largest singular value."""

import math

import jax
import jax.numpy as jnp

from jaxdl.core.checks import floating, positive_int
from jaxdl.core.errors import bad_value
from jaxdl.functional.shape import along_last


def weight_norm(direction: jax.Array, scale: jax.Array) -> jax.Array:
    """A kernel of a direction and a length for each output, ``W = g · v / ‖v‖``.

    The Euclidean norm is over all axes but the last, the outputs, as in ``torch.nn.utils.parametrizations.weight_norm``
    with ``dim=0`` (where outputs come first). It is computed in ``promote_types(dtype, float32)``; a direction of zeros
    gives zeros.

    **Shapes** ``direction: (…, out)``, ``scale: (out,)`` ``-> (…, out)``.

    **Raises** ``ValueError`` for another scale, ``TypeError`` for a direction that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> weight_norm(jnp.array([[3.0, 0.0], [4.0, 2.0]]), jnp.array([10.0, 1.0]))
        Array([[6., 0.],
               [8., 1.]], dtype=float32)

    **References** Salimans and Kingma, Weight normalization, 2016.
    """
    _kernel("weight_norm", "direction", direction)
    if scale.shape != direction.shape[-1:]:
        raise bad_value("weight_norm", f"scale must have shape ({direction.shape[-1]},)", scale)
    wide = direction.astype(jnp.promote_types(direction.dtype, jnp.float32))
    gain = scale.astype(wide.dtype) / lengths(wide)
    return (wide * along_last(gain, wide.ndim)).astype(direction.dtype)


def lengths(kernel: jax.Array) -> jax.Array:
    """``‖v‖`` of each output, at least the square root of the smallest normal number."""
    squares = jnp.sum(kernel * kernel, axis=tuple(range(kernel.ndim - 1)))
    return jnp.sqrt(jnp.maximum(squares, jnp.finfo(kernel.dtype).tiny))


def spectral_norm(
    kernel: jax.Array, u: jax.Array, v: jax.Array, *, iterations: int = 0
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A kernel divided by its largest singular value, ``W / σ(W)``, which power iteration estimates.

    The kernel counts as the matrix ``K: (in, out)`` of its leading axes, flattened, by its last. Each iteration takes
    ``u ← Kᵀ v / ‖Kᵀ v‖``, then ``v ← K u / ‖K u‖``; then ``σ = vᵀ K u``. Norms are at least 1e-12. No gradient goes
    through u and v: that of the kernel is that of ``W / (vᵀ K u)``. So does
    ``torch.nn.utils.parametrizations.spectral_norm``, where outputs come first (``dim=0``). All is computed in
    ``promote_types(dtype, float32)``; a kernel of zeros gives zeros (PyTorch nan).

    **Shapes** ``kernel: (…, out)``, ``u: (out,)``, ``v: (in,)``, in the product of the leading axes ``->`` the kernel,
    u, v.

    **Args** ``iterations``: 0 leaves u and v as they are.

    **Raises** ``ValueError`` for a kernel with fewer than two axes or other shapes of u and v.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[0.0, 4.0], [2.0, 0.0]])
        >>> w, u, v = spectral_norm(kernel, jnp.array([0.6, 0.8]), jnp.array([1.0, 0.0]), iterations=20)
        >>> w.round(4)
        Array([[0. , 1. ],
               [0.5, 0. ]], dtype=float32)

    **References** Miyato, Kataoka, Koyama and Yoshida, Spectral normalization for generative adversarial networks,
    2018.
    """
    _kernel("spectral_norm", "kernel", kernel)
    matrix = kernel.reshape(math.prod(kernel.shape[:-1]), kernel.shape[-1])
    matrix = matrix.astype(jnp.promote_types(kernel.dtype, jnp.float32))
    if u.shape != matrix.shape[1:] or v.shape != matrix.shape[:1]:
        shapes = f"({matrix.shape[1]},) and ({matrix.shape[0]},)"
        raise bad_value("spectral_norm", f"u and v must have shapes {shapes}", (u, v))
    if iterations:
        positive_int("spectral_norm", "iterations", iterations)
    still = jax.lax.stop_gradient(matrix)
    u, v = u.astype(matrix.dtype), v.astype(matrix.dtype)
    for _ in range(iterations):
        u = _unit(v @ still)
        v = _unit(still @ u)
    u, v = jax.lax.stop_gradient((u, v))
    sigma = v @ matrix @ u
    divided = matrix / jnp.where(sigma == 0, 1, sigma)
    return divided.reshape(kernel.shape).astype(kernel.dtype), u, v


def _unit(vector: jax.Array) -> jax.Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)


def _kernel(call: str, name: str, kernel: jax.Array) -> None:
    floating(call, name, kernel)
    if kernel.ndim < 2:
        raise bad_value(call, f"{name} must have at least two axes, (…, out)", kernel)
