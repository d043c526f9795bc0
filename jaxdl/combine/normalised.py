"""Kernels that keep a norm."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.combine.rewrite import kernels, nested, rewritten
from jaxdl.core import child_key, flat_paths, select, wrapper
from jaxdl.core.checks import positive_int
from jaxdl.core.lift import lift
from jaxdl.core.select import globs
from jaxdl.functional.weights import lengths


@wrapper
def weight_norm(layer: Any, *, where: str | Sequence[str] = "*/kernel") -> Any:
    """The layer with kernels of a direction and a length for each output, ``W = g · v / ‖v‖``; see
    :func:`jaxdl.functional.weight_norm`.

    At first ``v`` is the kernel as the layer draws it and ``g`` its length, so that nothing is changed.

    **Params** those of ``layer``, with ``{"direction": v, "scale": g}`` in place of each kernel ``(…, out)``; ``g:
    (out,)``.

    **Args** ``where``: globs of the paths of the kernels. A kernel of a ``repeat`` has one axis too many: wrap the
    layer inside of it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense
        >>> params, state = weight_norm(dense(4)).init(jax.random.key(0), jnp.ones((1, 3)))
        >>> jax.tree.map(jnp.shape, params)
        {'bias': (4,), 'kernel': {'direction': (3, 4), 'scale': (4,)}}

    **References** Salimans and Kingma, Weight normalization, 2016.
    """
    globs("weight_norm", where)

    def begin(key: jax.Array, params: Any) -> tuple[Any, Any]:
        pairs = {path: _by_length(kernel) for path, kernel in kernels("weight_norm", params, where).items()}
        return nested({**flat_paths(params), **pairs}), {}

    def make(params: Any, own: Any, update: bool) -> tuple[Any, Any]:
        kernels_only = jax.tree.map(
            lambda leaf: leaf["direction"] if _is_pair(leaf) else leaf, params, is_leaf=_is_pair
        )
        chosen = select("weight_norm", kernels_only, where)

        def whole(mine: bool, leaf: Any) -> Any:
            return F.weight_norm(leaf["direction"], leaf["scale"]) if mine else leaf

        return jax.tree.map(whole, chosen, params), own

    return rewritten("weight_norm", lift("weight_norm", layer), begin, make)


def _by_length(kernel: jax.Array) -> dict[str, jax.Array]:
    wide = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))
    return {"direction": kernel, "scale": lengths(wide).astype(kernel.dtype)}


def _is_pair(tree: Any) -> bool:
    """Whether it may stand in place of a kernel; ``where`` says whether it does, for layers may use those names too."""
    return isinstance(tree, dict) and set(tree) == {"direction", "scale"} and not isinstance(tree["direction"], dict)


@wrapper
def spectral_norm(layer: Any, *, where: str | Sequence[str] = "*/kernel", iterations: int = 1) -> Any:
    """The layer with kernels divided by their largest singular value, ``W / σ(W)``; see
    :func:`jaxdl.functional.spectral_norm`.

    The estimate of σ begins with 15 power iterations, and each training step does ``iterations`` more, as in PyTorch;
    ``train=False`` uses it as it stands.

    **Params** those of ``layer``. **State** that of ``layer``, and under ``spectral_norm``, at the path of each kernel
    ``(…, out)``, the singular vectors ``u: (out,)`` and ``v``, of the product of the other axes.

    **Args** ``where``: globs of the paths of the kernels. A kernel of a ``repeat`` has one axis too many: wrap the
    layer inside of it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense
        >>> layer = spectral_norm(dense(4, use_bias=False))
        >>> params, state = layer.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> jax.tree.map(jnp.shape, state)
        {'spectral_norm': {'kernel': {'u': (4,), 'v': (3,)}}}
        >>> effective = layer.apply(params, state, jnp.eye(3), train=False)[0]
        >>> bool(jnp.linalg.norm(effective, 2) < 1.01)
        True

    **References** Miyato, Kataoka, Koyama and Yoshida, Spectral normalization for generative adversarial networks,
    2018.
    """
    globs("spectral_norm", where)
    positive_int("spectral_norm", "iterations", iterations)

    def begin(key: jax.Array, params: Any) -> tuple[Any, Any]:
        key = child_key(key, "spectral_norm")

        def vectors(path: str, kernel: jax.Array) -> dict[str, jax.Array]:
            dtype = jnp.promote_types(kernel.dtype, jnp.float32)
            v = jax.random.normal(child_key(key, path), (math.prod(kernel.shape[:-1]),), dtype)
            _, u, v = F.spectral_norm(kernel, jnp.zeros(kernel.shape[-1:], dtype), v, iterations=15)
            return {"u": u, "v": v}

        found = kernels("spectral_norm", params, where)
        return params, nested({path: vectors(path, kernel) for path, kernel in found.items()})

    def make(params: Any, own: Any, update: bool) -> tuple[Any, Any]:
        flat, vectors = flat_paths(params), flat_paths(own)
        for path, kernel in kernels("spectral_norm", params, where).items():
            old = vectors[f"{path}/u"], vectors[f"{path}/v"]
            flat[path], u, v = F.spectral_norm(kernel, *old, iterations=iterations if update else 0)
            vectors[f"{path}/u"], vectors[f"{path}/v"] = u.astype(old[0].dtype), v.astype(old[1].dtype)
        return nested(flat), nested(vectors)

    return rewritten("spectral_norm", lift("spectral_norm", layer), begin, make)
