"""Attention."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import functional as F
from jaxdl.core import Decoding, Ragged, bad_type, bad_value, child_key, layer
from jaxdl.core.checks import positive_int
from jaxdl.layers import noise
from jaxdl.layers.initializers import Initializer, draw, glorot_uniform, zeros
from jaxdl.layers.positions import advanced, check_sequence, next_places

Rotate = Callable[[jax.Array, jax.Array], jax.Array]
PositionBias = Callable[[int, jax.Array, jax.Array], jax.Array]
Params = dict[str, Any]
CALL = "multi_head_attention"


@layer
def multi_head_attention(
    heads: int,
    *,
    kv_heads: int | None = None,
    head_features: int | None = None,
    causal: bool = False,
    window: int | None = None,
    rotate: Rotate | None = None,
    position_bias: PositionBias | None = None,
    use_bias: bool = True,
    dropout: float = 0.0,
    kernel_init: Initializer = glorot_uniform,
    out_init: Initializer | None = None,
    bias_init: Initializer = zeros,
    param_dtype: Any = jnp.float32,
) -> Any:
    """Attention over several heads: of a sequence to itself, or of one to another, ``y = attention(x W_q, m W_k, m W_v)
    W_o`` with ``m = x`` or the memory; see :func:`jaxdl.functional.attention`.

    The input is a sequence, or a tuple ``(x, memory)`` for cross attention. Each may be a :class:`jaxdl.Ragged`: padded
    keys are not seen. A mask is a function of positions (``position_bias``); one that is data goes to the function.

    Causal self attention and cross attention decode piece by piece. The cache holds the keys and values, and how many
    positions each example has had, so that ragged prompts go on at their own lengths; in cross attention the memory is
    read once, in ``prefill``, and that of ``decode``'s ``(x, memory)`` is not looked at.

    **Shapes** ``x: (batch, time, features)``, ``memory: (batch, keys, …) -> (batch, time, features)``.

    **Params** ``query``, ``key``, ``value``, ``out``, each ``kernel`` (in, out) and ``bias``, the heads side by side.

    **Args** ``kv_heads``: how many heads keys and values have, all by default; 1 is multi-query attention.
    ``head_features``: ``features // heads`` by default. ``causal``, ``window``: as in the function. ``rotate``: a
    function ``(heads of queries or keys, their positions) -> the same``, such as :func:`jaxdl.functional.rotary`.
    ``position_bias``: a function ``(heads, query positions, key positions) -> (batch or 1, heads or 1, time, keys)``
    whose numbers are added to the scores, such as :func:`jaxdl.functional.alibi`; −∞ hides a key. ``dropout``: the
    share of weights dropped while training. ``kernel_init``: Glorot uniform for each projection, as in Keras (PyTorch
    draws the three together, ``U(−a, a)`` with ``a = √(6 / 4 features)``, and Flax has LeCun normal). ``out_init``: of
    ``out``, by default as the others; GPT-2 starts it smaller, since each block adds it to the sum.

    **Raises** ``ValueError`` for features that the heads do not divide, for positions (causal, window, rotate,
    position_bias) in cross attention, and when ``decode`` runs past ``prefill``'s length; where a compiled ``decode``
    does, which cannot raise, the outputs are nan.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> attend = multi_head_attention(4, kv_heads=2, causal=True, rotate=F.rotary)
        >>> params, state = attend.init(jax.random.key(0), jnp.ones((1, 5, 32)))
        >>> params["query"]["kernel"].shape, params["key"]["kernel"].shape
        ((32, 32), (32, 16))
        >>> y, cache = attend.prefill(params, state, jnp.ones((2, 5, 32)), length=8)
        >>> y, cache = attend.decode(params, cache, jnp.ones((2, 1, 32)))
        >>> y.shape, cache["key"].shape, cache["position"].tolist()
        ((2, 1, 32), (2, 8, 2, 8), [6, 6])

    **References** Vaswani et al., Attention is all you need, 2017; Shazeer, Fast transformer decoding, 2019; Ainslie et
    al., GQA, 2023.
    """
    shared = heads if kv_heads is None else kv_heads
    _check_sizes(heads, shared, head_features, window)
    dropped = noise.dropout(dropout)
    how = _Attention(heads, shared, causal, window, rotate, position_bias)
    ordered = how != _Attention(heads, shared, False, None, None, None)

    def init(key: jax.Array, x: Any) -> tuple[Params, Params]:
        target, memory = (check_sequence(CALL, source) for source in _sources(x, ordered))
        features = target.shape[2]
        if head_features is None and features % heads:
            hint = f"Did you mean head_features={max(features // heads, 1)}?"
            raise bad_value(CALL, f"the input's features must be a multiple of the {heads} heads", target, hint)
        size = head_features or features // heads
        source, inner, outer = memory.shape[2], heads * size, shared * size
        shapes = {
            "query": (features, inner),
            "key": (source, outer),
            "value": (source, outer),
            "out": (inner, features),
        }
        inits = {**dict.fromkeys(shapes, kernel_init), "out": out_init or kernel_init}
        return draw_products(key, param_dtype, shapes, inits, bias_init if use_bias else None), {}

    def apply(
        params: Params, state: Params, x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, Params]:
        target, memory = _sources(x, ordered)

        def drop(weights: jax.Array) -> jax.Array:
            return dropped.apply({}, {}, weights, train=train, key=key)[0]

        read = how.keys_and_values(params, memory)
        y = how.attend(params, target, *read, lengths=_lengths(memory), drop=drop if train and dropout else None)
        return _like(target, y), state

    return init, apply, _decoding(how, ordered)


def draw_products(
    key: jax.Array,
    dtype: Any,
    shapes: dict[str, tuple[int, int]],
    kernel_inits: dict[str, Initializer],
    bias_init: Initializer | None,
) -> Params:
    """A ``kernel`` of that shape, and a ``bias`` where it has an initializer, under each name."""

    def one(name: str, shape: tuple[int, int]) -> Params:
        bias = {} if bias_init is None else {"bias": (bias_init, shape[1:])}
        return draw(child_key(key, name), dtype, kernel=(kernel_inits[name], shape), **bias)

    return {name: one(name, shape) for name, shape in shapes.items()}


class _Attention(NamedTuple):
    """How queries meet keys."""

    heads: int
    kv_heads: int
    causal: bool
    window: int | None
    rotate: Rotate | None
    position_bias: PositionBias | None

    def keys_and_values(
        self, params: Params, memory: Any, places: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The keys and values of a memory whose positions are ``places``, or count from 0."""
        array = _read(memory, "memory")
        key, value = (_split(F.dense(array, **params[name]), self.kv_heads) for name in ("key", "value"))
        return (key if self.rotate is None else self.rotate(key, _from_zero(key) if places is None else places)), value

    def attend(
        self,
        params: Params,
        x: Any,
        key: jax.Array,
        value: jax.Array,
        *,
        start: jax.Array | None = None,
        lengths: jax.Array | None = None,
        drop: Callable[[jax.Array], jax.Array] | None = None,
    ) -> jax.Array:
        """What the queries of ``x``, whose positions count from ``start`` or from 0, make of keys and values."""
        query = _split(F.dense(_read(x), **params["query"]), self.heads)
        places = _from_zero(query) if start is None else start[:, None] + _from_zero(query)
        if self.rotate is not None:
            query = self.rotate(query, places)
        bias = None if self.position_bias is None else self.position_bias(self.heads, places, _from_zero(key))
        y = F.attention(
            query,
            key,
            value,
            bias=bias,
            causal=self.causal,
            window=self.window,
            lengths=lengths,
            offset=start,
            drop=drop,
        )
        return F.dense(y.reshape(*y.shape[:2], y.shape[2] * y.shape[3]), **params["out"])


def _decoding(how: _Attention, ordered: bool) -> Decoding:
    """Reading piece by piece: keys and values, once made, are kept."""

    def prefill(params: Params, state: Params, x: Any, /, *, length: int) -> tuple[Any, Params]:
        target, memory = _sources(x, ordered)
        key, value = how.keys_and_values(params, memory)
        lengths = _lengths(memory)
        y = _like(target, how.attend(params, target, key, value, lengths=lengths))
        if isinstance(x, tuple):
            return y, {"key": key, "value": value, **({} if lengths is None else {"lengths": lengths})}
        if not how.causal:
            raise bad_value(CALL, "self attention must be causal to read a sequence piece by piece", "causal=False")
        spare = positive_int(CALL, "prefill's length", length) - key.shape[1]
        if spare < 0:
            raise bad_value(CALL, f"prefill's length must have room for the input's {key.shape[1]} positions", length)
        padding = ((0, 0), (0, spare), (0, 0), (0, 0))
        return y, {"key": jnp.pad(key, padding), "value": jnp.pad(value, padding), "position": advanced(None, x)}

    def decode(params: Params, cache: Params, x: Any, /) -> tuple[Any, Params]:
        target, _ = _sources(x, ordered)
        if isinstance(x, tuple):
            y = how.attend(params, target, cache["key"], cache["value"], lengths=cache.get("lengths"))
            return _like(target, y), cache
        places = next_places(CALL, cache["position"], x, cache["key"].shape[1])
        rows = jnp.arange(places.shape[0])[:, None]
        key, value = (
            cache[name].at[rows, places].set(new.astype(cache[name].dtype), mode="drop")
            for name, new in zip(("key", "value"), how.keys_and_values(params, x, places), strict=True)
        )
        y = how.attend(params, x, key, value, start=cache["position"])
        y = jnp.where((places < key.shape[1])[:, :, None], y, jnp.nan)
        return _like(x, y), {"key": key, "value": value, "position": advanced(cache["position"], x)}

    return Decoding(prefill, decode)


def _check_sizes(heads: int, kv_heads: int, head_features: int | None, window: int | None) -> None:
    positive_int(CALL, "heads", heads)
    if heads % positive_int(CALL, "kv_heads", kv_heads):
        raise bad_value(CALL, f"kv_heads must divide the {heads} heads", kv_heads)
    for name, size in (("head_features", head_features), ("window", window)):
        if size is not None:
            positive_int(CALL, name, size)


def _sources(x: Any, ordered: bool) -> tuple[Any, Any]:
    """Where queries come from, and where keys and values do."""
    if not isinstance(x, tuple):
        return x, x
    if len(x) != 2:
        raise bad_type(CALL, "input must be a sequence or a tuple (x, memory)", x)
    if ordered:
        needs = "causal, window, rotate and position_bias are of one sequence, and have no meaning in cross attention"
        raise bad_value(CALL, needs, x, "Did you mean a layer of its own, without them, for (x, memory)?")
    return x


def _read(x: Any, name: str = "input") -> jax.Array:
    """The array under a sequence, zero where it is padded: whatever stands there, also nan, reaches no gradient."""
    array = check_sequence(CALL, x, name)
    return jnp.where(x.mask()[:, :, None], array, 0) if isinstance(x, Ragged) else array


def _lengths(memory: Any) -> jax.Array | None:
    return jnp.asarray(memory.lengths) if isinstance(memory, Ragged) else None


def _like(x: Any, y: jax.Array) -> Any:
    """The result for a sequence: ragged where that is."""
    return Ragged(y, x.lengths) if isinstance(x, Ragged) else y


def _split(x: jax.Array, heads: int) -> jax.Array:
    """``(batch, time, heads · features) -> (batch, time, heads, features)``."""
    return x.reshape(*x.shape[:2], heads, x.shape[2] // heads)


def _from_zero(x: jax.Array) -> jax.Array:
    return jnp.arange(x.shape[1])[None]
