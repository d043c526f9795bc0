"""A multilayer perceptron reads handwritten digits: two hidden layers over the pixels, which it sees as mere numbers.

aˡ = f(aˡ⁻¹ Wˡ + bˡ): each neuron of the first layer weighs all pixels, and what it has learnt to look for can be drawn.
Dropout and a rate that falls to zero keep it from learning the training digits by heart.

python examples/05_mlp.py                        # 1,797 embedded digits of 8 × 8 pixels, no network
python examples/05_mlp.py --dataset mnist        # found through JAXDL_DATA_DIR, or downloaded
"""

import course
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L


def draw_weights(path, kernel, shape):
    """What the 48 neurons with the largest weights look for: blue pixels speak for it, red ones against it."""
    largest = np.argsort(-np.square(kernel).sum(0))[:48]
    rows = -(-len(largest) // 8)
    figure = course.figure(9, 0.6 + 1.1 * rows)
    for place, axes in enumerate(figure.subplots(rows, 8).flat):
        axes.set_axis_off()
        if place < len(largest):
            reach = np.abs(weights := kernel.T[largest[place]]).max()
            axes.imshow(weights.reshape(shape), cmap="RdBu", vmin=-reach, vmax=reach)
    figure.suptitle("Weights from the pixels to neurons of the first layer (blue: for, red: against)")
    figure.savefig(path, dpi=90)


def main():
    parser = course.parser(__doc__, "05_mlp", ["digits", "mnist"])
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 512], help="neurons of each hidden layer")
    parser.add_argument("--dropout", type=float, default=0.2, help="the share that is dropped")
    parser.add_argument("--epochs", type=int, help="default: 30 for the small digits, else 10")
    parser.add_argument("--batch-size", type=int, default=64)
    args = course.parse(parser)
    epochs = args.epochs if args.epochs is not None else 30 if args.dataset == "digits" else 10
    train, test = course.images(args.dataset, args.seed)
    train, validation = dl.data.split(train, 0.1, seed=args.seed)
    model = dl.sequential(L.flatten(), ("mlp", dl.models.mlp(*args.hidden, 10, dropout=args.dropout)))
    print(dl.inspect.summary(model, train["x"][:1]))

    steps = epochs * -(-len(train["y"]) // args.batch_size)
    measured = {"loss": dl.losses.cross_entropy, "metrics": {"accuracy": dl.metrics.accuracy}}
    trained, history = dl.fit(
        model,
        train,
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-3, steps)),
        epochs=epochs,
        batch_size=args.batch_size,
        validation=validation,
        seed=args.seed,
        **measured,
    )
    size, seconds = course.count(trained.params), course.seconds(history)
    logits = dl.predict(model, trained, test["x"])
    draw_weights(args.out / "weights.png", trained.params["mlp"]["dense"]["kernel"], train["x"].shape[1:3])
    dl.inspect.plot_history(history, args.out / "learning_curves.png")
    dl.inspect.plot_confusion(test["y"], np.argmax(logits, -1), path=args.out / "confusion.png")
    dl.inspect.plot_mistakes(test["x"], test["y"], logits, path=args.out / "mistakes.png")

    right = 100 * np.mean(np.argmax(logits, -1) == test["y"])
    course.report(args.out, [course.Result("MLP", args.dataset, size, "test accuracy", right, "%", seconds)])


if __name__ == "__main__":
    main()
