"""Generative adversarial networks: a generator G against a discriminator D, by a step of one's own for ``dl.run``.

D learns to score images x above generated ones, G(z) from noise z, and G learns to be scored as images are. Both make
one loss ℓ(score, label) small: D ℓ(D(x), 1) + ℓ(D(G(z)), 0), G ℓ(D(G(z)), 1). With cross entropy that is the first GAN,
dense or convolutional (DCGAN); with the Wasserstein loss and a penalty on the slope of D it is WGAN-GP. In the end a
classifier of images judges the average of G over its last steps: how sure, which classes, how far off its features?

python examples/12_gan.py                                     # DCGAN, 8×8 digits that come with scikit-learn
python examples/12_gan.py --dataset mnist --model wgan        # writes samples.png, curves.png
"""

import course
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L
from jaxdl import models as M

LATENTS = 64
FIRST = {"loss": dl.losses.binary_cross_entropy, "optimizer": optax.adam(2e-4, b1=0.5)}
WASSERSTEIN = {"loss": dl.losses.wasserstein, "optimizer": optax.adam(5e-4, b1=0.5, b2=0.9), "penalty": 10, "rounds": 3}
KINDS = {"dense": ("dense GAN", FIRST, 30), "dcgan": ("DCGAN", FIRST, 10), "wgan": ("WGAN-GP", WASSERSTEIN, 10)}


def networks(kind, shape):
    if kind == "dense":
        generator = M.dense_generator(shape=shape, hidden=(256, 512), norm=L.batch_norm)
        return generator, M.dense_discriminator(hidden=(512, 256), dropout=0.3)
    norm = None if kind == "wgan" else L.batch_norm  # it would mix images, and the slope is to be that of each alone
    return M.dcgan_generator(shape=shape, filters=(64, 32)), M.dcgan_discriminator(filters=(32, 64), norm=norm)


def gan_step(generator, discriminator, loss, optimizer, penalty=0, rounds=1):
    """``step(s, batch) -> (s, metrics)``: D learns from each of ``rounds`` parts of the batch, then G once."""

    def generate(params, state, key, count):
        return generator.apply(params, state, jax.random.normal(key, (count, LATENTS)), train=True)

    def discriminator_loss(params, state, batch, *, key, train):
        g, real, keys = batch["generator"], batch["x"], jax.random.split(key, 4)
        fake, _ = generate(g.params, g.state, keys[0], len(real))
        on_real, state = discriminator.apply(params, state, real, train=train, key=keys[1])
        on_fake, state = discriminator.apply(params, state, fake, train=train, key=keys[2])
        values = loss(on_real, jnp.ones_like(on_real)) + loss(on_fake, jnp.zeros_like(on_fake))
        if penalty:
            score = lambda x: discriminator.apply(params, state, x, train=train)[0]  # noqa: E731
            values += penalty * dl.losses.gradient_penalty(score, real, fake, keys[3])
        return dl.Sum.of(values), (state, {"discriminator_loss": dl.Sum.of(values)})

    def generator_loss(params, state, batch, *, key, train):
        d, keys = batch["discriminator"], jax.random.split(key)
        fake, state = generate(params, state, keys[0], batch["count"])
        score, _ = discriminator.apply(d.params, d.state, fake, train=train, key=keys[1])
        values = loss(score, jnp.ones_like(score))
        return dl.Sum.of(values), (state, {"generator_loss": dl.Sum.of(values)})

    teach_d, teach_g = (dl.make_step(loss_fn, optimizer) for loss_fn in (discriminator_loss, generator_loss))

    def step(s, batch):
        parts = (2 * batch["x"] - 1).reshape(rounds, -1, *batch["x"].shape[1:])  # G's tanh gives −1 to 1
        one_round = lambda d, x: teach_d(d, {"x": x, "generator": s["generator"]})  # noqa: E731
        d, on_d = jax.lax.scan(one_round, s["discriminator"], parts)
        g, on_g = teach_g(s["generator"], {"discriminator": d, "count": parts.shape[1]})
        return {"generator": g, "discriminator": d}, on_g | jax.tree.map(lambda leaf: leaf.sum(0), on_d)

    return step


def trained_judge(train, test, epochs):
    """``images -> (features, probabilities)`` by a classifier of real images, which says how often it is right."""
    body = dl.sequential(M.cnn(64, padding="SAME"), jax.nn.relu)
    model = dl.sequential(("body", body), ("logits", L.dense(10)))
    asked = {"loss": dl.losses.cross_entropy, "metrics": {"accuracy": dl.metrics.accuracy}}
    trained, _ = dl.fit(model, train, optimizer=optax.adam(1e-3), epochs=epochs, batch_size=64, **asked)
    print(f"the judge is right on {dl.evaluate(model, trained, test, **asked)['accuracy']:.1%} of the test images")
    inside = trained.replace(params=trained.params["body"])
    return lambda x: (dl.predict(body, inside, x), np.asarray(jax.nn.softmax(dl.predict(model, trained, x))))


def main():
    parser = course.parser(__doc__, "12_gan", ["digits", "mnist", "fashion_mnist"])
    parser.add_argument("--model", choices=list(KINDS), default="dcgan")
    parser.add_argument("--epochs", type=int, help="default: 200 of digits, of the others 10, dense 30")
    args = course.parse(parser)
    train, test = course.images(args.dataset, args.seed)
    (name, options, epochs), images = KINDS[args.model], train["x"]
    options = options | {"optimizer": dl.ema(options["optimizer"])}
    epochs, judge_epochs = (200, 30) if args.dataset == "digits" else (epochs, 4)
    nets = dict(zip(("generator", "discriminator"), networks(args.model, images.shape[1:]), strict=True))
    noise, s = jax.random.normal(jax.random.key(args.seed), (max(1000, len(test["x"])), LATENTS)), {}
    for seed, (role, x) in enumerate({"generator": noise[:1], "discriminator": images[:1]}.items(), 2 * args.seed):
        print(f"{name}, {role}:", dl.inspect.summary(nets[role], x), sep="\n")
        s[role] = dl.train.create_state(nets[role], options["optimizer"], x, seed=seed)
    settings = {"epochs": args.epochs or epochs, "batch_size": 64 * options.get("rounds", 1), "remainder": "drop"}
    plot = dl.inspect.live_plot(args.out / "curves.png")
    s, history = dl.run(gan_step(**nets, **options), s, {"x": images}, seed=args.seed, callbacks=[plot], **settings)
    row, seconds = (name, args.dataset, course.count(s["generator"].params)), course.seconds(history)
    judge = trained_judge(train, test, judge_epochs)
    s["generator"] = s["generator"].replace(params=dl.ema_params(s["generator"]))
    made = dl.predict(nets["generator"], s["generator"], noise) / 2 + 0.5
    (features, chances), (real_features, real_chances) = judge(made), judge(test["x"])
    shares = np.bincount(classes := chances.argmax(-1), minlength=10) / len(made)
    print("classes of the samples:", *(f"{label}: {share:.1%}" for label, share in enumerate(shares)))
    chosen = np.argsort(classes, kind="stable")[:: len(made) // 100][:100]
    axes = course.figure(6.6, 7).subplots()
    course.sheet(axes, made[chosen].reshape(10, 10, *images.shape[1:]))
    axes.set_title(f"{name}, {args.dataset}: one in {len(made) // 100} samples, by the class that the judge sees")
    axes.figure.savefig(args.out / "samples.png", dpi=100)
    far, least = (dl.metrics.frechet_distance(x, real_features) for x in (features, judge(images[: len(made)])[0]))
    print(f"real images: confidence {real_chances.max(-1).mean():.1%}, Fréchet distance of others {least:.3g}")
    figures = {"mean confidence": 100 * chances.max(-1).mean(), "rarest class": 100 * shares.min()}
    results = [course.Result(*row, figure, value, "%", seconds) for figure, value in figures.items()]
    course.report(args.out, [*results, course.Result(*row, "Fréchet distance", far, "", seconds)])


if __name__ == "__main__":
    main()
