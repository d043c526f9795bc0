"""Losses against PyTorch: values and gradients to every argument that has one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch_reference import assert_alike, normal, ours, same, theirs

from jaxdl import Ragged, losses, penalties

T = torch.nn.functional


def both(function, pytorch, *arguments):
    """What ours and PyTorch's give for the same arguments, all differentiated."""
    layout = [same] * len(arguments)
    return ours(function, *arguments), theirs(pytorch, *arguments, there=layout, back=[same, *layout])


def assert_losses_alike(function, pytorch, *arguments, dtype):
    assert_alike(*both(function, pytorch, *arguments), dtype)


def labels_for(shape, classes, seed=1):
    return np.random.default_rng(seed).integers(0, classes, shape)


def shares(shape, dtype, seed=2):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1]).astype(dtype)


NUMBERS = {
    "mean_squared_error": (losses.mean_squared_error, T.mse_loss),
    "mean_absolute_error": (losses.mean_absolute_error, T.l1_loss),
    "huber": (losses.huber, T.huber_loss),
    "huber 0.3": (partial(losses.huber, delta=0.3), partial(T.huber_loss, delta=0.3)),
    "smooth_l1": (lambda p, t: losses.huber(p, t, delta=0.7) / 0.7, partial(T.smooth_l1_loss, beta=0.7)),
    "poisson": (losses.poisson, partial(T.poisson_nll_loss, log_input=True, full=False)),
}


@pytest.mark.parametrize(("loss", "pytorch"), NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("shape", [(7,), (3, 5)], ids=str)
def test_numbers(loss, pytorch, shape, dtype):
    arguments = normal(shape, dtype), np.abs(normal(shape, dtype, 1))
    assert_losses_alike(loss, partial(pytorch, reduction="none"), *arguments, dtype=dtype)


def test_log_cosh(dtype):
    """PyTorch has none; its formula there, where cosh does not overflow."""
    arguments = normal((3, 5), dtype), normal((3, 5), dtype, 1)
    assert_losses_alike(losses.log_cosh, lambda p, t: torch.log(torch.cosh(p - t)), *arguments, dtype=dtype)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("kind", ["integers", "soft"])
def test_cross_entropy_with_class_weights(kind, smoothing, dtype):
    logits, weights = 3 * normal((7, 5), dtype), np.linspace(0.2, 3, 5)
    target = labels_for(7, 5) if kind == "integers" else shares((7, 5), dtype)
    options = {"label_smoothing": smoothing}

    def pytorch(z):
        weight = torch.tensor(weights, dtype=z.dtype)
        return T.cross_entropy(z, torch.tensor(target), weight=weight, reduction="none", **options)

    loss = partial(losses.cross_entropy, class_weights=tuple(weights), **options)
    assert_losses_alike(lambda z: loss(z, target), pytorch, logits, dtype=dtype)


def test_the_weighted_mean_of_pytorch_is_that_of_example_weights(dtype):
    logits, labels, weights = normal((7, 5), dtype), labels_for(7, 5), np.linspace(0.2, 3, 5).astype(dtype)
    mean = T.cross_entropy(torch.tensor(logits), torch.tensor(labels), weight=torch.tensor(weights))
    values = losses.cross_entropy(logits, labels)
    np.testing.assert_allclose(np.average(values, weights=weights[labels]), mean, rtol=1e-5)


@pytest.mark.parametrize("weight", [0.3, (0.5, 1.0, 7.0)], ids=["one", "each"])
def test_binary_cross_entropy_with_a_positive_weight(weight, dtype):
    def pytorch(z, y):
        options = {"pos_weight": torch.tensor(weight, dtype=z.dtype), "reduction": "none"}
        return T.binary_cross_entropy_with_logits(z, y, **options)

    arguments = 3 * normal((4, 3), dtype), np.random.default_rng(1).uniform(size=(4, 3)).astype(dtype)
    loss = partial(losses.binary_cross_entropy, positive_weight=weight)
    assert_losses_alike(loss, pytorch, *arguments, dtype=dtype)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.5])
def test_focal(gamma, dtype):
    """As the paper writes it."""
    logits, labels = 2 * normal((7, 5), dtype), labels_for(7, 5)
    weights = np.linspace(0.2, 3, 5)

    def pytorch(z):
        log_p = T.log_softmax(z, -1)[torch.arange(7), torch.tensor(labels)]
        return -torch.tensor(weights[labels], dtype=z.dtype) * (1 - log_p.exp()) ** gamma * log_p

    loss = partial(losses.focal, gamma=gamma, class_weights=tuple(weights))
    for target in (labels, np.eye(5, dtype=dtype)[labels]):
        assert_losses_alike(lambda z, target=target: loss(z, target), pytorch, logits, dtype=dtype)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, None), (1.5, 0.25)])
def test_binary_focal(gamma, alpha, dtype):
    """As the paper writes it, and torchvision."""
    logits, labels = 2 * normal((7, 3), dtype), labels_for((7, 3), 2).astype(dtype)

    def pytorch(z):
        y = torch.tensor(labels)
        p = torch.sigmoid(z)
        p_true = p * y + (1 - p) * (1 - y)
        weight = 1 if alpha is None else alpha * y + (1 - alpha) * (1 - y)
        return -weight * (1 - p_true) ** gamma * torch.log(p_true)

    loss = partial(losses.binary_focal, gamma=gamma, alpha=alpha)
    assert_losses_alike(lambda z: loss(z, labels), pytorch, logits, dtype=dtype)


def test_hinge(dtype):
    scores, labels = normal((9,), dtype), labels_for(9, 2)

    def pytorch(z):  # PyTorch's for several classes, of the scores (−z/2, z/2), which it divides by their number
        two = torch.stack([-z / 2, z / 2], -1)
        return 2 * T.multi_margin_loss(two, torch.tensor(labels), reduction="none")

    assert_losses_alike(lambda z: losses.hinge(z, labels), pytorch, scores, dtype=dtype)


def test_kl_divergence(dtype):
    log_p, target = np.log(shares((4, 6), dtype)), shares((4, 6), dtype, 3)
    target[0, 1] = 0

    def pytorch(log_p):
        return T.kl_div(log_p, torch.tensor(target), reduction="none").sum(-1)

    assert_losses_alike(lambda p: losses.kl_divergence(p, target), pytorch, log_p, dtype=dtype)
    positive = np.where(target == 0, dtype(0.1), target)
    pytorch = lambda p, t: T.kl_div(p, t, reduction="none").sum(-1)  # noqa: E731
    assert_losses_alike(losses.kl_divergence, pytorch, log_p, positive, dtype=dtype)


def test_gaussian_kl(dtype):
    def pytorch(mean, log_variance):
        there = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
        return torch.distributions.kl_divergence(there, torch.distributions.Normal(0.0, 1.0)).sum(-1)

    assert_losses_alike(losses.gaussian_kl, pytorch, normal((4, 3), dtype), normal((4, 3), dtype, 1), dtype=dtype)


def test_cosine_distance(dtype):
    ones = torch.ones(4)
    arguments = normal((4, 5), dtype), normal((4, 5), dtype, 1)
    pytorch = lambda a, b: T.cosine_embedding_loss(a, b, ones, reduction="none")  # noqa: E731
    assert_losses_alike(losses.cosine_distance, pytorch, *arguments, dtype=dtype)


@pytest.mark.parametrize("margin", [0.2, 1.0, 4.0])
def test_triplet(margin, dtype):
    arguments = [normal((6, 5), dtype, seed) for seed in range(3)]
    pytorch = partial(T.triplet_margin_loss, margin=margin, eps=0, reduction="none")
    assert_losses_alike(partial(losses.triplet, margin=margin), pytorch, *arguments, dtype=dtype)


def test_info_nce(dtype):
    def pytorch(q, k):
        logits = T.normalize(q) @ T.normalize(k).T / 0.2
        return T.cross_entropy(logits, torch.arange(len(q)), reduction="none")

    arguments = normal((6, 5), dtype), normal((6, 5), dtype, 1)
    assert_losses_alike(partial(losses.info_nce, temperature=0.2), pytorch, *arguments, dtype=dtype)


@pytest.mark.parametrize("smooth", [0.5, 1.0])
def test_dice(smooth, dtype):
    logits, labels = normal((3, 4, 5, 2), dtype), labels_for((3, 4, 5), 2)
    shares_ = np.eye(2, dtype=dtype)[labels]

    def pytorch(z):
        p, t = T.softmax(z, -1), torch.tensor(shares_)
        overlap, whole = (p * t).sum((1, 2)), p.sum((1, 2)) + t.sum((1, 2))
        return (1 - (2 * overlap + smooth) / (whole + smooth)).mean(-1)

    for target in (labels, shares_):
        loss = partial(losses.dice, labels=target, smooth=smooth)
        assert_losses_alike(loss, pytorch, logits, dtype=dtype)

    def binary(z):
        p, t = torch.sigmoid(z), torch.tensor(labels)
        return 1 - (2 * (p * t).sum((1, 2)) + smooth) / (p.sum((1, 2)) + t.sum((1, 2)) + smooth)

    loss = partial(losses.binary_dice, labels=labels, smooth=smooth)
    assert_losses_alike(loss, binary, logits[..., 0], dtype=dtype)


@pytest.mark.parametrize("blank", [0, 3])
def test_ctc(blank, dtype):
    logits = normal((4, 9, 4), dtype)
    labels = np.random.default_rng(1).choice([c for c in range(4) if c != blank], (4, 4))
    labels[0] = labels[0, 0]  # a repeat needs a blank between
    times, lengths = np.array([9, 7, 5, 9]), np.array([4, 3, 1, 0])

    def pytorch(z):
        log_p = T.log_softmax(z, -1).transpose(0, 1)
        given = [torch.tensor(a) for a in (labels, times, lengths)]
        return T.ctc_loss(log_p, *given, blank=blank, reduction="none")

    def loss(z):
        return losses.ctc(Ragged(z, jnp.asarray(times)), Ragged(labels, lengths), blank=blank)

    assert_losses_alike(loss, pytorch, logits, dtype=dtype)


def test_ctc_of_whole_arrays(dtype):
    logits, labels = normal((2, 6, 5), dtype), np.array([[1, 2, 1], [4, 4, 3]])

    def pytorch(z):
        log_p, full = T.log_softmax(z, -1).transpose(0, 1), (torch.tensor([6, 6]), torch.tensor([3, 3]))
        return T.ctc_loss(log_p, torch.tensor(labels), *full, reduction="none")

    assert_losses_alike(lambda z: losses.ctc(z, labels), pytorch, logits, dtype=dtype)


def test_gradient_penalty(dtype):
    """The gradient of a gradient: to the weights of a critic of one hidden layer."""
    real, generated, w, v = (normal(s, dtype, n) for n, s in enumerate([(5, 3), (5, 3), (3, 4), (4,)]))
    key = jax.random.key(0)
    share = np.asarray(jax.random.uniform(key, (5, 1), dtype))

    def pytorch(w, v):
        x = torch.tensor(share * real + (1 - share) * generated, requires_grad=True)
        (slope,) = torch.autograd.grad((torch.tanh(x @ w) @ v).sum(), x, create_graph=True)
        return (slope.norm(dim=1) - 1) ** 2

    def loss(w, v):
        return losses.gradient_penalty(lambda x: jnp.tanh(x @ w) @ v, real, generated, key)

    assert_losses_alike(loss, pytorch, w, v, dtype=dtype)


PENALTIES = {
    "l1": (penalties.l1(0.3), lambda w: 0.3 * w.abs().sum()),
    "l2": (penalties.l2(0.3), lambda w: 0.3 * w.square().sum()),
    "elastic_net": (penalties.elastic_net(0.3, 0.2), lambda w: 0.3 * w.abs().sum() + 0.2 * w.square().sum()),
    "columns": (penalties.group_lasso(0.3), lambda w: 0.3 * 12**0.5 * w.flatten(0, 1).norm(dim=0).sum()),
    "rows": (
        penalties.group_lasso(0.3, groups="inputs"),
        lambda w: 0.3 * 15**0.5 * w.transpose(0, 1).flatten(1).norm(dim=1).sum(),
    ),
}


@pytest.mark.parametrize(("penalty", "pytorch"), PENALTIES.values(), ids=PENALTIES)
def test_penalties(penalty, pytorch, dtype):
    kernel = normal((3, 4, 5), dtype)
    params = lambda w: {"conv": {"kernel": w, "bias": w}}  # noqa: E731
    assert_losses_alike(lambda w: penalty(params(w))[None], lambda w: pytorch(w)[None], kernel, dtype=dtype)
