"""Backpropagation written out in NumPy, beside what jax.grad gives; then XOR, which takes a hidden layer.

The chain rule goes from the loss back, layer by layer; both ways agree to the last digits. A single neuron learns XOR
for 10,000 epochs in vain: no line has 01 and 10 on one side, 00 and 11 on the other. A hidden layer bends the plane.

python examples/02_backpropagation.py
python examples/02_backpropagation.py --hidden 2 --seed 3        # two hidden neurons suffice, but may get stuck
"""

import time
from itertools import pairwise

import course
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

XOR = {"x": np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), "y": np.array([[0], [1], [1], [0]], np.float32)}


def forward(params, x):
    """The outputs of all layers, the input first: tanh within, sigmoid at the end."""
    outputs = [x]
    for number, (weights, bias) in enumerate(params, 1):
        z = outputs[-1] @ weights + bias
        outputs.append(1 / (1 + np.exp(-z)) if number == len(params) else np.tanh(z))
    return outputs


def backward(params, outputs, y):
    """The gradient of the mean squared error for each (weights, bias), from the last layer to the first."""
    gradients, a = [], outputs[-1]
    delta = 2 * (a - y) / y.size * a * (1 - a)  # loss′ · sigmoid′, which is a (1 − a)
    for (weights, _), a in zip(reversed(params), reversed(outputs[:-1]), strict=True):
        gradients.append((a.T @ delta, delta.sum(0)))
        delta = delta @ weights.T * (1 - a**2)  # back through the weights, then tanh′, which is 1 − a²
    return gradients[::-1]


def loss(params, x, y):
    """The same network for jax.grad: the way forward is all that one writes."""
    *within, (weights, bias) = params
    for w, b in within:
        x = jnp.tanh(x @ w + b)
    return jnp.mean((jax.nn.sigmoid(x @ weights + bias) - y) ** 2)


def compare(seed, sizes=(3, 5, 4, 2)):
    """The largest difference between the two gradients, in float64."""
    draw = np.random.default_rng(seed)
    params = [(draw.normal(size=(n, m)), draw.normal(size=m)) for n, m in pairwise(sizes)]
    x, y = draw.normal(size=(8, sizes[0])), draw.uniform(size=(8, sizes[-1]))
    by_hand = backward(params, forward(params, x), y)
    with jax.enable_x64(True):
        by_grad = jax.tree.map(np.asarray, jax.grad(loss)(params, x, y))
    worst = 0.0
    for number, layer in enumerate(zip(by_hand, by_grad, strict=True), 1):
        for name, hand, grad in zip(("weights", "bias"), *layer, strict=True):
            print(f"{name} {number}: by hand {hand.flat[0]:13.10f} …, jax.grad {grad.flat[0]:13.10f} …")
            worst = max(worst, np.abs(hand - grad).max())
    print(f"the two differ by {worst:.1e} at most")
    return worst


def learn(model, epochs, rate, seed):
    """So many epochs of all four rows as one program: a scan over a pure step."""
    optimizer = optax.sgd(rate)
    step = dl.make_step(dl.supervised(model, dl.losses.binary_cross_entropy), optimizer)
    start = dl.train.create_state(model, optimizer, XOR["x"], seed=seed)
    trained, metrics = jax.jit(lambda state: jax.lax.scan(lambda s, _: step(s, XOR), state, length=epochs))(start)
    return trained.params, metrics["loss"].mean()


def draw(path, models, learnt):
    figure = course.figure(11, 3.6)
    *planes, curves = figure.subplots(1, 3)
    across, up = np.meshgrid(*[np.linspace(-0.5, 1.5, 150, dtype=np.float32)] * 2)
    for axes, (name, model) in zip(planes, models.items(), strict=True):
        logits, _ = model.apply(learnt[name][0], {}, np.stack([across, up], -1), train=False)
        y = jax.nn.sigmoid(logits[..., 0])
        shade = axes.contourf(across, up, y, np.linspace(0, 1, 21), cmap="RdBu_r", alpha=0.6)
        axes.contour(across, up, y, [0.5], colors="black")
        axes.plot([0, 1], [0, 1], "bs", [0, 1], [1, 0], "ro", markeredgecolor="white", markersize=11)
        axes.set(title=name, xlabel="x₁", ylabel="x₂", xticks=(0, 1), yticks=(0, 1), aspect="equal")
        curves.plot(range(1, 1 + len(learnt[name][1])), learnt[name][1], label=name)
    figure.colorbar(shade, ax=planes, label="y (circles are 1, squares 0)", ticks=(0, 0.5, 1))
    curves.set(title="learning XOR", xlabel="epoch", ylabel="cross entropy", xscale="log", ylim=(0, None))
    curves.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=120)


def main():
    parser = course.parser(__doc__, "02_backpropagation")
    parser.add_argument("--hidden", type=int, default=4, help="neurons of the hidden layer")
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--learning-rate", type=float, default=0.5)
    args = course.parse(parser)
    models = {"a neuron": L.dense(1), "a hidden layer": dl.sequential(L.dense(args.hidden), jnp.tanh, L.dense(1))}
    print(dl.inspect.summary(models["a hidden layer"], XOR["x"]))

    worst, learnt = compare(args.seed), {}
    rows = [course.Result("backpropagation", "random numbers", None, "largest difference to jax.grad", worst, "", 0.0)]
    for name, model in models.items():
        begin = time.perf_counter()
        learnt[name] = jax.block_until_ready(learn(model, args.epochs, args.learning_rate, args.seed))
        seconds = time.perf_counter() - begin
        y = np.asarray(jax.nn.sigmoid(model.apply(learnt[name][0], {}, XOR["x"], train=False)[0]))
        right = int(((y > 0.5) == XOR["y"]).sum())
        print(f"{name} after {args.epochs:,} epochs: {y.ravel().round(3).tolist()} for 0, 1, 1, 0")
        rows.append(course.Result(name, "XOR", course.count(learnt[name][0]), "right", right, "of 4", seconds))
    draw(args.out / "xor.png", models, learnt)
    course.report(args.out, rows)


if __name__ == "__main__":
    main()
