"""From ids to vectors and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.core.checks import floating, is_int
from jaxdl.core.errors import bad_type, bad_value, describe
from jaxdl.functional.linear import dense


def embedding(ids: jax.Array, table: jax.Array, *, padding_index: int | None = None) -> jax.Array:
    """The rows of a table by their ids, ``y[…] = table[ids[…]]``.

    An id out of range, negative ones included, is an error where the values are at hand; inside ``jit``, where they are
    not, its vector is NaN, which no loss hides, and gives no gradient (``table[ids]`` would count from the end and
    clamp).

    The gradient adds up in ``promote_types(table.dtype, float32)``: a common id gathers many small terms.

    **Shapes** ``ids: (…)`` of integers from 0 to vocabulary − 1, ``table: (vocabulary, features)``
    ``-> (…, features)``.

    **Args** ``padding_index``: an id whose vector is zero whatever its row holds, so that its row takes no gradient. In
    PyTorch (``padding_idx``) the row takes no gradient either, but its content is given out; it is zero at the start.

    **Raises** ``TypeError`` for ids that are no integers; ``ValueError`` for ids out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> table = jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        >>> embedding(jnp.array([[2, 0], [1, 1]]), table, padding_index=1).tolist()
        [[[4.0, 5.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]]

    **References** Bengio, Ducharme, Vincent and Jauvin, A neural probabilistic language model, 2003.
    """
    _check_table("embedding", table)
    check_ids("embedding", ids, table.shape[0])
    check_padding_index("embedding", padding_index, table.shape[0])
    wide = jnp.asarray(table, jnp.promote_types(table.dtype, jnp.float32))
    y = wide.at[ids].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False).astype(table.dtype)
    return y if padding_index is None else jnp.where((ids == padding_index)[..., None], 0, y)


def attend(x: jax.Array, table: jax.Array) -> jax.Array:
    """A score for each id, ``y[…, v] = x · table[v]``: the output of a language model that shares its input's table.

    **Shapes** ``x: (…, features)``, ``table: (vocabulary, features)`` ``-> (…, vocabulary)``.

    **Raises** ``ValueError`` for sizes that do not fit, ``TypeError`` for an input that is not floating.

    Example:
        >>> import jax.numpy as jnp
        >>> attend(jnp.array([[1.0, 2.0]]), jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])).tolist()
        [[1.0, 2.0, 3.0]]

    **References** Press and Wolf, Using the output embedding to improve language models, 2016.
    """
    floating("attend", "input", x)
    _check_table("attend", table)
    if x.shape[-1:] != table.shape[1:]:
        raise bad_value("attend", f"input must have {table.shape[1]} features for table {describe(table)}", x)
    return dense(x, table.T)


def one_hot(ids: jax.Array, classes: int, *, dtype: Any = jnp.float32) -> jax.Array:
    """``y[…, c] = 1`` where ``c`` is the id, else 0: :func:`jax.nn.one_hot`, where an id out of range is an error.

    Inside ``jit``, where values are not at hand, an id out of range gives zeros.

    **Shapes** ``ids: (…)`` of integers from 0 to classes − 1 ``-> (…, classes)``.

    **Raises** ``TypeError`` for ids that are no integers; ``ValueError`` for ids out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> one_hot(jnp.array([1, 0]), 3).tolist()
        [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    check_ids("one_hot", ids, classes)
    return jax.nn.one_hot(ids, classes, dtype=dtype)


def check_ids(call: str, ids: Any, count: int) -> None:
    """Raise unless the ids are integers and, where their values are at hand, from 0 to ``count − 1``."""
    if not hasattr(ids, "dtype") or not jnp.issubdtype(ids.dtype, jnp.integer):
        hint = "Did you mean ids.astype(jnp.int32)?" if hasattr(ids, "dtype") else "Did you mean jnp.asarray(ids)?"
        raise bad_type(call, "ids must be an array of integers", ids, hint)
    if isinstance(ids, jax.core.Tracer | jax.ShapeDtypeStruct) or not ids.size:
        return
    values = np.asarray(ids)
    low, high = values.min(), values.max()
    if low < 0 or high >= count:
        hint = "Did you mean ids - 1?" if low == 1 and high == count else ""
        raise bad_value(call, f"ids must be from 0 to {count - 1}", f"ids from {low} to {high}", hint)


def check_padding_index(call: str, padding_index: int | None, vocabulary: int) -> None:
    """Raise unless it is None or an id of the vocabulary."""
    if padding_index is not None and (not is_int(padding_index) or not 0 <= padding_index < vocabulary):
        raise bad_value(call, f"padding_index must be an id from 0 to {vocabulary - 1}", padding_index)


def _check_table(call: str, table: jax.Array) -> None:
    floating(call, "table", table)
    if table.ndim != 2:
        raise bad_value(call, "table must have shape (vocabulary, features)", table)
