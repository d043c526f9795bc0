"""Transformer blocks against Flax's parts put together by hand, and reading piece by piece against one full pass."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl.core import build

KEY = jax.random.key(0)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def noisy(params):
    """Parameters that are all different, also those that begin as zeros and ones."""
    leaves, tree = jax.tree.flatten(params)
    return jax.tree.unflatten(tree, [leaf + 0.1 * normal(*leaf.shape, seed=i) for i, leaf in enumerate(leaves)])


# Blocks


def flax_norm(params, x):
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False).apply({"params": params}, x)


def flax_dense(params, x):
    return nn.Dense(params["kernel"].shape[1]).apply({"params": params}, x)


def flax_attention(params, x, memory, heads, mask=None):
    size = x.shape[-1] // heads
    theirs = {
        name: {"kernel": leaf["kernel"].reshape(-1, heads, size), "bias": leaf["bias"].reshape(heads, size)}
        for name, leaf in params.items()
        if name != "out"
    }
    theirs["out"] = {"kernel": params["out"]["kernel"].reshape(heads, size, -1), "bias": params["out"]["bias"]}
    return nn.MultiHeadDotProductAttention(heads).apply({"params": theirs}, x, memory, mask=mask)


def flax_branch(params, name, x, part, pre_norm):
    norm = partial(flax_norm, params[f"{name}_norm"])
    return x + part(norm(x)) if pre_norm else norm(x + part(x))


def flax_block(params, x, memory, *, causal, pre_norm, gated, activation):
    """The whole of both blocks; the encoder's has no memory."""
    mask = nn.make_causal_mask(jnp.ones(x.shape[:2]), dtype=bool) if causal else None

    def mlp(x):
        up = flax_dense(params["mlp"]["up"], x)
        hidden = activation(flax_dense(params["mlp"]["gate"], x)) * up if gated else activation(up)
        return flax_dense(params["mlp"]["down"], hidden)

    x = flax_branch(params, "attention", x, lambda h: flax_attention(params["attention"], h, h, 2, mask), pre_norm)
    if memory is not None:
        cross = params["cross_attention"]
        x = flax_branch(params, "cross_attention", x, lambda h: flax_attention(cross, h, memory, 2), pre_norm)
    return flax_branch(params, "mlp", x, mlp, pre_norm)


def outcome(function, *arguments):
    @jax.jit
    def both(*arguments):
        y, vjp = jax.vjp(function, *arguments)
        return y, vjp(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    return both(*arguments)


def assert_alike(found, expected):
    """Within 1e-5 of the tree's largest entry: the gradient to a bias of keys is zero in exact arithmetic."""
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0, atol=1e-5 * largest), found, expected)


BLOCKS = {
    "a GPT's": (True, True, False, jax.nn.gelu),
    "BERT's": (False, False, False, partial(jax.nn.gelu, approximate=False)),
    "SwiGLU": (True, True, True, jax.nn.silu),
}


@pytest.mark.slow
@pytest.mark.parametrize(("causal", "pre_norm", "gated", "activation"), BLOCKS.values(), ids=BLOCKS)
def test_transformer_block_equals_flax(causal, pre_norm, gated, activation):
    mlp = partial(L.feed_forward, gated=gated, activation=activation)
    block = L.transformer_block(2, hidden=5, causal=causal, pre_norm=pre_norm, mlp=mlp)
    x = normal(2, 4, 6)
    params = noisy(block.init(KEY, x)[0])
    theirs = partial(flax_block, causal=causal, pre_norm=pre_norm, gated=gated, activation=activation)
    found = outcome(lambda params, x: block.apply(params, {}, x, train=False)[0], params, x)
    assert_alike(found, outcome(lambda params, x: theirs(params, x, None), params, x))


@pytest.mark.slow
@pytest.mark.parametrize("pre_norm", [True, False])
def test_transformer_decoder_block_equals_flax(pre_norm):
    block = L.transformer_decoder_block(2, pre_norm=pre_norm)
    x, memory = normal(2, 4, 6), normal(2, 3, 6, seed=1)
    params = noisy(block.init(KEY, (x, memory))[0])
    theirs = partial(flax_block, causal=True, pre_norm=pre_norm, gated=False, activation=jax.nn.gelu)
    found = outcome(lambda params, *given: block.apply(params, {}, given, train=False)[0][0], params, x, memory)
    assert_alike(found, outcome(theirs, params, x, memory))


def test_blocks_have_a_place_for_everything():
    drop = {"attention": partial(L.multi_head_attention, kv_heads=1, dropout=0.1), "norm": L.rms_norm, "dropout": 0.2}
    block = L.transformer_block(2, **drop)
    parts = []
    built = build(block, KEY, normal(1, 3, 4), parts.append, "block")
    assert [part.path for part in parts] == [
        f"block/{name}"
        for name in ("attention_norm", "attention", "attention_dropout", "mlp_norm", "mlp", "mlp_dropout")
    ]
    assert built.params["attention"]["key"]["kernel"].shape == (4, 2)
    assert set(built.params["mlp_norm"]) == {"scale"}
    assert built.params["mlp"]["up"]["kernel"].shape == (4, 16)
    assert block == L.transformer_block(2, **drop)
    assert "attention=partial(multi_head_attention, kv_heads=1, dropout=0.1)" in repr(block)


@pytest.mark.slow
def test_dropout_of_a_block_drops_each_branch_alone():
    block = L.transformer_block(2, dropout=0.5)
    x = normal(1, 3, 4)
    params, state = block.init(KEY, x)
    apply = jax.jit(partial(block.apply, train=True))
    once, again, other = (apply(params, state, x, key=jax.random.key(seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert not jnp.allclose(once, other)
    with pytest.raises(ValueError, match=r"dropout\(rate=0.5\): train=True needs a key") as caught:
        block.apply(params, state, x, train=True)
    assert 'in transformer_block "attention_dropout"' in caught.value.__notes__[0]


def test_blocks_say_what_is_wrong():
    x = normal(2, 3, 4)
    with pytest.raises(ValueError, match=r"transformer_block\(heads=0\): heads must be a positive int; got 0"):
        L.transformer_block(0)
    with pytest.raises(ValueError, match=r"feed_forward\(hidden=0\): hidden must be a positive int; got 0"):
        L.transformer_block(2, hidden=0)
    with pytest.raises(
        TypeError, match=r"norm must be a constructor, which is called here; got layer_norm\(\). Did you mean"
    ):
        L.transformer_block(2, norm=L.layer_norm())
    with pytest.raises(TypeError, match=r"activation must be a function of arrays; got gelu"):
        L.feed_forward(activation="gelu")
    with pytest.raises(TypeError, match=r"feed_forward\(\): input must be a floating array; got int32\[2\]"):
        L.feed_forward().init(KEY, jnp.ones(2, jnp.int32))
    with pytest.raises(
        TypeError, match=r"transformer_decoder_block\(heads=2\): input must be a tuple \(x, memory\); got"
    ):
        L.transformer_decoder_block(2).init(KEY, x)
    with pytest.raises(
        ValueError, match=r"a part must keep the shape of its input, float32\[2,3,4\]; got float32\[2,3,7\]"
    ):
        L.transformer_block(2, mlp=lambda hidden: L.dense(7)).init(KEY, x)
    encoder = L.transformer_block(2, causal=False)
    with pytest.raises(ValueError, match=r"self attention must be causal") as caught:
        encoder.prefill(*encoder.init(KEY, x), x, length=4)
    assert 'in transformer_block "attention"' in caught.value.__notes__[0]


# Piece by piece

LLAMA = partial(
    L.transformer_block,
    attention=partial(L.multi_head_attention, kv_heads=2, window=4, rotate=F.rotary, use_bias=False),
    mlp=partial(L.feed_forward, activation=jax.nn.silu, gated=True, use_bias=False),
    norm=L.rms_norm,
)
READERS = {
    "grouped rotary window": lambda: L.multi_head_attention(
        4, kv_heads=2, causal=True, window=3, rotate=partial(F.rotary, base=500.0)
    ),
    "alibi": lambda: L.multi_head_attention(2, causal=True, position_bias=F.alibi),
    "learned": lambda: L.learned_positions(9),
    "sinusoidal": lambda: L.sinusoidal_positions(),
    "GPT": lambda: dl.sequential(L.learned_positions(8), L.transformer_block(2), L.layer_norm(), L.dense(3)),
    "Llama": lambda: LLAMA(4),
}
TIME = 8


def pieces(layer, params, state, x, cuts, beside=()):
    """The outputs of the whole of ``x``, read in pieces that end at ``cuts``, each with what lies beside it."""
    parts = jnp.split(x, list(cuts), axis=1)
    parts = [(part, *beside) if beside else part for part in parts]
    y, cache = layer.prefill(params, state, parts[0], length=TIME)
    outputs = [y]
    for part in parts[1:]:
        y, cache = layer.decode(params, cache, part)
        outputs.append(y)
    return outputs


@pytest.mark.parametrize("make", READERS.values(), ids=READERS)
def test_pieces_of_any_size_equal_the_full_pass(make):
    layer, x = make(), normal(2, TIME, 8)

    @jax.jit
    def both(x):
        params, state = layer.init(KEY, x)
        whole, _ = layer.apply(params, state, x, train=False)
        cuts = [(3, 4, 7), (0, 1)]  # also a prompt of no time
        return [whole, *(jnp.concatenate(pieces(layer, params, state, x, cut), axis=1) for cut in cuts)]

    whole, *read = both(x)
    for y in read:
        np.testing.assert_allclose(y, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("make", READERS.values(), ids=READERS)
def test_ragged_prompts_go_on_at_their_own_lengths(make):
    """Prompts and a ragged next piece, each padded with noise, against every example alone."""
    layer, x = make(), normal(3, TIME, 8)
    lengths, more = jnp.array([3, 0, 2]), jnp.array([2, 3, 0])

    @jax.jit
    def read(x):
        params, state = layer.init(KEY, x)
        whole, _ = layer.apply(params, state, x, train=False)
        prompt = dl.Ragged(jnp.where(jnp.arange(4)[None, :, None] < lengths[:, None, None], x[:, :4], 9.0), lengths)
        _, cache = layer.prefill(params, state, prompt, length=TIME)

        def upcoming(start, time):
            return jnp.take_along_axis(x, (start[:, None] + jnp.arange(time)[None])[:, :, None], axis=1)

        second, cache = layer.decode(params, cache, dl.Ragged(upcoming(lengths, 3), more))
        third, cache = layer.decode(params, cache, upcoming(lengths + more, 2))
        return whole, second.x, third

    whole, second, third = read(x)
    for b, (start, middle) in enumerate(zip(lengths, lengths + more, strict=True)):
        np.testing.assert_allclose(second[b, : more[b]], whole[b, start:middle], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(third[b], whole[b, middle : middle + 2], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_decoder_of_a_ragged_memory_reads_piece_by_piece():
    layer = dl.sequential(L.transformer_decoder_block(2), ("two", L.transformer_decoder_block(2, pre_norm=False)))
    x, memory = normal(2, TIME, 4), dl.Ragged(normal(2, 5, 4, seed=1), jnp.array([5, 2]))

    @jax.jit
    def both(x, memory):
        params, state = layer.init(KEY, (x, memory))
        (whole, _), _ = layer.apply(params, state, (x, memory), train=False)
        read = pieces(layer, params, state, x, (2, 3), beside=(memory,))
        return whole, jnp.concatenate([y for y, _ in read], axis=1)

    whole, read = both(x, memory)
    np.testing.assert_allclose(read, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_one_compiled_step_writes_a_text():
    """Greedy writing in a scan, from prompts of different length, is what full passes over ever longer texts give."""
    gpt = dl.sequential(
        ("tokens", L.embedding(7, 8)),
        ("places", L.learned_positions(9)),
        ("block", L.transformer_block(2)),
        ("norm", L.layer_norm()),
        ("logits", L.dense(7, use_bias=False)),
    )
    prompts = dl.Ragged(jnp.array([[3, 1, 4], [5, 0, 0]]), jnp.array([3, 1]))
    params, state = gpt.init(jax.random.key(1), prompts)
    params = noisy(params)

    @jax.jit
    def write(params, prompts):
        logits, cache = gpt.prefill(params, state, prompts, length=9)
        first = logits.x[jnp.arange(2), prompts.lengths - 1].argmax(-1)

        def step(carry, _):
            token, cache = carry
            logits, cache = gpt.decode(params, cache, token[:, None])
            return (logits[:, 0].argmax(-1), cache), token

        return jax.lax.scan(step, (first, cache), length=5)[1].T

    full = jax.jit(lambda params, texts: gpt.apply(params, state, texts, train=False)[0])
    written = write(params, prompts)
    for row, prompt, length in zip(written, prompts.x, prompts.lengths, strict=True):
        text = list(map(int, prompt[:length]))
        for token in row:
            padded = jnp.array([text + [0] * (9 - len(text))])
            assert int(full(params, padded)[0, len(text) - 1].argmax()) == int(token)
            text.append(int(token))
