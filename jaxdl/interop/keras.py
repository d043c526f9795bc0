"""Parameters from and for Keras. Nothing here imports it: its weights are a list of arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxdl.core import LayerLike, bad_type, bad_value
from jaxdl.interop.keras_layers import TABLE
from jaxdl.interop.leaves import leaves_of
from jaxdl.interop.matching import Module, as_array, converter_of, needed, on_host, read, shapes_text, write


def from_keras(model: LayerLike, x: Any, weights: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and state of a model from the list that ``get_weights()`` of the same layers in Keras gives.

    Each layer of the model that has parameters, in order, takes as many arrays as it needs, in Keras' order (a batch
    normalisation gamma, beta, moving mean and variance). Layouts are channels last on both sides. The list has no
    names: layers of equal shapes that Keras made in another order than the model has them in are swapped unseen, so
    make both in one order (or take the list apart by ``layer.get_weights()``).

    What differs, and is converted: the gates of a GRU stand in the order z, r, n in Keras; its two biases
    (``reset_after=True``) are summed where that is the same; the kernels of attention, of depthwise and of transposed
    convolutions have other shapes.

    **Args** ``x``: an input, or its spec; ``weights``: the list.

    **Raises** ``ValueError`` for an array whose shape does not fit, or too few or too many of them; ``TypeError`` for a
    layer of a kind that Keras does not have.

    Example:
        >>> import jax, numpy as np
        >>> import jaxdl as dl
        >>> model, x = dl.sequential(dl.layers.dense(4), dl.layers.batch_norm()), np.ones((1, 3), np.float32)
        >>> weights = [np.ones((3, 4)), np.zeros(4), np.ones(4), np.zeros(4), np.zeros(4), np.ones(4)]
        >>> params, state = from_keras(model, x, weights)
        >>> sorted(params["batch_norm"]), sorted(state["batch_norm"])
        (['bias', 'scale'], ['mean', 'var'])
    """
    if isinstance(weights, Mapping) or not isinstance(weights, Sequence):
        hint = "Did you mean model.get_weights()?"
        raise bad_type("from_keras", "weights must be a list of arrays", type(weights).__name__, hint)
    left = [as_array(array) for array in weights]
    pairs = []
    leaves, aux_losses = leaves_of("from_keras", model, x)
    for leaf in leaves:
        need = needed("from_keras", TABLE, leaf)
        arrays = dict(zip(need, left, strict=False))
        place = f"weights[{len(weights) - len(left)}:]"
        if [array.shape for array in arrays.values()] != [array.shape for array in need.values()]:
            got = f"{place} of shapes {', '.join(str(list(array.shape)) for array in left[: len(need)]) or 'none'}"
            raise bad_value("from_keras", f"{leaf} needs {shapes_text(need)}", got)
        left = left[len(need) :]
        pairs.append((leaf, Module(place, arrays, {})))
    if left:
        got = f"{len(weights)}, the last of shape {list(left[-1].shape)}"
        raise bad_value("from_keras", f"weights must be {len(weights) - len(left)} arrays, all of the model's", got)
    return read(TABLE, pairs, aux_losses)


def to_keras(model: LayerLike, x: Any, params: Mapping[str, Any], state: Mapping[str, Any]) -> list[np.ndarray]:
    """The inverse of :func:`from_keras`: the list for ``set_weights`` of a Keras model of the same layers.

    Where Keras has two biases for one of ours (a GRU), the second is zero.

    **Raises** as :func:`from_keras`; ``ValueError`` for parameters that are not the model's.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import jaxdl as dl
        >>> model, x = dl.layers.dense(4), jnp.ones((1, 3))
        >>> params, state = model.init(jax.random.key(0), x)
        >>> [array.shape for array in to_keras(model, x, params, state)]
        [(3, 4), (4,)]
    """
    trees = on_host(params, state)
    found: list[np.ndarray] = []
    for leaf in leaves_of("to_keras", model, x).filled:
        converter_of("to_keras", TABLE, leaf)
        found += write("to_keras", TABLE, leaf, trees).values()
    return found
