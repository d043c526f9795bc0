"""Losses against their formulas in float64, and the sums that they are added up in."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import jaxdl as dl
from jaxdl import Ragged, Sum, losses

SHARE = {"float64": 1e-8, "float32": 1e-5}
HALVES = [jnp.bfloat16, jnp.float16]
DTYPES = [np.float32, np.float64]


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def assert_close(found, expected, dtype="float32"):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    largest = np.abs(expected).max(initial=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SHARE[np.dtype(dtype).name] * largest)


def log_softmax(logits):
    z = np.asarray(logits, np.float64)
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, np.float64)))


def case(leading=(5,), classes=4, dtype=np.float32, seed=0):
    """Logits, integer labels, the same as one-hot rows, and soft labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(*leading, classes)).astype(dtype)
    labels = rng.integers(0, classes, leading)
    soft = rng.dirichlet(np.ones(classes), leading).astype(dtype)
    return logits, labels, np.eye(classes, dtype=dtype)[labels], soft


def outcomes(loss, prediction, targets):
    """For each target: the loss of each example, and the gradient of their sum to the predictions."""

    def both(prediction, target):
        values, vjp = jax.vjp(lambda prediction: loss(prediction, target), prediction)
        return values, *vjp(jnp.ones_like(values))

    return jax.jit(lambda prediction, targets: [both(prediction, target) for target in targets])(prediction, targets)


# Categorical cross entropy


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("leading", [(), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_its_formula(x64, dtype, leading, smoothing):
    logits, labels, one_hot, soft = case(leading, dtype=dtype)
    loss = partial(losses.cross_entropy, label_smoothing=smoothing)
    found_for_each = outcomes(loss, logits, [labels, one_hot, soft])
    for (found, gradient), shares in zip(found_for_each, (one_hot, one_hot, soft), strict=True):
        smoothed = (1 - smoothing) * shares.astype(np.float64) + smoothing / 4
        assert found.shape == leading
        assert found.dtype == dtype
        assert_close(found, -(smoothed * log_softmax(logits)).sum(-1), dtype)
        assert_close(gradient, np.exp(log_softmax(logits)) - smoothed, dtype)


def test_cross_entropy_of_known_logits():
    found = losses.cross_entropy(jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])), jnp.array([0, 1]))
    np.testing.assert_allclose(found, [np.log(2), np.log(10)], rtol=1e-6)


def test_smoothing_blends_with_the_uniform_distribution():
    logits, labels, *_ = case()
    sharp, uniform = losses.cross_entropy(logits, labels), losses.cross_entropy(logits, np.full_like(logits, 0.25))
    assert_close(losses.cross_entropy(logits, labels, label_smoothing=0.3), 0.7 * sharp + 0.3 * uniform)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int16, jnp.int32, jnp.uint32])
def test_labels_may_be_of_any_integer_type(dtype):
    logits = np.random.default_rng(1).normal(size=(3, 300)).astype(np.float32)
    labels = np.array([0, 5, 127])  # 300 classes are more than 8 bits can tell apart
    for loss in (losses.cross_entropy, partial(losses.focal, gamma=0.0)):
        [(found, gradient)] = outcomes(loss, logits, [jnp.asarray(labels, dtype)])
        assert_close(found, -log_softmax(logits)[np.arange(3), labels])
        assert_close(gradient, np.exp(log_softmax(logits)) - np.eye(300)[labels])


OUTSIDE = {
    "cross_entropy": losses.cross_entropy,
    "smoothed": partial(losses.cross_entropy, label_smoothing=0.1),
    "weighted": partial(losses.cross_entropy, class_weights=(1.0, 2.0, 3.0, 4.0)),
    "focal": partial(losses.focal, class_weights=(1.0, 2.0, 3.0, 4.0)),
}


@pytest.mark.parametrize("loss", OUTSIDE.values(), ids=OUTSIDE)
def test_a_label_out_of_range_gives_nan_and_a_gradient_of_nan_inside_of_jit(loss):
    logits, labels = case((5,))[0], np.array([-1, 4, 2, -100, 0])
    [(found, gradient)] = outcomes(loss, logits, [jnp.asarray(labels, jnp.int8)])
    right = np.array([2, 4])
    assert np.isnan(np.delete(found, right)).all()
    assert np.isnan(np.delete(gradient, right, axis=0)).all()
    [(expected, slope)] = outcomes(loss, logits[right], [labels[right]])
    assert_close(found[right], expected)
    assert_close(gradient[right], slope)


@pytest.mark.parametrize("loss", OUTSIDE.values(), ids=OUTSIDE)
def test_a_label_of_weight_zero_may_be_out_of_range(loss):
    logits, weight = case((3,))[0], np.array([0.0, 1.0, 0.0], np.float32)
    loss_fn = dl.supervised(dl.sequential(lambda x: x), loss)

    @jax.jit
    def both(x, y):
        batch = {"x": x, "y": y, "weight": weight}
        return jax.value_and_grad(lambda x: loss_fn({}, {}, batch | {"x": x}, key=None, train=True)[0].mean())(x)

    value, gradient = both(logits, np.array([-100, 2, 9]))
    expected, slope = both(logits, np.array([0, 2, 1]))
    assert np.isfinite(value)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradient, slope)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [jnp.float32, *HALVES], ids=["float32", "bfloat16", "float16"])
def test_large_logits_do_not_overflow(dtype, smoothing):
    logits = jnp.array([[3e4, -3e4, 0.0], [-3e4, -3e4, 3e4]], dtype)
    labels = jnp.array([0, 0])
    loss = partial(losses.cross_entropy, label_smoothing=smoothing)
    wide = np.asarray(logits, np.float64)
    expected = (1 - smoothing) * -log_softmax(wide)[[0, 1], [0, 0]] - smoothing * log_softmax(wide).mean(-1)
    [(found, gradient)] = outcomes(loss, logits, [labels])
    assert_close(found, expected)
    assert np.isfinite(np.asarray(gradient, np.float32)).all()


@pytest.mark.parametrize("dtype", HALVES, ids=["bfloat16", "float16"])
def test_half_precision_is_widened_before_anything_is_added(dtype):
    logits, labels, one_hot, _ = case((6,), classes=1000)
    narrow = jnp.asarray(logits, dtype)
    cases = [
        (losses.cross_entropy, labels),
        (losses.cross_entropy, one_hot),
        (losses.binary_cross_entropy, one_hot),
        (losses.mean_squared_error, one_hot),
    ]
    for loss, target in cases:
        found, expected = jax.jit(loss)(narrow, target), jax.jit(loss)(np.asarray(narrow, np.float32), target)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, rtol=2**-22)  # two units of float32's last place


# Binary cross entropy and squared error


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (7,), (3, 2), (0, 2)], ids=str)
def test_binary_cross_entropy_is_its_formula(x64, dtype, shape):
    rng = np.random.default_rng(2)
    logits = rng.normal(scale=3, size=shape).astype(dtype)
    targets = [rng.integers(0, 2, shape), rng.uniform(size=shape).astype(dtype), rng.uniform(size=shape) < 0.5]
    found_for_each = outcomes(losses.binary_cross_entropy, logits, targets)
    for (found, gradient), labels in zip(found_for_each, targets, strict=True):
        y, p = np.asarray(labels, np.float64), sigmoid(logits)
        assert found.shape == shape
        assert found.dtype == dtype
        assert_close(found, -y * np.log(p) - (1 - y) * np.log(1 - p), dtype)
        assert_close(gradient, p - y, dtype)


def test_binary_cross_entropy_of_large_logits():
    logits, labels = jnp.array([1e4, -1e4, 1e4, -1e4]), jnp.array([1, 0, 0, 1])
    [(found, gradient)] = outcomes(losses.binary_cross_entropy, logits, [labels])
    np.testing.assert_array_equal(found, [0, 0, 1e4, 1e4])
    np.testing.assert_array_equal(gradient, [0, 0, 1, -1])


def test_binary_cross_entropy_is_categorical_over_two_classes():
    logits, labels = jnp.array([-3.0, 0.0, 0.5, 8.0]), jnp.array([1, 0, 0, 1])
    two = jnp.stack([jnp.zeros(4), logits], -1)
    assert_close(losses.binary_cross_entropy(logits, labels), losses.cross_entropy(two, labels))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (7,), (3, 2), (0, 2)], ids=str)
def test_mean_squared_error_is_its_formula(x64, dtype, shape):
    rng = np.random.default_rng(3)
    prediction = rng.normal(size=shape).astype(dtype)
    targets = [rng.normal(size=shape).astype(dtype), rng.integers(-3, 3, shape)]
    found_for_each = outcomes(losses.mean_squared_error, prediction, targets)
    for (found, gradient), target in zip(found_for_each, targets, strict=True):
        assert found.shape == shape
        assert found.dtype == dtype
        assert_close(found, (prediction.astype(np.float64) - target) ** 2, dtype)
        assert_close(gradient, 2 * (prediction.astype(np.float64) - target), dtype)


LOSSES = {
    "cross_entropy": (losses.cross_entropy, case()[0], case()[1]),
    "cross_entropy one-hot": (losses.cross_entropy, case()[0], case()[2]),
    "cross_entropy smoothed": (partial(losses.cross_entropy, label_smoothing=0.2), case()[0], case()[1]),
    "binary_cross_entropy": (losses.binary_cross_entropy, case()[0][:, 0], case()[1] % 2),
    "mean_squared_error": (losses.mean_squared_error, case()[0], case()[3]),
}
RNG = np.random.default_rng(7)
VECTORS = [RNG.normal(size=(5, 4)).astype(np.float32) for _ in range(3)]
COUNTS = RNG.integers(0, 4, 5)
LOSSES |= {
    "cross_entropy weighted": (partial(losses.cross_entropy, class_weights=(1.0, 2.0, 0.5, 3.0)), *case()[:2]),
    "focal": (losses.focal, *case()[:2]),
    "focal soft": (partial(losses.focal, gamma=0.5), case()[0], case()[3]),
    "binary_focal": (partial(losses.binary_focal, alpha=0.3), case()[0][:, 0], case()[1] % 2),
    "hinge": (losses.hinge, case()[0][:, 0], case()[1] % 2),
    "mean_absolute_error": (losses.mean_absolute_error, *VECTORS[:2]),
    "huber": (losses.huber, *VECTORS[:2]),
    "log_cosh": (losses.log_cosh, *VECTORS[:2]),
    "quantile": (partial(losses.quantile, q=0.8), *VECTORS[:2]),
    "poisson": (losses.poisson, VECTORS[0][:, 0], COUNTS),
    "kl_divergence": (losses.kl_divergence, log_softmax(VECTORS[0]).astype(np.float32), case()[3]),
    "gaussian_kl": (losses.gaussian_kl, *VECTORS[:2]),
    "cosine_distance": (losses.cosine_distance, *VECTORS[:2]),
    "wasserstein": (losses.wasserstein, VECTORS[0][:, 0], COUNTS % 2),
}
OF_BATCHES = {
    "triplet": (partial(losses.triplet, negative=VECTORS[2]), *VECTORS[:2]),
    "info_nce": (losses.info_nce, *VECTORS[:2]),
    "dice": (losses.dice, *case((3, 5))[:2]),
    "binary_dice": (losses.binary_dice, case((3, 5))[0], case((3, 5))[1][..., None] == np.arange(4)),
    "ctc": (losses.ctc, case((2, 6))[0], np.array([[1, 2, 2], [3, 1, 2]])),
}
every_loss = pytest.mark.parametrize(("loss", "prediction", "target"), LOSSES.values(), ids=LOSSES)


batches_too = pytest.mark.parametrize(
    ("loss", "prediction", "target"), [*LOSSES.values(), *OF_BATCHES.values()], ids=[*LOSSES, *OF_BATCHES]
)


@pytest.mark.slow
@batches_too
def test_gradients_equal_finite_differences(x64, loss, prediction, target):
    function = jax.jit(loss)
    check_grads(lambda p: function(p, target), (jnp.asarray(prediction, jnp.float64),), 1, ["rev", "fwd"], eps=1e-5)


@pytest.mark.slow
@batches_too
def test_half_precision_gives_float32_and_an_empty_batch_nothing(loss, prediction, target):
    narrow = jnp.asarray(prediction, jnp.bfloat16)
    found, expected = jax.jit(loss)(narrow, target), jax.jit(loss)(narrow.astype(jnp.float32), target)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, expected)
    if "negative" not in getattr(loss, "keywords", {}):
        [(values, gradient)] = outcomes(loss, prediction[:0], [target[:0]])
        assert values.shape[0] == 0
        assert gradient.shape == prediction[:0].shape


@pytest.mark.slow
@every_loss
def test_targets_may_be_constants_of_a_jitted_function(loss, prediction, target):
    constant = jnp.asarray(target)
    assert_close(jax.jit(lambda prediction: loss(prediction, constant))(prediction), loss(prediction, target))


@pytest.mark.slow
@every_loss
def test_losses_are_traced_by_jit_and_vmap(loss, prediction, target):
    expected = loss(prediction, target)
    assert_close(jax.jit(loss)(prediction, target), expected)
    assert_close(jax.vmap(loss)(prediction, target), expected)


# The others are compared with PyTorch in tests/parity; here with their formulas, and at their edges.


def test_numbers_are_their_formulas():
    p, t = (np.float64(v) for v in VECTORS[:2])
    e = np.abs(p - t)
    assert_close(losses.mean_absolute_error(*VECTORS[:2]), e)
    assert_close(losses.huber(*VECTORS[:2], delta=0.7), np.where(e <= 0.7, e**2 / 2, 0.7 * (e - 0.35)))
    assert_close(losses.log_cosh(*VECTORS[:2]), np.log(np.cosh(e)))
    assert_close(losses.quantile(*VECTORS[:2], q=0.8), np.where(t > p, 0.8 * e, 0.2 * e))
    assert_close(losses.poisson(VECTORS[0], np.abs(VECTORS[1])), np.exp(p) - np.abs(t) * p)
    np.testing.assert_allclose(losses.log_cosh(jnp.array([1e4]), jnp.zeros(1)), 1e4 - np.log(2), rtol=1e-6)


def test_the_quantile_loss_is_least_at_the_quantile():
    sample = np.sort(RNG.normal(size=1001)).astype(np.float32)
    guesses = np.linspace(-3, 3, 601, dtype=np.float32)
    pinball = jax.jit(jax.vmap(lambda g: losses.quantile(jnp.full_like(sample, g), sample, q=0.9).mean()))
    best = guesses[int(np.argmin(pinball(guesses)))]
    assert abs(best - np.quantile(sample, 0.9)) < 0.02


def test_classes_are_their_formulas():
    logits, labels, one_hot, soft = case()
    z, y = logits[:, 0], labels % 2
    p = np.exp(log_softmax(logits))
    for target, given_shares in ((labels, one_hot), (one_hot, one_hot), (soft, soft)):
        found = losses.focal(logits, target, gamma=1.5, class_weights=(1.0, 2.0, 0.5, 3.0))
        assert_close(found, -(np.array([1, 2, 0.5, 3]) * given_shares * (1 - p) ** 1.5 * np.log(p)).sum(-1))
    share = np.where(y == 1, sigmoid(z), 1 - sigmoid(z))
    assert_close(losses.binary_focal(z, y, alpha=0.3), -np.where(y == 1, 0.3, 0.7) * (1 - share) ** 2 * np.log(share))
    assert_close(losses.hinge(z, y), np.maximum(0, 1 - np.where(y == 1, z, -z)))
    smooth = 0.8 * y + 0.1
    found = losses.binary_cross_entropy(z, y, label_smoothing=0.2, positive_weight=3)
    assert_close(found, -3 * smooth * np.log(sigmoid(z)) - (1 - smooth) * np.log(1 - sigmoid(z)))
    assert_close(losses.wasserstein(z, y), np.where(y == 1, -z, z))


@pytest.mark.parametrize("kind", ["integers", "one-hot"])
def test_a_focal_loss_without_focus_is_cross_entropy(kind):
    logits, labels, one_hot, _ = case()
    target = labels if kind == "integers" else one_hot
    assert_close(losses.focal(logits, target, gamma=0.0), losses.cross_entropy(logits, target))
    assert_close(losses.binary_focal(logits, one_hot, gamma=0.0), losses.binary_cross_entropy(logits, one_hot))


def test_vectors_are_their_formulas():
    a, b, c = (np.float64(v) for v in VECTORS)
    norm = partial(np.linalg.norm, axis=-1)
    assert_close(losses.cosine_distance(*VECTORS[:2]), 1 - (a * b).sum(-1) / norm(a) / norm(b))
    assert_close(losses.triplet(*VECTORS, margin=0.5), np.maximum(norm(a - b) - norm(a - c) + 0.5, 0))
    similarity = (a / norm(a)[:, None]) @ (b / norm(b)[:, None]).T / 0.2
    assert_close(losses.info_nce(*VECTORS[:2], temperature=0.2), -np.diag(log_softmax(similarity)))
    assert_close(losses.gaussian_kl(*VECTORS[:2]), 0.5 * (a**2 + np.exp(b) - 1 - b).sum(-1))


def all_paths(log_p, labels, blank):
    """−log of the probability of all paths that spell the labels, by trying each."""
    time, classes = log_p.shape
    total = 0.0
    for path in np.ndindex(*[classes] * time):
        joined = [c for i, c in enumerate(path) if i == 0 or path[i - 1] != c]
        if [c for c in joined if c != blank] == list(labels):
            total += np.exp(sum(log_p[i, c] for i, c in enumerate(path)))
    return -np.log(total)


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_sums_over_all_paths(blank):
    logits = RNG.normal(size=(3, 5, 3)).astype(np.float32)
    other = [c for c in range(3) if c != blank]
    labels = np.array([[other[0], other[0]], [other[1], other[0]], [other[1], 0]])
    times, lengths = np.array([5, 3, 4]), np.array([2, 2, 1])
    found = jax.jit(partial(losses.ctc, blank=blank))(Ragged(logits, times), Ragged(labels, lengths))
    log_p = log_softmax(logits)
    expected = [all_paths(log_p[i, : times[i]], labels[i, : lengths[i]], blank) for i in range(3)]
    assert_close(found, expected)


@pytest.mark.slow
def test_ctc_padding_reaches_neither_value_nor_gradient():
    logits, labels = jnp.asarray(RNG.normal(size=(2, 5, 3)), jnp.float32), jnp.array([[1, 2, 1], [2, 1, 1]])
    times, lengths = jnp.array([5, 3]), jnp.array([2, 1])

    @jax.jit
    def outcome(logits, labels):
        return jax.value_and_grad(lambda z: losses.ctc(Ragged(z, times), Ragged(labels, lengths)).sum())(logits)

    value, gradient = outcome(logits, labels)
    again, _ = outcome(logits.at[1, 3:].set(100.0), labels.at[:, 2].set(-1))
    assert float(value) == float(again)
    assert not gradient[1, 3:].any()
    assert not jnp.isnan(gradient).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["integers", "soft", "binary"])
def test_dice_of_a_ragged_batch_is_that_of_each_example(kind):
    logits, labels, _, soft = case((2, 5))
    lengths = np.array([5, 3])
    target = {"integers": labels, "soft": soft, "binary": (labels[..., None] == np.arange(4)).astype(np.float32)}[kind]
    loss = losses.binary_dice if kind == "binary" else losses.dice

    @jax.jit
    def outcome(logits, target):
        model = dl.sequential(lambda x: Ragged(x, lengths))
        values, vjp = jax.vjp(lambda x: loss(Ragged(x, lengths), target), logits)
        found = dl.supervised(model, loss)({}, {}, {"x": logits, "y": target}, key=None, train=True)[0].mean()
        return values, vjp(jnp.ones(2))[0], found

    logits[1, 3:] = target[1, 3:] = -1
    spoiled = np.array(logits)
    spoiled[1, 3:] = np.nan
    values, gradient, mean = outcome(spoiled, Ragged(target, lengths))
    pieces = [jax.jit(jax.value_and_grad(lambda x, y: loss(x, y).sum()))(logits[i : i + 1, :n], target[i : i + 1, :n])
              for i, n in enumerate(lengths)]  # fmt: skip
    assert_close(values, [value for value, _ in pieces])
    for i, n in enumerate(lengths):
        assert_close(gradient[i, :n], pieces[i][1][0])
    assert not np.asarray(gradient)[1, 3:].any()
    assert_close(mean, np.mean(values))
    np.testing.assert_array_equal(loss(Ragged(logits, lengths), target), loss(logits, Ragged(target, lengths)))


def test_the_critic_wants_real_above_generated():
    scores, ones = jnp.array([2.0, -1.0]), jnp.ones(2)
    np.testing.assert_array_equal(losses.wasserstein(scores, ones), -scores)
    np.testing.assert_array_equal(losses.wasserstein(scores, 0 * ones), scores)


def test_a_gradient_penalty_is_zero_for_a_slope_of_one():
    real, generated = jnp.asarray(VECTORS[0]), jnp.asarray(VECTORS[1])
    direction = jnp.array([0.6, 0.8, 0.0, 0.0])
    found = losses.gradient_penalty(lambda x: x @ direction, real, generated, jax.random.key(0))
    np.testing.assert_allclose(found, np.zeros(5), atol=1e-12)
    column = losses.gradient_penalty(lambda x: x @ direction[:, None] * 3, real, generated, jax.random.key(0))
    np.testing.assert_allclose(column, np.full(5, 4), rtol=1e-6)
    assert losses.gradient_penalty(lambda x: x.sum((1, 2)), *[jnp.ones((0, 2, 3))] * 2, jax.random.key(0)).shape == (0,)


def test_a_gradient_penalty_is_taken_between_the_two():
    share = jax.random.uniform(jax.random.key(0), (50, 1))
    ones = jnp.ones((50, 1))
    found = losses.gradient_penalty(lambda x: jnp.square(x).sum(-1) / 2, ones, 0 * ones, jax.random.key(0))
    np.testing.assert_allclose(found, jnp.square(share[:, 0] - 1), rtol=1e-5)


def test_an_absolute_error_of_zero_has_no_gradient():
    gradient = jax.grad(lambda p: losses.mean_absolute_error(p, jnp.array([0.0, 1.0, -1.0])).sum())(jnp.zeros(3))
    np.testing.assert_array_equal(gradient, [0, -1, 1])


ZERO = jnp.zeros((1, 3))
EDGES = {
    "absolute error of 0": lambda x: losses.mean_absolute_error(x, ZERO),
    "huber of 0": lambda x: losses.huber(x, ZERO),
    "quantile of 0": lambda x: losses.quantile(x, ZERO),
    "cosine of a zero vector": lambda x: losses.cosine_distance(x, ZERO + 1),
    "cosine of two zero vectors": lambda x: losses.cosine_distance(x, x),
    "triplet of equal vectors": lambda x: losses.triplet(x, ZERO, ZERO),
    "info_nce of zero vectors": lambda x: losses.info_nce(x, ZERO),
    "gradient penalty of a flat critic": lambda x: losses.gradient_penalty(
        lambda z: (z * x.sum()).sum(-1), ZERO, ZERO, jax.random.key(0)
    ),
    "focal of certainty": lambda x: losses.focal(x + jnp.array([[200.0, -200.0, 0.0]]), jnp.array([0]), gamma=0.5),
    "focal of certain one-hot": lambda x: losses.focal(
        x + jnp.array([[200.0, -200.0, 0.0]]), jnp.eye(3)[:1], gamma=0.5
    ),
    "focal of certain error": lambda x: losses.focal(x + jnp.array([[200.0, -200.0, 0.0]]), jnp.array([1])),
    "binary focal of certainty": lambda x: losses.binary_focal(x + 1e4, ZERO + 1),
    "kl of an impossible class": lambda x: losses.kl_divergence(
        x + jnp.array([[0.0, -jnp.inf, 0.0]]), jnp.array([[1.0, 0.0, 0.0]])
    ),
    "kl to the target": lambda x: losses.kl_divergence(ZERO, x),
    "smoothed cross entropy of large logits": lambda x: losses.cross_entropy(
        x + jnp.array([[1e30, -1e30, 0.0]]), jnp.array([1]), label_smoothing=0.1
    ),
    "dice of nothing": lambda x: losses.binary_dice(x - 1e4, ZERO),
    "ctc of no labels": lambda x: losses.ctc(x[None], Ragged(jnp.array([[1]]), jnp.array([0]))),
    "ctc that cannot be": lambda x: losses.ctc(x[None], jnp.array([[1, 2, 1]])),
}


@pytest.mark.slow
@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
def test_gradients_are_finite_at_edges(edge):
    values, vjp = jax.vjp(jax.jit(edge), ZERO)
    assert jnp.isfinite(values).all()
    assert jnp.isfinite(vjp(jnp.ones_like(values))[0]).all()


def test_large_vocabularies_are_not_spread_out():
    spec, labels = jax.ShapeDtypeStruct((4, 1000), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.int32)
    both = partial(losses.cross_entropy, label_smoothing=0.1, class_weights=tuple(np.ones(1000)))
    compared = "bool[4,1000]"  # one-hot rows come from comparing each class
    assert compared in str(jax.make_jaxpr(lambda z, y: jax.nn.one_hot(y, 1000) * z)(spec, labels))
    for loss in (losses.cross_entropy, both, losses.focal):
        assert compared not in str(jax.make_jaxpr(loss)(spec, labels))


def test_beside_the_logits_and_their_gradient_no_array_of_their_size_is_made():
    spec, labels = jax.ShapeDtypeStruct((64, 5000), jnp.float32), jax.ShapeDtypeStruct((64,), jnp.int32)
    mean = jax.value_and_grad(lambda z, y: losses.cross_entropy(z, y).mean())
    memory = jax.jit(mean).lower(spec, labels).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 0.1 * spec.size * 4


@pytest.mark.slow
def test_the_gradient_of_integer_labels_is_softmax_less_the_label_in_both_modes(x64):
    logits, labels = 3 * jax.random.normal(jax.random.key(0), (2, 3, 5)), jnp.array([[0, 4, 2], [1, 1, 3]])
    found = jax.grad(lambda z: losses.cross_entropy(z, labels).sum())(logits)
    np.testing.assert_allclose(found, jax.nn.softmax(logits) - jax.nn.one_hot(labels, 5), atol=1e-12)
    check_grads(jax.jit(partial(losses.cross_entropy, labels=labels)), (logits,), order=2, modes=["fwd", "rev"])


# Options in fit


def test_losses_with_options_train_and_a_second_fit_compiles_nothing():
    data = {"x": VECTORS[0], "y": VECTORS[1]}
    model = dl.layers.dense(4)
    optimizer = optax.sgd(0.1)
    traces = []
    for _ in range(2):
        dl.fit(
            model,
            data,
            loss=partial(losses.huber, delta=2.0),
            optimizer=optimizer,
            metrics={"q": partial(losses.quantile, q=0.9)},
            penalty=dl.penalties.l2(1e-3) + dl.penalties.l1(1e-3, where=["kernel"]),
            epochs=1,
            batch_size=5,
            progress=False,
        )
        traces.append(dl.train.trace_count())
    assert traces[0] == traces[1]
    assert dl.supervised(model, losses.huber) != dl.supervised(model, partial(losses.huber, delta=2.0))


def test_ctc_trains_on_ragged_batches_as_on_each_sequence():
    x = jnp.asarray(RNG.normal(size=(3, 6, 4)), jnp.float32)
    data = {
        "x": Ragged(x, jnp.array([6, 4, 5])),
        "y": Ragged(jnp.array([[1, 2], [2, -9], [1, 1]]), jnp.array([2, 1, 2])),
        "weight": jnp.array([1.0, 2.0, 0.0]),
    }
    model = dl.layers.dense(3)
    state = dl.train.create_state(model, optax.sgd(0.1), data["x"])
    found = dl.evaluate(model, state, data, loss=losses.ctc, batch_size=2)["loss"]
    logits = model.apply(state.params, {}, x, train=False)[0]
    ctc = jax.jit(losses.ctc)
    one, two = ctc(logits[:1], jnp.array([[1, 2]])), ctc(logits[1:2, :4], jnp.array([[2]]))
    assert found == pytest.approx(float(one[0] + 2 * two[0]) / 3, rel=1e-5)
    with pytest.raises(ValueError, match="ctc: labels must not be the blank, 1; got labels from 1 to 2"):
        dl.evaluate(model, state, data, loss=partial(losses.ctc, blank=1))


def test_ragged_targets_of_ragged_predictions_are_masked():
    x = Ragged(jnp.asarray(RNG.normal(size=(2, 3, 4)), jnp.float32), jnp.array([3, 1]))
    labels = jnp.array([[0, 1, 2], [3, -1, -1]])
    model = dl.sequential(lambda x: x)
    state = dl.train.create_state(model, optax.sgd(0.1), x)
    data = {"x": x, "y": Ragged(labels, x.lengths)}
    found = dl.evaluate(model, state, data, loss=losses.cross_entropy)["loss"]
    expected = losses.cross_entropy(x.x[x.mask()], labels[x.mask()]).mean()
    assert found == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(ValueError, match="labels must be from 0 to 3 for 4 classes; got labels from -5 to 3"):
        wrong = Ragged(labels.at[0, 0].set(-5), x.lengths)
        dl.evaluate(model, state, {"x": x, "y": wrong}, loss=losses.cross_entropy)


@pytest.mark.slow
@batches_too
def test_a_masked_target_may_be_anything_for_supervised(loss, prediction, target):
    """The gradient is that of a target in order, and zero where it is masked."""
    loss_fn = dl.supervised(dl.sequential(lambda x: x), loss)
    weight = np.arange(len(prediction), dtype=np.float32)

    @jax.jit
    def gradient(x, y):
        return jax.grad(lambda x: loss_fn({}, {}, {"x": x, "y": y, "weight": weight}, key=None, train=True)[0].mean())(
            x
        )

    floats = np.issubdtype(target.dtype, np.floating)
    spoiled = np.array(target)
    spoiled[0] = np.nan if floats else not target.flat[0] if target.dtype == bool else -1
    found, expected = (np.asarray(gradient(prediction, y)) for y in (spoiled, target))
    assert not found[0].any()
    if loss is not losses.info_nce:  # which compares each prediction with all targets
        np.testing.assert_array_equal(found[1:], expected[1:])


def test_a_masked_target_of_several_outputs_or_positions_may_be_anything():
    def both(outputs, y):
        return losses.mean_squared_error(outputs[0], y).sum(-1) + losses.mean_squared_error(outputs[1], y[:, 0])

    @jax.jit
    def gradient(x, y, weight):
        model = dl.sequential(lambda x: (x, x[:, 0]))
        loss_fn = dl.supervised(model, both if weight.ndim == 1 else lambda outputs, y: jnp.log(y) * outputs[0])
        return jax.grad(lambda x: loss_fn({}, {}, {"x": x, "y": y, "weight": weight}, key=None, train=True)[0].mean())(
            x
        )

    x, y = jnp.ones((2, 2)), jnp.array([[1.0, 2.0], [jnp.nan, jnp.inf]])
    np.testing.assert_array_equal(gradient(x, y, jnp.array([1.0, 0.0])), [[0, -2], [0, 0]])
    found = gradient(x, y, jnp.array([[0.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [[0, np.log(2)], [0, 0]], rtol=1e-6)


MASKED = {
    "nan of weight 0": (losses.mean_squared_error, (4, 3), np.full((4, 3), np.nan, np.float32)),
    "a label of weight 0": (losses.cross_entropy, (4, 3), np.full(4, -1)),
    "a binary label of weight 0": (losses.hinge, (4, 3), np.full((4, 3), 7.0, np.float32)),
    "labels of weight 0 for ctc": (losses.ctc, (4, 5, 3), np.full((4, 2), -1)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "shape", "target"), MASKED.values(), ids=MASKED)
def test_evaluate_looks_at_no_masked_target(loss, shape, target):
    target[1:] = 1
    data = {"x": RNG.normal(size=shape).astype(np.float32), "y": target, "weight": np.array([0, 1, 2, 1], np.float32)}
    model = dl.sequential(lambda x: x)
    state = dl.train.create_state(model, optax.sgd(0.1), data["x"])
    found = dl.evaluate(model, state, data, loss=loss)["loss"]
    expected = Sum.of(jax.jit(loss)(data["x"][1:], target[1:]), data["weight"][1:]).mean()
    assert found == pytest.approx(float(expected), rel=1e-6)
    with pytest.raises(ValueError, match=r"finite|must be from|must not be"):
        dl.evaluate(model, state, data | {"weight": 1 - data["weight"] / 2}, loss=loss)


def test_padding_of_ragged_targets_may_be_nan():
    x = Ragged(jnp.ones((2, 3, 1)), jnp.array([3, 1]))
    y = Ragged(np.array([[0, 1, 1], [3, np.nan, np.inf]], np.float32)[..., None], x.lengths)
    state, history = dl.fit(
        dl.layers.dense(1), {"x": x, "y": y}, loss=losses.mean_squared_error, optimizer=optax.sgd(0.1), epochs=1,
        batch_size=2, progress=False,
    )  # fmt: skip
    assert np.isfinite(history["loss"][0])
    assert np.isfinite(state.params["kernel"]).all()
    with pytest.raises(ValueError, match="2 nan or inf in data"):
        dl.evaluate(dl.layers.dense(1), state, {"x": y, "y": y}, loss=losses.mean_squared_error)


def test_a_loss_that_is_no_mean_is_an_error():
    loss_fn = dl.supervised(dl.sequential(lambda x: x), dl.metrics.root_mean_squared_error)
    with pytest.raises(
        ValueError, match="loss must be a mean: a value for each example, .* got a Sum with finish=_root"
    ):
        loss_fn({}, {}, {"x": VECTORS[0], "y": VECTORS[1]}, key=None, train=True)


# Sums


def test_a_sum_counts_each_value_once():
    s = Sum.of(jnp.array([[1.0, 2.0], [3.0, 6.0]]))
    assert (float(s.total), float(s.weight), float(s.mean())) == (12, 4, 3)
    assert float(Sum.of(jnp.array(2.5)).mean()) == 2.5


@pytest.mark.parametrize(
    ("weight", "total", "count"),
    [
        ([1.0, 3.0], 1 * 3 + 3 * 9, 2 * (1 + 3)),
        ([True, False], 3, 2),
        ([0, 2], 2 * 9, 2 * 2),
        ([[1.0, 0.0], [0.0, 0.5]], 1 + 3.0, 1.5),
        (2.0, 2 * 12, 2 * 4),
    ],
    ids=["examples", "mask", "ints", "positions", "scalar"],
)
def test_a_sum_weighs_each_leading_position(weight, total, count):
    s = Sum.of(jnp.array([[1.0, 2.0], [3.0, 6.0]]), jnp.asarray(weight))
    assert (float(s.total), float(s.weight)) == (total, count)
    assert float(s.mean()) == pytest.approx(total / count)


@pytest.mark.parametrize("masked", [np.nan, np.inf, -np.inf], ids=str)
def test_a_masked_value_reaches_neither_mean_nor_gradient(masked):
    values, weight = jnp.array([1.0, masked, 5.0]), jnp.array([1.0, 0.0, 3.0])
    mean, gradient = jax.value_and_grad(lambda values: Sum.of(values, weight).mean())(values)
    assert float(mean) == 4
    np.testing.assert_array_equal(gradient, [0.25, 0, 0.75])


def test_nothing_of_weight_has_mean_zero_and_gradient_zero():
    weight = jnp.zeros(3)
    mean, gradient = jax.value_and_grad(lambda values: Sum.of(values, weight).mean())(jnp.array([1.0, np.nan, 2.0]))
    assert float(mean) == 0
    np.testing.assert_array_equal(gradient, 0)
    assert float(Sum.of(jnp.zeros(0)).mean()) == 0


@pytest.mark.parametrize("dtype", [jnp.bool_, jnp.int8, *HALVES], ids=["bool", "int8", "bfloat16", "float16"])
def test_a_sum_accumulates_in_float32(dtype):
    s = Sum.of(jnp.ones(5000, dtype), jnp.ones(5000, jnp.bfloat16))
    assert s.total.dtype == s.weight.dtype == jnp.float32
    assert (float(s.total), float(s.weight)) == (5000, 5000)


def test_a_sum_of_float64_stays_float64(x64):
    s = Sum.of(jnp.array([1.0, 2.0**-40]), jnp.array([1.0, 1.0], jnp.float32))
    assert s.total.dtype == s.weight.dtype == jnp.float64
    assert float(s.total) == 1 + 2.0**-40


@given(st.lists(st.lists(st.integers(-50, 50), max_size=6), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_sums_add_up_exactly_however_the_data_are_cut(pieces):
    # Padded to one shape, and masked, as whole numbers that float32 adds exactly.
    values = np.zeros((len(pieces), 6), np.float32)
    weight = np.zeros((len(pieces), 6), bool)
    for row, piece in enumerate(pieces):
        values[row, : len(piece)], weight[row, : len(piece)] = piece, True
    added = Sum(0.0, 0.0)
    for row in range(len(pieces)):
        added = added + Sum.of(values[row], weight[row])
    flat = [value for piece in pieces for value in piece]
    assert (float(added.total), float(added.weight)) == (sum(flat), len(flat))
    assert float(added.mean()) == pytest.approx(sum(flat) / max(len(flat), 1))


def test_a_sum_is_a_pytree_for_jit():
    s = jax.jit(lambda a, b: a + b)(Sum.of(jnp.ones(3)), Sum.of(jnp.zeros(1)))
    assert float(s.mean()) == 0.75


# Errors

LOGITS = jnp.zeros((4, 3))
NEEDS = "cross_entropy: labels must be integers of shape (4,) or one-hot of shape (4, 3); got "
ERRORS = [
    (
        lambda: losses.cross_entropy(jnp.zeros((4, 3), int), jnp.zeros(4, int)),
        TypeError,
        "cross_entropy: logits must be a floating array; got int32[4,3]. Did you mean logits.astype(jnp.float32)?",
    ),
    (lambda: losses.cross_entropy([0.0], jnp.zeros(4, int)), TypeError, "cross_entropy: logits must be an array"),
    (
        lambda: losses.cross_entropy(LOGITS, jnp.zeros(4)),
        ValueError,
        NEEDS + "float32[4]. Did you mean labels.astype(jnp.int32)?",
    ),
    (
        lambda: losses.cross_entropy(LOGITS, jnp.zeros((4, 1), int)),
        ValueError,
        NEEDS + "int32[4,1]. Did you mean labels[:, 0]?",
    ),
    (lambda: losses.cross_entropy(LOGITS, jnp.zeros(3, int)), ValueError, NEEDS + "int32[3]"),
    (lambda: losses.cross_entropy(LOGITS, jnp.zeros((4, 2))), ValueError, NEEDS + "float32[4,2]"),
    (
        lambda: losses.cross_entropy(LOGITS, jnp.array([1, 2, 3, 1])),
        ValueError,
        "cross_entropy: labels must be from 0 to 2 for 3 classes; got labels from 1 to 3. Did you mean labels - 1?",
    ),
    (
        lambda: losses.cross_entropy(LOGITS, jnp.array([-1, 2, 0, 1])),
        ValueError,
        "labels must be from 0 to 2 for 3 classes; got labels from -1 to 2",
    ),
    (
        lambda: losses.cross_entropy(LOGITS, jnp.zeros(4, int), label_smoothing=1.0),
        ValueError,
        "cross_entropy: label_smoothing must be a number from 0 up to, but not including, 1; got 1.0",
    ),
    (
        lambda: losses.cross_entropy(LOGITS, jnp.zeros(4, int), label_smoothing=-0.1),
        ValueError,
        "not including, 1; got -0.1",
    ),
    (
        lambda: losses.binary_cross_entropy(jnp.zeros((4, 1)), jnp.zeros(4, int)),
        ValueError,
        "binary_cross_entropy: target must have the prediction's shape, float32[4,1]; got int32[4]. "
        "Did you mean target[..., None]?",
    ),
    (
        lambda: losses.binary_cross_entropy(jnp.zeros(4), jnp.zeros((4, 1), int)),
        ValueError,
        "float32[4]; got int32[4,1]. Did you mean target[..., 0]?",
    ),
    (
        lambda: losses.binary_cross_entropy(jnp.zeros(4), jnp.array([0, 1, 2, 0])),
        ValueError,
        "binary_cross_entropy: labels must be from 0 to 1; got labels from 0 to 2",
    ),
    (
        lambda: losses.binary_cross_entropy(jnp.zeros(2), jnp.array([-0.5, 1.0])),
        ValueError,
        "labels must be from 0 to 1; got labels from -0.5 to 1.0",
    ),
    (
        lambda: losses.binary_cross_entropy(jnp.zeros(4, int), jnp.zeros(4, int)),
        TypeError,
        "binary_cross_entropy: prediction must be a floating array; got int32[4]",
    ),
    (
        lambda: losses.mean_squared_error(jnp.zeros((4, 1)), jnp.zeros(4)),
        ValueError,
        "mean_squared_error: target must have the prediction's shape, float32[4,1]; got float32[4]. "
        "Did you mean target[..., None]?",
    ),
    (
        lambda: losses.mean_squared_error(jnp.zeros(4), jnp.zeros((4, 1))),
        ValueError,
        "float32[4]; got float32[4,1]. Did you mean target[..., 0]?",
    ),
    (
        lambda: losses.mean_squared_error(jnp.zeros((4, 3)), jnp.zeros(())),
        ValueError,
        "float32[4,3]; got float32[]",
    ),
    (
        lambda: losses.mean_squared_error(jnp.zeros((4, 3)), jnp.zeros((1, 3))),
        ValueError,
        "float32[4,3]; got float32[1,3]",
    ),
    (
        lambda: losses.mean_squared_error(jnp.zeros(4), jnp.zeros(4, bool)),
        TypeError,
        "mean_squared_error: target must be an array of numbers; got bool[4]",
    ),
    (
        lambda: losses.mean_squared_error(jnp.zeros(4, int), jnp.zeros(4)),
        TypeError,
        "mean_squared_error: prediction must be a floating array; got int32[4]",
    ),
    (
        lambda: losses.cross_entropy(LOGITS, jnp.zeros(4, int), class_weights=(1.0, 2.0)),
        ValueError,
        "cross_entropy: class_weights must have the shape (3,); got float32[2]",
    ),
    (
        lambda: losses.binary_cross_entropy(jnp.zeros(3), jnp.zeros(3), positive_weight=-1),
        ValueError,
        "binary_cross_entropy: positive_weight must be a number of 0 or more; got -1",
    ),
    (
        lambda: losses.binary_cross_entropy(LOGITS, LOGITS, positive_weight=(1.0,)),
        ValueError,
        "binary_cross_entropy: positive_weight must have the shape (3,); got float32[1]",
    ),
    (
        lambda: losses.binary_cross_entropy(LOGITS, LOGITS, label_smoothing=2),
        ValueError,
        "binary_cross_entropy: label_smoothing must be a number from 0 up to, but not including, 1; got 2",
    ),
    (lambda: losses.focal(LOGITS, jnp.zeros(4)), ValueError, "focal: labels must be integers of shape (4,)"),
    (
        lambda: losses.focal(LOGITS, jnp.zeros(4, int), gamma=-1),
        ValueError,
        "focal: gamma must be a number of 0 or more; got -1",
    ),
    (
        lambda: losses.focal(LOGITS, jnp.zeros(4, int), class_weights=1.0),
        ValueError,
        "focal: class_weights must have the shape (3,); got float32[]",
    ),
    (
        lambda: losses.binary_focal(LOGITS, LOGITS, gamma=-2.5),
        ValueError,
        "binary_focal: gamma must be a number of 0 or more; got -2.5",
    ),
    (
        lambda: losses.binary_focal(LOGITS, LOGITS, alpha=2),
        ValueError,
        "binary_focal: alpha must be None or a number from 0 to 1; got 2",
    ),
    (lambda: losses.hinge(LOGITS, LOGITS - 1), ValueError, "hinge: labels must be from 0 to 1; got labels from -1.0"),
    (
        lambda: losses.huber(LOGITS, LOGITS, delta=0),
        ValueError,
        "huber: delta must be a positive number; got 0",
    ),
    (
        lambda: losses.binary_focal(LOGITS, LOGITS, alpha="a"),
        ValueError,
        "binary_focal: alpha must be None or a number from 0 to 1; got a",
    ),
    (lambda: losses.quantile(LOGITS, LOGITS, q="a"), ValueError, "quantile: q must be between 0 and 1; got a"),
    (lambda: losses.quantile(LOGITS, LOGITS, q=1.0), ValueError, "quantile: q must be between 0 and 1; got 1.0"),
    (
        lambda: losses.poisson(LOGITS, LOGITS - 1),
        ValueError,
        "poisson: target must be 0 or more; got targets from -1.0",
    ),
    (
        lambda: losses.kl_divergence(LOGITS, LOGITS + 2),
        ValueError,
        "kl_divergence: labels must be from 0 to 1; got labels from 2.0 to 2.0",
    ),
    (
        lambda: losses.kl_divergence(jnp.zeros(()), jnp.zeros(())),
        ValueError,
        "kl_divergence: log_probabilities must have an axis of classes, (…, classes); got float32[]",
    ),
    (
        lambda: losses.gaussian_kl(jnp.zeros(()), jnp.zeros(())),
        ValueError,
        "gaussian_kl: mean must have an axis of features, (…, features); got float32[]",
    ),
    (
        lambda: losses.cosine_distance(jnp.zeros(()), jnp.zeros(())),
        ValueError,
        "cosine_distance: prediction must have an axis of features, (…, features); got float32[]",
    ),
    (
        lambda: losses.triplet(LOGITS, LOGITS, LOGITS[:1]),
        ValueError,
        "triplet: target must have the prediction's shape, float32[4,3]; got float32[1,3]",
    ),
    (
        lambda: losses.triplet(LOGITS, LOGITS, LOGITS, margin=-1.0),
        ValueError,
        "triplet: margin must be a number of 0 or more; got -1.0",
    ),
    (
        lambda: losses.info_nce(LOGITS, LOGITS, temperature=0.0),
        ValueError,
        "info_nce: temperature must be a positive number; got 0.0",
    ),
    (
        lambda: losses.info_nce(jnp.zeros((2, 3, 4)), jnp.zeros((2, 3, 4))),
        ValueError,
        "info_nce: query must be (batch, features); got float32[2,3,4]",
    ),
    (
        lambda: losses.gradient_penalty(lambda x: x, LOGITS, LOGITS, jax.random.key(0)),
        ValueError,
        "gradient_penalty: critic must give one score for each example; got float32[4,3]",
    ),
    (
        lambda: losses.gradient_penalty(lambda x: x, jnp.zeros(()), jnp.zeros(()), jax.random.key(0)),
        ValueError,
        "gradient_penalty: real must be (batch, …); got float32[]",
    ),
    (
        lambda: losses.dice(jnp.zeros(3), jnp.array(1)),
        ValueError,
        "dice: logits must be (batch, …, classes); got float32[3]",
    ),
    (lambda: losses.dice(LOGITS, jnp.zeros(4)), ValueError, "dice: labels must be integers of shape (4,)"),
    (
        lambda: losses.dice(LOGITS, jnp.zeros(4, int), smooth=-1),
        ValueError,
        "dice: smooth must be a number of 0 or more; got -1",
    ),
    (
        lambda: losses.dice(Ragged(jnp.zeros((2, 4, 3)), jnp.array([1, 2])), jnp.zeros((2, 3), int)),
        ValueError,
        "dice: logits and labels must both begin with the shape (2, 4) of the ragged one; got (float32[2,4,3], int32[",
    ),
    (
        lambda: losses.binary_dice(jnp.zeros(()), jnp.zeros(())),
        ValueError,
        "binary_dice: logits must be (batch, …); got float32[]",
    ),
    (
        lambda: losses.ctc(LOGITS, jnp.zeros((4, 2), int)),
        ValueError,
        "ctc: logits must be (batch, time, classes) with a time of 1 or more; got float32[4,3]",
    ),
    (
        lambda: losses.ctc(LOGITS[None], jnp.ones((2, 2), int)),
        ValueError,
        "ctc: labels must be (1, length); got int32[2,2]",
    ),
    (
        lambda: losses.ctc(LOGITS[None], jnp.ones((1, 2))),
        TypeError,
        "ctc: labels must be integers; got float32[1,2]",
    ),
    (
        lambda: losses.ctc(LOGITS[None], jnp.array([[1, 3]])),
        ValueError,
        "ctc: labels must be from 0 to 2 for 3 classes; got labels from 1 to 3",
    ),
    (
        lambda: losses.ctc(LOGITS[None], jnp.array([[0, 1]])),
        ValueError,
        "ctc: labels must not be the blank, 0; got labels from 0 to 1",
    ),
    (
        lambda: losses.ctc(LOGITS[None], jnp.array([[1]]), blank=3),
        ValueError,
        "ctc: blank must be a class, from 0 to 2; got 3",
    ),
    (
        lambda: Sum.of(jnp.ones(2)) + dl.metrics.root_mean_squared_error(jnp.ones(2), jnp.ones(2)),
        ValueError,
        "Sum.__add__: sums that are added must have the same finish; got ratio and _root",
    ),
    (
        lambda: Sum.of(jnp.zeros((4, 3)), jnp.ones(3)),
        ValueError,
        "Sum.of: weight's shape must begin the values' shape (4, 3); got float32[3]",
    ),
    (
        lambda: Sum.of(jnp.zeros(4), jnp.ones((4, 1))),
        ValueError,
        "Sum.of: weight's shape must begin the values' shape (4,); got float32[4,1]",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[text for *_, text in ERRORS])
def test_errors_say_what_is_needed(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "prediction", "target"),
    [
        (losses.cross_entropy, LOGITS, jnp.zeros((4, 1), int)),
        (losses.binary_cross_entropy, jnp.zeros((4, 1)), jnp.zeros(4)),
        (losses.mean_squared_error, jnp.zeros((4, 1)), jnp.zeros(4)),
    ],
)
def test_shapes_are_checked_inside_jit_as_well(loss, prediction, target):
    with pytest.raises(ValueError, match="Did you mean"):
        jax.jit(loss)(prediction, target)


def test_values_are_not_seen_inside_jit():
    assert jax.jit(losses.cross_entropy)(LOGITS, jnp.array([0, 1, 2, 3])).shape == (4,)
    assert jax.jit(losses.binary_cross_entropy)(jnp.zeros(2), jnp.array([0.0, 2.0])).shape == (2,)


SPEC = jax.ShapeDtypeStruct((8, 3), jnp.float32)


@pytest.mark.parametrize(
    ("loss", "prediction", "target", "text"),
    [
        (losses.cross_entropy, SPEC, np.array([0, 1, 7]), "cross_entropy: labels must be from 0 to 2 for 3 classes"),
        (partial(losses.cross_entropy, label_smoothing=0.1), SPEC, np.array([0.0, 1.0]), "Did you mean labels.astype"),
        (losses.cross_entropy, SPEC, np.zeros((5, 1), int), "Did you mean labels[:, 0]?"),
        (
            losses.binary_cross_entropy,
            jax.ShapeDtypeStruct((8, 1), jnp.float32),
            np.array([[0], [3]]),
            "binary_cross_entropy: labels must be from 0 to 1; got labels from 0 to 3",
        ),
        (partial(losses.focal, gamma=1.0), SPEC, np.array([0, 7]), "focal: labels must be from 0 to 2"),
        (losses.dice, SPEC, np.array([0, 7]), "dice: labels must be from 0 to 2"),
        (losses.hinge, SPEC, np.array([[-1.0, 1.0, 1.0]]), "hinge: labels must be from 0 to 1"),
        (losses.binary_focal, SPEC, np.array([[2, 1, 0]]), "binary_focal: labels must be from 0 to 1"),
        (losses.poisson, SPEC, np.array([[2, -1, 0]]), "poisson: target must be 0 or more; got targets from -1"),
        (
            partial(losses.ctc, blank=2),
            jax.ShapeDtypeStruct((8, 5, 3), jnp.float32),
            np.array([[1, 2]]),
            "ctc: labels must not be the blank, 2",
        ),
        (
            losses.cross_entropy,
            jax.ShapeDtypeStruct((8, 2, 3), jnp.float32),
            Ragged(np.array([[1, 9], [7, 0]]), np.array([1, 1])),
            "cross_entropy: labels must be from 0 to 2 for 3 classes; got labels from 0 to 7",
        ),
    ],
)
def test_whole_data_sets_are_checked_on_the_host(loss, prediction, target, text):
    with pytest.raises(ValueError) as caught:
        losses.check_targets(loss, prediction, target)
    assert text in str(caught.value)


def test_the_host_checks_pass_what_is_right_or_unknown():
    losses.check_targets(losses.cross_entropy, SPEC, np.array([0, 1, 2, 2, 1]))
    losses.check_targets(losses.cross_entropy, SPEC, np.eye(3)[[0, 2]])
    losses.check_targets(losses.binary_cross_entropy, jax.ShapeDtypeStruct((8,), jnp.float32), np.array([0, 1]))
    losses.check_targets(lambda prediction, target: prediction, SPEC, np.array([-1, 7]))


def test_soft_labels_out_of_range_are_named():
    with pytest.raises(ValueError, match="one-hot or soft labels must be from 0 to 1; got labels from 7.0 to 7.0"):
        losses.cross_entropy(jnp.zeros((2, 3)), jnp.full((2, 3), 7.0))
