"""A model's layers, output shapes and parameter counts, as a table."""

import io
import math
from typing import Any

import jax

from jaxdl.core import LayerLike, Part, build, describe, specs


def summary(model: LayerLike, x: Any, *, width: int = 100) -> str:
    """A table of a model for inputs like ``x``: each layer's path, call, output and number of parameters.

    Nothing is computed: shapes come from ``jax.eval_shape``.

    **Args** ``x``: an array or spec, or a pytree of them; ``width``: of the text, in characters.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import layers, sequential
        >>> print(summary(sequential(layers.dense(4), jax.nn.relu), jnp.ones((1, 3)), width=72))
        ┏━━━━━━━┳━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━┳━━━━━━━━━━━━┓
        ┃ path  ┃ layer             ┃ output       ┃ parameters ┃
        ┡━━━━━━━╇━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━╇━━━━━━━━━━━━┩
        │ dense │ dense(features=4) │ float32[1,4] │         16 │
        │ relu  │ relu              │ float32[1,4] │          – │
        └───────┴───────────────────┴──────────────┴────────────┘
        16 parameters, 64 B
    """
    from rich.console import Console
    from rich.table import Table

    parts: list[Part] = []

    def visit(key: jax.Array) -> Any:
        built = build(model, key, specs(x), parts.append)
        return built.params, built.state

    params, state = jax.eval_shape(visit, jax.random.key(0))
    table = Table()
    table.add_column("path", overflow="fold")  # whole: it is what globs are written after
    table.add_column("layer")
    table.add_column("output", no_wrap=True)
    columns = {"parameters": [_count(part.built.params) for part in parts]}
    if _count(state):
        columns["state"] = [_count(part.built.state) for part in parts]
    for name in columns:
        table.add_column(name, justify="right")
    for row, part in enumerate(parts):
        numbers = [f"{counts[row]:,}" if counts[row] else "–" for counts in columns.values()]
        table.add_row(part.path, repr(part.layer), describe(part.built.output), *numbers)
    page = io.StringIO()
    Console(file=page, width=width).print(table)
    aside = f", and {_count(state):,} numbers of state" if _count(state) else ""
    return page.getvalue() + f"{_count(params):,} parameters, {_bytes(params)}{aside}"


def _count(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def _bytes(tree: Any) -> str:
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    power = min(max(len(str(size)) - 1, 0) // 3, 3)
    return f"{size} B" if not power else f"{size / 1000**power:.1f} {('', 'KB', 'MB', 'GB')[power]}"
