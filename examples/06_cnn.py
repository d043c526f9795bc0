"""Convolutional networks on real images: what they learn, how sure they are, and what they get wrong.

A convolution asks the same small question at every place of the image, so it needs few weights and does not mind where
a stroke lies; a pool keeps the strongest answers. Three networks: the course's, most of whose weights lie in one dense
layer; a small one with a second block and dropout in its place; and a deeper one with batch norm, on images that are
moved a little anew in each epoch (clothes are mirrored as well).

python examples/06_cnn.py                                    # 1,797 embedded digits, no network
python examples/06_cnn.py --dataset mnist --model small      # found through JAXDL_DATA_DIR, or downloaded
python examples/06_cnn.py --dataset fashion_mnist --model better --out runs/fashion
"""

import functools
import json

import course
import jax
import numpy as np
import optax

import jaxdl as dl

SYSTEMS = {"course": "the course's CNN", "small": "CNN of two blocks", "better": "CNN with batch norm"}
EPOCHS = {"course": 5, "small": 15, "better": 15}
ON_DIGITS = {"course": 30, "small": 80, "better": 80}  # few images, so short epochs
BATCH_SIZES = {"course": 32, "small": 64, "better": 128}


def network(name, dataset):
    """The network of that name; images of 8×8 are padded, so that two or three pools leave something of them."""
    if name == "course":
        return dl.models.course_cnn(10)
    if name == "small":
        return dl.models.cnn(10, padding="SAME" if dataset == "digits" else "VALID")
    return dl.models.cnn(10, filters=(16, 48, 96), depth=2, padding="SAME", batch_norm=True)


def recipe(name, dataset, steps):
    """The loss, the optimizer and the augmentation that go with a network.

    The course has Adam with a constant rate. In the others the rate falls along a cosine, for the last bit of accuracy.
    """
    if name == "course":
        return dl.losses.cross_entropy, optax.adam(1e-3), None
    if name == "small":
        return dl.losses.cross_entropy, optax.adam(optax.cosine_decay_schedule(2e-3, steps)), None
    augment = dl.data.augment
    moved = augment.crop(1 if dataset == "digits" else 2)
    if dataset == "fashion_mnist":  # a mirrored shoe is a shoe, a mirrored digit is no digit
        moved = augment.chain(moved, augment.flip())
    rate = optax.warmup_cosine_decay_schedule(4e-4, 4e-3, steps // 5, steps)
    loss = functools.partial(dl.losses.cross_entropy, label_smoothing=0.1)
    return loss, optax.adamw(rate, weight_decay=0.01), moved


def arguments():
    parser = course.parser(__doc__, "06_cnn", ["digits", "mnist", "fashion_mnist"])
    parser.add_argument("--model", choices=SYSTEMS, default="course", help="default: course")
    parser.add_argument("--epochs", type=int, help=f"default: {EPOCHS}, on digits {ON_DIGITS}")
    parser.add_argument("--batch-size", type=int, help=f"default: {BATCH_SIZES}")
    parser.add_argument("--validation", type=float, default=0.08, help="share of the training images held out; 0: none")
    args = course.parse(parser)
    if args.epochs is None:
        args.epochs = (ON_DIGITS if args.dataset == "digits" else EPOCHS)[args.model]
    if args.batch_size is None:
        args.batch_size = BATCH_SIZES[args.model]
    return args


def main():
    args = arguments()
    train, test = course.images(args.dataset, args.seed)
    classes = dl.data.FASHION_CLASSES if args.dataset == "fashion_mnist" else None
    train, held_out = course.split(train, args.validation, args.seed)

    model = network(args.model, args.dataset)
    steps = args.epochs * -(-len(train["y"]) // args.batch_size)
    loss, optimizer, augmentation = recipe(args.model, args.dataset, steps)
    print(f"{args.dataset}: {len(train['y']):,} training and {len(test['y']):,} test images on {jax.devices()[0]}")
    print(dl.inspect.summary(model, train["x"][:1]))
    trained, history = dl.fit(
        model,
        train,
        loss=loss,
        optimizer=optimizer,
        epochs=args.epochs,
        batch_size=args.batch_size,
        transform=augmentation,
        validation=held_out,
        metrics={"accuracy": dl.metrics.accuracy},
        seed=args.seed,
        callbacks=[dl.inspect.live_plot(args.out / "learning_curves.png")],
    )
    size, seconds = course.count(trained.params), course.seconds(history)
    logits = dl.predict(model, trained, test["x"])
    predicted = np.argmax(logits, axis=-1)
    dl.interop.save_params(args.out / "params.safetensors", trained.params, metadata={"dataset": args.dataset})
    (args.out / "history.json").write_text(json.dumps(history, indent=1) + "\n", encoding="utf-8")
    dl.inspect.plot_confusion(test["y"], predicted, classes, args.out / "confusion.png")
    dl.inspect.plot_mistakes(test["x"], test["y"], logits, classes, path=args.out / "mistakes.png")
    accuracy = 100 * np.mean(predicted == test["y"])
    row = (SYSTEMS[args.model], args.dataset, size, "test accuracy", accuracy, "%", seconds)
    course.report(args.out, [course.Result(*row)])


if __name__ == "__main__":
    main()
