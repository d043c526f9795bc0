"""Splits and normalisation without leakage from the test part."""

from typing import Any, TypeVar

import jax
import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.extras import need

Tree = TypeVar("Tree")


def count_examples(call: str, data: Any) -> int:
    """The common length of all leaves of a data set, or an error that names them."""
    leaves = jax.tree.leaves(data)
    if not leaves or not all(getattr(leaf, "shape", ()) for leaf in leaves):
        raise bad_value(call, "data must be arrays with the examples along the first axis", data)
    lengths = [int(leaf.shape[0]) for leaf in leaves]
    if lengths.count(lengths[0]) != len(lengths):
        named = {jax.tree_util.keystr(path): int(leaf.shape[0]) for path, leaf in jax.tree.leaves_with_path(data)}
        raise bad_value(call, "all arrays must have the same number of examples", f"{named}")
    return lengths[0]


def split(data: Tree, test: float, *, seed: int = 0, stratify: bool = True) -> tuple[Tree, Tree]:
    """Two parts of a data set that share no example: what to train on, and a share ``test`` that is held out.

    **Args** ``data``: a pytree of arrays, or of lists of texts; ``stratify``: keep the proportions of the classes in
    ``data["y"]``.

    Example:
        >>> import numpy as np
        >>> data = {"x": np.arange(10.0)[:, None], "y": np.array([0, 1] * 5)}
        >>> train, test = split(data, 0.4)
        >>> sorted(test["y"].tolist())
        [0, 0, 1, 1]
    """
    # References to the texts: an array of characters would be as wide as the longest.
    array = lambda leaf: np.asarray(leaf, object) if _is_texts(leaf) else leaf  # noqa: E731
    count = count_examples("split", jax.tree.map(array, data, is_leaf=_is_texts))
    if not 0 < test < 1:
        raise bad_value("split", "test must be a share between 0 and 1", test)
    labels = None
    if stratify:
        if not isinstance(data, dict) or "y" not in data:
            raise bad_value("split", 'stratify=True needs data["y"]', data, "Did you mean stratify=False?")
        labels = np.asarray(data["y"])
    selection = need("sklearn.model_selection", "data.split", extra="data")
    kept, held_out = selection.train_test_split(np.arange(count), test_size=test, random_state=seed, stratify=labels)
    return _rows(data, kept), _rows(data, held_out)


def _is_texts(leaf: Any) -> bool:
    return isinstance(leaf, list) and bool(leaf) and all(isinstance(text, str) for text in leaf)


def _rows(data: Tree, rows: np.ndarray) -> Tree:
    """The examples of those rows; lists of texts stay lists."""
    take = lambda leaf: [leaf[row] for row in rows] if isinstance(leaf, list) else leaf[rows]  # noqa: E731
    return jax.tree.map(take, data, is_leaf=_is_texts)


def standardize(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """``(x − mean) / deviation`` for each feature, with the statistics of the training part alone.

    A feature that does not vary is only centred. Integers become float32.

    **Shapes** each ``(n, …, features) ->`` the same.

    Example:
        >>> import numpy as np
        >>> train, test = standardize(np.array([[0.0], [2.0]]), np.array([[4.0]]))
        >>> train.ravel().tolist(), test.ravel().tolist()
        ([-1.0, 1.0], [3.0])
    """
    axes = tuple(range(train.ndim - 1))
    dtype = train.dtype if np.issubdtype(train.dtype, np.floating) else np.float32
    mean = train.mean(axes, dtype=np.float64)
    varies = train.max(axes) > train.min(axes)
    deviation = np.where(varies, train.std(axes, dtype=np.float64), 1)
    return tuple(
        (np.where(varies | (part != train.min(axes)), part - mean, 0) / deviation).astype(dtype)
        for part in (train, *others)
    )
