"""Positions in a sequence, added to its input."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import functional as F
from jaxdl.core import Decoding, Ragged, bad_value, describe, layer, positions
from jaxdl.core.checks import floating, positive_int
from jaxdl.core.contract import Apply
from jaxdl.layers.initializers import Initializer, draw

Added = Callable[[dict[str, Any], jax.Array, jax.Array | None], jax.Array]
Room = Callable[[dict[str, Any]], int | None]
small_normal = jax.nn.initializers.normal(0.02)


@layer
def sinusoidal_positions(*, base: float = 10_000.0) -> Any:
    """Add waves of the position, ``y_p = x_p + wave_p``; see :func:`jaxdl.functional.sinusoidal_positions`.

    **Shapes** ``x: (batch, time, features) ->`` the same. A sequence that is decoded piece by piece goes on at each
    example's own position.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> y, _ = sinusoidal_positions().apply({}, {}, jnp.zeros((1, 3, 4)), train=False)
        >>> y.shape, y[0, 0].tolist()
        ((1, 3, 4), [0.0, 1.0, 0.0, 1.0])

    **References** Vaswani et al., Attention is all you need, 2017.
    """
    if base <= 0:
        raise bad_value("sinusoidal_positions", "base must be positive", base)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        check_sequence("sinusoidal_positions", x)
        return {}, {}

    def add(params: dict[str, Any], x: jax.Array, places: jax.Array | None) -> jax.Array:
        places = jnp.arange(x.shape[1])[None] if places is None else places
        return x + F.sinusoidal_positions(places, x.shape[2], base=base).astype(x.dtype)

    return init, *_placed("sinusoidal_positions", add)


@layer
def learned_positions(
    length: int | None = None,
    *,
    whole: bool = False,
    embedding_init: Initializer = small_normal,
    param_dtype: Any = jnp.float32,
) -> Any:
    """Add a learned vector for each position, ``y_p = x_p + embedding_p``.

    **Shapes** ``x: (batch, time, features) ->`` the same, for ``time`` up to ``length``. A sequence that is decoded
    piece by piece goes on at each example's own position.

    **Params** ``embedding: (length, features)``.

    **Args** ``length``: how many there are, by default as many as the input of ``init`` has. ``whole``: whether an
    input must have all of them, as the patches of an image must, whose places in a smaller one would be others.
    ``embedding_init``: normal with deviation 0.02, as in BERT: small beside the vectors it is added to.

    **Raises** ``ValueError`` for a sequence that is longer than ``length``, or shorter where it must be whole. Where a
    compiled ``decode`` runs past it,
    which cannot raise, the outputs are nan.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> params, state = learned_positions(64).init(jax.random.key(0), jnp.ones((1, 10, 8)))
        >>> params["embedding"].shape
        (64, 8)

    **References** Gehring et al., Convolutional sequence to sequence learning, 2017; Radford et al., Improving language
    understanding by generative pre-training, 2018.
    """
    call = "learned_positions"
    if length is not None:
        positive_int(call, "length", length)

    def init(key: jax.Array, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        array = check_sequence(call, x)
        if length is not None and array.shape[1] > length:
            raise bad_value(call, f"input must be no longer than {length} positions", array)
        return draw(key, param_dtype, embedding=(embedding_init, (length or array.shape[1], array.shape[2]))), {}

    def add(params: dict[str, Any], x: jax.Array, places: jax.Array | None) -> jax.Array:
        embedding = params["embedding"]
        places_fit = x.shape[1] == embedding.shape[0] if whole else x.shape[1] <= embedding.shape[0]
        if not places_fit or x.shape[2] != embedding.shape[1]:
            up_to = "" if whole else "up to "
            needs = f"input must have shape (batch, {up_to}{embedding.shape[0]}, {embedding.shape[1]})"
            raise bad_value(call, needs, x)
        added = embedding[None, : x.shape[1]] if places is None else jnp.take(embedding, places, axis=0)
        return x + added.astype(x.dtype)

    return init, *_placed(call, add, lambda params: len(params["embedding"]))


def _placed(call: str, add: Added, room_of: Room = lambda params: None) -> tuple[Apply, Decoding]:
    """The ``apply`` and the decoding of a layer that adds what depends on the position alone; ``room_of(params)`` is
    the number of positions that there are.
    """

    def at(params: dict[str, Any], x: Any, places: jax.Array | None) -> Any:
        y = add(params, check_sequence(call, x), places)
        return Ragged(y, x.lengths) if isinstance(x, Ragged) else y

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, /, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        return at(params, x, None), state

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, /, *, length: int) -> tuple[Any, dict[str, Any]]:
        room = room_of(params)
        if room is not None and length > room:
            raise bad_value(call, f"prefill's length must be no more than the {room} positions that there are", length)
        return at(params, x, None), {"position": advanced(None, x)}

    def decode(params: dict[str, Any], cache: dict[str, Any], x: Any, /) -> tuple[Any, dict[str, Any]]:
        places = next_places(call, cache["position"], x, room_of(params))
        return at(params, x, places), {"position": advanced(cache["position"], x)}

    return apply, Decoding(prefill, decode)


def check_sequence(call: str, x: Any, name: str = "input") -> Any:
    """The array under ``x``, if it is a floating one of three axes, (batch, time, features)."""
    array = positions(call, x)
    floating(call, name, array)
    if len(array.shape) != 3:
        raise bad_value(call, f"{name} must have three axes, (batch, time, features)", array)
    return array


def advanced(position: jax.Array | None, x: Any) -> jax.Array:
    """How many positions each example has had after the piece ``x``: ``(batch,)``."""
    array = positions("", x)
    steps = jnp.asarray(x.lengths if isinstance(x, Ragged) else jnp.full(array.shape[0], array.shape[1]), jnp.int32)
    return steps if position is None else position + steps


def next_places(call: str, position: jax.Array, x: Any, room: int | None) -> jax.Array:
    """The positions of the piece ``x`` after ``position`` ones: ``(batch, time)``.

    **Raises** ``ValueError`` where they run past ``room``, if the numbers are at hand and not traced.
    """
    array = positions(call, x)
    if array.shape[0] != position.shape[0]:
        needs = f"the next piece must have the batch of the first, {position.shape[0]}"
        raise bad_value(call, needs, describe(array))
    end = advanced(position, x)
    if room is not None and not isinstance(end, jax.core.Tracer) and np.max(end, initial=0) > room:
        hint = "Did you mean prefill(…, length=…) with more room?"
        raise bad_value(call, f"decode must stay within {room} positions", f"position {int(np.max(end))}", hint)
    return position[:, None] + jnp.arange(array.shape[1], dtype=position.dtype)[None]
