"""Metrics against counts made by hand, and exactness over batches of any size."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxdl as dl
from jaxdl import Sum, losses, metrics

LOGITS = jnp.array([[0.1, 0.9, 0.3], [2.0, -1.0, 0.5], [0.0, 0.2, 0.1], [-3.0, -2.0, -1.0]])
CLASSES = jnp.array([1, 2, 1, 0])  # right, second best, right, last


def test_accuracy_is_one_where_the_largest_logit_is_the_labels():
    found = metrics.accuracy(LOGITS, CLASSES)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, [1, 0, 1, 0])


def test_accuracy_takes_one_hot_labels():
    np.testing.assert_array_equal(metrics.accuracy(LOGITS, jnp.eye(3)[CLASSES]), [1, 0, 1, 0])
    np.testing.assert_array_equal(metrics.accuracy(LOGITS, jnp.eye(3, dtype=bool)[CLASSES]), [1, 0, 1, 0])


def test_accuracy_over_positions():
    found = metrics.accuracy(LOGITS.reshape(2, 2, 3), CLASSES.reshape(2, 2))
    np.testing.assert_array_equal(found, [[1, 0], [1, 0]])


def test_accuracy_gives_a_tie_to_the_lower_class():
    np.testing.assert_array_equal(metrics.accuracy(jnp.zeros((3, 3)), jnp.array([0, 1, 2])), [1, 0, 0])


def test_binary_accuracy_goes_by_the_sign_of_the_logit():
    logits, labels = jnp.array([2.0, -1.0, 3.0, -0.1, 0.0, 0.0]), jnp.array([1, 0, 0, 1, 0, 1])
    expected = [1, 1, 0, 0, 1, 0]
    for given_labels in (labels, labels.astype(bool), labels.astype(jnp.float32)):
        np.testing.assert_array_equal(metrics.binary_accuracy(logits, given_labels), expected)
    assert metrics.binary_accuracy(logits[:, None], labels[:, None]).shape == (6, 1)


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1, 0, 1, 0]), (2, [1, 1, 1, 0]), (3, [1, 1, 1, 1]), (9, [1, 1, 1, 1])]
)
def test_top_k_accuracy(k, expected):
    metric = metrics.top_k_accuracy(k)
    np.testing.assert_array_equal(metric(LOGITS, CLASSES), expected)
    np.testing.assert_array_equal(metric(LOGITS, jnp.eye(3)[CLASSES]), expected)
    np.testing.assert_array_equal(metric(LOGITS.reshape(2, 2, 3), CLASSES.reshape(2, 2)).ravel(), expected)


def test_top_1_accuracy_is_accuracy():
    rng = np.random.default_rng(0)
    logits, labels = rng.integers(0, 3, (50, 4)).astype(np.float32), rng.integers(0, 4, 50)
    np.testing.assert_array_equal(metrics.top_k_accuracy(1)(logits, labels), metrics.accuracy(logits, labels))


def test_top_k_accuracy_gives_ties_to_the_lower_classes():
    tied = jnp.array([[1.0, 1.0, 1.0]] * 3)
    np.testing.assert_array_equal(metrics.top_k_accuracy(2)(tied, jnp.array([0, 1, 2])), [1, 1, 0])


def test_top_k_accuracy_is_one_function_for_each_k():
    assert metrics.top_k_accuracy(2) is metrics.top_k_accuracy(2)
    assert metrics.top_k_accuracy(2) is not metrics.top_k_accuracy(3)


METRICS = {
    "accuracy": (metrics.accuracy, LOGITS, CLASSES),
    "top_k_accuracy": (metrics.top_k_accuracy(2), LOGITS, CLASSES),
    "binary_accuracy": (metrics.binary_accuracy, LOGITS[:, 0], CLASSES > 0),
}
every_metric = pytest.mark.parametrize(("metric", "logits", "labels"), METRICS.values(), ids=METRICS)


@every_metric
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=["bfloat16", "float16"])
def test_metrics_count_in_float32(metric, logits, labels, dtype):
    assert metric(logits.astype(dtype), labels).dtype == jnp.float32


@every_metric
def test_labels_may_be_constants_of_a_jitted_function(metric, logits, labels):
    constant = jnp.asarray(labels)
    np.testing.assert_array_equal(jax.jit(lambda logits: metric(logits, constant))(logits), metric(logits, labels))


@every_metric
def test_metrics_are_traced_by_jit_and_vmap(metric, logits, labels):
    expected = metric(logits, labels)
    np.testing.assert_array_equal(jax.jit(metric)(logits, labels), expected)
    np.testing.assert_array_equal(jax.vmap(metric)(logits, labels), expected)


@every_metric
def test_metrics_of_no_examples(metric, logits, labels):
    assert metric(logits[:0], labels[:0]).shape == (0,)


# Over batches of different size

MANY = 60


@st.composite
def cuts(draw):
    """Where sixty examples are cut into batches, some of which may be empty."""
    inner = draw(st.lists(st.integers(0, MANY), max_size=6))
    return [0, *sorted(inner), MANY]


@given(cuts(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_any_partition_of_the_data_gives_the_same_mean(ends, seed):
    rng = np.random.default_rng(seed)
    hits = np.asarray(metrics.accuracy(rng.normal(size=(MANY, 3)).astype(np.float32), rng.integers(0, 3, MANY)))
    added = Sum(np.float32(0), np.float32(0))
    for start, stop in itertools.pairwise(ends):
        # One shape for all batches: the rest has no weight.
        batch, weight = np.zeros(MANY, np.float32), np.zeros(MANY, np.float32)
        batch[: stop - start], weight[: stop - start] = hits[start:stop], 1
        added = added + Sum.of(batch, weight)
    assert (float(added.total), float(added.weight)) == (hits.sum(), MANY)
    assert float(added.mean()) == np.float32(hits.sum() / MANY)


@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_evaluate_does_not_depend_on_the_batch_size(batch_size):
    rng = np.random.default_rng(4)
    data = {"x": rng.normal(size=(13, 3)).astype(np.float32), "y": rng.integers(0, 3, 13)}
    model = dl.sequential(lambda x: x)
    start = dl.train.create_state(model, optax.sgd(0.1), data["x"])
    chosen = {"accuracy": metrics.accuracy, "top_2": metrics.top_k_accuracy(2)}
    found = dl.evaluate(model, start, data, loss=losses.cross_entropy, metrics=chosen, batch_size=batch_size)
    assert found["accuracy"] == np.float32((data["x"].argmax(-1) == data["y"]).mean())
    assert found["top_2"] == np.float32((data["x"].argmin(-1) != data["y"]).mean())
    assert found["loss"] == pytest.approx(float(losses.cross_entropy(data["x"], data["y"]).mean()), rel=1e-5)


def test_evaluate_weighs_examples():
    data = {"x": LOGITS, "y": CLASSES, "weight": jnp.array([1.0, 2.0, 0.0, 5.0])}
    model = dl.sequential(lambda x: x)
    start = dl.train.create_state(model, optax.sgd(0.1), LOGITS)
    chosen = {"accuracy": metrics.accuracy}
    found = dl.evaluate(model, start, data, loss=losses.cross_entropy, metrics=chosen, batch_size=3)
    assert found["accuracy"] == 1 / 8


# Errors

NEEDS = "labels must be integers of shape (4,) or one-hot of shape (4, 3); got "
ERRORS = [
    (
        lambda: metrics.accuracy(LOGITS.astype(int), CLASSES),
        TypeError,
        "accuracy: logits must be a floating array; got",
    ),
    (
        lambda: metrics.accuracy(LOGITS, CLASSES[:, None]),
        ValueError,
        f"accuracy: {NEEDS}int32[4,1]. Did you mean labels[:, 0]?",
    ),
    (
        lambda: metrics.accuracy(LOGITS, CLASSES.astype(jnp.float32)),
        ValueError,
        f"accuracy: {NEEDS}float32[4]. Did you mean labels.astype(jnp.int32)?",
    ),
    (lambda: metrics.accuracy(LOGITS, CLASSES[:3]), ValueError, f"accuracy: {NEEDS}int32[3]"),
    (
        lambda: metrics.accuracy(LOGITS, CLASSES + 1),
        ValueError,
        "accuracy: labels must be from 0 to 2 for 3 classes; got labels from 1 to 3. Did you mean labels - 1?",
    ),
    (
        lambda: metrics.top_k_accuracy(2)(LOGITS, CLASSES - 1),
        ValueError,
        "top_k_accuracy: labels must be from 0 to 2 for 3 classes; got labels from -1 to 1",
    ),
    (lambda: metrics.top_k_accuracy(0), ValueError, "top_k_accuracy: k must be a positive int; got 0"),
    (lambda: metrics.top_k_accuracy(2.5), ValueError, "top_k_accuracy: k must be a positive int; got 2.5"),
    (
        lambda: metrics.binary_accuracy(LOGITS[:, :1], CLASSES),
        ValueError,
        "binary_accuracy: target must have the prediction's shape, float32[4,1]; got int32[4].",
    ),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[text for *_, text in ERRORS])
def test_errors_say_what_is_needed(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def measured(metric, loss=losses.cross_entropy):
    loss_fn = dl.supervised(dl.sequential(lambda x: x), loss, metrics={"mine": metric})
    return loss_fn({}, {}, {"x": LOGITS, "y": CLASSES}, key=None, train=False)[1][1]


def test_a_reduced_metric_is_an_error():
    with pytest.raises(ValueError, match="supervised: mine must give a value for each example, not reduced, or a Sum"):
        measured(lambda logits, labels: metrics.accuracy(logits, labels).mean())
    with pytest.raises(ValueError, match="supervised: loss must give a value for each example"):
        measured(metrics.accuracy, lambda logits, labels: losses.cross_entropy(logits, labels).mean())


def test_a_metric_may_give_a_sum_of_its_own():
    found = measured(lambda logits, labels: Sum(jnp.float32(3), jnp.float32(4)))
    assert float(found["mine"].mean()) == 0.75


def test_any_loss_is_a_metric():
    found = measured(losses.cross_entropy)
    np.testing.assert_array_equal(found["mine"].mean(), found["loss"].mean())
