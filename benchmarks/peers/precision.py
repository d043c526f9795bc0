"""In which dtype jaxdl and the networks by hand compute: weights and the optimizer stay float32."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.machine import dtype
from jaxdl import Layer


def lowered(tree: Any) -> Any:
    """Floating arrays in the dtype that is measured, all others as they are."""
    to = jnp.dtype(dtype())
    return jax.tree.map(lambda leaf: leaf.astype(to) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


@dataclass(frozen=True)
class Lowered:
    """A layer that computes in that dtype, from parameters that are float32: a frozen record is a layer as well."""

    layer: Layer

    def init(self, key: jax.Array, x: Any) -> tuple[Any, Any]:
        return self.layer.init(key, x)

    def apply(self, params: Any, state: Any, x: Any, *, train: bool, key: jax.Array | None = None) -> tuple[Any, Any]:
        return self.layer.apply(lowered(params), state, lowered(x), train=train, key=key)


def at_precision(layer: Layer) -> Layer | Lowered:
    """The layer as it is for float32."""
    return layer if dtype() == "float32" else Lowered(layer)
