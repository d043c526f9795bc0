"""Transformer blocks, of encoders and decoders."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from jaxdl.core import Built, Decoding, LayerLike, Ragged, bad_type, bad_value, combinator, describe
from jaxdl.core.checks import positive_int
from jaxdl.core.children import Child, Children
from jaxdl.layers import noise
from jaxdl.layers.attention import multi_head_attention
from jaxdl.layers.feed_forward import feed_forward
from jaxdl.layers.norm import layer_norm

Run = Callable[[str, Any], Any]
Add = Callable[[Any, Any], Any]
Make = Callable[..., LayerLike]


@combinator
def transformer_block(
    heads: int,
    *,
    hidden: int | None = None,
    causal: bool = True,
    pre_norm: bool = True,
    dropout: float = 0.0,
    attention: Make = multi_head_attention,
    mlp: Make = feed_forward,
    norm: Make = layer_norm,
) -> Any:
    """Self attention and a feed-forward part, each in a residual branch of its own.

    ``x ← x + attention(norm(x))``, then ``x ← x + mlp(norm(x))``; with ``pre_norm=False``, the form of 2017,
    ``x ← norm(x + attention(x))``, then ``x ← norm(x + mlp(x))``. **It is causal unless told otherwise**, the block of
    a GPT; the encoder's is ``transformer_block(heads, causal=False)``. A stack of ``pre_norm`` blocks ends with a norm
    of its own.

    The parts are constructors, called as ``attention(heads, causal=causal)``, ``mlp(hidden)`` and ``norm()``: a Llama's
    block is ``transformer_block(8, attention=partial(multi_head_attention, kv_heads=2, rotate=rotary, use_bias=False),
    mlp=partial(feed_forward, activation=silu, gated=True, use_bias=False), norm=rms_norm)``.

    **Shapes** ``x: (batch, time, features) ->`` the same, also ragged. **Params** ``attention_norm``, ``attention``,
    ``mlp_norm``, ``mlp``.

    **Args** ``hidden``: of the feed-forward part, four times the features by default. ``dropout``: of each branch's
    output; weights of attention and hidden features are dropped by ``partial(multi_head_attention, dropout=…)`` and
    ``partial(feed_forward, dropout=…)`` (PyTorch's one figure means all of these).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> block = transformer_block(heads=4)
        >>> params, state = block.init(jax.random.key(0), jnp.ones((1, 5, 32)))
        >>> sorted(params), params["mlp"]["up"]["kernel"].shape
        (['attention', 'attention_norm', 'mlp', 'mlp_norm'], (32, 128))
        >>> block.apply(params, state, jnp.ones((2, 7, 32)), train=False)[0].shape
        (2, 7, 32)

    **References** Vaswani et al., Attention is all you need, 2017; Radford et al., Language models are unsupervised
    multitask learners, 2019 (the norm before); Xiong et al., On layer normalization in the transformer architecture,
    2020.
    """
    call = "transformer_block"
    _check_parts(call, heads, attention=attention, mlp=mlp, norm=norm)
    parts = {"attention": attention(heads, causal=causal), "mlp": mlp(hidden)}
    branch = partial(_branch, pre_norm=pre_norm, dropout=bool(dropout))

    def flow(run: Run, add: Add, x: Any) -> Any:
        return branch(run, add, "mlp", branch(run, add, "attention", x))

    return _block(call, _children(call, parts, norm, dropout), flow)


@combinator
def transformer_decoder_block(
    heads: int,
    *,
    hidden: int | None = None,
    pre_norm: bool = True,
    dropout: float = 0.0,
    attention: Make = multi_head_attention,
    cross_attention: Make = multi_head_attention,
    mlp: Make = feed_forward,
    norm: Make = layer_norm,
) -> Any:
    """Causal self attention, attention to a memory, and a feed-forward part, each in a residual branch of its own.

    The decoder of an encoder-decoder pair, with branches as in :func:`transformer_block`. It takes and gives
    ``(x, memory)``, the memory as it was, so that blocks follow one another. The memory is not normalised here. The
    parts are constructors, called as ``attention(heads, causal=True)``, ``cross_attention(heads)``, ``mlp(hidden)`` and
    ``norm()``.

    **Shapes** ``(x: (batch, time, features), memory: (batch, keys, …)) ->`` the same, each also ragged. **Params**
    ``attention_norm``, ``attention``, ``cross_attention_norm``, ``cross_attention``, ``mlp_norm``, ``mlp``.

    **Raises** ``TypeError`` for an input that is no such tuple.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> block = transformer_decoder_block(2)
        >>> x, memory = jnp.ones((1, 5, 8)), jnp.ones((1, 7, 6))
        >>> params, state = block.init(jax.random.key(0), (x, memory))
        >>> (y, same), _ = block.apply(params, state, (x, memory), train=False)
        >>> y.shape, same.shape
        ((1, 5, 8), (1, 7, 6))

    **References** Vaswani et al., Attention is all you need, 2017.
    """
    call = "transformer_decoder_block"
    _check_parts(call, heads, attention=attention, cross_attention=cross_attention, mlp=mlp, norm=norm)
    parts = {
        "attention": attention(heads, causal=True),
        "cross_attention": cross_attention(heads),
        "mlp": mlp(hidden),
    }
    branch = partial(_branch, pre_norm=pre_norm, dropout=bool(dropout))

    def flow(run: Run, add: Add, x: Any) -> Any:
        if not isinstance(x, tuple) or len(x) != 2:
            raise bad_type(call, "input must be a tuple (x, memory)", x)
        y, memory = branch(run, add, "attention", x[0]), x[1]
        y = branch(run, add, "cross_attention", y, beside=(memory,))
        return branch(run, add, "mlp", y), memory

    return _block(call, _children(call, parts, norm, dropout), flow)


def _check_parts(call: str, heads: int, **makes: Make) -> None:
    positive_int(call, "heads", heads)
    for name, make in makes.items():
        if not callable(make):
            raise bad_type(
                call, f"{name} must be a constructor, which is called here", make, "Did you mean partial(…)?"
            )


def _children(call: str, parts: dict[str, LayerLike], norm: Make, dropout: float) -> Children:
    """Each part with its norm and, if there is any, its dropout."""
    named: list[Child] = []
    for name, part in parts.items():
        named += [(f"{name}_norm", norm()), (name, part)]
        if dropout:
            named.append((f"{name}_dropout", noise.dropout(dropout)))
    return Children(call, named)


def _branch(
    run: Run, add: Add, name: str, x: Any, *, pre_norm: bool, dropout: bool, beside: tuple[Any, ...] = ()
) -> Any:
    """The residual branch of one part, whose input has what lies ``beside`` it."""
    y = run(f"{name}_norm", x) if pre_norm else x
    y = run(name, (y, *beside) if beside else y)
    if dropout:
        y = run(f"{name}_dropout", y)
    y = add(x, y)
    return y if pre_norm else run(f"{name}_norm", y)


def _block(kind: str, children: Children, flow: Callable[[Run, Add, Any], Any]) -> Any:
    """The functions of a combinator whose input flows through its children in one way, whatever is done with them:
    ``run(name, x)`` is what the child of that name makes of ``x``, and ``add(x, y)`` the sum.
    """
    named = {child[0]: child for child in children.named}
    add = partial(_add, kind)

    def build(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}

        def run(name: str, x: Any) -> Any:
            return children.build_one(named[name], key, x, visit, path, params, state)

        return Built(params, state, flow(run, partial(jax.eval_shape, add), x))

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        new_state: dict[str, Any] = {}

        def run(name: str, x: Any) -> Any:
            return children.apply_one(named[name], params, state, x, new_state, train=train, key=key)

        return flow(run, add, x), new_state

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, /, *, length: int) -> tuple[Any, dict[str, Any]]:
        cache: dict[str, Any] = {}
        y = flow(lambda name, x: children.prefill_one(named[name], params, state, x, cache, length=length), add, x)
        return y, cache

    def decode(params: dict[str, Any], cache: dict[str, Any], x: Any, /) -> tuple[Any, dict[str, Any]]:
        new_cache: dict[str, Any] = {}
        y = flow(lambda name, x: children.decode_one(named[name], params, cache, x, new_cache), add, x)
        return y, new_cache

    return build, apply, Decoding(prefill, decode)


def _add(kind: str, x: Any, y: Any) -> Any:
    if isinstance(x, Ragged) and isinstance(y, Ragged):
        return Ragged(_add(kind, x.x, y.x), x.lengths)
    if x.shape != y.shape:
        raise bad_value(kind, f"a part must keep the shape of its input, {describe(x)}", y)
    return x + y
