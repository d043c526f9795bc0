"""Metrics against counts made by hand, and exactness over batches of any size."""

import itertools
import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.linalg
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxdl as dl
from jaxdl import Sum, losses, metrics
from jaxdl.core import sums
from jaxdl.core.targets import is_reducing

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


# Metrics that add up for themselves, against scikit-learn

MACRO, MICRO, EACH = ({"average": average} for average in ("macro", "micro", None))


def reference(name, x, y, weight):
    """The figure of the whole data set by scikit-learn, in float64."""
    said, options = x.argmax(-1), {"sample_weight": weight, "zero_division": 0}
    scores, truth = x[:, 0], (y > 0).astype(int)
    by_name = {
        "precision": lambda: sk.precision_score(truth, scores > 0, **options),
        "recall": lambda: sk.recall_score(truth, scores > 0, **options),
        "f1": lambda: sk.f1_score(truth, scores > 0, **options),
        "iou": lambda: sk.jaccard_score(truth, scores > 0, **options),
        "precision macro": lambda: sk.precision_score(y, said, average="macro", **options),
        "recall micro": lambda: sk.recall_score(y, said, average="micro", **options),
        "f1 macro": lambda: sk.f1_score(y, said, average="macro", **options),
        "f1 each": lambda: sk.f1_score(y, said, average=None, labels=range(4), **options),
        "iou macro": lambda: sk.jaccard_score(y, said, average="macro", **options),
        "iou each": lambda: sk.jaccard_score(y, said, average=None, labels=range(4), **options),
        "confusion": lambda: sk.confusion_matrix(y, said, sample_weight=weight, labels=range(4)),
        "rmse": lambda: np.sqrt(sk.mean_squared_error(x, x[::-1], sample_weight=weight)),
        "mae": lambda: sk.mean_absolute_error(x, x[::-1], sample_weight=weight),
        "r2": lambda: sk.r2_score(x[::-1], x, sample_weight=weight),
        "perplexity": lambda: np.exp(sk.log_loss(y, softmax(x), sample_weight=weight, labels=range(4))),
        "auc": lambda: sk.roc_auc_score(truth, scores, sample_weight=weight),
    }
    return by_name[name]()


def softmax(x):
    p = np.exp(np.float64(x) - x.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def on(metric, outputs, labels):
    """The metric of a part of the outputs and a part of the targets."""

    def chosen(x, y, weight=None):
        arguments = outputs(x), labels(y)
        return metric(*arguments, weight) if is_reducing(metric) else metric(*arguments)

    return metrics.reducing(chosen) if is_reducing(metric) else chosen


def first(x):
    return x[..., 0]


def positive(y):
    return (y["class"] > 0).astype(jnp.int32)


def class_(y):
    return y["class"]


def mirror(y):
    return y["number"]


def whole(x):
    return x


REDUCING = {
    "precision": on(metrics.precision, first, positive),
    "recall": on(metrics.recall, first, positive),
    "f1": on(metrics.f1, first, positive),
    "iou": on(partial(metrics.iou, average="binary"), first, positive),
    "precision macro": on(partial(metrics.precision, **MACRO), whole, class_),
    "recall micro": on(partial(metrics.recall, **MICRO), whole, class_),
    "f1 macro": on(partial(metrics.f1, **MACRO), whole, class_),
    "f1 each": on(partial(metrics.f1, **EACH), whole, class_),
    "iou macro": on(metrics.iou, whole, class_),
    "iou each": on(partial(metrics.iou, **EACH), whole, class_),
    "confusion": on(metrics.confusion_matrix, whole, class_),
    "rmse": on(metrics.root_mean_squared_error, whole, mirror),
    "mae": on(metrics.mean_absolute_error, whole, mirror),
    "r2": on(metrics.r_squared, whole, mirror),
    "perplexity": on(metrics.perplexity, whole, class_),
    "auc": on(metrics.roc_auc, first, positive),
}


def squared(x, y):
    return losses.mean_squared_error(x, y["number"])


def sample(seed, count=MANY, missing=()):
    """Outputs, classes of which some may be missing, and weights of which some are zero."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    y = rng.choice([label for label in range(4) if label not in missing], count)
    x[np.arange(count), y] += rng.choice([0, 1, 3])
    weight = rng.choice([0.0, 0.5, 1.0, 2.0], count).astype(np.float32)
    weight[:8], y[:2] = 1, [0, max(set(range(4)) - set(missing))]
    return x, y, weight


def identity_model():
    return dl.sequential(whole)


AUC_ERROR = 2e-3
"""The share of pairs in one of 2048 bins, at most, of which half is the error, for normal scores."""


def assert_equals_the_whole(found, x, y, weight, rel=2e-6):
    for name in REDUCING:
        expected = reference(name, x, y, weight)
        tolerance = {"atol": AUC_ERROR} if name == "auc" else {"rtol": rel, "atol": 1e-7}
        np.testing.assert_allclose(found[name], expected, err_msg=name, **tolerance)


@pytest.mark.slow
@given(st.integers(1, MANY + 5), st.integers(0, 2**32 - 1), st.sampled_from([(), (1,), (0, 2)]))
@settings(max_examples=5, deadline=None, derandomize=True, database=None)
def test_any_metric_over_any_batches_is_scikit_learns_on_the_whole(batch_size, seed, missing):
    x, y, weight = sample(seed, missing=missing)
    data = {"x": x, "y": {"class": y, "number": x[::-1].copy()}, "weight": weight}
    start = dl.train.create_state(identity_model(), optax.sgd(0.1), x)
    batch_size = [1, 7, 25][batch_size % 3]  # few shapes, each compiled once
    found = dl.evaluate(identity_model(), start, data, loss=squared, metrics=REDUCING, batch_size=batch_size)
    assert_equals_the_whole(found, x, y, weight)
    assert isinstance(found["confusion"], np.ndarray)
    assert isinstance(found["f1"], float)


@pytest.mark.slow
@given(cuts(), st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None, derandomize=True, database=None)
def test_sums_of_any_cut_are_those_of_the_whole(ends, seed):
    """One shape for all batches: the rest has no weight, and anything in it, also what is no number."""
    x, y, weight = sample(seed)
    added = None
    for start, stop in itertools.pairwise(ends):
        part = slice(start, stop)
        batch = np.full_like(x, np.nan), np.zeros_like(y), np.full_like(x, np.nan), np.zeros_like(weight)
        for whole_, piece in zip((x, y, x[::-1], weight), batch, strict=True):
            piece[: stop - start] = whole_[part]
        sums = all_sums(*batch)
        added = sums if added is None else {name: added[name] + sums[name] for name in sums}
    assert_equals_the_whole({name: value.mean() for name, value in added.items()}, x, y, weight, rel=2e-5)


@jax.jit
def all_sums(x, y, number, weight):
    target = {"class": y, "number": number}
    return {
        name: metric(x, target, weight) if is_reducing(metric) else Sum.of(metric(x, target), weight)
        for name, metric in REDUCING.items()
    }


@pytest.mark.slow
def test_metrics_of_training_are_in_the_history_and_progress_shows_scalars(capsys):
    x, y, weight = sample(3, missing=(2,))
    data = {"x": x, "y": {"class": y, "number": x[::-1].copy()}, "weight": weight}
    counts = []
    for _ in range(2):
        _, history = dl.fit(
            identity_model(),
            data,
            loss=squared,
            optimizer=SGD,
            metrics=REDUCING,
            validation=data,
            epochs=2,
            batch_size=7,
        )
        counts.append(dl.train.trace_count())
    assert counts[0] == counts[1]
    assert history["validation_confusion"][1].shape == (4, 4)
    for prefix in ("", "validation_"):
        last = {name: history[prefix + name][-1] for name in REDUCING}
        assert_equals_the_whole(last, x, y, weight)
    text = capsys.readouterr().out
    assert "precision" in text
    assert "confusion" not in text
    names = [axes.get_ylabel() for axes in dl.inspect.plot_history(history).axes]
    assert "confusion" not in names
    assert "f1 macro" in names


SGD = optax.sgd(0.1)


def test_metrics_of_ragged_predictions_leave_padding_out():
    x, y, _ = sample(5)
    x, y = x.reshape(6, 10, 4), y.reshape(6, 10)
    lengths = np.array([10, 0, 3, 7, 1, 10])
    real = np.arange(10) < lengths[:, None]
    x[~real], y[~real] = 1e3, -1
    data = {"x": dl.Ragged(x, lengths), "y": y, "weight": np.array([1, 1, 2, 0, 3, 0.5], np.float32)}
    weight = (real * data["weight"][:, None])[real]
    start = dl.train.create_state(identity_model(), SGD, data["x"])
    chosen = {"f1": partial(metrics.f1, **MACRO), "matrix": metrics.confusion_matrix, "perplexity": metrics.perplexity}
    found = dl.evaluate(
        identity_model(), start, data, loss=lambda x, y: jnp.ones(y.shape), metrics=chosen, batch_size=4
    )
    for ours, theirs in (("f1", "f1 macro"), ("matrix", "confusion"), ("perplexity", "perplexity")):
        np.testing.assert_allclose(found[ours], reference(theirs, x[real], y[real], weight), rtol=1e-5)


def test_segmentations_are_counted_position_by_position():
    x, y, _ = sample(6)
    weight = np.array([1, 2, 0], np.float32)
    found = metrics.iou(x.reshape(3, 4, 5, 4), y.reshape(3, 4, 5), weight).mean()
    np.testing.assert_allclose(found, reference("iou macro", x, y, np.repeat(weight, 20)), rtol=1e-6)
    one_hot = metrics.iou(x.reshape(3, 4, 5, 4), np.eye(4)[y].reshape(3, 4, 5, 4), weight).mean()
    np.testing.assert_array_equal(found, one_hot)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
@pytest.mark.parametrize("bins", [64, 2048])
def test_the_error_of_a_binned_auc_is_within_its_bound(scale, bins):
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 2, 3000)
    scores = (scale * (rng.normal(size=3000) + truth)).astype(np.float32)
    total = np.asarray(metrics.roc_auc(scores, truth, bins=bins).total)
    bound = (total[0] * total[1]).sum() / total[0].sum() / total[1].sum() / 2
    error = abs(float(metrics.roc_auc(scores, truth, bins=bins).mean()) - sk.roc_auc_score(truth, scores))
    assert error <= bound + 1e-6
    if bins == 2048:
        assert error < 1e-3


def test_an_auc_of_ties_of_extremes_and_of_one_class():
    auc = metrics.roc_auc
    assert float(auc(jnp.zeros(4), jnp.array([0, 1, 1, 0])).mean()) == 0.5
    assert float(auc(jnp.array([-jnp.inf, -1e30, 1e30, 3e38]), jnp.array([0, 0, 1, 1])).mean()) == 1
    assert np.isnan(auc(jnp.ones(3), jnp.ones(3)).mean())
    assert float(auc(jnp.array([-jnp.inf, 0.0, 1.0, jnp.inf]), jnp.array([0, 0, 1, 1])).mean()) == 1
    unknown = jnp.array([0.0, jnp.nan, 1.0])
    assert np.isnan(auc(unknown, jnp.array([0, 1, 1])).mean())
    assert float(auc(unknown, jnp.array([0, 1, 1]), jnp.array([1.0, 0.0, 1.0])).mean()) == 1


def test_r_squared_of_outputs_constants_and_far_targets():
    x, _, weight = sample(9)
    assert float(metrics.r_squared(x[:, 0], x[:, 0]).mean()) == 1
    np.testing.assert_allclose(
        metrics.r_squared(x[:, 0], x[:, 1], weight).mean(),
        sk.r2_score(x[:, 1], x[:, 0], sample_weight=weight),
        rtol=1e-5,
    )
    constant = np.column_stack([np.full(5, 2.0), np.full(5, 3.0)]).astype(np.float32)
    guess = constant + np.array([0.0, 1.0], np.float32)
    assert float(metrics.r_squared(guess, constant).mean()) == sk.r2_score(constant, guess) == 0.5
    for value in (0.1, 0.3, 1000.1):
        same = np.full(1000, value, np.float32)
        assert float(metrics.r_squared(same, same).mean()) == 1
        assert float(metrics.r_squared(same + np.float32(0.5), same).mean()) == 0
    far = x[:, 0] + np.float32(1000)
    expected = sk.r2_score(far, far + 0.5 * x[:, 1])
    found = metrics.r_squared(far + 0.5 * x[:, 1], far, center=1000.0).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_counts_beyond_2_to_the_24_are_exact():
    """The epoch's totals keep what float32 rounds off: an odd count stays odd."""
    data = {"x": jnp.ones((4, 1, 1)), "y": jnp.ones((4, 1, 1)), "weight": jnp.array([2.0**24, 1, 1, 1])}
    start = dl.train.create_state(identity_model(), SGD, data["x"])
    both = {"n": counted}
    found = dl.evaluate(identity_model(), start, data, loss=losses.mean_squared_error, metrics=both, batch_size=1)
    assert found["n"].tolist() == [2**24 + 3, 0]


@pytest.mark.slow
def test_counts_within_one_batch_go_on_beyond_what_float32_can_count_one_by_one(monkeypatch):
    places = jnp.array([0, 2, 2, -1, 3, 2, 1])
    whole = sums.tally(places, jnp.arange(1.0, 8.0), 3)
    np.testing.assert_array_equal(whole, [1, 7, 11])
    monkeypatch.setattr(sums, "_CHUNK", 2)
    np.testing.assert_array_equal(sums.tally(places, jnp.arange(1.0, 8.0), 3), whole)
    weights = jnp.array([2.0**24, 0, 1, 1, 1, 1])  # one by one each 1 would be rounded off
    assert sums.tally(jnp.zeros(6, int), weights, 1).tolist() == [2**24 + 4]
    truth, scores = jnp.zeros(6, bool), jnp.ones(6)
    assert float(metrics.roc_auc(scores, truth, weights).total.sum()) == 2**24 + 4
    counts = metrics.confusion_matrix(jnp.eye(2)[jnp.zeros(6, int)], jnp.zeros(6, int), weights)
    assert counts.total.tolist() == [[2**24 + 4, 0], [0, 0]]


@pytest.mark.parametrize(
    "metric", [metrics.confusion_matrix, partial(metrics.f1, **EACH), partial(metrics.iou, **MACRO)]
)
def test_labels_out_of_range_that_jit_hides_count_nothing(metric):
    x, y, weight = sample(3)
    y[:3], y[3:6] = -1, 4
    real = slice(6, None)
    found, expected = jax.jit(metric)(x, y, weight), metric(x[real], y[real], weight[real])
    np.testing.assert_allclose(found.mean(), expected.mean(), rtol=1e-6)
    np.testing.assert_allclose(found.weight, expected.weight, rtol=1e-6)


def test_perplexity_of_soft_labels_is_that_of_their_cross_entropy():
    soft = jnp.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    logits = LOGITS[:2].at[0, 2].set(-jnp.inf)
    expected = jnp.exp(losses.cross_entropy(logits, soft).mean())
    np.testing.assert_allclose(metrics.perplexity(logits, soft).mean(), expected, rtol=1e-6)
    np.testing.assert_allclose(metrics.perplexity(jnp.log(soft[1:]), soft[1:]).mean(), 2.8001, rtol=1e-4)


def test_a_mean_absolute_error_of_zero_has_no_gradient():
    gradient = jax.grad(lambda p: metrics.mean_absolute_error(p, jnp.array([0.0, 1.0])).sum())(jnp.zeros(2))
    np.testing.assert_array_equal(gradient, [0, -1])


@metrics.reducing
def counted(x, y, weight=None):
    weights = jnp.broadcast_to(weight[:, None, None], x.shape)
    return Sum(jnp.stack([weights.sum(), 0 * weights.sum()]), weights.sum(), as_they_are)


def as_they_are(total, weight):
    return total


@pytest.mark.parametrize("name", ["f1", "confusion", "rmse"])
def test_nothing_of_weight_is_no_number_in_the_history(name):
    x, y, weight = sample(1)
    data = {"x": x, "y": {"class": y, "number": x}, "weight": 0 * weight}
    start = dl.train.create_state(identity_model(), SGD, x)
    found = dl.evaluate(identity_model(), start, data, loss=squared, metrics={name: REDUCING[name]}, batch_size=60)
    assert np.isnan(found[name]).all()
    assert np.shape(found[name]) == ((4, 4) if name == "confusion" else ())


def test_a_root_mean_squared_error_of_nothing_has_a_finite_value():
    assert float(metrics.root_mean_squared_error(jnp.zeros((0, 2)), jnp.zeros((0, 2))).mean()) == 0
    assert metrics.confusion_matrix(LOGITS[:0], CLASSES[:0]).mean().tolist() == np.zeros((3, 3)).tolist()


@pytest.mark.slow
def test_metrics_of_a_batch_that_is_spread_over_devices():
    code = """
import jax, numpy as np, jaxdl as dl
from jax.sharding import NamedSharding, PartitionSpec, AxisType
mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
place = NamedSharding(mesh, PartitionSpec("data"))
rng = np.random.default_rng(0)
x, y, w = rng.normal(size=(16, 3)).astype("f"), rng.integers(0, 3, 16), rng.integers(0, 3, 16).astype("f")
m = dl.metrics
both = lambda x, y, w: [m.confusion_matrix(x, y, w), m.f1(x, y, w, average="macro"), m.roc_auc(x[:, 0], y > 0, w)]
for one, many in zip(both(x, y, w), jax.jit(both)(*jax.device_put((x, y, w), place)), strict=True):
    assert len(jax.devices()) == 4
    np.testing.assert_allclose(one.total, many.total, rtol=1e-6)
    np.testing.assert_allclose(one.mean(), many.mean(), rtol=1e-6)
print("equal")
"""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | flags)
    assert run.stdout == "equal\n", run.stderr


def test_frechet_distance_is_that_of_the_matrix_root():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + 2
    b = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-10)
    assert metrics.frechet_distance(b, a) == pytest.approx(expected, rel=1e-10)
    assert metrics.frechet_distance(jnp.asarray(a, jnp.float32), b) == pytest.approx(expected, rel=1e-5)


def test_frechet_distance_of_features_that_do_not_vary_or_depend_on_each_other():
    """Covariances without an inverse, as units that are never on give."""
    x = np.random.default_rng(0).normal(size=(50, 1)) * [1.0, 2.0, 0.0]
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(x, 2 * x) == pytest.approx(5 * x[:, 0].var(ddof=1) + 5 * x[:, 0].mean() ** 2)
    assert metrics.frechet_distance(x[:, :1], x[:, :1] + 3) == pytest.approx(9)


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
    (lambda: metrics.top_k_accuracy(LOGITS), ValueError, "top_k_accuracy: k must be a positive int; got float32[4,3]"),
    (lambda: metrics.top_k_accuracy(LOGITS, CLASSES), TypeError, "top_k_accuracy() takes 1 positional argument but 2"),
    (lambda: metrics.top_k_accuracy(2.5), ValueError, "top_k_accuracy: k must be a positive int; got 2.5"),
    (
        lambda: metrics.binary_accuracy(LOGITS[:, :1], CLASSES),
        ValueError,
        "binary_accuracy: target must have the prediction's shape, float32[4,1]; got int32[4].",
    ),
    (
        lambda: metrics.f1(LOGITS, CLASSES, average="weighted"),
        ValueError,
        'f1: average must be "binary", "macro", "micro" or None; got \'weighted\'',
    ),
    (
        lambda: metrics.precision(LOGITS, CLASSES),
        ValueError,
        "precision: target must have the prediction's shape, float32[4,3]; got int32[4]",
    ),
    (lambda: metrics.recall(LOGITS, CLASSES[:3], average="macro"), ValueError, f"recall: {NEEDS}int32[3]"),
    (lambda: metrics.iou(LOGITS, CLASSES + 1), ValueError, "iou: labels must be from 0 to 2 for 3 classes"),
    (lambda: metrics.confusion_matrix(LOGITS, CLASSES * 1.0), ValueError, f"confusion_matrix: {NEEDS}float32[4]"),
    (
        lambda: metrics.confusion_matrix(LOGITS, CLASSES, jnp.ones(3)),
        ValueError,
        "confusion_matrix: weight's shape must begin the values' shape (4,); got float32[3]",
    ),
    (
        lambda: metrics.roc_auc(LOGITS[:, 0], CLASSES),
        ValueError,
        "roc_auc: labels must be from 0 to 1; got labels from 0 to 2",
    ),
    (
        lambda: metrics.roc_auc(LOGITS[:, 0], CLASSES > 0, bins=0),
        ValueError,
        "roc_auc: bins must be a positive int; got 0",
    ),
    (
        lambda: metrics.r_squared(jnp.zeros(()), jnp.zeros(())),
        ValueError,
        "r_squared: target must be (batch,) or (…, outputs); got float32[]",
    ),
    (
        lambda: metrics.root_mean_squared_error(LOGITS, CLASSES),
        ValueError,
        "root_mean_squared_error: target must have the prediction's shape, float32[4,3]; got int32[4]",
    ),
    (
        lambda: metrics.mean_absolute_error(LOGITS, LOGITS > 0),
        TypeError,
        "mean_absolute_error: target must be an array of numbers; got bool[4,3]",
    ),
    (lambda: metrics.perplexity(LOGITS, CLASSES[:3]), ValueError, f"perplexity: {NEEDS}int32[3]"),
    (
        lambda: metrics.frechet_distance(LOGITS, LOGITS[:1]),
        ValueError,
        "frechet_distance: others must be (examples, size) with two examples or more; got float32[1,3]",
    ),
    (
        lambda: metrics.frechet_distance(LOGITS, LOGITS[:, :2]),
        ValueError,
        "frechet_distance: others must be (m, 3) as the features are; got float32[4,2]",
    ),
    (
        lambda: metrics.frechet_distance(LOGITS, np.array([[0.0, 1, 2], [3, np.nan, np.inf]])),
        ValueError,
        "frechet_distance: others must be finite; got nan in example 1",
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


def test_a_reducing_metric_must_give_a_sum():
    with pytest.raises(TypeError, match="supervised: mine is marked as reducing and must give a Sum; got"):
        measured(metrics.reducing(lambda logits, labels, weight: logits.sum()))


def test_the_weight_of_a_sum_is_a_scalar():
    def step(state, batch):
        return state, {"mine": Sum(batch.sum(0), batch.sum(0))}

    with pytest.raises(ValueError, match=r"step: the weight of the metric 'mine' must be a scalar; got float32\[2\]"):
        dl.run(step, jnp.zeros(()), jnp.ones((4, 2)), epochs=1, batch_size=2, progress=False)


def test_a_metric_may_give_a_sum_of_its_own():
    found = measured(lambda logits, labels: Sum(jnp.float32(3), jnp.float32(4)))
    assert float(found["mine"].mean()) == 0.75


def test_any_loss_is_a_metric():
    found = measured(losses.cross_entropy)
    np.testing.assert_array_equal(found["mine"].mean(), found["loss"].mean())
