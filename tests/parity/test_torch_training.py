"""A whole training against PyTorch: from equal weights, the losses and the weights stay equal step by step.

The activation is tanh: where a ReLU's input is all but zero, rounding decides whether it passes the gradient.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import jaxdl as dl
from jaxdl import layers as L

BATCH, STEPS = 32, 5


def course_cnn():
    """The course's CNN, small, for the digits of 8×8."""
    return dl.sequential(L.conv(6, 3), jnp.tanh, L.max_pool(2), L.flatten(), L.dense(16), jnp.tanh, L.dense(10))


class ChannelsLastFlatten(torch.nn.Module):
    """Joins height, width and channels in that order, as a channels-last layout has them."""

    def forward(self, x):
        return x.movedim(1, -1).flatten(1)


def torch_cnn():
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3),
        torch.nn.Tanh(),
        torch.nn.MaxPool2d(2),
        ChannelsLastFlatten(),
        torch.nn.Linear(3 * 3 * 6, 16),
        torch.nn.Tanh(),
        torch.nn.Linear(16, 10),
    )


NAMES = {"conv": 0, "dense": 4, "dense_1": 6}


def kernel_to_torch(kernel):
    """``(*window, in, out) -> (out, in, *window)``, which for a dense kernel is its transpose."""
    return np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))


def load(model, params):
    for name, index in NAMES.items():
        state = {"weight": kernel_to_torch(params[name]["kernel"]), "bias": np.array(params[name]["bias"])}
        model[index].load_state_dict(jax.tree.map(torch.tensor, state))


def torch_losses(model, optimizer, x, y):
    loss_of = torch.nn.CrossEntropyLoss()
    found = []
    for start in range(0, STEPS * BATCH, BATCH):
        rows = slice(start, start + BATCH)
        loss = loss_of(model(torch.tensor(x[rows]).movedim(-1, 1)), torch.tensor(y[rows]).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


OPTIMIZERS = {
    "sgd": (optax.sgd(0.3), lambda p: torch.optim.SGD(p, 0.3)),
    "momentum": (optax.sgd(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "adam": (optax.adam(3e-3), lambda p: torch.optim.Adam(p, 3e-3)),
}


@pytest.mark.parametrize(("optimizer", "torch_optimizer"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_the_course_cnn_trains_alike(optimizer, torch_optimizer):
    train, _ = dl.data.digits()
    data = {name: column[: STEPS * BATCH] for name, column in train.items()}
    model, their_model = course_cnn(), torch_cnn()
    start = dl.train.create_state(model, optimizer, data["x"])
    load(their_model, start.params)

    step = jax.jit(dl.make_step(dl.supervised(model, dl.losses.cross_entropy), optimizer))
    trained, steps = start, []
    for first in range(0, STEPS * BATCH, BATCH):
        batch = {name: column[first : first + BATCH] for name, column in data.items()}
        trained, metrics = step(trained, batch)
        steps.append(float(metrics["loss"].mean()))
    expected = torch_losses(their_model, torch_optimizer(their_model.parameters()), data["x"], data["y"])
    np.testing.assert_allclose(steps, expected, rtol=1e-5)
    assert expected[-1] < expected[0]

    # The same through the engine: five steps in the data's own order are one epoch.
    options = {"epochs": 1, "batch_size": BATCH, "shuffle": False, "progress": False, "train_state": start}
    fitted, history = dl.fit(model, data, loss=dl.losses.cross_entropy, optimizer=optimizer, **options)
    assert history["loss"][0] == pytest.approx(np.mean(expected), rel=1e-5)
    for name, index in NAMES.items():
        for ours in (trained, fitted):
            weight = their_model[index].weight.detach().numpy()
            kernel = kernel_to_torch(ours.params[name]["kernel"])
            np.testing.assert_allclose(kernel, weight, rtol=0, atol=1e-4 * np.abs(weight).max())
