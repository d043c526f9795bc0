"""From ids to vectors and back."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Ragged, each_position, layer, no_params, positions, stateless
from jaxdl.core.checks import positive_int
from jaxdl.functional.embedding import check_ids, check_padding_index
from jaxdl.functional.linear import check_dense
from jaxdl.layers.initializers import Initializer, draw, unit_rows


@layer
def embedding(
    vocabulary: int,
    features: int,
    *,
    padding_index: int | None = None,
    embedding_init: Initializer = unit_rows,
    param_dtype: Any = jnp.float32,
) -> Any:
    """A vector for each id, learned; see :func:`jaxdl.functional.embedding` for ids out of range.

    Over a :class:`jaxdl.Ragged` input a padded position may hold any number. :func:`attend` is its reverse.

    **Shapes** ``x: (…)`` of integers ``-> (…, features)``. **Params** ``embedding: (vocabulary, features)``.

    **Args** ``padding_index``: an id whose vector is zero and whose row, zero as well, takes no gradient.
    ``embedding_init``: normal with standard deviation ``1 / √features``, as in Flax: vectors of length about 1, and
    scores of variance 1 where the table serves :func:`attend` as well (PyTorch's deviation is 1; Keras draws from
    ``U(−0.05, 0.05)``).

    **Raises** ``TypeError`` for ids that are no integers; ``ValueError`` for ids out of range, outside of ``jit``.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> words = embedding(1000, 32)
        >>> params, state = words.init(jax.random.key(0), jnp.zeros((2, 7), int))
        >>> words.apply(params, state, jnp.array([[3, 999]]), train=False)[0].shape
        (1, 2, 32)

    **References** Bengio, Ducharme, Vincent and Jauvin, A neural probabilistic language model, 2003.
    """
    positive_int("embedding", "vocabulary", vocabulary)
    positive_int("embedding", "features", features)
    check_padding_index("embedding", padding_index, vocabulary)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        ids = positions("embedding", x)
        check_ids("embedding", jax.ShapeDtypeStruct(ids.shape, ids.dtype) if hasattr(ids, "dtype") else ids, vocabulary)
        params = draw(key, param_dtype, embedding=(embedding_init, (vocabulary, features)))
        if padding_index is not None:
            params["embedding"] = params["embedding"].at[padding_index].set(0)
        return params, {}

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if not isinstance(x, Ragged):
            return F.embedding(x, params["embedding"], padding_index=padding_index), state
        y = F.embedding(jnp.where(x.mask(x.x.ndim), x.x, 0), params["embedding"], padding_index=padding_index)
        return Ragged(y, x.lengths), state

    return init, apply, each_position(apply)


@stateless
def attend(vocabulary: int, *, embedding_init: Initializer = unit_rows, param_dtype: Any = jnp.float32) -> Any:
    """A score for each id, the product with a table of vectors; see :func:`jaxdl.functional.attend`.

    Its table has the name and the shape of an :func:`embedding`'s, so that the two can be tied: it is then the output
    of a language model that shares its input's vectors.

    **Shapes** ``x: (…, features) -> (…, vocabulary)``. **Params** ``embedding: (vocabulary, features)``.

    **Args** ``embedding_init``: normal with standard deviation ``1 / √features``: scores of variance 1 for inputs of
    variance 1.

    **Raises** ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = attend(1000).init(jax.random.key(0), jnp.ones((2, 7, 32)))
        >>> params["embedding"].shape
        (1000, 32)

    **References** Press and Wolf, Using the output embedding to improve language models, 2016.
    """
    positive_int("attend", "vocabulary", vocabulary)

    def init(key: jax.Array, x: Any) -> dict[str, Any]:
        check_dense("attend", x)
        return draw(key, param_dtype, embedding=(embedding_init, (vocabulary, x.shape[-1])))

    return init, lambda params, x: F.attend(x, params["embedding"])


@stateless
def one_hot(classes: int, *, dtype: Any = jnp.float32) -> Any:
    """Ids as vectors with a single 1; see :func:`jaxdl.functional.one_hot`.

    **Shapes** ``x: (…)`` of integers ``-> (…, classes)``.

    **Raises** ``TypeError`` for ids that are no integers; ``ValueError`` for ids out of range, outside of ``jit``.

    Example:
        >>> import jax.numpy as jnp
        >>> one_hot(3).apply({}, {}, jnp.array([1, 0]), train=False)[0].tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    positive_int("one_hot", "classes", classes)
    return no_params, lambda params, x: F.one_hot(x, classes, dtype=dtype)
