"""Sequence to sequence with attention: "345+67" is read as text, and "412" is written, character by character.

An encoder reads the sum in both directions, m = GRU(source); a decoder writes, h = GRU(what is written so far), and
looks back for each character by attention, softmax(q kᵀ / √d) v with q from h, and k and v from m. The last digit is
written first, as one adds by hand: a carry then comes from what is written already. Nobody tells it of places or
carries; the picture shows where it looks. No pair of the test part was seen in training, in either order.

python examples/15_seq2seq.py
python examples/15_seq2seq.py --order first --out runs/first     # harder: carries must be foreseen
"""

import course
import jax
import numpy as np
import optax

import jaxdl as dl
from jaxdl import functional as F

CHARACTERS = "0123456789+=."
START, STOP = CHARACTERS.index("="), CHARACTERS.index(".")
NUMBERS = 1000


def draw_pairs(count, seed):
    """Different pairs of numbers, each in one order alone: no two are the same sum turned round."""
    rng = np.random.default_rng(seed)
    unordered = np.stack(np.triu_indices(NUMBERS), 1)
    return rng.permuted(unordered[rng.choice(len(unordered), count, replace=False)], axis=1)


def tokens(texts):
    return dl.data.pad_sequences([[CHARACTERS.index(character) for character in text] for text in texts])


def sums(pairs, order):
    """The sums as texts, "345+67", and their answers, "214"."""
    return [f"{a}+{b}" for a, b in pairs], [str(a + b)[:: -1 if order == "last" else 1] for a, b in pairs]


def examples(asked, answers):
    """``x``: what the decoder reads, "=214", beside the sum; ``y``: what it is to write, "214."."""
    x = tokens(f"={answer}" for answer in answers), tokens(asked)
    return {"x": x, "y": tokens(f"{answer}." for answer in answers)}


def write(model, trained, source):
    """The answers, each with its stop; at each step the most likely character."""
    start = np.full((len(source.x), 1), START)
    written = dl.generate(model, trained, (start, source), 5, temperature=0, stop=STOP)
    return ["".join(CHARACTERS[token] for token in row).split(".")[0] + "." for row in written]


def attention(model, trained, x):
    """The weights of the attention layer, ``(batch, written, read)``, from what goes into it."""
    paths = ["decoder/attention/target_of", "decoder/read/memory"]
    found = dl.inspect.intermediates(model, trained.params, trained.state, x, paths=paths)
    h, m = (found[path] for path in paths)
    params = trained.params["decoder"]["attention"]["multi_head_attention"]
    query, key = F.dense(h.x, **params["query"]), F.dense(m.x, **params["key"])
    scores = np.einsum("bth,bsh->bts", query, key) / query.shape[-1] ** 0.5
    return jax.nn.softmax(np.where(m.mask()[:, None], scores, -np.inf))


def draw_attention(path, weights, sums, answers):
    figure = course.figure(2.5 * len(sums), 2.9)
    for axes, found, asked, answer in zip(figure.subplots(1, len(sums)), weights, sums, answers, strict=True):
        shade = axes.imshow(found[: len(answer), : len(asked)], cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(len(asked)), asked, family="monospace")
        axes.set_yticks(range(len(answer)), answer, family="monospace")
        axes.set(title=f"{asked} → {answer}", xlabel="read")
    figure.axes[0].set_ylabel("written, from the top")
    figure.colorbar(shade, ax=figure.axes, label="weight", shrink=0.8)
    figure.savefig(path, dpi=120)


def main():
    parser = course.parser(__doc__, "15_seq2seq")
    parser.add_argument("--order", choices=["last", "first"], default="last", help="which digit is written first")
    parser.add_argument("--pairs", type=int, default=40_960, help="to train on; 3,024 more are held out")
    parser.add_argument("--epochs", type=int, default=15)
    args = course.parse(parser)
    if args.pairs > (most := NUMBERS * (NUMBERS + 1) // 2 - 3024):
        parser.error(f"--pairs: beside those held out there are {most:,} pairs of numbers below {NUMBERS:,}")
    pairs = draw_pairs(args.pairs + 3024, args.seed)
    parts = np.split(pairs, [args.pairs, args.pairs + 1024])
    train, validation, test = (examples(*sums(part, args.order)) for part in parts)
    model = dl.models.seq2seq(len(CHARACTERS), len(CHARACTERS), features=32, hidden=128)
    print(dl.inspect.summary(model, jax.tree.map(lambda leaf: leaf[:1], train["x"])))

    steps = args.epochs * -(-args.pairs // 128)
    rate = optax.warmup_cosine_decay_schedule(0.0, 4e-3, steps // 20, steps)
    trained, history = dl.fit(
        model,
        train,
        loss=dl.losses.cross_entropy,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        epochs=args.epochs,
        batch_size=128,
        validation=validation,
        metrics={"accuracy": dl.metrics.accuracy},
        seed=args.seed,
    )
    size, seconds, figure = course.count(trained.params), course.seconds(history), "exact match on unseen pairs"
    dl.inspect.plot_history(history, args.out / "learning_curves.png")

    (asked, answers), (_, source) = sums(parts[2], args.order), test["x"]
    written = write(model, trained, source)
    right = np.array([a == f"{b}." for a, b in zip(written, answers, strict=True)])
    for row in dict.fromkeys([*range(5), *np.flatnonzero(~right)[:10]]):
        print(f"{asked[row]:>7} → {written[row]:5} {'' if right[row] else 'wrong, it is ' + answers[row]}")
    read = tokens("=" + answer[:-1] for answer in written[:5])
    weights = attention(model, trained, (read, jax.tree.map(lambda leaf: leaf[:5], source)))
    draw_attention(args.out / "attention.png", weights, asked[:5], written[:5])
    system, data = f"seq2seq with attention, {args.order} digit first", "addition of numbers below 1,000"
    course.report(args.out, [course.Result(system, data, size, figure, 100 * right.mean(), "%", seconds)])


if __name__ == "__main__":
    main()
