"""Drawing from scores, against NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import functional as F

KEY = jax.random.key(0)


# What is left in


def kept_by_k(row, k):
    return set(sorted(range(len(row)), key=lambda i: (-row[i], i))[:k])


def kept_by_p(row, p):
    """The fewest of the most probable ones that reach p, of equal ones the first."""
    row = np.asarray(row, np.float64)
    probability = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
    kept, total = set(), 0.0
    for i in sorted(range(len(row)), key=lambda i: (-row[i], i)):
        if kept and total >= p:
            break
        kept.add(i)
        total += probability[i]
    return kept


def finite(row):
    return set(np.flatnonzero(np.isfinite(np.asarray(row, np.float32))).tolist())


@settings(max_examples=60, deadline=None)
@given(
    row=st.lists(st.integers(-4, 4), min_size=6, max_size=6) | st.lists(st.integers(-4, 4), min_size=1, max_size=1),
    k=st.sampled_from([1, 2, 4, 6, 7]),
    p=st.floats(0.01, 1.0),
    dtype=st.sampled_from([jnp.float32, jnp.bfloat16]),
)
def test_filters_keep_just_the_sets_of_numpy_also_of_equal_scores(row, k, p, dtype):
    logits = jnp.array(row, dtype)
    top = F.top_k_logits(logits, k)
    assert top.dtype == dtype
    assert finite(top) == kept_by_k(row, k)
    nucleus = F.top_p_logits(logits, p)
    assert nucleus.dtype == dtype
    # Where the sum reaches p but for rounding, one more or less is as right.
    assert finite(nucleus) in (kept_by_p(row, p - 1e-6), kept_by_p(row, p + 1e-6))
    for found in (top, nucleus):
        left = sorted(finite(found))
        np.testing.assert_array_equal(np.asarray(found, np.float32)[left], np.asarray(row, np.float32)[left])


def test_filters_go_along_the_last_axis_of_any_batch():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 7)), jnp.float32)
    for one in (partial(F.top_k_logits, k=3), partial(F.top_p_logits, p=0.6)):
        whole = one(logits)
        alone = jnp.stack([jnp.stack([one(row) for row in rows]) for rows in logits])
        np.testing.assert_array_equal(whole, alone)
    assert F.top_k_logits(logits[:0], 3).shape == (0, 3, 7)
    assert F.top_p_logits(logits, 1.0).tolist() == logits.tolist()
    assert F.top_k_logits(logits, 50) is logits


@pytest.mark.parametrize("p", [0.0, -1.0, jnp.nan, 1e-50])
def test_the_most_probable_one_stays_whatever_a_traced_p(p):
    logits = jnp.array([[0.0, 2.0, 1.0], [3.0, 3.0, 1.0]])
    assert [finite(row) for row in jax.jit(F.top_p_logits)(logits, p)] == [{1}, {0}]


def test_what_was_left_out_before_stays_out():
    logits = jnp.array([0.0, 2.0, -jnp.inf, 1.0])
    assert finite(F.top_p_logits(logits, 1.0)) == {0, 1, 3}
    assert finite(F.top_p_logits(F.top_k_logits(logits, 2), 0.999)) == {1, 3}


# Drawing


def frequencies(logits, count=20_000, **options):
    keys = jax.random.split(KEY, count)
    drawn = jax.jit(jax.vmap(lambda key: F.sample(key, logits, **options)))(keys)
    assert drawn.dtype == jnp.int32
    return np.bincount(np.asarray(drawn), minlength=logits.shape[-1]) / count


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"temperature": 0.5}, {0, 1, 2, 3, 4}),
        ({"temperature": 2.0, "top_k": 3}, {1, 2, 4}),
        ({"top_p": 0.75}, {1, 4}),
        ({"temperature": 1.5, "top_k": 4, "top_p": 0.9}, {0, 1, 2, 4}),
    ],
    ids=str,
)
def test_sample_draws_with_the_probabilities_of_numpy(options, left):
    p = np.array([0.1, 0.5, 0.12, 0.02, 0.26])
    warm = np.log(p) / options.get("temperature", 1.0)
    expected = np.where([i in left for i in range(5)], np.exp(warm), 0)
    expected /= expected.sum()
    found = frequencies(jnp.asarray(np.log(p), jnp.float32), **options)
    np.testing.assert_allclose(found, expected, atol=4 * 0.5 / np.sqrt(20_000))
    assert set(np.flatnonzero(found).tolist()) == left


def test_sample_of_bfloat16_divides_in_float32():
    """3 / 0.3 and 3.02 / 0.3 are one number in bfloat16, but not in float32."""
    logits = jnp.array([1.0, 1.0078125], jnp.bfloat16)
    found = frequencies(logits, temperature=0.003)
    expected = 1 / (1 + np.exp(-0.0078125 / 0.003))
    np.testing.assert_allclose(found[1], expected, atol=0.015)


def test_sample_at_temperature_zero_takes_the_highest_and_of_equal_ones_the_first():
    logits = jnp.array([[1.0, 3.0, 3.0], [5.0, 2.0, 5.0]])
    assert F.sample(None, logits, temperature=0).tolist() == [1, 0]
    traced = jax.jit(lambda t: F.sample(KEY, logits, temperature=t))
    assert traced(0.0).tolist() == [1, 0]
    assert F.sample(KEY, logits, temperature=1e-3, top_p=0.01).tolist() == [1, 0]


@pytest.mark.parametrize("zero", [np.float32(0), np.float64(0), np.array(0), jnp.float32(0)], ids=repr)
def test_a_zero_of_any_type_is_the_temperature_zero(zero):
    assert F.sample(None, jnp.array([1.0, 3.0]), temperature=zero).tolist() == 1


@pytest.mark.parametrize("temperature", [1e-30, 1e-37, 1e-40])
def test_sample_at_a_tiny_temperature_overflows_nowhere(temperature):
    """Divided as they are, 300 and 200 would both be infinite, and the first would be drawn."""
    logits = jnp.array([[200.0, 300.0, -300.0], [-300.0, -200.0, -jnp.inf]])
    assert F.sample(KEY, logits, temperature=temperature).tolist() == [1, 1]
    equal = jnp.tile(jnp.array([300.0, 300.0, 200.0]), (200, 1))
    if temperature > 1e-38:
        assert set(F.sample(KEY, equal, temperature=temperature, top_p=0.9).tolist()) == {0, 1}


def test_a_row_without_a_possible_id_is_drawn_from_without_nan():
    with jax.debug_nans(True):
        assert F.sample(KEY, jnp.full((2, 3), -jnp.inf), temperature=0.5).tolist() == [0, 0]


def test_sample_draws_rows_alone():
    logits = jnp.zeros((400, 2))
    drawn = np.asarray(F.sample(KEY, logits))
    assert 0.4 < drawn.mean() < 0.6
    assert 0.4 < (drawn[1:] == drawn[:-1]).mean() < 0.6


def test_sampling_says_what_is_wrong():
    logits = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"sample: a temperature of 1.0 needs a key; got None. Did you mean key="):
        F.sample(None, logits)
    with pytest.raises(ValueError, match=r"sample: temperature must be a number of 0 or more; got -1"):
        F.sample(KEY, logits, temperature=-1)
    with pytest.raises(TypeError, match=r"sample: logits must be a floating array; got int32\[3\]"):
        F.sample(KEY, jnp.zeros(3, jnp.int32))
    with pytest.raises(
        ValueError, match=r"logits must have shape \(…, ids\), with at least one id; got float32\[2,0\]"
    ):
        F.sample(KEY, jnp.zeros((2, 0)))
    with pytest.raises(ValueError, match=r"top_k_logits: k must be a positive int; got 0"):
        F.sample(KEY, logits, top_k=0)
    for temperature in (np.float64(-1), jnp.float32(jnp.inf), np.float32("nan"), np.bool_(True), KEY, np.ones(1), None):
        with pytest.raises(ValueError, match=r"sample: temperature must be a number of 0 or more; got"):
            F.sample(KEY, logits, temperature=temperature)
    for p in (0.0, 1.5, True, "0.9", np.float64(0.0), jnp.float32(0), np.float64(-1), np.float16(1.5), np.bool_(True)):
        with pytest.raises(ValueError, match=r"top_p_logits: p must be a number above 0 and up to 1; got"):
            F.top_p_logits(logits, p)
