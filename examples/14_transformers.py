"""Two transformers that read: an encoder that tells what a question asks for, and one that sees images as patches.

Each position asks all others at once, softmax(q kᵀ / √d) v, and a token of no meaning of its own gathers what they say.
The encoder is in the shape of BERT, without its pretraining; the vision transformer reads the patches of an image like
words. The pictures: which words the gathering token looks at, and which places the learned positions hold to be near.

python examples/14_transformers.py                        # images: 1,797 embedded digits, no network
python examples/14_transformers.py --dataset trec --out runs/questions
"""

import course
import jax
import numpy as np
import optax
from tokenizers import processors

import jaxdl as dl

HEADS, BATCH = 4, 64
EPOCHS = {"digits": 60, "mnist": 20, "trec": 15}


def images(args):
    """Training, validation and test part, and a vision transformer: patches of 4×4 pixels, 2×2 of the small digits."""
    train, test = course.images(args.dataset, args.seed)
    sizes = {"patch": 4 if args.dataset == "mnist" else 2, "features": 64, "layers": 4, "heads": HEADS}
    model = dl.models.vit(10, **sizes, dropout=0.1)
    return *course.split(train, args.validation, args.seed), test, model, None


def questions(args):
    """Training, validation and test part as tokens, an encoder, and the words of some test questions."""
    train, test = dl.data.trec()
    train = course.unseen(train, test)  # ten of the test questions are among the training ones
    train, validation = course.split(train, args.validation, args.seed)
    words = dl.data.train_tokenizer(train["x"], vocabulary=8000)
    words.add_special_tokens(["[CLS]"])
    first = words.token_to_id("[CLS]")
    words.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", first)])
    shown = [encoded.tokens[1:] for encoded in words.encode_batch(test["x"][:12])]
    tokens = lambda part: part and {"x": dl.data.encode(words, part["x"], length=40), "y": part["y"]}  # noqa: E731
    sizes = {"features": 128, "layers": 1, "heads": HEADS, "length": 40, "dropout": 0.3}
    model = dl.models.bert_classifier(first + 1, len(dl.data.TREC_CLASSES), **sizes)
    return *map(tokens, (train, validation, test)), model, shown


def draw_places(path, embedding):
    """For each patch, how like its learned position is to those of all patches (their cosine), as one tile."""
    places = embedding[1:] / np.linalg.norm(embedding[1:], axis=-1, keepdims=True)  # without the gathering token's
    side = int(len(places) ** 0.5)
    figure = course.figure(6.4, 5.6)
    grid = figure.subplots(side, side)
    for axes, alike in zip(grid.ravel(), (places @ places.T).reshape(-1, side, side), strict=True):
        tile = axes.imshow(alike, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set(xticks=[], yticks=[])
    figure.suptitle("which places the learned positions hold to be near, one tile for each patch", fontsize=10)
    figure.colorbar(tile, ax=grid, label="cosine", shrink=0.7)
    figure.savefig(path, dpi=120)


def draw_attention(path, model, trained, tokens, shown, said):
    """How much the gathering token looks at each word, the mean of the heads."""
    found = dl.inspect.intermediates(model, trained.params, trained.state, tokens, paths="norm")
    x = found["norm"].x  # what the block reads
    split = (*x.shape[:2], HEADS, -1)
    block = jax.tree.map(lambda leaf: leaf[0], trained.params["blocks"]["attention"])
    query, key = ((x @ block[name]["kernel"] + block[name]["bias"]).reshape(split) for name in ("query", "key"))
    scores = np.einsum("bhd,bkhd->bhk", query[:, 0], key) / query.shape[-1] ** 0.5
    figure = course.figure(8, 0.36 * len(shown) + 0.5)
    axes = figure.subplots()
    for row, (words, kind, score) in enumerate(zip(shown, said, scores, strict=True)):
        looks, across = jax.nn.softmax(score[:, : 1 + len(words)]).mean(0)[1:], 0
        axes.text(-1.5, row, kind, ha="right", va="center", fontweight="bold")
        for word, share in zip(words, looks, strict=True):
            box = {"facecolor": "#d95f02", "alpha": float(share / looks.max()), "linewidth": 0, "pad": 2}
            axes.text(across, row, word, family="monospace", va="center", fontsize=9, bbox=box)
            across += len(word) + 1
    axes.set(xlim=(-15, 70), ylim=(len(shown) - 0.4, -0.6), title="what each asks for, and the words looked at")
    axes.axis("off")
    figure.savefig(path, dpi=120)


def main():
    parser = course.parser(__doc__, "14_transformers", list(EPOCHS))
    parser.add_argument("--epochs", type=int, help="default: 60 of digits, 20 of mnist, 15 of trec")
    parser.add_argument("--validation", type=float, default=0.1, help="share of the training part held out; 0: none")
    args = course.parse(parser)
    args.epochs = args.epochs or EPOCHS[args.dataset]
    train, validation, test, model, shown = questions(args) if args.dataset == "trec" else images(args)
    print(dl.inspect.summary(model, jax.tree.map(lambda leaf: leaf[:1], train["x"])))
    steps = args.epochs * -(-len(train["y"]) // BATCH)
    rate = optax.warmup_cosine_decay_schedule(0.0, 1e-3, steps // 10, steps)
    trained, history = dl.fit(
        model,
        train,
        loss=dl.losses.cross_entropy,
        optimizer=optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=0.05)),
        epochs=args.epochs,
        batch_size=BATCH,
        validation=validation,
        metrics={"accuracy": dl.metrics.accuracy},
        seed=args.seed,
        transform=dl.data.augment.crop(2) if args.dataset == "mnist" else None,  # moved by up to two pixels
    )
    seconds, predicted = course.seconds(history), dl.predict(model, trained, test["x"]).argmax(-1)
    dl.inspect.plot_history(history, args.out / "learning_curves.png")
    if shown:
        some = jax.tree.map(lambda leaf: leaf[: len(shown)], test["x"])
        said = [dl.data.TREC_CLASSES[kind] for kind in predicted[: len(shown)]]
        draw_attention(args.out / "attention.png", model, trained, some, shown, said)
    else:
        draw_places(args.out / "places.png", np.asarray(trained.params["positions"]["embedding"]))
    system, accuracy = "encoder" if shown else "vision", 100 * np.mean(predicted == test["y"])
    row = f"{system} transformer", args.dataset, course.count(trained.params), "test accuracy", accuracy
    course.report(args.out, [course.Result(*row, "%", seconds)])


if __name__ == "__main__":
    main()
