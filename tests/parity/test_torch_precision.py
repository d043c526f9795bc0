"""The loss scale against PyTorch's GradScaler, class weights against its cross entropy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch

import jaxdl as dl
from jaxdl import layers as L
from jaxdl.train import create_state, loss_scaled


def test_the_scale_and_the_weights_go_as_with_grad_scaler():
    factors = [1.0, 2.0, np.inf, 0.5, -1.0, np.inf, np.inf, 3.0, 1.0, 2.0, 0.1, np.inf]
    weight = torch.nn.Parameter(torch.tensor([0.5, -1.0]))
    adam = torch.optim.Adam([weight], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    optimizer = loss_scaled(optax.adam(0.1), initial=2.0**10, interval=2)
    params = {"w": jnp.array([0.5, -1.0])}

    def loss_fn(params, state, batch, *, key, train):
        return dl.Sum((params["w"] * batch["factor"]).sum(), jnp.ones(())), (state, {})

    step = jax.jit(dl.make_step(loss_fn, optimizer))
    state = dl.TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer.init(params), jax.random.key(0))
    for factor in factors:
        adam.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(adam)
        scaler.update()
        state, _ = step(state, {"factor": jnp.float32(factor)})
        assert float(state.opt_state.scale) == scaler.get_scale()
        np.testing.assert_allclose(state.params["w"], weight.detach().numpy(), rtol=0, atol=2e-5)


def test_class_weights_normalise_as_in_cross_entropy():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(6, 3)).astype(np.float32), draw.integers(0, 4, 6).astype(np.int32)
    weights = [0.5, 2.0, 1.0, 0.0]
    model = L.dense(4)
    state = create_state(model, optax.sgd(0.1), x)
    loss_fn = dl.supervised(model, dl.losses.cross_entropy, class_weight=weights)

    def objective(params):
        return loss_fn(params, {}, {"x": x, "y": y}, key=None, train=True)[0].mean()

    loss, gradient = jax.jit(jax.value_and_grad(objective))(state.params)
    kernel, bias = (torch.tensor(np.asarray(state.params[name]), requires_grad=True) for name in ("kernel", "bias"))
    expected = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights))(
        torch.tensor(x) @ kernel + bias, torch.tensor(y).long()
    )
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-6)
    np.testing.assert_allclose(gradient["kernel"], kernel.grad.numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient["bias"], bias.grad.numpy(), rtol=1e-5, atol=1e-7)
