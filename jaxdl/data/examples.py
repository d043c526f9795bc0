"""Examples read one by one from a random-access source, as a batch."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from jaxdl.core import bad_value, describe


def stack_examples(call: str, source: Any, rows: Iterable[Any]) -> Any:
    """The examples ``source[row]`` for each row, stacked along a new first axis.

    **Raises** what the source raises, with a note of the example's number; ``ValueError`` for an example that is not
    like the first one, in its tree, its shapes or its dtypes.

    Example:
        >>> stack_examples("fit", [{"x": np.ones(2)}, {"x": np.zeros(2)}], [1, 0, 0])["x"].shape
        (3, 2)
    """
    examples: list[Any] = []
    like = None
    for row in map(int, rows):
        try:
            example = source[row]
        except Exception as error:
            error.add_note(f"  in example {row} of the data")
            raise
        arrays = jax.tree.map(np.asarray, example)
        kind = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays)], jax.tree.structure(arrays)
        if like is None:
            like, first = kind, (row, arrays)
        elif kind != like:
            needs = f"each example must be like example {first[0]}, {describe(first[1])}"
            raise bad_value(call, needs, f"{describe(arrays)} in example {row}")
        examples.append(arrays)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *examples)
