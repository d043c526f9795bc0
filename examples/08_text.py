"""Classify texts: recurrent networks and a convolutional one in one table, beside a linear model.

A tokenizer, trained on the training texts alone, makes words (Chinese: characters) integers, an embedding makes those
vectors, and a network reads them in their order. Texts of like length share a batch, so that little of it is padding.
In the end the network that is the best on the validation part learns from both parts, training and validation, three
times from other initial values, and the answers are averaged: they make different mistakes, and together often fewer.

python examples/08_text.py                             # questions by what they ask for, in six kinds
python examples/08_text.py --dataset sst2              # each is found through JAXDL_DATA_DIR, or downloaded
python examples/08_text.py --dataset hotel_reviews     # in Chinese; found through JAXDL_DATA_DIR
"""

from functools import partial

import course
import jax
import numpy as np
import optax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

import jaxdl as dl
from jaxdl import layers as L

TOKENS = {"trec": ("word", 10000, 40), "sst2": ("word", 16000, 60), "hotel_reviews": ("character", 4000, 300)}
LINEAR, BEST = "linear, tf-idf n-grams", "best by validation, three together"


def averaged(vocabulary, classes, features=64):
    """The mean of a text's vectors, whatever their order."""
    return dl.sequential(L.embedding(vocabulary, features), L.dropout(0.5), L.global_avg_pool(), L.dense(classes))


rnn = partial(dl.models.text_rnn, features=64, hidden=64, dropout=0.5)
SYSTEMS = {
    "mean of embeddings": averaged,
    "simple RNN": partial(rnn, cell=L.simple_rnn),
    "LSTM": partial(rnn, cell=L.lstm),
    "GRU": partial(rnn, cell=L.gru),
    "bidirectional LSTM": partial(rnn, cell=L.lstm, bidirectional=True),
    "text CNN": dl.models.text_cnn,
}


def linear_model(level):
    token, pieces = {"word": (r"\S+", "char_wb"), "character": (r"\S", "char")}[level]
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=token, sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer=pieces, ngram_range=(2, 5), min_df=2, sublinear_tf=True)
    return make_pipeline(make_union(words, pieces), LinearSVC(C=0.5))


def teach(model, texts, epochs, seed, **watched):
    batches = dl.data.buckets(texts, 64, lengths=3, seed=seed, remainder="drop")
    asked = {"loss": dl.losses.cross_entropy, "metrics": {"accuracy": dl.metrics.accuracy}, "seed": seed}
    return dl.fit(model, batches, optimizer=optax.adam(1e-3), epochs=epochs, **asked, **watched)


def draw(path, dataset, tested, curves):
    left, right = (figure := course.figure(11, 4.2)).subplots(1, 2, width_ratios=(3, 2))
    colours = [*(f"C{row}" for row in range(len(curves))), "black", "grey"]
    left.scatter(list(tested.values()), list(tested), c=colours, s=60)
    for row, value in enumerate(tested.values()):
        left.annotate(f"{value:.1f}", (value, row), (8, 0), textcoords="offset points", va="center")
    left.margins(x=0.15)
    left.invert_yaxis()
    left.set(xlabel="test accuracy (%)", title=dataset)
    for name, curve in curves.items():
        right.plot(np.arange(1, 1 + len(curve)), 100 * np.array(curve), label=name)
    right.set(xlabel="epoch", ylabel="validation accuracy (%)")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    parser = course.parser(__doc__, "08_text", list(TOKENS))
    parser.add_argument("--epochs", type=int, default=40, help="at most: the validation part ends it")
    some = {"choices": SYSTEMS, "default": list(SYSTEMS), "metavar": "NAME", "help": f"of {list(SYSTEMS)}"}
    parser.add_argument("--systems", nargs="+", **some)
    args = course.parse(parser)
    *train, test = getattr(dl.data, args.dataset)()
    train = [course.unseen(part, test) for part in train]  # a few of the test texts are among the others
    train, held_out = train if len(train) == 2 else dl.data.split(*train, 0.1, seed=args.seed)
    level, most, length = TOKENS[args.dataset]
    tokenizer = dl.data.train_tokenizer(train["x"], most, level=level)
    shape = {"length": length, "keep": "end", "allow_empty": True}
    texts = [{"x": dl.data.encode(tokenizer, part["x"], **shape), "y": part["y"]} for part in (train, held_out, test)]
    counts = ", ".join(f"{len(part['y']):,}" for part in texts)
    print(f"{args.dataset}: {counts} texts to train, validate and test; {tokenizer.get_vocab_size():,} tokens")
    models = {name: SYSTEMS[name](tokenizer.get_vocab_size(), 1 + int(train["y"].max())) for name in args.systems}
    one = jax.tree.map(lambda leaf: leaf[:1], texts[0]["x"])
    judged, tested, curves, costs = {}, {}, {}, {}
    for name, model in models.items():
        print(f"\n{name}\n{dl.inspect.summary(model, one)}")
        end = dl.early_stopping("validation_accuracy", mode="max", patience=5)
        trained, history = teach(model, texts[0], args.epochs, args.seed, validation=texts[1], callbacks=[end])
        costs[name] = course.count(trained.params), course.seconds(history)
        curves[name] = history["validation_accuracy"]
        found = [100 * np.mean(dl.predict(model, trained, part["x"]).argmax(-1) == part["y"]) for part in texts[1:]]
        judged[name], tested[name] = found
    both = {"x": [*train["x"], *held_out["x"]], "y": np.concatenate([train["y"], held_out["y"]])}
    linear, best = linear_model(level).fit(both["x"], both["y"]), max(judged, key=judged.get)
    costs[LINEAR] = linear[-1].coef_.size + linear[-1].intercept_.size, 0
    tested[LINEAR] = 100 * linear.score(test["x"], test["y"])
    print("\nvalidation accuracy:", ", ".join(f"{name} {value:.2f} %" for name, value in judged.items()))
    both["x"] = dl.data.encode(tokenizer, both["x"], **shape)
    answers, seconds, epochs = 0, 0, 1 + int(np.argmax(curves[best]))
    for seed in range(3 * args.seed, 3 * args.seed + 3):
        trained, history = teach(models[best], both, epochs, seed)
        answers += jax.nn.softmax(dl.predict(models[best], trained, texts[2]["x"]))
        seconds += course.seconds(history)
    costs[f"{BEST}: {best}"] = 3 * course.count(trained.params), seconds
    tested[f"{BEST}: {best}"] = 100 * np.mean(answers.argmax(-1) == test["y"])
    draw(args.out / "accuracy.png", args.dataset, tested, curves)
    rows = [(args.dataset, costs[name][0], "test accuracy", tested[name], "%", costs[name][1]) for name in tested]
    course.report(args.out, [course.Result(name, *row) for name, row in zip(tested, rows, strict=True)])


if __name__ == "__main__":
    main()
