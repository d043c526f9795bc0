"""A variational autoencoder: a code for each image, and an image for each code, so that it draws what nobody wrote.

The encoder says where the code z of an image x lies, as a normal distribution q(z|x), the decoder how probably each
pixel is black. What grows is the evidence lower bound (ELBO), E log p(x|z) − KL(q(z|x) ‖ N(0, I)): draw the image of a
sample of its code, and keep the codes near the standard normal, so that a z drawn from that gives an image too. Pixels
are grey, from 0 to 1, and taken as chances of black; of images made black and white the figures are others.

python examples/11_vae.py                                     # 8×8 digits that come with scikit-learn
python examples/11_vae.py --dataset mnist                     # writes samples_20.png, plane.png, …
python examples/11_vae.py --dataset mnist --latents 2 --epochs 60 --out runs/plane
"""

import course
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl

DEFAULTS = {"digits": (200, (128, 64), 32), "mnist": (25, (512, 256), 128)}  # epochs, hidden, batch


def objective(model):
    """A loss function for ``dl.make_step``: the negative bound, with one sample of each image's code."""

    def loss_fn(params, state, batch, *, key, train):
        (logits, mean, log_variance), state = model.apply(params, state, batch["x"], train=train, key=key)
        pixels = -dl.losses.binary_cross_entropy(logits, batch["x"]).reshape(len(mean), -1).sum(-1)  # log p(x|z)
        divergence = dl.losses.gaussian_kl(mean, log_variance)
        metrics = {"elbo": pixels - divergence, "log_likelihood": pixels, "divergence": divergence}
        return dl.Sum.of(divergence - pixels), (state, {name: dl.Sum.of(value) for name, value in metrics.items()})

    return loss_fn


def measure(loss_fn, images, samples):
    """``train_state -> metrics`` of images, with ``samples`` codes of each; z is drawn here as well (``train=True``),
    since what its mean comes to is no bound."""
    look = jax.jit(lambda s, x, key: loss_fn(s.params, s.state, {"x": x}, key=key, train=True)[1][1])
    parts = np.array_split(images, -(-len(images) // 1000))

    def evaluate(s):
        keys = jax.random.split(jax.random.key(0), (samples, len(parts)))
        found = [look(s, part, key) for row in keys for part, key in zip(parts, row, strict=True)]
        return {name: float(sum((one[name] for one in found[1:]), found[0][name]).mean()) for name in found[0]}

    return evaluate


def decoded(model, trained, z):
    """Images of codes: the chance of black of each pixel."""
    decoder, params = dl.sublayer(model, "outputs/decoder"), trained.params["outputs"]["decoder"]
    return np.asarray(jax.nn.sigmoid(decoder.apply(params, {}, z, train=False)[0]))


def draw_sheet(path, title, images, rows=()):
    figure = course.figure(0.6 * images.shape[1] + (1.6 if rows else 0), 0.6 * len(images) + 0.5)
    axes = figure.subplots()
    course.sheet(axes, images, rows)
    axes.set_title(title)
    figure.savefig(path, dpi=100)


def draw_plane(path, model, trained, test):
    """Where the codes of test images lie, and what the decoder draws at codes that are equally far by probability."""
    codes = dl.predict(model, trained, test["x"])[1]
    steps = jax.scipy.stats.norm.ppf((jnp.arange(18) + 0.5) / 18)
    plane = decoded(model, trained, jnp.stack(jnp.meshgrid(steps, -steps), -1).reshape(-1, 2))
    figure = course.figure(11.5, 6.2)
    left, right = figure.subplots(1, 2)
    for label in range(10):
        left.plot(*codes[test["y"] == label].T, ".", markersize=3, label=str(label))
    left.set(xlabel="z₁", ylabel="z₂", aspect="equal", title="the mean codes of test images")
    left.legend(markerscale=4, fontsize=8, title="digit")
    course.sheet(right, plane.reshape(18, 18, *test["x"].shape[1:]))
    right.set_title(f"what codes draw: z₁ from {steps[0]:.1f} to {steps[-1]:.1f} →, z₂ ↑")
    figure.savefig(path, dpi=100)


def main():
    parser = course.parser(__doc__, "11_vae", list(DEFAULTS))
    parser.add_argument("--latents", type=int, nargs="+", default=[20, 2], help="a model for each; default: 20 2")
    parser.add_argument("--epochs", type=int, help="default: 200 of digits, 25 of mnist")
    args = course.parse(parser)
    train, test = course.images(args.dataset, args.seed)
    train, held_out = dl.data.split(train, 0.1, seed=args.seed)
    epochs, hidden, batch_size = DEFAULTS[args.dataset]
    epochs = epochs if args.epochs is None else args.epochs
    shape, results = train["x"].shape[1:], []
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, epochs * -(-len(train["x"]) // batch_size)))
    settings = {"epochs": epochs, "batch_size": batch_size, "seed": args.seed}
    chosen = [np.flatnonzero(test["y"] == label)[0] for label in range(10)]
    pairs = {"image": test["x"][chosen]}
    for latents in args.latents:
        model = dl.models.vae(latents, shape=shape, hidden=hidden)
        print(dl.inspect.summary(model, train["x"][:1]))
        loss_fn = objective(model)
        state = dl.train.create_state(model, optimizer, train["x"][:1], seed=args.seed)
        best = dl.early_stopping("validation_elbo", mode="max", patience=epochs)
        plot = dl.inspect.live_plot(args.out / f"curves_{latents}.png")
        settings |= {"evaluate": measure(loss_fn, held_out["x"], samples=1), "callbacks": [best, plot]}
        trained, history = dl.run(dl.make_step(loss_fn, optimizer), state, {"x": train["x"]}, **settings)

        name, size, seconds = f"VAE, {latents} latents", course.count(trained.params), course.seconds(history)
        for figure, value in measure(loss_fn, test["x"], samples=5)(trained).items():
            figure = "test ELBO" if figure == "elbo" else f"test {figure.replace('_', ' ')}"
            results.append(course.Result(name, args.dataset, size, figure, value, "nats", seconds))
        pairs[name] = jax.nn.sigmoid(dl.predict(model, trained, pairs["image"])[0])
        z = jax.random.normal(jax.random.key(args.seed), (100, latents))
        samples = decoded(model, trained, z).reshape(10, 10, *shape)
        draw_sheet(args.out / f"samples_{latents}.png", f"images of codes from N(0, I), {latents} latents", samples)
        if latents == 2:
            draw_plane(args.out / "plane.png", model, trained, test)
    draw_sheet(args.out / "reconstructions.png", "test images drawn again", np.stack(list(pairs.values())), list(pairs))
    course.report(args.out, results)


if __name__ == "__main__":
    main()
