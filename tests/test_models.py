"""Models: their size beside the published one, their numbers beside plain NumPy, and what must hold for each."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl import models as M

KEY = jax.random.key(3)
IMAGE = (1, 224, 224, 3)


def spec(shape, dtype):
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    specs = tuple(jax.ShapeDtypeStruct(one, dtype) for one in shapes)
    return specs if isinstance(shape[0], tuple) else specs[0]


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def drawn(model, x, scale=0.3):
    """Its parameters as NumPy's float64, none of them zero, so that each one moves the output; and its state.

    Nothing is compiled for them, which would take longer than the model itself.
    """
    params, state = jax.eval_shape(model.init, KEY, x)
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: random.normal(scale=scale, size=leaf.shape), params)
    return params, jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), state)


def outcome(model, params, x, state=None, **mode):
    mode = mode or {"train": False}
    return jax.jit(partial(model.apply, **mode))(params, {} if state is None else state, x)[0]


# Sizes

COUNTS = [
    # He et al., table 1, as counted by torchvision.
    ("resnet-18", M.resnet(18), IMAGE, 11_689_512),
    ("resnet-34", M.resnet(34), IMAGE, 21_797_672),
    ("resnet-50", M.resnet(50), IMAGE, 25_557_032),
    # He et al., table 6: 0.27, 0.46 and 0.85 million with shortcuts that have no parameters.
    ("resnet-20", M.resnet_cifar(20), (1, 32, 32, 3), 269_722),
    ("resnet-32", M.resnet_cifar(32), (1, 32, 32, 3), 464_154),
    ("resnet-56", M.resnet_cifar(56), (1, 32, 32, 3), 853_018),
    ("lenet-5", M.lenet(10), (1, 28, 28, 1), 61_706),
    ("the course's CNN", M.course_cnn(10), (1, 28, 28, 1), 693_962),
    ("the small CNN of Keras' examples", M.cnn(10), (1, 28, 28, 1), 34_826),
    ("u-net", M.unet(2), (1, 64, 64, 1), 31_030_658),
    # PyTorch's example has no bias in the last layer of the generator (3) nor at both ends of the other (64 + 1).
    ("dcgan generator", M.dcgan_generator(shape=(64, 64, 3), filters=(512, 256, 128, 64)), (1, 100), 3_576_704 + 3),
    ("dcgan discriminator", M.dcgan_discriminator(filters=(64, 128, 256, 512)), (1, 64, 64, 3), 2_765_568 + 65),
    ("ViT-B/16", M.vit(1000, patch=16, features=768, layers=12, heads=12), IMAGE, 86_567_656),
    ("ViT-L/16", M.vit(1000, patch=16, features=1024, layers=24, heads=16), IMAGE, 304_326_632),
]
TEXT_COUNTS = [
    ("GPT-2 small", M.gpt(50257, features=768, layers=12, heads=12, length=1024), (1, 8), 124_439_808),
    ("GPT-2 XL", M.gpt(50257, features=1600, layers=48, heads=25, length=1024), (1, 8), 1_557_611_200),
    ("BERT base", M.bert(30522, features=768, layers=12, heads=12, length=512), ((1, 8), (1, 8)), 109_482_240),
    ("BERT large", M.bert(30522, features=1024, layers=24, heads=16, length=512), ((1, 8), (1, 8)), 335_141_888),
    # 44,140,544 of PyTorch's nn.Transformer, without its norm after each stack; and the two tables of tokens.
    (
        "transformer base",
        M.transformer(11, 12, features=512, layers=6, heads=8),
        ((1, 4), (1, 4)),
        44_140_544 - 2 * 1024 + (11 + 12) * 512,
    ),
    (
        "the course's text classifier",
        M.text_rnn(1000, 1, cell=L.simple_rnn, features=32, hidden=32),
        (1, 9),
        32_000 + 2_080 + 33,
    ),
    ("CNN-rand", M.text_cnn(1000, 2, features=300), (1, 60), 300_000 + 300 * 300 * 4 + 300 + 602),
]


@pytest.mark.parametrize(
    ("model", "shape", "dtype", "count"),
    [pytest.param(m, s, jnp.float32, n, id=i) for i, m, s, n in COUNTS]
    + [pytest.param(m, s, jnp.int32, n, id=i) for i, m, s, n in TEXT_COUNTS],
)
def test_a_model_has_as_many_parameters_as_is_published(model, shape, dtype, count):
    assert size(jax.eval_shape(model.init, KEY, spec(shape, dtype))[0]) == count


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (50, 4)])
def test_stages_of_a_resnet_have_the_sizes_of_table_1(depth, expansion):
    model, x = M.resnet(depth), spec(IMAGE, jnp.float32)
    params, state = jax.eval_shape(model.init, KEY, x)
    for name, side, features in (
        ("stem", 56, 64),
        ("stage_1", 56, 64 * expansion),
        ("stage_2", 28, 128 * expansion),
        ("stage_3", 14, 256 * expansion),
        ("stage_4", 7, 512 * expansion),
    ):
        apply = partial(dl.sublayer(model, name).apply, train=False)
        x, _ = jax.eval_shape(apply, params[name], state[name], x)
        assert x.shape == (1, side, side, features), name


@pytest.mark.slow
def test_gpt_begins_with_the_deviations_of_its_docstring():
    params, _ = jax.jit(M.gpt(60, features=64, layers=2, heads=2, length=40).init)(KEY, jnp.zeros((1, 2), int))
    block, small = params["blocks"], 0.02 / np.sqrt(2 * 2)
    for leaf, deviation in (
        (params["tokens"]["embedding"], 0.02),
        (params["positions"]["embedding"], 0.02),
        (block["attention"]["query"]["kernel"], 0.02),
        (block["attention"]["out"]["kernel"], small),
        (block["mlp"]["up"]["kernel"], 0.02),
        (block["mlp"]["down"]["kernel"], small),
    ):
        assert abs(leaf.std() / deviation - 1) < 0.05


# Numbers, beside plain NumPy


def layer_norm(p, x, epsilon=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon) * p["scale"] + p["bias"]


def linear(p, x):
    return x @ p["kernel"] + p["bias"]


def attention(p, x, memory, heads, causal=False):
    query, key, value = linear(p["query"], x), linear(p["key"], memory), linear(p["value"], memory)
    width = query.shape[-1] // heads
    parts = []
    for head in range(heads):
        cut = np.s_[..., head * width : (head + 1) * width]
        scores = query[cut] @ np.swapaxes(key[cut], -1, -2) / np.sqrt(width)
        if causal:
            scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        parts.append(weights / weights.sum(-1, keepdims=True) @ value[cut])
    return linear(p["out"], np.concatenate(parts, -1))


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def gelu_by_tanh(x):
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def relu(x):
    return np.maximum(x, 0)


def feed_forward(p, x, activation):
    return linear(p["down"], activation(linear(p["up"], x)))


def members(blocks):
    return [jax.tree.map(lambda leaf, i=i: leaf[i], blocks) for i in range(len(jax.tree.leaves(blocks)[0]))]


def norm_first(p, x, heads, activation, causal, epsilon=1e-5):
    y = layer_norm(p["attention_norm"], x, epsilon)
    x = x + attention(p["attention"], y, y, heads, causal)
    return x + feed_forward(p["mlp"], layer_norm(p["mlp_norm"], x, epsilon), activation)


def norm_last(p, x, heads, activation, memory=None, epsilon=1e-5):
    x = layer_norm(p["attention_norm"], x + attention(p["attention"], x, x, heads, memory is not None), epsilon)
    if memory is not None:
        seen = attention(p["cross_attention"], x, memory, heads)
        x = layer_norm(p["cross_attention_norm"], x + seen, epsilon)
    return layer_norm(p["mlp_norm"], x + feed_forward(p["mlp"], x, activation), epsilon)


def waves(time, features):
    angles = np.arange(time)[:, None] / 10_000 ** (np.arange(0, features, 2) / features)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(time, features)


def ids(shape, vocabulary):
    return np.random.default_rng(1).integers(0, vocabulary, shape)


def test_gpt_equals_numpy(x64):
    model, x = M.gpt(11, features=6, layers=3, heads=2, length=8), ids((2, 5), 11)
    p, _ = drawn(model, x)
    table = p["tokens"]["embedding"]
    y = table[x] + p["positions"]["embedding"][:5]
    for block in members(p["blocks"]):
        y = norm_first(block, y, 2, gelu_by_tanh, causal=True)
    np.testing.assert_allclose(outcome(model, p, x), layer_norm(p["norm"], y) @ table.T, rtol=1e-9, atol=1e-10)


def test_bert_and_its_classifier_equal_numpy(x64):
    sizes = {"features": 6, "layers": 2, "heads": 3, "length": 9}
    model, tokens, types = M.bert(11, **sizes), ids((2, 5), 11), ids((2, 5), 2)
    p, _ = drawn(model, (tokens, types))
    y = p["embed"]["tokens"]["embedding"][tokens] + p["embed"]["types"]["embedding"][types]
    y = layer_norm(p["norm"], y + p["positions"]["embedding"][:5], 1e-12)
    for block in members(p["blocks"]):
        y = norm_last(block, y, 3, gelu, epsilon=1e-12)
    hidden, pooled = outcome(model, p, (tokens, types))
    theirs = np.tanh(linear(p["ends"]["pool"]["dense"], y[:, 0]))
    np.testing.assert_allclose(hidden, y, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(pooled, theirs, rtol=1e-9, atol=1e-10)
    classifier = M.bert_classifier(11, 3, token_types=2, **sizes)
    head = {"kernel": np.ones((6, 3)), "bias": np.arange(3.0)}
    q = {**p, "pool": p["ends"]["pool"], "dense": head}
    del q["ends"]
    assert jax.tree.structure(q) == jax.tree.structure(jax.eval_shape(classifier.init, KEY, (tokens, types))[0])
    np.testing.assert_allclose(outcome(classifier, q, (tokens, types)), linear(head, theirs), rtol=1e-9, atol=1e-10)


def test_transformer_equals_numpy(x64):
    model = M.transformer(11, 12, features=6, layers=2, heads=2, hidden=5)
    source, target = ids((2, 7), 11), ids((2, 4), 12)
    p, _ = drawn(model, (target, source))
    encoder, decoder = p["encoder"], p["decoder"]
    memory = np.sqrt(6) * encoder["tokens"]["embedding"][source] + waves(7, 6)
    for block in members(encoder["blocks"]):
        memory = norm_last(block, memory, 2, relu)
    table = decoder["read"]["target"]["tokens"]["embedding"]
    y = np.sqrt(6) * table[target] + waves(4, 6)
    for block in members(decoder["blocks"]):
        y = norm_last(block, y, 2, relu, memory)
    np.testing.assert_allclose(outcome(model, p, (target, source)), y @ table.T, rtol=1e-9, atol=1e-10)


def test_vit_equals_numpy(x64):
    model, x = M.vit(3, patch=2, features=6, layers=2, heads=2), np.random.default_rng(2).normal(size=(2, 5, 6, 3))
    p, _ = drawn(model, x)
    # What does not fill a patch is left out; patches in rows, each read row by row.
    cut = x[:, :4].reshape(2, 2, 2, 3, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 12)
    patches = linear({**p["patches"], "kernel": p["patches"]["kernel"].reshape(12, 6)}, cut)
    token = np.broadcast_to(p["class_token"]["token"], (2, 1, 6))
    y = np.concatenate([token, patches], 1) + p["positions"]["embedding"]
    for block in members(p["blocks"]):
        y = norm_first(block, y, 2, gelu_by_tanh, causal=False, epsilon=1e-6)
    logits = linear(p["dense"], layer_norm(p["norm"], y[:, 0], 1e-6))
    np.testing.assert_allclose(outcome(model, p, x), logits, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_seq2seq_is_a_gru_that_attends_to_two(x64):
    model, (target, source) = M.seq2seq(11, 12, features=4, hidden=3), (ids((2, 4), 12), ids((2, 6), 11))
    p, _ = drawn(model, (target, source))
    encoder, decoder = p["encoder"], p["decoder"]

    def run(layer, params, x):
        return np.asarray(layer.apply(params, {}, jnp.asarray(x), train=False)[0])

    words = encoder["tokens"]["embedding"][source]
    ahead = run(L.gru(3), encoder["bidirectional"]["forward"], words)
    back = run(L.gru(3), encoder["bidirectional"]["backward"], words[:, ::-1])[:, ::-1]
    memory = np.concatenate([ahead, back], -1)
    read = decoder["read"]["target"]
    hidden = run(L.gru(3), read["cell"], read["tokens"]["embedding"][target])
    context = attention(decoder["attention"]["multi_head_attention"], hidden, memory, heads=1)
    y = np.tanh(linear(decoder["dense"], np.concatenate([hidden, context], -1)))
    np.testing.assert_allclose(outcome(model, p, (target, source)), linear(decoder["logits"], y), rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_new_resnet_is_its_shortcuts():
    """The last norm of each block begins with scale 0: what is left is the stem, every second pixel, and the mean."""
    model = M.resnet_cifar(8, 3, width=4)
    x = jnp.asarray(np.random.default_rng(4).normal(size=(2, 9, 8, 3)), jnp.float32)
    params, state = jax.jit(model.init)(KEY, x)
    stem, _ = dl.sublayer(model, "stem").apply(params["stem"], state["stem"], x, train=False)
    features = np.zeros((2, 16), np.float32)
    features[:, :4] = np.asarray(stem)[:, ::4, ::4].mean((1, 2))
    y = outcome(model, params, x, state)
    np.testing.assert_allclose(y, linear(jax.device_get(params["head"]), features), rtol=1e-4, atol=1e-6)


def test_a_unet_is_what_its_paper_draws(x64):
    model, x = M.unet(2, features=(2, 3), activation=jnp.tanh), np.random.default_rng(5).normal(size=(1, 4, 6, 1))
    p, _ = drawn(model, x)
    level = p["level"]

    def twice(p, x):
        for name in ("conv", "conv_1"):
            x = jnp.tanh(F.conv(x, **p[name], padding="SAME"))
        return x

    down = twice(level["down"], jnp.asarray(x))
    below = twice(level["beside"]["around"]["level"]["down"], F.max_pool(down, 2))
    up = F.conv_transpose(below, **level["beside"]["around"]["conv_transpose"], strides=2)
    y = F.conv(twice(level["up"], jnp.concatenate([down, up], -1)), **p["head"])
    np.testing.assert_allclose(outcome(model, p, x), y, rtol=1e-9, atol=1e-10)


# Properties

SMALL = {"features": 4, "layers": 2, "heads": 2}
SLOW = pytest.mark.slow  # its like is in the default run
TEXT_MODELS = {
    "text_cnn": (M.text_cnn(9, 3, features=4, widths=(2, 3), filters=2), 1),
    "text_rnn": (M.text_rnn(9, 3, features=4, hidden=3, bidirectional=True, layers=2), 1),
    "gpt": (M.gpt(9, length=6, **SMALL), 1),
    "bert": (M.bert(9, length=6, **SMALL), 2),
    "bert_classifier": (M.bert_classifier(9, 3, length=6, **SMALL), 1),
    "seq2seq": (M.seq2seq(9, 9, features=4, hidden=3), 2),
    "transformer": (M.transformer(9, 9, **SMALL), 2),
}


@pytest.mark.parametrize(
    "name",
    [
        "text_cnn",
        pytest.param("text_rnn", marks=SLOW),
        pytest.param("gpt", marks=SLOW),
        pytest.param("bert", marks=SLOW),
        "bert_classifier",
        "seq2seq",
        pytest.param("transformer", marks=SLOW),
    ],
)
def test_a_text_in_a_padded_batch_is_as_if_alone(name):
    model, count = TEXT_MODELS[name]
    lengths = jnp.array([5, 2])
    rows = tuple(jnp.asarray(ids((2, 5), 2 + index)) for index in range(count))
    garbage = tuple(row.at[1, 2:].set(7 if index == 0 else 1) for index, row in enumerate(rows))
    batches = [tuple(dl.Ragged(row, lengths) for row in batch) for batch in (rows, garbage)]
    alone = tuple(row[1:, :2] for row in rows)
    *batches, alone = (batch if count > 1 else batch[0] for batch in (*batches, alone))
    params, state = drawn(model, alone)
    run = jax.jit(partial(model.apply, train=False))
    first, second = (run(params, state, batch)[0] for batch in batches)

    def real(y):
        return y.x[1:, :2] if isinstance(y, dl.Ragged) else y[1:]

    for y in (first, second):
        found = jax.tree.map(real, y, is_leaf=lambda leaf: isinstance(leaf, dl.Ragged))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, run(params, state, alone)[0])


def test_gpt_sees_nothing_later_and_bert_all():
    x = jnp.asarray(ids((1, 6), 9))
    changed = x.at[0, 3].set((x[0, 3] + 1) % 9)
    gpt, bert = TEXT_MODELS["gpt"][0], M.bert(9, length=6, token_types=None, **SMALL)
    for model, before in ((gpt, True), (bert, False)):
        params, _ = drawn(model, x)
        run = jax.jit(partial(model.apply, train=False))
        one, two = (jax.tree.leaves(run(params, {}, text)[0])[0] for text in (x, changed))
        assert np.array_equal(one[:, :3], two[:, :3]) is before
        assert (np.abs(one[:, 3:] - two[:, 3:]).max(-1) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seq2seq", pytest.param("transformer", marks=SLOW)])
def test_a_target_is_read_piece_by_piece_beside_its_source(name):
    model, _ = TEXT_MODELS[name]
    target, source = jnp.asarray(ids((2, 5), 9)), dl.Ragged(jnp.asarray(ids((2, 4), 9)), jnp.array([4, 2]))
    params, state = drawn(model, (target, source))

    @jax.jit
    def both(params, target, source):
        first, cache = model.prefill(params, state, (target[:, :2], source), length=5)
        second, cache = model.decode(params, cache, target[:, 2:3])
        third, _ = model.decode(params, cache, target[:, 3:])
        full, _ = model.apply(params, state, (target, source), train=False)
        return jnp.concatenate([first, second, third], 1), full

    found, expected = both(params, target, source)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # The target sees nothing later, and all of its source.
    later = both(params, target.at[:, 4].set((target[:, 4] + 1) % 9), source)[1]
    np.testing.assert_array_equal(later[:, :4], expected[:, :4])
    other = both(params, target, dl.Ragged(source.x.at[:, 1].set((source.x[:, 1] + 1) % 9), source.lengths))[1]
    assert (np.abs(other - expected).max(-1) > 0).all()


def test_a_vae_draws_codes_while_it_trains_and_takes_the_mean_otherwise():
    model = M.vae(2, shape=(2, 3), hidden=(4,), activation=jnp.tanh)
    x = np.random.default_rng(6).normal(size=(3, 2, 3)).astype(np.float32)
    params, state = drawn(model, x)
    run = jax.jit(model.apply, static_argnames="train")
    logits, mean, log_variance = run(params, state, x, train=False)[0]
    decoder, weights = dl.sublayer(model, "outputs/decoder"), params["outputs"]["decoder"]
    np.testing.assert_allclose(logits, decoder.apply(weights, {}, mean, train=False)[0], rtol=1e-5, atol=1e-6)
    one, other = (run(params, state, x, train=True, key=jax.random.key(seed))[0] for seed in (0, 1))
    assert np.abs(one[0] - other[0]).max() > 1e-3
    for drawn_moments in (one[1:], other[1:]):
        np.testing.assert_allclose(drawn_moments, (mean, log_variance), rtol=1e-5, atol=1e-6)

    @jax.jit
    @jax.grad
    def slope(params):
        return (model.apply(params, state, x, train=True, key=KEY)[0][0] ** 2).sum()

    # The draw passes gradients to both of its moments.
    moments = slope(params)["encoder"]["moments"]
    assert all(np.abs(moments[name]["kernel"]).max() > 1e-4 for name in ("mean", "log_variance"))
    with pytest.raises(ValueError, match="train=True needs a key"):
        model.apply(params, state, x, train=True)


def test_an_autoencoder_has_noise_while_it_trains_and_a_penalty_of_its_code():
    x = jnp.asarray(np.random.default_rng(7).normal(size=(4, 6)), jnp.float32)
    model = M.autoencoder(6, 5, 2, code_activation=jax.nn.sigmoid, noise=0.5, penalty=dl.penalties.activity_l1(0.1))
    params, state = drawn(model, x)
    plain, kept = model.apply(params, state, x, train=False)
    code, _ = dl.sublayer(model, "encoder").apply(params["encoder"], {}, x, train=False)
    assert code.shape == (4, 2)
    again, _ = dl.sublayer(model, "decoder").apply(params["decoder"], {}, code, train=False)
    np.testing.assert_array_equal(plain, again)
    noisy, new = model.apply(params, state, x, train=True, key=KEY)
    assert np.abs(noisy - plain).max() > 1e-3
    assert jax.tree.leaves(kept) == jax.tree.leaves(state)
    (found,) = jax.tree.leaves(new)
    assert found > 0


@pytest.mark.slow
def test_generators_stay_in_their_range_and_critics_score_each_example_alone():
    z = 9 * jax.random.normal(KEY, (3, 4))
    for generator in (
        M.dense_generator(shape=(4, 4, 1), hidden=(5,)),
        M.dcgan_generator(shape=(4, 4, 1), filters=(3,)),
    ):
        params, state = drawn(generator, z)
        images = jax.jit(partial(generator.apply, train=True))(params, state, z)[0]
        assert images.shape == (3, 4, 4, 1)
        assert 0 < np.abs(images).max() <= 1
    images = jax.random.normal(KEY, (3, 4, 4, 1))
    for critic, alone in (
        (M.dense_discriminator(hidden=(5,)), True),
        (M.dcgan_discriminator(filters=(2, 3), norm=partial(L.group_norm, 1)), True),
        (M.dcgan_discriminator(filters=(2, 3)), False),
    ):
        params, state = drawn(critic, images)
        run = jax.jit(partial(critic.apply, train=True))
        scores, others = (run(params, state, x)[0] for x in (images, images.at[1:].multiply(-2)))
        assert scores.shape == (3,)
        assert np.allclose(scores[0], others[0], rtol=1e-5, atol=1e-7) is alone


def test_dropout_is_where_it_is_asked_for():
    for make, layers, told in (
        (partial(M.mlp, 4, 2), 1, 0),
        (partial(M.cnn, 2, filters=(2,)), 1, 0),
        (partial(M.text_cnn, 5, 2), 1, 0),
        (partial(M.text_rnn, 5, 2), 2, 0),
        (partial(M.dense_discriminator), 2, 0),
        (partial(M.dcgan_discriminator), 2, 0),
        (partial(M.seq2seq, 5, 5, features=4, hidden=4), 3, 0),
        (partial(M.gpt, 5, length=4, **SMALL), 1, 2),
        (partial(M.bert, 5, length=4, **SMALL), 1, 2),
        (partial(M.bert_classifier, 5, 2, length=4, **SMALL), 2, 2),
        (partial(M.transformer, 5, 5, **SMALL), 2, 2),
        (partial(M.vit, 2, patch=2, **SMALL), 1, 2),
    ):
        text = repr(make(dropout=0.25))
        assert (text.count("dropout(rate=0.25)"), text.count("dropout=0.25")) == (layers, told)
        assert "dropout(" not in repr(make(dropout=0.0))
        with pytest.raises(ValueError, match=r"dropout.*rate must be a number from 0 up to, but not"):
            make(dropout=1.0)


# Errors

ERRORS = [
    (lambda: M.mlp(), "mlp: features must be 1 or more positive ints; got ()"),
    (lambda: M.mlp(4, 0), "mlp: features must be a positive int; got 0"),
    (lambda: M.cnn(10, filters=()), "cnn: filters must be 1 or more positive ints; got ()"),
    (lambda: M.cnn(10, filters=8), "cnn: filters must be 1 or more positive ints; got 8"),
    (lambda: M.cnn(10, depth=0), "cnn: depth must be a positive int; got 0"),
    (lambda: M.cnn(0), "dense(features=0): features must be a positive int; got 0"),
    (lambda: M.cnn(10).init(KEY, jnp.ones((1, 4, 4, 1))), "must fit into"),
    (lambda: M.resnet(20), "resnet: depth must be 18, 34 or 50; got 20. Did you mean resnet_cifar(…)?"),
    (lambda: M.resnet("50"), "resnet: depth must be 18, 34 or 50; got '50'"),
    (lambda: M.resnet_cifar(18), "depth must be 6n + 2, such as 20, 32 or 56; got 18. Did you mean resnet(…)?"),
    (lambda: M.resnet_cifar(2), "resnet_cifar: depth must be 6n + 2, such as 20, 32 or 56; got 2"),
    (lambda: M.unet(2, features=()), "unet: features must be 1 or more positive ints; got ()"),
    (
        lambda: jax.eval_shape(M.unet(2, features=(2, 3)).init, KEY, jnp.ones((1, 5, 4, 1))),
        "branch: the outputs of its layers must have one shape up to the last axis, to be joined; got float32[1,5,4,2]",
    ),
    (lambda: M.text_cnn(9, 2, widths=()), "text_cnn: widths must be 1 or more positive ints; got ()"),
    (lambda: M.text_cnn(9, 2, widths=(3, 3)), "names of children must differ; got width_3 more than once"),
    (lambda: M.text_rnn(9, 2, layers=0), "text_rnn: layers must be a positive int; got 0"),
    (lambda: M.text_rnn(9, 2, bidirectional=1), "text_rnn: bidirectional must be True or False; got 1"),
    (lambda: M.autoencoder(8), "autoencoder: features must be 2 or more positive ints; got (8,)"),
    (lambda: M.autoencoder(8, 2, noise=-1), "stddev must be a finite number, 0 or greater; got -1"),
    (lambda: M.conv_autoencoder(0), "conv_autoencoder: code must be a positive int; got 0"),
    (
        lambda: M.conv_autoencoder(8, shape=(28, 30, 1)),
        "conv_autoencoder: spatial sizes must be multiples of 4, to be halved 2 times; got (28, 30, 1). Did you mean "
        "fewer filters, or images padded to such sizes?",
    ),
    (
        lambda: M.dcgan_generator(shape=28),
        "dcgan_generator: shape must have spatial axes and a channel axis, such as (28, 28, 1); got 28",
    ),
    (lambda: M.vae(0), "vae: latents must be a positive int; got 0"),
    (
        lambda: M.vae(2, shape=()),
        "vae: shape must be the shape of one example, positive ints such as (28, 28, 1); got ()",
    ),
    (lambda: M.dense_generator(shape="ab"), "positive ints such as (28, 28, 1); got 'ab'"),
    (lambda: M.vae(2, hidden=(4, -1)), "vae: hidden must be a positive int; got -1"),
    (lambda: M.gpt(9, features=4, layers=0, heads=2, length=4), "gpt: layers must be a positive int; got 0"),
    (
        lambda: M.gpt(9, features=5, layers=1, heads=2, length=4).init(KEY, jnp.zeros((1, 2), int)),
        "the input's features must be a multiple of the 2 heads; got float32[1,2,5]",
    ),
    (
        lambda: M.gpt(9, features=4, layers=1, heads=2, length=4).init(KEY, jnp.zeros((1, 5), int)),
        "input must be no longer than 4 positions; got float32[1,5,4]",
    ),
    (lambda: M.vit(9, patch=0, features=4, layers=1, heads=2), "vit: patch must be a positive int; got 0"),
]
TYPE_ERRORS = [
    (lambda: M.text_rnn(9, 2, cell=L.lstm(3)), "text_rnn: cell must be a constructor, which is called here"),
    (lambda: M.seq2seq(9, 9, features=2, hidden=2, cell="gru"), "seq2seq: cell must be a constructor, which is called"),
    (
        lambda: M.dense_generator(norm=L.batch_norm()),
        "dense_generator: norm must be a constructor, which is called here, or None; got batch_norm(). Did you mean "
        "layers.batch_norm?",
    ),
    (lambda: M.dcgan_discriminator(norm=L.batch_norm()), "dcgan_discriminator: norm must be a constructor"),
    (
        lambda: M.transformer(9, 9, **SMALL).init(KEY, jnp.zeros((1, 5), int)),
        "encoder_decoder: input must be a tuple (target, source); got int32[1,5]",
    ),
    (
        lambda: M.bert(9, length=4, **SMALL).init(KEY, jnp.zeros((1, 4), int)),
        "parallel: input must be a tuple of 2, one element for each layer; got int32[1,4]",
    ),
]


@pytest.mark.parametrize(
    ("kind", "call", "text"),
    [(ValueError, *row) for row in ERRORS] + [(TypeError, *row) for row in TYPE_ERRORS],
    ids=[text for _, text in ERRORS + TYPE_ERRORS],
)
def test_errors_say_what_is_needed(kind, call, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)
