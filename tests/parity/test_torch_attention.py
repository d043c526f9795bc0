"""Attention against PyTorch: values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch_reference import assert_alike, normal, ours, theirs

from jaxdl import functional as F

T = torch.nn.functional


def heads_first(array):
    return np.swapaxes(array, 1, 2)


LAYOUT = {"there": [heads_first] * 3, "back": [heads_first] * 4}
SHAPES = {
    "one head": ((2, 3, 1, 4), 5, 1),
    "heads": ((2, 5, 4, 3), 5, 4),
    "grouped": ((1, 3, 6, 2), 4, 2),
    "multi-query": ((2, 4, 3, 5), 7, 1),
}
every_shape = pytest.mark.parametrize(("shape", "keys", "kv_heads"), SHAPES.values(), ids=SHAPES)


def arguments(shape, keys, kv_heads, dtype):
    batch, _, _, features = shape
    return [normal(shape, dtype), *(normal((batch, keys, kv_heads, features), dtype, seed) for seed in (1, 2))]


def compare(shape, keys, kv_heads, dtype, options, their_options):
    given = arguments(shape, keys, kv_heads, dtype)
    expected = theirs(partial(T.scaled_dot_product_attention, enable_gqa=True, **their_options), *given, **LAYOUT)
    assert_alike(ours(partial(F.attention, **options), *given), expected, dtype)


@every_shape
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_attention(shape, keys, kv_heads, causal, dtype):
    compare(shape, keys, kv_heads, dtype, {"causal": causal}, {"is_causal": causal})


@every_shape
def test_attention_with_a_mask(shape, keys, kv_heads, dtype):
    """One query sees nothing: both give zeros."""
    mask = np.random.default_rng(3).random((shape[0], 1, shape[1], keys)) < 0.6
    mask[0, :, 0] = False
    compare(shape, keys, kv_heads, dtype, {"mask": jnp.asarray(mask)}, {"attn_mask": torch.tensor(mask)})


@every_shape
def test_attention_with_a_bias(shape, keys, kv_heads, dtype):
    bias = normal((1, shape[2], shape[1], keys), dtype, 3)
    bias[..., -1] = -np.inf
    compare(shape, keys, kv_heads, dtype, {"bias": jnp.asarray(bias)}, {"attn_mask": torch.tensor(bias)})


@every_shape
def test_attention_with_lengths_and_a_window(shape, keys, kv_heads, dtype):
    lengths = np.array([keys, 2])[: shape[0]]
    places, queries = np.arange(keys), np.arange(shape[1])[:, None]
    mask = (np.abs(places - queries) < 2) & (places < lengths[:, None, None])
    options = {"lengths": jnp.asarray(lengths), "window": 2}
    compare(shape, keys, kv_heads, dtype, options, {"attn_mask": torch.tensor(mask[:, None])})


def test_attention_of_a_query_that_goes_on(dtype):
    """A query after some keys is the last row of the full pass."""
    query, key, value = arguments((2, 6, 2, 3), 6, 2, dtype)
    full = T.scaled_dot_product_attention(*(torch.tensor(heads_first(a)) for a in (query, key, value)), is_causal=True)
    attend = jax.jit(partial(F.attention, causal=True))
    found = attend(query[:, 4:], key, value, offset=jnp.array([4, 4]))
    assert_alike([np.asarray(found)], [heads_first(full.numpy())[:, 4:]], dtype)
