"""Fine-tuning by small updates."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.combine.rewrite import kernels, nested, rewritten
from jaxdl.core import Layer, bad_type, bad_value, child_key, flat_paths, wrapper
from jaxdl.core.checks import positive_int
from jaxdl.core.lift import lift
from jaxdl.core.select import globs
from jaxdl.layers.initializers import Initializer

unit_variance = jax.nn.initializers.lecun_normal()


@wrapper
def lora(
    layer: Any,
    rank: int,
    *,
    alpha: float | None = None,
    where: str | Sequence[str] = "*/kernel",
    a_init: Initializer = unit_variance,
) -> Any:
    """The layer with a low-rank update beside each kernel, ``W + (α / rank) A B``.

    At first B is zero, so that nothing is changed. To train the updates alone, freeze the rest:
    ``dl.freeze(optimizer, "base/*")``. Afterwards :func:`merge_lora` gives parameters of ``layer`` itself.

    The sum is formed before use, for any kind of layer: the optimizer holds nothing for the base, but a backward pass
    costs as much as with all of it.

    **Params** ``base``: those of ``layer``, as a checkpoint of it holds them; ``lora``: at the path of each kernel
    ``(…, out)``, ``a: (in, rank)``, in the product of the leading axes, and ``b: (rank, out)``.

    **Args** ``alpha``: the scale, ``rank`` by default; ``where``: globs of the paths of the kernels (a kernel of a
    ``repeat`` has one axis too many: wrap the layer inside of it); ``a_init``: normal of variance 1 / in, so that ``x
    A`` varies as much as x, whatever the width.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense
        >>> params, state = lora(dense(4), 2).init(jax.random.key(0), jnp.ones((1, 3)))
        >>> jax.tree.map(jnp.shape, params)
        {'base': {'bias': (4,), 'kernel': (3, 4)}, 'lora': {'kernel': {'a': (3, 2), 'b': (2, 4)}}}

    **References** Hu and others, LoRA: Low-rank adaptation of large language models, 2021.
    """
    positive_int("lora", "rank", rank)
    globs("lora", where)
    if alpha is not None and (isinstance(alpha, bool) or not isinstance(alpha, int | float) or alpha <= 0):
        raise bad_value("lora", "alpha must be a positive number", alpha)
    scale = 1.0 if alpha is None else alpha / rank

    def begin(key: jax.Array, params: Any) -> tuple[Any, Any]:
        def update(path: str, kernel: jax.Array) -> dict[str, jax.Array]:
            out = kernel.shape[-1]
            a = a_init(child_key(child_key(key, "lora"), path), (kernel.size // out, rank), kernel.dtype)
            return {"a": a, "b": jnp.zeros((rank, out), kernel.dtype)}

        updates = {path: update(path, kernel) for path, kernel in kernels("lora", params, where).items()}
        return {"base": params, "lora": nested(updates)}, {}

    def make(params: Any, own: Any, update: bool) -> tuple[Any, Any]:
        return _merged(params, scale), own

    def share(params: Any, at: Any) -> Any:
        return {"base": at(params["base"]), "lora": at(params["lora"])}

    return rewritten("lora", lift("lora", layer), begin, make, share=share)


def _merged(params: Any, scale: float) -> Any:
    flat, updates = flat_paths(params["base"]), flat_paths(params["lora"])
    for path, a in updates.items():
        if path.endswith("/a"):
            kernel = path.removesuffix("/a")
            update = (scale * a) @ updates[f"{kernel}/b"]
            flat[kernel] = flat[kernel] + update.reshape(flat[kernel].shape)
    return nested(flat)


def merge_lora(layer: Layer, params: Any) -> Any:
    """The parameters of the layer inside a :func:`lora`, with the updates added to its kernels.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense
        >>> adapted = lora(dense(4), 2)
        >>> params, state = adapted.init(jax.random.key(0), jnp.ones((1, 3)))
        >>> jax.tree.map(jnp.shape, merge_lora(adapted, params))
        {'bias': (4,), 'kernel': (3, 4)}
    """
    if not isinstance(layer, Layer) or layer.kind != "lora":
        raise bad_type("merge_lora", "layer must be a lora(…)", layer)
    arguments = dict(layer.args)
    alpha, rank = arguments.get("alpha"), arguments["rank"]
    return _merged(params, 1.0 if alpha is None else alpha / rank)
