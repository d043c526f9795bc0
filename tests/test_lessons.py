"""The course's first lessons, each against numbers worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L

KEY = jax.random.key(0)


def applied(model, params, x):
    return model.apply(params, {}, jnp.asarray(x), train=False)[0]


# Lesson 1: neuron and network

NEURON = {"kernel": jnp.array([[0.5], [-1.0], [2.0]]), "bias": jnp.array([0.25])}
POINTS = jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0])


def test_a_neuron_weighs_its_inputs_and_adds_its_bias():
    y = applied(L.dense(1), NEURON, [[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(y, [[0.5 - 2.0 + 6.0 + 0.25]])


def test_a_neuron_passes_the_sum_through_its_activation():
    neuron = dl.sequential(L.dense(1), jax.nn.sigmoid)
    y = applied(neuron, {"dense": NEURON}, [[1.0, 2.0, 1.5], [1.0, 0.75, 0.0]])
    # The sums are 0.5 − 2 + 3 + 0.25 = 1.75 and 0.5 − 0.75 + 0 + 0.25 = 0.
    np.testing.assert_allclose(y, [[0.8519528], [0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "values"),
    [
        (jax.nn.sigmoid, [0.11920292, 0.26894142, 0.5, 0.73105858, 0.88079708]),
        (jax.nn.relu, [0, 0, 0, 1, 2]),
        (jnp.tanh, [-0.96402758, -0.76159416, 0, 0.76159416, 0.96402758]),
    ],
    ids=["sigmoid", "relu", "tanh"],
)
def test_activations(activation, values):
    np.testing.assert_allclose(activation(POINTS), values, rtol=1e-6)
    np.testing.assert_allclose(applied(dl.sequential(activation), {}, POINTS), values, rtol=1e-6)


TWO_LAYERS = {
    "dense": {"kernel": jnp.array([[1.0, -1.0], [2.0, 0.5]]), "bias": jnp.array([0.0, 1.0])},
    "dense_1": {"kernel": jnp.array([[3.0], [-2.0]]), "bias": jnp.array([0.5])},
}


def test_forward_propagation():
    model = dl.sequential(L.dense(2), jax.nn.relu, L.dense(1))
    # Hidden: relu(1 + 4, −1 + 1 + 1) = (5, 1) and relu(−1 + 0, 1 + 0 + 1) = (0, 2).
    y = applied(model, TWO_LAYERS, [[1.0, 2.0], [-1.0, 0.0]])
    np.testing.assert_allclose(y, [[3 * 5 - 2 * 1 + 0.5], [3 * 0 - 2 * 2 + 0.5]])


def test_without_activations_layers_collapse_into_one_linear_map():
    first, second = TWO_LAYERS.values()
    x = jnp.array([[1.0, 2.0], [-1.0, 0.0], [0.3, -7.0]])
    deep = applied(dl.sequential(L.dense(2), L.dense(1)), TWO_LAYERS, x)
    flat = F.dense(x, first["kernel"] @ second["kernel"], first["bias"] @ second["kernel"] + second["bias"])
    np.testing.assert_allclose(deep, flat, rtol=1e-6)


# Lesson 2: learning


def mean(values):
    return float(dl.Sum.of(values).mean())


def test_mean_squared_error():
    # (0.5² + 1² + 0²) / 3
    assert mean(dl.losses.mean_squared_error(jnp.array([1.5, 2.0, 3.0]), jnp.array([1.0, 3.0, 3.0]))) == pytest.approx(
        1.25 / 3
    )


def test_binary_cross_entropy():
    # Probabilities 0.8 of a one and 0.1 of a one: −(ln 0.8 + ln 0.9) / 2.
    logits = jnp.log(jnp.array([0.8 / 0.2, 0.1 / 0.9]))
    found = mean(dl.losses.binary_cross_entropy(logits, jnp.array([1.0, 0.0])))
    assert found == pytest.approx(0.16425203, rel=1e-6)


def test_categorical_cross_entropy():
    # The true classes have probabilities 0.7 and 0.3: −(ln 0.7 + ln 0.3) / 2.
    logits = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.5, 0.2, 0.3]]))
    one_hot = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert mean(dl.losses.cross_entropy(logits, one_hot)) == pytest.approx(0.78032389, rel=1e-6)
    assert mean(dl.losses.cross_entropy(logits, jnp.array([0, 2]))) == pytest.approx(0.78032389, rel=1e-6)


def one_step(model, params, batch, loss, rate):
    step = dl.make_step(dl.supervised(model, loss), optax.sgd(rate))
    optimizer_state = optax.sgd(rate).init(params)
    start = dl.TrainState(jnp.zeros((), jnp.int32), params, {}, optimizer_state, KEY)
    return step(start, batch)


def test_one_step_of_gradient_descent():
    # ŷ = 2w + b = 3 for y = 1: L = 4, ∂L/∂ŷ = 4, ∂L/∂w = 8, ∂L/∂b = 4.
    params = {"kernel": jnp.array([[1.0]]), "bias": jnp.array([1.0])}
    batch = {"x": jnp.array([[2.0]]), "y": jnp.array([[1.0]])}
    after, metrics = one_step(L.dense(1), params, batch, dl.losses.mean_squared_error, 0.1)
    assert float(metrics["loss"].mean()) == 4
    assert float(after.params["kernel"][0, 0]) == pytest.approx(1 - 0.1 * 8)
    assert float(after.params["bias"][0]) == pytest.approx(1 - 0.1 * 4)
    assert int(after.step) == 1


def test_a_batch_steps_along_the_mean_of_its_gradients():
    # L = ((w − 1)² + (2w − 0)²) / 2 at w = 1: ∂L/∂w = (2·0·1 + 2·2·2) / 2 = 4.
    model = L.dense(1, use_bias=False)
    batch = {"x": jnp.array([[1.0], [2.0]]), "y": jnp.array([[1.0], [0.0]])}
    after, _ = one_step(model, {"kernel": jnp.array([[1.0]])}, batch, dl.losses.mean_squared_error, 0.25)
    assert float(after.params["kernel"][0, 0]) == pytest.approx(1 - 0.25 * 4)


@pytest.mark.parametrize(
    ("rate", "factor"),
    [(0.05, 0.9), (0.5, 0.0), (0.95, -0.9), (1.1, -1.2)],
    ids=["slow", "just right", "overshoots", "diverges"],
)
def test_what_the_learning_rate_does(rate, factor):
    # L = w², so that each step multiplies w by 1 − 2α.
    model = L.dense(1, use_bias=False)
    data = {"x": np.ones((1, 1), np.float32), "y": np.zeros((1, 1), np.float32)}
    optimizer = optax.sgd(rate)
    start = dl.train.create_state(model, optimizer, data["x"])
    start = start.replace(params={"kernel": jnp.array([[3.0]])})
    options = {"epochs": 10, "batch_size": 1, "train_state": start, "progress": False}
    trained, _ = dl.fit(model, data, loss=dl.losses.mean_squared_error, optimizer=optimizer, **options)
    assert float(trained.params["kernel"][0, 0]) == pytest.approx(3 * factor**10, rel=1e-4, abs=1e-6)


# Backpropagation by hand


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def backpropagation(params, x, y):
    """Forward through tanh and sigmoid, then the chain rule from the squared error back, layer by layer."""
    w1, b1 = params["dense"]["kernel"], params["dense"]["bias"]
    w2, b2 = params["dense_1"]["kernel"], params["dense_1"]["bias"]
    hidden = np.tanh(x @ w1 + b1)
    output = sigmoid(hidden @ w2 + b2)
    loss = np.mean((output - y) ** 2)
    to_output = 2 * (output - y) / output.size
    to_sum2 = to_output * output * (1 - output)  # σ' = σ (1 − σ)
    to_hidden = to_sum2 @ w2.T
    to_sum1 = to_hidden * (1 - hidden**2)  # tanh' = 1 − tanh²
    return loss, {
        "dense": {"kernel": x.T @ to_sum1, "bias": to_sum1.sum(0)},
        "dense_1": {"kernel": hidden.T @ to_sum2, "bias": to_sum2.sum(0)},
    }


@pytest.fixture
def network():
    """A two-layer network in float64 with its parameters, inputs and targets."""
    with jax.enable_x64(True):
        model = dl.sequential(
            L.dense(4, param_dtype=jnp.float64), jnp.tanh, L.dense(2, param_dtype=jnp.float64), jax.nn.sigmoid
        )
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
        start = dl.train.create_state(model, optax.sgd(0.5), x)
        yield model, jax.tree.map(np.asarray, start.params), x, y


def test_backpropagation_by_hand_equals_grad_of_layers(network):
    model, params, x, y = network

    def loss(params):
        return dl.Sum.of(dl.losses.mean_squared_error(applied(model, params, x), jnp.asarray(y))).mean()

    value, gradients = jax.jit(jax.value_and_grad(loss))(params)
    expected, by_hand = backpropagation(params, x, y)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12), gradients, by_hand)


def test_backpropagation_by_hand_equals_grad_of_functions(network):
    _, params, x, y = network

    def loss(params):
        hidden = jnp.tanh(F.dense(jnp.asarray(x), **params["dense"]))
        return jnp.mean((jax.nn.sigmoid(F.dense(hidden, **params["dense_1"])) - y) ** 2)

    _, by_hand = backpropagation(params, x, y)
    gradients = jax.jit(jax.grad(loss))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12), gradients, by_hand)


def test_descent_by_hand_equals_training(network):
    model, params, x, y = network
    optimizer = optax.sgd(0.5)
    start = dl.train.create_state(model, optimizer, x).replace(params=jax.tree.map(jnp.asarray, params))
    options = {"epochs": 20, "batch_size": 5, "train_state": start, "progress": False}
    trained, history = dl.fit(model, (x, y), loss=dl.losses.mean_squared_error, optimizer=optimizer, **options)
    for epoch in range(20):
        loss, gradients = backpropagation(params, x, y)
        assert history["loss"][epoch] == pytest.approx(loss, rel=1e-9)
        params = jax.tree.map(lambda p, g: p - 0.5 * g, params, gradients)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), trained.params, params)


# The XOR table

XOR = {
    "x": np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32),
    "y": np.array([[0], [1], [1], [0]], np.float32),
}


def trained_on_xor(model, optimizer, epochs, seed):
    """Every batch is the whole table; an epoch of the run shows it a hundred times over."""
    often = {name: np.tile(column, (100, 1)) for name, column in XOR.items()}
    return dl.fit(
        model,
        often,
        loss=dl.losses.binary_cross_entropy,
        optimizer=optimizer,
        epochs=epochs // 100,
        batch_size=4,
        shuffle=False,
        validation=XOR,
        metrics={"accuracy": dl.metrics.binary_accuracy},
        seed=seed,
        progress=False,
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_a_single_neuron_cannot_learn_xor(seed):
    _, history = trained_on_xor(L.dense(1), optax.sgd(0.5), 10_000, seed)
    assert sum(history["steps"]) == 10_000
    assert history["validation_loss"][-1] == pytest.approx(np.log(2), rel=1e-4)
    assert min(history["validation_loss"]) > np.log(2) - 1e-6
    assert max(history["validation_accuracy"]) <= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "optimizer", [optax.sgd(1.0), optax.rmsprop(0.01), optax.adam(0.05)], ids=["sgd", "rms", "adam"]
)
def test_a_hidden_layer_learns_xor(optimizer, seed):
    model = dl.sequential(L.dense(8), jnp.tanh, L.dense(1))
    trained, history = trained_on_xor(model, optimizer, 2_000, seed)
    assert history["validation_accuracy"][-1] == 1
    assert history["validation_loss"][-1] < 0.05
    logits = dl.predict(model, trained, XOR["x"])
    np.testing.assert_array_equal(logits > 0, XOR["y"] == 1)
