"""Writing on from prompts, against repeated full passes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L

KEY = jax.random.key(0)
VOCABULARY, LONG = 7, 12


def gpt():
    return dl.models.gpt(VOCABULARY, features=8, layers=2, heads=2, length=LONG)


def reader():
    return dl.sequential(L.embedding(VOCABULARY, 8), L.gru(8), L.dense(VOCABULARY))


def pairs():
    """The next id by the last one alone: cheap to compile."""
    return dl.sequential(L.embedding(VOCABULARY, 8), L.learned_positions(LONG), L.dense(VOCABULARY))


def trained(model, x, seed=3):
    """A train state whose scores are far apart, so that rounding changes no choice."""
    s = dl.train.create_state(model, optax.sgd(0.1), x, seed=seed)
    leaves, tree = jax.tree.flatten(s.params)
    rng = np.random.default_rng(seed)
    return s.replace(params=tree.unflatten([leaf + rng.normal(size=leaf.shape).astype("f") for leaf in leaves]))


def full_passes(model, s, texts, steps, *beside):
    """What is written without a cache: all of the text is read again for each id."""
    full = jax.jit(lambda x: model.apply(s.params, s.state, x, train=False)[0])
    written = []
    for row, text in enumerate(texts):
        text, size = list(text), len(text)
        for _ in range(steps):
            padded = np.array([text + [0] * (LONG - len(text))])
            source = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], beside)
            text.append(int(full((padded, *source) if beside else padded)[0, len(text) - 1].argmax()))
        written.append(text[size:])
    return written


@pytest.mark.parametrize("make", [gpt, pytest.param(reader, marks=pytest.mark.slow)])
def test_greedy_writing_is_what_full_passes_without_a_cache_give(make):
    model = make()
    prompts = dl.Ragged(np.array([[3, 1, 4], [5, 0, 0], [2, 6, 0]]), np.array([3, 1, 2]))
    s = trained(model, prompts)
    written = dl.generate(model, s, prompts, 8, temperature=0)
    assert written.dtype == np.int32
    assert written.tolist() == full_passes(model, s, [[3, 1, 4], [5], [2, 6]], 8)
    np.testing.assert_array_equal(dl.generate(model, s, prompts.x[:1], 8, temperature=0), written[:1])


@pytest.mark.slow
def test_an_encoder_decoder_writes_beside_its_source():
    model = dl.models.seq2seq(VOCABULARY, VOCABULARY, features=8, hidden=8)
    prompt = np.array([[3], [1], [3]])
    source = dl.Ragged(np.array([[1, 2, 3, 4], [5, 6, 0, 0], [6, 6, 6, 0]]), np.array([4, 2, 3]))
    s = trained(model, (prompt, source))
    written = dl.generate(model, s, (prompt, source), 6, temperature=0)
    assert written.tolist() == full_passes(model, s, prompt.tolist(), 6, source)
    assert written[0].tolist() != written[2].tolist()
    wrong = source.replace(x=source.x + VOCABULARY)
    with pytest.raises(ValueError, match=r"ids from 0 to 6, or is an input beside it out of its range\?"):
        dl.generate(model, s, (prompt, wrong), 6, temperature=0)


@pytest.mark.slow
def test_the_same_key_writes_the_same_and_rows_are_drawn_alone():
    model = pairs()
    prompt = np.full((4, 2), 3)
    s = dl.train.create_state(model, optax.sgd(0.1), prompt)
    write = partial(dl.generate, model, s, steps=10, key=KEY)
    written = write(prompt=prompt)
    np.testing.assert_array_equal(write(prompt=prompt), written)
    assert (dl.generate(model, s, prompt, 10, key=jax.random.key(1)) != written).any()
    assert len({tuple(row) for row in written.tolist()}) == 4
    np.testing.assert_array_equal(write(prompt=prompt[:2]), written[:2])
    other = prompt.copy()
    other[3] = 5
    np.testing.assert_array_equal(write(prompt=other)[:3], written[:3])


@pytest.mark.slow
def test_what_is_drawn_has_the_probabilities_of_the_model():
    model = pairs()
    prompt = np.tile([[3, 1]], (4000, 1))
    s = trained(model, prompt[:1])
    scores = model.apply(s.params, s.state, prompt[:1], train=False)[0][0, -1]
    expected = jax.nn.softmax(F.top_k_logits(scores / 2, 4))
    found = np.bincount(dl.generate(model, s, prompt, 1, key=KEY, temperature=2.0, top_k=4)[:, 0], minlength=VOCABULARY)
    np.testing.assert_allclose(found / 4000, expected, atol=4 * 0.5 / np.sqrt(4000))
    one = dl.generate(model, s, prompt[:1], 5, key=KEY, top_p=1e-6)
    np.testing.assert_array_equal(one, dl.generate(model, s, prompt[:1], 5, temperature=0))


def test_scalars_of_numpy_are_the_numbers_that_they_are():
    model, prompt = pairs(), np.array([[1, 2, 3]])
    s = trained(model, prompt)
    greedy = dl.generate(model, s, prompt, 3, temperature=0)
    np.testing.assert_array_equal(dl.generate(model, s, prompt, 3, temperature=np.float32(0)), greedy)
    with pytest.raises(ValueError, match=r"temperature must be a number of 0 or more; got -1"):
        dl.generate(model, s, prompt, 3, key=KEY, temperature=np.float32(-1))
    with pytest.raises(ValueError, match=r"top_p must be a number above 0 and up to 1; got 0"):
        dl.generate(model, s, prompt, 3, key=KEY, top_p=np.float64(0))


@pytest.mark.slow
def test_a_row_that_has_stopped_holds_the_stop():
    model = pairs()
    prompt = np.arange(20)[:, None] % VOCABULARY
    s = dl.train.create_state(model, optax.sgd(0.1), prompt)
    whole = dl.generate(model, s, prompt, 12, key=KEY)
    stopped = dl.generate(model, s, prompt, 12, key=KEY, stop=2)
    assert (whole == 2).any(1).any()
    for row, cut in zip(whole.tolist(), stopped.tolist(), strict=True):
        end = [*row, 2].index(2)
        assert cut == row[:end] + [2] * (12 - end)


def test_an_equal_model_compiles_nothing_whatever_the_temperature():
    traces = []

    @dl.stateless
    def counted():
        return lambda key, x: {}, lambda params, x: traces.append(1) or x

    def make():
        return dl.sequential(L.embedding(VOCABULARY, 4), counted(), L.dense(VOCABULARY))

    prompt = np.array([[1, 2]])
    s = dl.train.create_state(make(), optax.sgd(0.1), prompt)
    dl.generate(make(), s, prompt, 3, key=KEY, temperature=0.7, top_p=0.5, stop=1)
    once = len(traces)
    dl.generate(make(), s, prompt, 3, key=jax.random.key(1), temperature=1.7, top_p=0.9, stop=2)
    assert len(traces) == once


@pytest.mark.slow
def test_writing_in_half_precision():
    model = reader()
    prompt = np.array([[1, 2], [3, 4]])
    s = trained(model, prompt)
    found = dl.generate(model, s, prompt, 4, temperature=0, policy="bfloat16")
    half = dl.train.precision.cast(s.params, jnp.bfloat16)
    np.testing.assert_array_equal(found, dl.generate(model, s.replace(params=half), prompt, 4, temperature=0))


def test_generate_says_what_is_wrong():
    model, prompt = pairs(), np.array([[1, 2, 3]])
    s = trained(model, prompt)
    write = partial(dl.generate, model, s, key=KEY)
    with pytest.raises(ValueError, match=r"prefill's length must be no more than the 12 positions that there are") as e:
        write(prompt, 11)
    assert e.value.__notes__[-1] == "  in generate, for 11 steps after the prompt"
    assert write(prompt, 10).shape == (1, 10)
    with pytest.raises(ValueError, match=r"steps must be a positive int; got 0"):
        write(prompt, 0)
    with pytest.raises(ValueError, match=r"prompt must have shape \(batch, time\).*Did you mean prompt\[None\]\?"):
        write(prompt[0], 4)
    with pytest.raises(ValueError, match=r"with at least one position; got int64\[1,0\]"):
        write(prompt[:, :0], 4)
    with pytest.raises(ValueError, match=r"each prompt must have at least one position; got lengths from 0"):
        write(dl.Ragged(np.ones((2, 3), int), np.array([3, 0])), 4)
    for wrong in ("text", [[1, 2]], np.ones((1, 2))):
        with pytest.raises(TypeError, match=r"prompt must be an array of integers, \(batch, time\)"):
            write(wrong, 4)
    with pytest.raises(ValueError, match=r"a temperature of 0.5 needs a key; got None. Did you mean key="):
        dl.generate(model, s, prompt, 4, temperature=0.5)
    with pytest.raises(ValueError, match=r"generate: top_k must be a positive int; got 0"):
        write(prompt, 4, top_k=0)
    with pytest.raises(ValueError, match=r"generate: top_p must be a number above 0 and up to 1; got 2"):
        write(prompt, 4, top_p=2)
    with pytest.raises(ValueError, match=r"stop must be an id, 0 or greater; got -1"):
        write(prompt, 4, stop=-1)
    with pytest.raises(ValueError, match=r"stop must be one of the model's ids, 0 to 6; got 7"):
        write(prompt, 10, stop=7)
    with pytest.raises(ValueError, match=r"policy must be"):
        write(prompt, 4, policy="half")
    with pytest.raises(
        ValueError, match=r"scores of the model must be numbers; got nan. Did you mean a prompt of ids f"
    ):
        write(np.array([[1, 2, VOCABULARY]]), 10)
    diverged = s.replace(params=jax.tree.map(lambda leaf: leaf * jnp.nan, s.params))
    with pytest.raises(ValueError, match=r"got nan. The params hold numbers that are not finite"):
        dl.generate(model, diverged, prompt, 10, key=KEY)


@pytest.mark.slow
def test_generate_needs_a_model_that_reads_piece_by_piece_and_gives_scores():
    x = np.array([[1, 2]])
    backwards = dl.sequential(L.embedding(5, 4), L.gru(4, reverse=True), L.dense(5))
    s = dl.train.create_state(backwards, optax.sgd(0.1), x)
    with pytest.raises(ValueError, match=r"to read piece by piece"):
        dl.generate(backwards, s, x, 3, temperature=0)

    @dl.layer
    def no_decoding():
        return lambda key, x: ({}, {}), lambda params, state, x, *, train, key=None: (x, state)

    with pytest.raises(TypeError, match=r"a layer that reads a sequence piece by piece must say how \(decoding\)"):
        dl.generate(no_decoding(), s, x, 3, temperature=0)
    with pytest.raises(ValueError, match=r"the model must give scores \(batch, time, ids\); got"):
        flat = dl.sequential(L.embedding(5, 4), lambda x: x[..., 0])
        dl.generate(flat, dl.train.create_state(flat, optax.sgd(0.1), x), x, 3, temperature=0)
