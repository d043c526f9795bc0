"""Layers: ``(init, apply)`` pairs over :mod:`jaxdl.functional`, one family a file.

Activations are plain functions, taken from :mod:`jax.nn`: ``sequential(dense(128), jax.nn.relu, dense(10))``.
"""

from jaxdl.layers.conv import conv as conv
from jaxdl.layers.linear import dense as dense
from jaxdl.layers.noise import dropout as dropout
from jaxdl.layers.norm import batch_norm as batch_norm
from jaxdl.layers.pool import avg_pool as avg_pool
from jaxdl.layers.pool import global_avg_pool as global_avg_pool
from jaxdl.layers.pool import max_pool as max_pool
from jaxdl.layers.shape import flatten as flatten
