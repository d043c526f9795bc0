"""A sequence read in both directions."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Built, Ragged, bad_value, combinator
from jaxdl.core.children import Children
from jaxdl.layers.recurrent.reading import Outputs, array_of, check_outputs

Merge = Literal["concat", "sum", "mean", "product"]

MERGES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": jnp.add,
    "mean": lambda a, b: (a + b) / 2,
    "product": jnp.multiply,
}


@combinator
def bidirectional(layer: Any, *, merge: Merge = "concat", outputs: Outputs = "all") -> Any:
    """A layer over a sequence, and its twin over the sequence turned round: ``merge(f(x), flip(b(flip(x))))``.

    Each sequence is turned round within its own length (:func:`jaxdl.functional.flip_sequence`), so that a
    :class:`jaxdl.Ragged` input's padding changes nothing. ``layer`` is any that gives an output for each position; the
    twins, ``forward`` and ``backward``, have parameters of their own.

    **Shapes** ``x: (batch, time, …) -> (batch, time, features)``, ragged where x is, or ``(batch, features)``;
    concatenated, ``2 · features``. **Params**, **State** one subtree for each of ``forward`` and ``backward``.

    **Args** ``merge``: ``"concat"`` on the last axis, ``"sum"``, ``"mean"`` or ``"product"``. ``outputs``: ``"all"``,
    or the ``"last"`` output of each twin in its own direction, the backward one's that after the first step.

    **Raises** ``ValueError`` when the layer does not give an output for each position.

    Example:
        >>> import jax, jax.numpy as jnp, jaxdl as dl
        >>> words = dl.Ragged(jnp.ones((2, 7, 5)), lengths=jnp.array([7, 3]))
        >>> net = bidirectional(dl.layers.lstm(64), outputs="last")
        >>> params, state = net.init(jax.random.key(0), words)
        >>> net.apply(params, state, words, train=False)[0].shape
        (2, 128)

    **References** Schuster and Paliwal, Bidirectional recurrent neural networks, 1997.
    """
    check_outputs("bidirectional", outputs)
    if merge not in MERGES:
        raise bad_value("bidirectional", f"merge must be one of {', '.join(MERGES)}", repr(merge))
    children = Children("bidirectional", [("forward", layer), ("backward", layer)])
    forward, backward = children.named

    def merged(x: Any, ahead: Any, back: Any) -> Any:
        for y in (ahead, back):
            _check_positions(x, y)
        if outputs == "last":
            return MERGES[merge](_last(ahead), _last(back))
        y = MERGES[merge](array_of(ahead), array_of(_flip(back)))
        return Ragged(y, x.lengths) if isinstance(x, Ragged) else y

    def build(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        made = [children.build_one(child, key, x, visit, path, params, state) for child in children.named]
        return Built(params, state, jax.eval_shape(merged, x, *made))

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        new_state: dict[str, Any] = {}
        ahead = children.apply_one(forward, params, state, x, new_state, train=train, key=key)
        back = children.apply_one(backward, params, state, _flip(x), new_state, train=train, key=key)
        return merged(x, ahead, back), new_state

    return build, apply


def _flip(x: Any) -> Any:
    return Ragged(F.flip_sequence(x.x, x.lengths), x.lengths) if isinstance(x, Ragged) else F.flip_sequence(x)


def _last(y: Any) -> jax.Array:
    return F.last_step(y.x, y.lengths) if isinstance(y, Ragged) else F.last_step(y)


def _check_positions(x: Any, y: Any) -> None:
    """Raise unless ``y`` has an output for each position of ``x``: batch, time, and features behind them."""
    before, after = array_of(x).shape, array_of(y).shape
    if isinstance(x, Ragged) != isinstance(y, Ragged) or after[:2] != before[:2] or len(after) < max(3, len(before)):
        needs = "the layer must give an output for each position, (batch, time, …)"
        raise bad_value("bidirectional", needs, y, 'Did you mean bidirectional(lstm(…), outputs="last")?')
