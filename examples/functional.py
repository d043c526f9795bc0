"""The course's CNN with jax.grad and jaxdl.functional alone: no layers, no fit, nothing hidden.

python examples/functional.py
"""

import jax
import jax.numpy as jnp
import optax

import jaxdl as dl
from jaxdl import functional as F

optimizer = optax.adam(1e-3)


def init(key):
    glorot = jax.nn.initializers.glorot_uniform()
    shapes = {"conv": (3, 3, 1, 32), "hidden": (288, 128), "logits": (128, 10)}
    keys = dict(zip(shapes, jax.random.split(key, len(shapes)), strict=True))
    return {name: {"kernel": glorot(keys[name], s), "bias": jnp.zeros(s[-1])} for name, s in shapes.items()}


def forward(params, x):  # (batch, 8, 8, 1)
    x = jax.nn.relu(F.conv(x, **params["conv"], padding="VALID"))  # (batch, 6, 6, 32)
    x = F.flatten(F.max_pool(x, 2))  # (batch, 288)
    x = jax.nn.relu(F.dense(x, **params["hidden"]))  # (batch, 128)
    return F.dense(x, **params["logits"])  # (batch, 10)


def loss(params, x, y):
    return dl.losses.cross_entropy(forward(params, x), y).mean()


@jax.jit
def epoch(params, opt_state, x, y):
    def step(carry, batch):
        params, opt_state = carry
        value, gradients = jax.value_and_grad(loss)(params, *batch)
        updates, opt_state = optimizer.update(gradients, opt_state)
        return (optax.apply_updates(params, updates), opt_state), value

    carry, values = jax.lax.scan(step, (params, opt_state), (x, y))
    return *carry, values.mean()


train, test = dl.data.digits()
params = init(jax.random.key(0))
opt_state = optimizer.init(params)
for number in range(1, 31):
    order = dl.data.epoch_order(len(train["y"]), seed=0, epoch=number)[: len(train["y"]) // 32 * 32].reshape(-1, 32)
    params, opt_state, value = epoch(params, opt_state, train["x"][order], train["y"][order])
    if number % 5 == 0:
        accuracy = dl.metrics.accuracy(forward(params, test["x"]), test["y"]).mean()
        print(f"epoch {number:2d}  loss {value:.4f}  test accuracy {accuracy:.4f}")
