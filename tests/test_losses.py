"""Losses against their formulas in float64, and the sums that they are added up in."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxdl import Sum, losses

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


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int16, jnp.int32, jnp.uint32])
def test_labels_may_be_of_any_integer_type(dtype):
    logits = np.random.default_rng(1).normal(size=(3, 300)).astype(np.float32)
    labels = np.array([0, 5, 127])
    assert_close(losses.cross_entropy(logits, jnp.asarray(labels, dtype)), -log_softmax(logits)[np.arange(3), labels])


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
        np.testing.assert_array_equal(found, expected)


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
every_loss = pytest.mark.parametrize(("loss", "prediction", "target"), LOSSES.values(), ids=LOSSES)


@every_loss
def test_gradients_equal_finite_differences(x64, loss, prediction, target):
    function = jax.jit(loss)
    check_grads(lambda p: function(p, target), (jnp.asarray(prediction, jnp.float64),), 1, ["rev", "fwd"])


@every_loss
def test_targets_may_be_constants_of_a_jitted_function(loss, prediction, target):
    constant = jnp.asarray(target)
    assert_close(jax.jit(lambda prediction: loss(prediction, constant))(prediction), loss(prediction, target))


@every_loss
def test_losses_are_traced_by_jit_and_vmap(loss, prediction, target):
    expected = loss(prediction, target)
    assert_close(jax.jit(loss)(prediction, target), expected)
    assert_close(jax.vmap(loss)(prediction, target), expected)


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
