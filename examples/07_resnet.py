"""ResNet-20, a network of twenty layers that learns because each block adds to what came before: y = x + f(x).

Without the sums much deeper networks learn worse. Against overfitting: batch norm, weight decay, images
that are shifted, mirrored and covered in part anew in each epoch, labels that are not quite sure. The learning rate
rises, then falls along a cosine. At the end each photograph and its mirror image are asked, and the answers averaged.

python examples/07_resnet.py                             # 1,797 embedded digits of 8×8, no network
python examples/07_resnet.py --dataset cifar10_subset    # found through JAXDL_DATA_DIR
python examples/07_resnet.py --dataset cifar10_subset --validation 0 --depth 32 --out runs/deeper
"""

import functools

import course
import jax
import numpy as np
import optax

import jaxdl as dl

MIRRORS = {"digits": False, "cifar10_subset": True}  # a mirrored digit is no digit, a mirrored ship is a ship


def augmentation(dataset, mixup):
    """What changes the images of a batch inside of the program, by the step's key."""
    augment = dl.data.augment
    mixed = [augment.mixup(10, mixup)] if mixup else []
    if not MIRRORS[dataset]:
        return augment.chain(augment.crop(1), *mixed)
    return augment.chain(augment.crop(4), augment.flip(), augment.cutout(8), *mixed)


def one_cycle(args, steps):
    """Stochastic gradient descent with momentum; the rate rises for a fifth of the steps, then falls to nothing."""
    rate = optax.warmup_cosine_decay_schedule(0.0, args.learning_rate, steps // 5, steps)
    kernels = functools.partial(jax.tree.map, lambda leaf: leaf.ndim > 1)  # norms and biases do not decay
    decay = optax.add_decayed_weights(args.weight_decay, mask=kernels)
    return optax.chain(decay, optax.sgd(rate, momentum=0.9, nesterov=True))


def draw_filters(path, params, image, shown):
    """What the first convolution has learnt: each of its filters, and what it answers to one image."""
    kernel = np.asarray(params["stem"]["conv"]["kernel"])
    answers = jax.nn.relu(dl.functional.conv(image[None], kernel, padding="SAME"))[0]
    columns = 1 + kernel.shape[-1] // 2
    figure = course.figure(1.1 * columns, 4.9)
    grid = figure.subplots(4, columns)
    grid[0, 0].imshow(shown.squeeze(), cmap="gray_r", vmin=0, vmax=1)
    grid[0, 0].set_title("input", fontsize=9)
    for axes in grid.ravel():
        axes.axis("off")
    for index in range(kernel.shape[-1]):
        row, column = divmod(index, columns - 1)
        one = kernel[..., index]
        size = np.abs(one).max()
        grid[2 * row, column + 1].imshow((one.squeeze() / size + 1) / 2, cmap="gray", vmin=0, vmax=1)
        grid[2 * row, column + 1].set_title(f"filter {index + 1}", fontsize=9)
        grid[2 * row + 1, column + 1].imshow(answers[..., index], cmap="magma")
    figure.savefig(path, dpi=120)


def main():
    parser = course.parser(__doc__, "07_resnet", list(MIRRORS))
    parser.add_argument("--depth", type=int, default=20, help="6n + 2: 20, 32, 44 or 56")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1, help="the highest")
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--mixup", type=float, default=0.0, help="alpha of mixed images and labels; 0: none")
    parser.add_argument("--validation", type=float, default=0.1, help="share of the training images held out; 0: none")
    args = course.parse(parser)
    train, test = course.images(args.dataset, args.seed)
    classes = None if args.dataset == "digits" else dl.data.CIFAR10_CLASSES
    train, held_out = course.split(train, args.validation, args.seed)
    images, parts = test["x"], [part for part in (train, held_out, test) if part]
    for part, x in zip(parts, dl.data.standardize(*(part["x"] for part in parts)), strict=True):
        part["x"] = x

    model = dl.models.resnet_cifar(args.depth)
    print(f"{args.dataset}: {len(train['y']):,} training and {len(test['y']):,} test images on {jax.devices()[0]}")
    print(dl.inspect.summary(model, train["x"][:1]))
    trained, history = dl.fit(
        model,
        train,
        loss=functools.partial(dl.losses.cross_entropy, label_smoothing=0.1),
        optimizer=one_cycle(args, args.epochs * (len(train["y"]) // args.batch_size)),
        epochs=args.epochs,
        batch_size=args.batch_size,
        remainder="drop",
        transform=augmentation(args.dataset, args.mixup),
        validation=held_out,
        metrics={"accuracy": dl.metrics.accuracy},
        seed=args.seed,
        callbacks=[dl.inspect.live_plot(args.out / "learning_curves.png")],
    )

    seconds = course.seconds(history)
    logits = dl.predict(model, trained, test["x"])
    alone = 100 * np.mean(logits.argmax(-1) == test["y"])
    if MIRRORS[args.dataset]:
        logits = (logits + dl.predict(model, trained, np.flip(test["x"], 2))) / 2
        print(f"test accuracy {alone:.2f} % without mirror images")
    predicted = logits.argmax(-1)
    dl.inspect.plot_confusion(test["y"], predicted, classes, args.out / "confusion.png")
    dl.inspect.plot_mistakes(images, test["y"], logits, classes, path=args.out / "mistakes.png")
    draw_filters(args.out / "filters.png", trained.params, test["x"][1], images[1])
    accuracy = 100 * np.mean(predicted == test["y"])
    system = f"ResNet-{args.depth}"
    course.report(
        args.out,
        [course.Result(system, args.dataset, course.count(trained.params), "test accuracy", accuracy, "%", seconds)],
    )


if __name__ == "__main__":
    main()
