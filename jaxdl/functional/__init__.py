"""Arrays in, arrays out: the mathematics of deep learning, each piece in its fastest form for the platform.

Activations are not here: take them from :mod:`jax.nn`.
"""

from jaxdl.functional.conv import conv as conv
from jaxdl.functional.linear import dense as dense
from jaxdl.functional.noise import dropout as dropout
from jaxdl.functional.norm import batch_norm as batch_norm
from jaxdl.functional.pool import avg_pool as avg_pool
from jaxdl.functional.pool import global_avg_pool as global_avg_pool
from jaxdl.functional.pool import max_pool as max_pool
from jaxdl.functional.routing import load_balance as load_balance
from jaxdl.functional.routing import queue_places as queue_places
from jaxdl.functional.routing import top_k_gates as top_k_gates
from jaxdl.functional.shape import flatten as flatten
from jaxdl.functional.weights import spectral_norm as spectral_norm
from jaxdl.functional.weights import weight_norm as weight_norm
