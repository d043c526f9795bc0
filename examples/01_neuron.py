"""A neuron, y = f(x · w + b): its activations, and the line that it learns between two kinds of iris.

The weights w and the bias b are a line in the plane of two measures; f says how sure the neuron is on either side. It
learns setosa from versicolor without a mistake. Versicolor and virginica overlap: there no line does.

python examples/01_neuron.py
python examples/01_neuron.py --classes versicolor virginica --out runs/overlap
"""

import course
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "ReLU": jax.nn.relu, "tanh": jnp.tanh}
COLOURS = ("#1f77b4", "#d95f02")
MODEL = dl.sequential(("neuron", L.dense(1)))  # its sigmoid is in the loss, which takes the sum before it


def draw_activations(path):
    """Each activation with its derivative, and the course's five points."""
    x = jnp.linspace(-4, 4, 401)
    points = jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    figure = course.figure(10, 3.2)
    for axes, (name, f) in zip(figure.subplots(1, 3), ACTIVATIONS.items(), strict=True):
        values = ", ".join(f"f({point:g}) = {value:.4f}" for point, value in zip(points, f(points), strict=True))
        print(f"{name:8}", values)
        axes.plot(x, f(x), color=COLOURS[0], label="f(x)")
        axes.plot(x, jax.vmap(jax.grad(f))(x), color="grey", linestyle="--", linewidth=1, label="f′(x), its derivative")
        axes.plot(points, f(points), "o", color=COLOURS[0], markersize=4)
        axes.set(title=name, xlabel="x", ylim=(-1.2, 2.2))
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.legend(frameon=False, loc="upper left", fontsize=9)
    figure.savefig(path, dpi=120)


def draw_decision(path, data, names, lines, params):
    """The two kinds, how sure the neuron is all over the plane, and where its line was on the way."""
    x, y = data["x"], data["y"][:, 0]
    (left, bottom), (right, top) = x.min(0) - 0.4, x.max(0) + 0.4
    across, up = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
    plane = np.stack([across, up], -1).astype(np.float32)
    logits, _ = MODEL.apply(params, {}, plane, train=False)
    figure = course.figure(7, 4.6)
    axes = figure.subplots()
    shade = axes.contourf(across, up, jax.nn.sigmoid(logits[..., 0]), np.linspace(0, 1, 11), cmap="RdBu_r", alpha=0.45)
    figure.colorbar(shade, label=f"y, how sure it is of {names[1]}")
    ends = np.array([left, right])
    for style, (epoch, earlier) in zip((":", "-.", "--", "-"), lines.items(), strict=False):
        w, b = earlier["neuron"]["kernel"][:, 0], earlier["neuron"]["bias"][0]
        axes.plot(ends, -(w[0] * ends + b) / w[1], style, color="black", label=f"x · w + b = 0 after epoch {epoch}")
    for kind, (name, marker) in enumerate(zip(names, "os", strict=True)):
        inside = x[y == kind]
        axes.plot(*inside.T, marker, color=COLOURS[kind], markeredgecolor="white", markersize=6, label=name)
    axes.set(title=f"A neuron tells {names[1]} from {names[0]}", xlabel="petal length (cm)", ylabel="petal width (cm)")
    axes.set(xlim=(left, right), ylim=(bottom, top))
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=120)


def main():
    parser = course.parser(__doc__, "01_neuron")
    kinds = dl.data.iris().classes
    parser.add_argument(
        "--classes", nargs=2, choices=kinds, default=list(kinds[:2]), metavar="KIND", help=f"of {kinds}"
    )
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    args = course.parse(parser)
    draw_activations(args.out / "activations.png")

    iris = dl.data.iris()
    petals = [iris.features.index("petal length"), iris.features.index("petal width")]
    if len(set(args.classes)) < 2:
        parser.error(f"--classes must be two kinds, got {' and '.join(args.classes)}")
    first, second = (iris.classes.index(name) for name in args.classes)
    rows = np.isin(iris.data["y"], [first, second])
    data = {"x": iris.data["x"][rows][:, petals], "y": (iris.data["y"][rows] == second).astype(np.float32)[:, None]}
    print(dl.inspect.summary(MODEL, data["x"][:1]))

    lines = {}

    def keep_lines(event):
        if event.kind == "epoch" and event.epoch in (1, 5, 20, args.epochs):
            lines[event.epoch] = jax.tree.map(np.array, event.state.params)

    trained, history = dl.fit(
        MODEL,
        data,
        loss=dl.losses.binary_cross_entropy,
        optimizer=optax.sgd(args.learning_rate),
        epochs=args.epochs,
        batch_size=10,
        seed=args.seed,
        callbacks=[keep_lines],
    )
    size, seconds = course.count(trained.params), course.seconds(history)
    w1, w2 = trained.params["neuron"]["kernel"][:, 0]
    print(f"y = sigmoid({w1:.2f} · length + {w2:.2f} · width {trained.params['neuron']['bias'][0]:+.2f})")
    draw_decision(args.out / "decision.png", data, args.classes, lines, trained.params)
    measured = {"accuracy": dl.metrics.binary_accuracy}
    found = dl.evaluate(MODEL, trained, data, loss=dl.losses.binary_cross_entropy, metrics=measured)
    row = ("neuron", f"iris {'/'.join(args.classes)}", size, "train accuracy", 100 * found["accuracy"], "%", seconds)
    course.report(args.out, [course.Result(*row)])


if __name__ == "__main__":
    main()
