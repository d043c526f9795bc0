"""Autoencoders: a network that says an image in a few numbers, its code, and draws the image again from them.

The loss is the squared error between output and input: no labels are needed. Principal components (PCA) are the best
that linear maps can do; each autoencoder has a code of as many numbers and comes closer, since it can bend. The
convolutional one looks at neighbouring pixels together. The sparse one pays for each unit that is on, so that few are.
The denoising one sees noise and is asked for the image without it; PCA is then given the same noisy images.

python examples/10_autoencoder.py                             # 8×8 digits that come with scikit-learn
python examples/10_autoencoder.py --dataset mnist             # writes reconstructions.png, errors.png, units.png
python examples/10_autoencoder.py --dataset mnist --code 8 --out runs/narrow
"""

import math

import course
import jax
import numpy as np
import optax
from sklearn.decomposition import PCA

import jaxdl as dl
from jaxdl import layers as L

DEFAULTS = {"digits": (8, 200, (128, 64), 32), "mnist": (32, 10, (256, 128), 128)}  # code, epochs, hidden, batch


def models(shape, hidden, args):
    """The four systems by name, each from images to images."""

    def dense(**options):
        sizes = math.prod(shape), *hidden, args.code
        network = dl.models.autoencoder(*sizes, output_activation=jax.nn.sigmoid, **options)
        return dl.sequential(L.flatten(), ("autoencoder", network), L.reshape(*shape))

    convolutions = {"shape": shape, "filters": (16, 32), "output_activation": jax.nn.sigmoid}
    return {
        "dense": dense(),
        "convolutional": dl.models.conv_autoencoder(args.code, **convolutions),
        "sparse": dense(code_activation=jax.nn.relu, penalty=dl.penalties.activity_l1(args.sparsity)),
        "denoising": dense(noise=args.noise),
    }


def draw_sheet(path, title, images, rows=()):
    axes = course.figure(8.5, 0.75 * len(images) + 0.6).subplots()
    course.sheet(axes, np.clip(images, 0, 1), rows)
    axes.set_title(title)
    axes.figure.savefig(path, dpi=100)


def draw_units(path, model, params, images):
    """What each unit of the sparse code draws when it alone is on, as high as it then is in the mean."""
    encoder, decoder = (dl.sublayer(model, f"autoencoder/{half}").apply for half in ("encoder", "decoder"))
    codes = np.asarray(encoder(params["encoder"], {}, images.reshape(len(images), -1), train=False)[0])
    share, height = (codes > 0).mean(0), codes.sum(0) / (codes > 0).sum(0).clip(1)
    alone = np.diag(height)[np.argsort(-share)[: max(1, np.count_nonzero(share))]]
    drawn = np.asarray(decoder(params["decoder"], {}, alone, train=False)[0])
    drawn = np.pad(drawn, [(0, -len(drawn) % 8), (0, 0)]).reshape(-1, 8, *images.shape[1:])
    on = f"{share.sum():.1f} of {len(share)} are on in an image, {(share == 0).sum()} never"
    draw_sheet(path, f"each unit of the sparse code alone; {on}", drawn)


def draw_errors(path, curves, pca):
    axes = course.figure(6.5, 4).subplots()
    for name, errors in curves.items():
        axes.plot(np.arange(1, len(errors) + 1), errors, label=name)
    axes.axhline(pca, color="black", linestyle="--", linewidth=1, label="PCA, a code of the same size")
    axes.set(xlabel="epoch", ylabel="squared error of validation images", yscale="log")
    axes.grid(color="#dddddd", linewidth=0.6, which="both")
    axes.legend(frameon=False)
    axes.figure.savefig(path, dpi=100)


def main():
    parser = course.parser(__doc__, "10_autoencoder", list(DEFAULTS))
    parser.add_argument("--code", type=int, help="numbers in a code; default: 8 of digits, 32 of mnist")
    parser.add_argument("--epochs", type=int, help="default: 200 of digits, 10 of mnist")
    parser.add_argument("--noise", type=float, default=0.4, help="its standard deviation, where black to white is 1")
    parser.add_argument("--sparsity", type=float, default=1e-4, help="strength of the sparse code's penalty")
    args = course.parse(parser)
    train, test = course.images(args.dataset, args.seed)
    train, held_out = dl.data.split(train, 0.1, seed=args.seed)
    code, epochs, hidden, batch_size = DEFAULTS[args.dataset]
    args.code, clean = args.code if args.code is not None else code, test["x"]
    epochs = args.epochs if args.epochs is not None else epochs
    noisy = clean + np.random.default_rng(args.seed).normal(0, args.noise, clean.shape).astype(np.float32)
    flat = train["x"].reshape(len(train["x"]), -1)
    fitted = PCA(args.code, random_state=args.seed).fit(flat)
    pca = lambda x: fitted.inverse_transform(fitted.transform(x.reshape(len(x), -1))).reshape(x.shape)  # noqa: E731
    error = lambda found, x=clean: float(np.square(found - x).mean())  # noqa: E731
    found = {"image": clean, "PCA": pca(clean), "noisy image": noisy, "PCA of noisy": pca(noisy)}
    rivals, what, curves = ("PCA", "PCA of noisy"), "squared error of test images", {}
    size = fitted.components_.size + fitted.mean_.size
    results = [course.Result(name, args.dataset, size, what, error(found[name]), "", 0) for name in rivals]
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, epochs * -(-len(flat) // batch_size)))
    settings = {"epochs": epochs, "batch_size": batch_size, "seed": args.seed, "validation": held_out}
    settings |= {"loss": dl.losses.mean_squared_error, "optimizer": optimizer}
    settings["transform"] = lambda batch, key: {"x": batch["x"], "y": batch["x"]}  # an image is its own target
    for name, model in models(clean.shape[1:], hidden, args).items():
        print(f"{name}, a code of {args.code}:", dl.inspect.summary(model, clean[:1]), sep="\n")
        plot = dl.inspect.live_plot(args.out / f"curves_{name}.png")
        trained, history = dl.fit(model, train, callbacks=[plot], **settings)
        seconds, curves[name] = course.seconds(history), history["validation_loss"]
        seen, rival = (noisy, "PCA of noisy") if name == "denoising" else (clean, "PCA")
        found[name] = dl.predict(model, trained, seen)
        share = 100 * error(found[name]) / error(found[rival])
        for figure in ((what, error(found[name]), ""), (f"share of the error of {rival}", share, "%")):
            row = (f"{name} autoencoder", args.dataset, course.count(trained.params))
            results.append(course.Result(*row, *figure, seconds))
        if name == "sparse":
            draw_units(args.out / "units.png", model, trained.params["autoencoder"], clean)
    draw_errors(args.out / "errors.png", curves, error(pca(held_out["x"]), held_out["x"]))
    chosen = [np.flatnonzero(test["y"] == label)[0] for label in range(10)]
    rows = ["image", "PCA", "dense", "convolutional", "sparse", "noisy image", "PCA of noisy", "denoising"]
    draw_sheet(args.out / "reconstructions.png", f"a code of {args.code}", [found[row][chosen] for row in rows], rows)
    course.report(args.out, results)


if __name__ == "__main__":
    main()
