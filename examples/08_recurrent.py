"""Recurrent networks read a sequence and carry what they saw: the course's own classifier, and how far back it reaches.

The first is the classifier of the course as it stands, on two sentences. The second shows why LSTM and GRU were made:
the first token of a sequence is to be named at its end, after a growing gap of other tokens. What a simple RNN carries
is multiplied by the same matrix at each step, so its gradient fades; gates let the others carry it nearly unchanged.

python examples/08_recurrent.py                    # two sentences
python examples/08_recurrent.py --dataset recall   # a token to remember
python examples/08_recurrent.py --dataset recall --gaps 5 10 20 --epochs 5
"""

from functools import partial

import course
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

SENTENCES = ["I love this film", "I hate this film"]


def chrono(key, shape, dtype, gates, keep, write=None):
    """Biases by Tallec and Ollivier, 2018: a gate keeps σ(b) = t / (1 + t) of what is carried at each step, with a time
    t up to REACH for each unit; where another lets in what is new (a GRU's does both), as rarely, σ(−b)."""
    b = jnp.log(jax.random.uniform(key, (shape[0] // gates,), dtype, 1, REACH))
    bias = jnp.zeros((gates, len(b)), dtype).at[keep].set(b)
    return (bias if write is None else bias.at[write].set(-b)).ravel()


CELLS = {
    "simple RNN": L.simple_rnn,
    "LSTM": partial(L.lstm, bias_init=partial(chrono, gates=4, keep=1, write=0)),
    "GRU": partial(L.gru, bias_init=partial(chrono, gates=3, keep=1), reset="before"),
}
KINDS, NOISE, REACH = 8, 8, 160  # how many tokens there are to remember, and others, and over how long a gap
CLIPPED = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(3e-3))  # gradients that explode are cut


def sentences(args):
    # The 1,000 most frequent words, vectors of 32, a simple RNN of 32 and a sigmoid, which is in the loss.
    tokenizer = dl.data.train_tokenizer(SENTENCES, 1000)
    data = {"x": dl.data.encode(tokenizer, SENTENCES, length=10), "y": np.array([[1.0], [0.0]], np.float32)}
    model, sure = dl.models.text_rnn(1000, 1, cell=L.simple_rnn, features=32, hidden=32), []
    print(*(f"{sentence!r} -> {ids}\n" for sentence, ids in zip(SENTENCES, data["x"].x, strict=True)))
    print(dl.inspect.summary(model, data["x"]))

    def ask(event):
        if event.kind == "epoch":
            sure.append(jax.nn.sigmoid(model.apply(event.state.params, {}, data["x"], train=False)[0][:, 0]))

    trained, history = dl.fit(
        model, data, loss=dl.losses.binary_cross_entropy, optimizer=optax.adam(1e-3), epochs=args.epochs, batch_size=2,
        metrics={"accuracy": dl.metrics.binary_accuracy}, seed=args.seed, callbacks=[ask],
    )  # fmt: skip
    size, seconds = course.count(trained.params), course.seconds(history)
    asked = [*SENTENCES, "love", "I love this book"]
    logits = dl.predict(model, trained, dl.data.encode(tokenizer, asked, length=10))[:, 0]
    for sentence, answer in zip(asked, jax.nn.sigmoid(logits), strict=True):
        print(f"asked for {sentence!r}, sure of a good one: {answer:.2f}")
    axes = (figure := course.figure(7, 3.6)).subplots()
    axes.plot(history["epoch"], np.array(sure), label=SENTENCES)
    axes.set(xlabel="epoch", ylabel="how sure it is of a good one", ylim=(0, 1))
    axes.legend(frameon=False)
    figure.savefig(args.out / "sentences.png", dpi=120)
    accuracy = 100 * np.mean((np.array(sure[-1]) > 0.5) == data["y"][:, 0])
    return [course.Result("the course's classifier", "two sentences", size, "train accuracy", accuracy, "%", seconds)]


def sequences(count, gap, rng):
    """A token of those to remember, and others after it: ``x: (count, 1 + gap)``, ``y`` the first of each."""
    y, noise = rng.integers(0, KINDS, count), rng.integers(KINDS, KINDS + NOISE, (count, gap))
    return {"x": np.concatenate([y[:, None], noise], 1).astype(np.int32), "y": y.astype(np.int32)}


def learned(event):
    return dl.Stop() if event.kind == "epoch" and event.history["accuracy"][-1] > 0.998 else None


def recall(args):
    """Each cell over each gap, trained anew; chance is one in eight."""
    found, sizes, seconds = {name: [] for name in CELLS}, {}, dict.fromkeys(CELLS, 0.0)
    for name, cell in CELLS.items():
        model = dl.models.text_rnn(KINDS + NOISE, KINDS, cell=cell, features=16, hidden=32)
        print(f"\n{name}\n{dl.inspect.summary(model, np.zeros((1, 1 + args.gaps[0]), np.int32))}")
        for gap in args.gaps:
            rng = np.random.default_rng(args.seed)
            train, test = (sequences(count, gap, rng) for count in (2000, 1000))
            trained, history = dl.fit(
                model, train, loss=dl.losses.cross_entropy, optimizer=CLIPPED, epochs=args.epochs, batch_size=50,
                metrics={"accuracy": dl.metrics.accuracy}, seed=args.seed, callbacks=[learned], progress=False,
            )  # fmt: skip
            found[name].append(100 * np.mean(dl.predict(model, trained, test["x"]).argmax(-1) == test["y"]))
            sizes[name], seconds[name] = course.count(trained.params), seconds[name] + course.seconds(history)
            print(f"{name}, gap {gap}: test accuracy {found[name][-1]:.1f} %", flush=True)
    axes = (figure := course.figure(7, 4)).subplots()
    for (name, accuracies), style in zip(found.items(), ("o-", "s-", "^--"), strict=True):
        axes.plot(args.gaps, accuracies, style, label=name)
    axes.axhline(100 / KINDS, color="grey", linestyle=":", label="chance")
    axes.set(xlabel="tokens between what is to be remembered and the end", ylabel="test accuracy (%)", ylim=(0, 104))
    axes.legend(frameon=False)
    figure.savefig(args.out / "recall.png", dpi=120)
    figure = f"test accuracy at gap {args.gaps[-1]}"
    return [course.Result(name, "recall", sizes[name], figure, found[name][-1], "%", seconds[name]) for name in CELLS]


def main():
    parser = course.parser(__doc__, "08_recurrent", ["sentences", "recall"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--gaps", type=int, nargs="+", default=[10, 20, 40, 80, REACH], help="of recall")
    args = course.parse(parser)
    args.gaps = sorted(args.gaps)
    course.report(args.out, sentences(args) if args.dataset == "sentences" else recall(args))


if __name__ == "__main__":
    main()
