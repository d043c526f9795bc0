"""An encoder, and a decoder that looks at what it makes."""

from typing import Any

import jax

from jaxdl.core import Built, Decoding, bad_type, combinator
from jaxdl.core.children import Children


@combinator
def encoder_decoder(encoder: Any, decoder: Any) -> Any:
    """``y = decoder((target, encoder(source)))``: the target is read beside a memory, which is made of the source.

    Children are named ``encoder`` and ``decoder``. The decoder takes the tuple (target, memory) and gives the output;
    one that ends with :func:`jaxdl.layers.transformer_decoder_block`, which gives (y, memory), needs a further layer
    that takes y alone. In training the target is the output shifted by one position (teacher forcing).

    It decodes where the decoder does: ``prefill`` takes (target, source), runs the encoder once and keeps the memory;
    ``decode`` then takes pieces of the target alone.

    **Shapes** ``(target: (batch, time, …), source: (batch, steps, …)) ->`` what the decoder gives, each also ragged.

    **Raises** ``TypeError`` for an input that is no such tuple.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl.layers import dense, multi_head_attention
        >>> model = encoder_decoder(dense(6), multi_head_attention(2))
        >>> target, source = jnp.ones((1, 3, 4)), jnp.ones((1, 5, 2))
        >>> params, state = model.init(jax.random.key(0), (target, source))
        >>> model.apply(params, state, (target, source), train=False)[0].shape
        (1, 3, 4)
        >>> y, cache = model.prefill(params, state, (target[:, :1], source), length=3)
        >>> model.decode(params, cache, target[:, 1:])[0].shape
        (1, 2, 4)

    **References** Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; Sutskever, Vinyals and
    Le, Sequence to sequence learning with neural networks, 2014.
    """
    children = Children("encoder_decoder", [("encoder", encoder), ("decoder", decoder)])
    reader, writer = children.named

    def build(key: jax.Array, x: Any, visit: Any, path: str) -> Built:
        target, source = _pair(x)
        params: dict[str, Any] = {}
        state: dict[str, Any] = {}
        memory = children.build_one(reader, key, source, visit, path, params, state)
        y = children.build_one(writer, key, (target, memory), visit, path, params, state)
        return Built(params, state, y)

    def apply(
        params: dict[str, Any], state: dict[str, Any], x: Any, *, train: bool, key: jax.Array | None = None
    ) -> tuple[Any, dict[str, Any]]:
        target, source = _pair(x)
        new: dict[str, Any] = {}
        memory = children.apply_one(reader, params, state, source, new, train=train, key=key)
        return children.apply_one(writer, params, state, (target, memory), new, train=train, key=key), new

    def prefill(params: dict[str, Any], state: dict[str, Any], x: Any, *, length: int) -> tuple[Any, dict[str, Any]]:
        target, source = _pair(x)
        memory = children.apply_one(reader, params, state, source, {}, train=False, key=None)
        cache: dict[str, Any] = {"memory": memory}
        return children.prefill_one(writer, params, state, (target, memory), cache, length=length), cache

    def decode(params: dict[str, Any], cache: dict[str, Any], x: Any) -> tuple[Any, dict[str, Any]]:
        new: dict[str, Any] = {"memory": cache["memory"]}
        return children.decode_one(writer, params, cache, (x, cache["memory"]), new), new

    return build, apply, Decoding(prefill, decode)


def _pair(x: Any) -> tuple[Any, Any]:
    if not isinstance(x, tuple) or len(x) != 2:
        raise bad_type("encoder_decoder", "input must be a tuple (target, source)", x)
    return x
