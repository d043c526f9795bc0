"""Gradient descent on a linear model, whose least loss is known: the normal equations give it.

θ ← θ − α ∇L(θ), with the gradient of all rows, of one row, or of a few. One row a step is cheap and noisy: it is near
the goal after one pass and rests there only if α falls. Too large an α diverges, too small a one crawls along the
valley of two features that say nearly the same. Momentum is faster there; RMSprop and Adam give each weight its own α.

python examples/03_gradient_descent.py                                  # scikit-learn's diabetes, no network
python examples/03_gradient_descent.py --dataset california_housing     # found through JAXDL_DATA_DIR
"""

import time

import course
import jax
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

MODEL = L.dense(1, kernel_init=jax.nn.initializers.zeros)
LOSS = dl.losses.mean_squared_error


def squared_error(data, params):
    """The mean squared error in float64, so that small differences count."""
    return np.mean((data["x"] @ np.float64(params["kernel"]) + np.float64(params["bias"]) - data["y"]) ** 2)


def normal_equations(data):
    """The weights and the bias that solve Xᵀ X θ = Xᵀ y, where the gradient is 0."""
    theta = np.linalg.lstsq(np.pad(data["x"], ((0, 0), (0, 1)), constant_values=1), data["y"].astype(float))[0]
    return {"kernel": theta[:-1], "bias": theta[-1]}


def limit(data):
    """The largest α at which gradient descent stays: one over the greatest eigenvalue of the features' covariance."""
    return 1 / np.linalg.eigvalsh(np.cov(data["x"].T, bias=True)).max()


def descend(data, optimizer, steps):
    """The loss and the weights before each of so many steps of all rows, as one program."""
    step = dl.make_step(dl.supervised(MODEL, LOSS), optimizer)

    def advance(state, _):
        after, metrics = step(state, data)
        return after, (metrics["loss"].mean(), state.params)

    return jax.lax.scan(advance, dl.train.create_state(MODEL, optimizer, data["x"]), length=steps)[1]


def optimizers(data, steps):
    """The four of the course, each at a rate that suits it."""
    rate = limit(data) / 2
    yield f"gradient descent, α = {rate:.2g}", optax.sgd(rate)
    yield f"momentum 0.9, α = {rate:.2g}", optax.sgd(rate, momentum=0.9)
    yield "RMSprop, α from 0.01 to 0", optax.rmsprop(optax.cosine_decay_schedule(0.01, steps))
    yield "Adam, α from 0.03 to 0", optax.adam(optax.cosine_decay_schedule(0.03, steps))


def draw_valley(axes, data, features, steps):
    """The ways of the optimizers over the loss of two weights: those of the two features that are most alike."""
    alike = np.abs(np.corrcoef(data["x"].T) - np.eye(len(features)))
    pair = list(np.unravel_index(alike.argmax(), alike.shape))
    data = data | {"x": data["x"][:, pair]}
    best = normal_equations(data)
    for (name, optimizer), width in zip(optimizers(data, steps), (5, 1, 2, 2), strict=True):
        axes.plot(*descend(data, optimizer, steps)[1]["kernel"][..., 0].T, linewidth=width, label=name.split(",")[0])
    axes.plot(*best["kernel"], "k*", markersize=11, label="normal equations")
    across, up = np.meshgrid(*[np.linspace(*ends, 100) for ends in (axes.get_xlim(), axes.get_ylim())])
    loss = np.mean((data["x"] @ [across.ravel(), up.ravel()] + best["bias"] - data["y"]) ** 2, axis=0)
    levels = squared_error(data, best) + np.geomspace(1e-4, 10, 16)
    axes.contour(across, up, loss.reshape(across.shape), levels, colors="grey", linewidths=0.5)
    axes.set(title="Optimizer, on the loss of two weights", xlabel=features[pair[0]], ylabel=features[pair[1]])
    axes.legend(fontsize=8)


def main():
    parser = course.parser(__doc__, "03_gradient_descent", ["diabetes", "california_housing"])
    parser.add_argument("--epochs", type=int, default=100, help="with small batches")
    parser.add_argument("--steps", type=int, default=2000, help="with all rows")
    args = course.parse(parser)
    table = getattr(dl.data, args.dataset)()
    (x,), (y,) = dl.data.standardize(table.data["x"]), dl.data.standardize(table.data["y"][:, None])
    data = {"x": x, "y": y}
    least = squared_error(data, normal_equations(data))
    print(dl.inspect.summary(MODEL, x[:1]), f"\nthe normal equations leave {least:.6f} of the variance", sep="")
    figure, found = course.figure(11, 8), {}
    (sizes, rates), (ways, valley) = figure.subplots(2, 2)
    for name, size, colour in (("stochastic", 1, "C1"), ("mini-batch", 32, "C2")):
        rate = 0.5 / (1 / limit(data) + (x**2).sum(1).max() / size)  # at most half of where the mean distance grows
        falling = optax.cosine_decay_schedule(rate, args.epochs * -(-len(x) // size))
        for style, label, schedule in ((":", f"α = {rate:.2g}", rate), ("-", f"α from {rate:.2g} to 0", falling)):
            options = {"optimizer": optax.sgd(schedule), "batch_size": size, "seed": args.seed}
            trained, history = dl.fit(MODEL, data, loss=LOSS, epochs=args.epochs, validation=data, **options)
            seconds, above = course.seconds(history), np.array(history["validation_loss"]) - least
            sizes.plot(history["epoch"], above, style, color=colour, label=f"{name} ({size}), {label}")
        found[f"{name}, falling α"] = squared_error(data, trained.params) - least, seconds
    for name, optimizer in optimizers(data, args.steps):
        begin = time.perf_counter()
        losses, params = jax.device_get(descend(data, optimizer, args.steps))
        above = squared_error(data, {part: values[-1] for part, values in params.items()}) - least
        found[name.split(",")[0]] = above, time.perf_counter() - begin
        ways.plot(losses - least, label=name)
    sizes.plot(ways.lines[0].get_ydata(), "C0", label=f"batch ({len(x)}), α = {limit(data) / 2:.2g}")
    shares = np.array([0.02, 0.1, 0.5, 0.98, 1.02])
    curves = jax.vmap(lambda share: descend(data, optax.sgd(share * limit(data)), args.steps)[0])(shares)
    rates.plot(curves.T - least, label=[f"α = {share * limit(data):.3g}, {share:g} of the limit" for share in shares])
    for axes, title in ((sizes, "Rows a step"), (rates, "Learning rate α, all rows"), (ways, "Optimizer, all rows")):
        axes.set(title=title, xlabel="epoch (pass over all rows)", ylabel="loss above the least")
        axes.set(xscale="log", yscale="log", ylim=(1e-7, 10))
        axes.legend(fontsize=8)
    draw_valley(valley, data, table.features, args.steps)
    figure.savefig(args.out / "gradient_descent.png", dpi=100)
    row = (args.dataset, x.shape[1] + 1, "loss above the least")
    course.report(args.out, [course.Result(name, *row, above, "", seconds) for name, (above, seconds) in found.items()])


if __name__ == "__main__":
    main()
