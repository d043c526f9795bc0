"""Texts as integers: tokenizers, padding, and training on what comes out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.data import encode, pad_left, pad_sequences, train_tokenizer

TEXTS = ["The cat sat on the mat.", "The dog ran", "A cat ran"]


def test_the_most_frequent_words_are_kept():
    tokenizer = train_tokenizer(TEXTS, vocabulary=6)
    assert tokenizer.get_vocab_size() == 6
    assert {"[PAD]": 0, "[UNK]": 1}.items() <= tokenizer.get_vocab().items()
    assert {"the", "cat", "ran"} <= tokenizer.get_vocab().keys()
    words = encode(tokenizer, ["the cat flew", "the"])
    assert words.x.dtype == np.int32
    assert words.x[0, 2] == 1
    assert words.x[1].tolist() == [words.x[0, 0], 0, 0]
    assert words.lengths.tolist() == [3, 1]
    assert encode(tokenizer, TEXTS, length=2).x.shape == (3, 2)


def test_case_is_kept_where_asked_for():
    tokenizer = train_tokenizer(TEXTS, 30, lowercase=False)
    assert {"The", "the"} <= tokenizer.get_vocab().keys()


def test_characters_suit_chinese_and_come_back_whole():
    text = "房间很好,\n服务 OK"
    tokenizer = train_tokenizer([text], 100, level="character", lowercase=False)
    ids = encode(tokenizer, [text])
    assert ids.lengths.tolist() == [len(text)]
    assert tokenizer.decode(ids.x[0].tolist()) == text


def test_byte_pairs_know_every_text():
    tokenizer = train_tokenizer(TEXTS * 5, 300, level="bpe", lowercase=False)
    for text in ("The cat", "Zürich 房 🙂"):
        ids = tokenizer.encode(text).ids
        assert 1 not in ids
        assert tokenizer.decode(ids) == text


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(1, 99), max_size=6), min_size=1, max_size=5), st.integers(1, 7), st.booleans())
def test_padding_loses_nothing_that_fits(sequences, length, end):
    padded = pad_sequences(sequences, length=length, value=-1, keep="end" if end else "start")
    assert padded.x.shape == (len(sequences), length)
    for row, count, sequence in zip(padded.x, padded.lengths, sequences, strict=True):
        kept = sequence[-length:] if end else sequence[:length]
        assert row[:count].tolist() == kept
        assert (row[count:] == -1).all()


@pytest.mark.parametrize(
    ("sequences", "value", "message"),
    [
        ([[1, 2**31]], 0, "sequences must be of numbers that int32 can hold; got 2147483648"),
        ([[1, 2]], 0.5, r"value must be of numbers that int32 can hold; got 0\.5"),
        ([[1, 2]], float("nan"), "value must be of numbers that int32 can hold; got nan"),
        ([[1, 2]], float("inf"), "value must be of numbers that int32 can hold; got inf"),
        ([[1.5, -1e300]], 0, r"sequences must be of numbers that float32 can hold; got -1e\+300"),
        ([[1.5]], 1e300, r"value must be of numbers that float32 can hold; got 1e\+300"),
    ],
)
def test_padding_changes_no_number(sequences, value, message):
    with pytest.raises(ValueError, match=f"pad_sequences: {message}"):
        pad_sequences(sequences, value=value)


def test_padding_may_be_infinite_where_it_is_floating():
    assert pad_sequences([[1.5], [2.5, np.nan]], value=-np.inf).x[0].tolist() == [1.5, -np.inf]
    assert pad_sequences([[1, -(2**31)]], value=2.0).x.dtype == np.int32


@pytest.mark.parametrize(("level", "least"), [("bpe", "258, the special tokens and the 256 bytes"), ("word", "2, the")])
def test_a_vocabulary_holds_what_it_must(level, least):
    with pytest.raises(ValueError, match=f"train_tokenizer: vocabulary must be at least {least}"):
        train_tokenizer(TEXTS, 257 if level == "bpe" else 1, level=level)
    assert train_tokenizer(TEXTS, 258, level="bpe").get_vocab_size() == 258


def test_padding_keeps_features_and_kind():
    padded = pad_sequences([np.ones((2, 3)), np.zeros((0, 3))])
    assert padded.x.shape == (2, 2, 3)
    assert padded.x.dtype == np.float32
    assert padded.lengths.tolist() == [2, 0]
    assert pad_sequences([[], []]).x.shape == (2, 0)


def test_padding_goes_to_the_left_for_others():
    sequences = [[1, 2, 3], [4], []]
    assert pad_left(pad_sequences(sequences), value=9).tolist() == [[1, 2, 3], [9, 9, 4], [9, 9, 9]]
    cut = pad_sequences(sequences, length=2, keep="end")
    assert pad_left(cut).tolist() == [[2, 3], [0, 4], [0, 0]]
    assert pad_left(pad_sequences([np.ones((2, 3)), np.ones((1, 3))]))[1, :, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("dtype", "value", "wrong"),
    [(np.uint8, 255, -1), (np.uint8, 0, 256), (bool, True, 2), (bool, 0, 0.5), (jnp.bfloat16, 2.5, 1e39)],
)
def test_padding_goes_to_the_left_in_any_dtype(dtype, value, wrong):
    sequences = dl.Ragged(jnp.asarray([[1, 0], [1, 1]], dtype), jnp.array([1, 2]))
    padded = pad_left(sequences, value=value)
    assert padded.dtype == dtype
    assert padded.tolist() == [[value, 1], [1, 1]]
    with pytest.raises(ValueError, match=f"pad_left: value must be of numbers that {np.dtype(dtype)} can hold; got"):
        pad_left(sequences, value=wrong)


@pytest.mark.parametrize("lengths", [[1, 3], [-1, 2]])
def test_padding_goes_to_the_left_of_lengths_within_the_time(lengths):
    with pytest.raises(ValueError, match="pad_left: lengths must be from 0 to the time, 2; got lengths from"):
        pad_left(dl.Ragged(np.ones((2, 2)), np.array(lengths)))


def test_the_end_of_a_long_text_may_stay():
    tokenizer = train_tokenizer(TEXTS, 30)
    start, end = (encode(tokenizer, TEXTS[:1], length=2, keep=keep) for keep in ("start", "end"))
    assert tokenizer.decode(start.x[0].tolist()) == "the cat"
    assert tokenizer.decode(end.x[0].tolist()) == "mat ."


@pytest.mark.slow
def test_an_empty_text_is_an_error_or_a_sequence_of_length_0():
    tokenizer = train_tokenizer(TEXTS, 30)
    with pytest.raises(
        ValueError, match=r"encode: each text must have a token; got none in 2 of 3, first in texts\[1\]"
    ):
        encode(tokenizer, ["the cat", " ", ""])
    words = encode(tokenizer, ["the cat", ""], allow_empty=True)
    assert words.lengths.tolist() == [2, 0]
    ends = (
        L.simple_rnn(4, outputs="last"),
        L.bidirectional(L.lstm(4), outputs="last"),
        L.global_max_pool(),
        L.global_avg_pool(),
    )
    for end in ends:
        model = dl.sequential(L.embedding(30, 4), end)
        params, state = model.init(jax.random.key(0), words)
        y, _ = model.apply(params, state, words, train=False)
        assert np.abs(y[0]).max() > 0
        assert not y[1].any()


def test_a_token_out_of_range_is_an_error():
    model = dl.sequential(L.embedding(5, 4), L.global_avg_pool(), L.dense(2))
    words = pad_sequences([[0, 2], [4, 5]])
    params, state = model.init(jax.random.key(0), pad_sequences([[1, 2]]))
    with pytest.raises(ValueError, match="ids must be from 0 to 4; got ids from 0 to 5"):
        model.apply(params, state, words, train=False)
    with pytest.raises(dl.NonfiniteError, match="likely: an id out of the table: ids from 0 to 5 for the rows 0 to 4"):
        dl.fit(
            model,
            {"x": words, "y": np.array([0, 1])},
            loss=dl.losses.cross_entropy,
            optimizer=optax.adam(1e-3),
            epochs=1,
            batch_size=2,
            progress=False,
        )


def test_a_text_classifier_learns():
    texts = ["good film", "bad film", "very good", "very bad", "good", "bad", "a good one", "a bad one"] * 4
    labels = np.array(["good" in text for text in texts], np.int32)
    words = encode(train_tokenizer(texts, 20), texts)

    def last(x):
        real = x.mask()[..., None]
        return jax.numpy.where(real, x.x, 0).sum(1)

    table = dl.layers.dense(2)

    @dl.layer
    def bag():
        def init(key, x):
            return {"table": jax.random.normal(key, (20, 4))}, {}

        def apply(params, state, x, *, train, key=None):
            return last(dl.Ragged(params["table"][x.x], x.lengths)), state

        return init, apply

    _, history = dl.fit(
        dl.sequential(bag(), table),
        {"x": words, "y": labels},
        loss=dl.losses.cross_entropy,
        optimizer=optax.adam(0.1),
        epochs=8,
        batch_size=8,
        metrics={"accuracy": dl.metrics.accuracy},
        progress=False,
    )
    assert history["accuracy"][-1] == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: train_tokenizer("one text", 5), r"texts must be several texts; got one str\. Did you mean \[text\]"),
        (lambda: train_tokenizer(TEXTS, 0), r"vocabulary must be a positive int; got 0"),
        (lambda: train_tokenizer(TEXTS, 5, level="line"), r'level must be "word", "character" or "bpe"; got \'line\''),
        (lambda: encode(None, "one"), r"encode: texts must be several texts"),
        (lambda: pad_sequences([]), r"pad_sequences: sequences must be one or more sequences; got \[\]"),
        (lambda: pad_sequences([3]), r"pad_sequences: sequences must be one or more sequences; got \[3\]"),
        (lambda: pad_sequences([[1]], keep="left"), r'keep must be "start" or "end"; got \'left\''),
        (
            lambda: pad_left([[1]]),
            r"pad_left: sequences must be Ragged; got \[\[1\]\]\. Did you mean pad_left\(pad_seq",
        ),
        (lambda: pad_left(pad_sequences([[1]]), value=0.5), r"pad_left: value must be of numbers that int32 can hold"),
        (lambda: pad_sequences([[1]], length=0), r"length must be a positive int; got 0"),
        (lambda: pad_sequences([[1.0], [[1.0, 2.0]]]), r"all positions must have the same shape; got the shapes"),
    ],
)
def test_errors(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()
