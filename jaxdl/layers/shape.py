"""Changes of shape."""

from typing import Any

from jaxdl import functional as F
from jaxdl.core import no_params, stateless


@stateless(positionwise=False)
def flatten() -> Any:
    """Join all axes but the first; see :func:`jaxdl.functional.flatten`.

    **Shapes** ``x: (batch, …) -> (batch, product of the rest)``.

    Example:
        >>> import jax.numpy as jnp
        >>> flatten().apply({}, {}, jnp.ones((2, 13, 13, 32)), train=False)[0].shape
        (2, 5408)
    """
    return no_params, lambda params, x: F.flatten(x)
