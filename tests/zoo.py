"""Every public layer and combinator, one row each or more: how to make it, and an input for it.

The tests of the contract (test_contract.py) run over every row; a public layer without a row fails them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxdl as dl
from jaxdl import layers as L


@dataclass(frozen=True)
class Row:
    """``make()`` gives the layer; ``shape`` is its input's; ``positionwise``: whether it takes ragged batches.

    Rows are smooth, so that finite differences are gradients: tanh, where a model would have ReLU.
    """

    name: str
    make: Callable[[], dl.Layer]
    shape: tuple[int, ...]
    positionwise: bool = False

    def spec(self, batch: int | None = None, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((self.shape[0] if batch is None else batch, *self.shape[1:]), dtype)

    def x(self, batch: int | None = None, dtype: Any = jnp.float32) -> jax.Array:
        """Numbers that are all different, so that a maximum has one winner by a clear margin."""
        shape = self.spec(batch).shape
        values = np.random.default_rng(1).permutation(int(np.prod(shape))) / max(int(np.prod(shape)), 1) * 4 - 2
        return jnp.asarray(values.reshape(shape), dtype)


ROWS = [
    Row("dense", lambda: L.dense(5), (3, 4), positionwise=True),
    Row("dense_no_bias", lambda: L.dense(5, use_bias=False), (2, 3, 4), positionwise=True),
    Row("conv_1d", lambda: L.conv(4, 3, strides=2, padding="SAME"), (3, 7, 2)),
    Row("conv_2d", lambda: L.conv(4, 3), (2, 5, 6, 3)),
    Row("conv_grouped", lambda: L.conv(4, (3, 2), groups=2, padding=1, use_bias=False), (2, 5, 5, 4)),
    Row("conv_dilated", lambda: L.conv(3, 2, dilation=(2, 1), padding=((1, 0), (0, 2))), (2, 5, 5, 2)),
    Row("conv_3d", lambda: L.conv(2, 2), (1, 3, 4, 3, 2)),
    Row("max_pool", lambda: L.max_pool(2), (2, 5, 6, 3)),
    Row("max_pool_overlapping", lambda: L.max_pool(3, strides=2, padding="SAME"), (2, 5, 5, 2)),
    Row("avg_pool", lambda: L.avg_pool((2, 3), strides=1, padding="SAME", count_include_pad=False), (2, 5, 6, 3)),
    Row("global_avg_pool", lambda: L.global_avg_pool(), (2, 3, 4, 5)),
    Row("flatten", lambda: L.flatten(), (2, 3, 4)),
    Row("dropout", lambda: L.dropout(0.5), (3, 4), positionwise=True),
    Row("batch_norm", lambda: L.batch_norm(), (6, 3, 4), positionwise=True),
    Row("batch_norm_plain", lambda: L.batch_norm(use_scale=False, use_bias=False, momentum=0.5), (5, 4)),
    Row(
        "sequential",
        lambda: dl.sequential(L.dense(4), jnp.tanh, ("mid", L.batch_norm()), L.dropout(0.2), L.dense(2)),
        (4, 3),
        positionwise=True,
    ),
    Row(
        "sequential_cnn",
        lambda: dl.sequential(("stem", dl.sequential(L.conv(3, 3), jnp.tanh, L.max_pool(2))), L.flatten(), L.dense(4)),
        (2, 6, 6, 1),
    ),
    Row("residual", lambda: dl.residual(L.dense(6), jnp.tanh, L.dense(3)), (4, 3), positionwise=True),
    Row(
        "residual_shortcut",
        lambda: dl.residual(L.conv(4, 3, padding="SAME"), L.batch_norm(), shortcut=L.conv(4, 1)),
        (2, 4, 4, 2),
    ),
]

BY_NAME = {row.name: row for row in ROWS}
