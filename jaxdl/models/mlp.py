"""The multilayer perceptron."""

import jax

from jaxdl import layers as L
from jaxdl.combine.sequential import sequential
from jaxdl.core import Layer
from jaxdl.models.blocks import Activation, dropped, many


def mlp(*features: int, activation: Activation = jax.nn.relu, dropout: float = 0.0) -> Layer:
    """Dense layers with an activation between them: ``aˡ = f(aˡ⁻¹ Wˡ + bˡ)``, the last one without.

    **Shapes** ``x: (…, in) -> (…, features[-1])``; images are to be flattened before. **Params** ``dense``,
    ``dense_1``, ….

    **Args** ``features``: the units of each layer, the last one's are the outputs; ``dropout``: after each hidden
    activation.

    **Raises** ``ValueError`` without a layer, or for sizes that are not positive ints.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = mlp(128, 10)
        >>> model
        sequential(dense(features=128), relu, dense(features=10))
        >>> params, state = model.init(jax.random.key(0), jnp.ones((1, 784)))
        >>> sum(leaf.size for leaf in jax.tree.leaves(params))
        101770

    **References** Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, 1986.
    """
    *hidden, last = many("mlp", "features", features)
    before = [part for size in hidden for part in (L.dense(size), activation, *dropped(dropout))]
    return sequential(*before, L.dense(last))
