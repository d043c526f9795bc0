"""Character language models, a GPT and an LSTM: from each character to the probabilities of the next one.

They learn p(next | all before) by cross entropy alone, and then write: draw a character, read it, draw the next. The
temperature sharpens or flattens what is drawn from; top-k and top-p leave the unlikely out. The GPT keeps the keys and
values of what it has read (the last half anew once its places are full), the LSTM its state: one step a character.

python examples/13_language_model.py                              # the sources of Python's standard library
python examples/13_language_model.py --dataset tiny_shakespeare   # in the size that nanoGPT has for a CPU
python examples/13_language_model.py --model lstm --steps 10000 --out runs/long
"""

import course
import jax
import numpy as np
import optax

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L

LENGTH, BATCH = 64, 12
WAYS = [("temperature", 0), ("temperature", 0.5), ("temperature", 1), ("temperature", 2), ("top_k", 5), ("top_p", 0.9)]


def model_of(name, vocabulary):
    """The GPT, or an LSTM with as many parameters."""
    if name == "gpt":
        return dl.models.gpt(vocabulary, features=128, layers=4, heads=4, length=LENGTH)
    return dl.sequential(L.embedding(vocabulary, 128), L.lstm(236), L.lstm(236), L.dense(vocabulary))


def crops(ids, steps, seed):
    """``data(epoch, start)``: batches cut from the text at random places; y is x one character later."""

    def data(epoch, start):
        places = np.random.default_rng([seed, epoch]).integers(len(ids) - LENGTH, size=(steps, BATCH, 1))
        for place in places[start:]:
            yield {"x": ids[place + np.arange(LENGTH)], "y": ids[place + 1 + np.arange(LENGTH)]}

    return data


def train_model(model, ids, cut, args):
    """As nanoGPT does: a warm-up, a cosine down to a tenth, AdamW. The validation part is measured whole."""
    steps = -(-args.steps // (parts := min(8, -(-args.steps // 250))))  # measured after each part
    decayed = lambda params: jax.tree.map_with_path(lambda path, _: path[-1].key not in ("bias", "scale"), params)  # noqa: E731
    rate = optax.warmup_cosine_decay_schedule(0.0, args.rate, args.steps // 20, args.steps, args.rate / 10)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, b2=0.99, weight_decay=0.1, mask=decayed))
    rows = cut + np.arange((len(ids) - cut - 1) // LENGTH * LENGTH).reshape(-1, LENGTH)
    validation = {"x": ids[rows], "y": ids[rows + 1]}
    data, settings = crops(ids[:cut], steps, args.seed), {"epochs": parts, "steps_per_epoch": steps, "seed": args.seed}
    return dl.fit(model, data, loss=dl.losses.cross_entropy, optimizer=optimizer, validation=validation, **settings)


def write(name, model, trained, prompt, count, how):
    """``count`` ids after the prompt. The GPT's places end at ``LENGTH``: then it reads the last half again."""
    read, steps = (LENGTH // 2, LENGTH // 2) if name == "gpt" else (len(prompt), count)
    text, key = prompt, jax.random.key(0)
    while len(text) < len(prompt) + count:
        key, now = jax.random.split(key)
        text = np.append(text, dl.generate(model, trained, text[None, -read:], steps, key=now, **how)[0])
    return text[: len(prompt) + count]


def draw_next(path, name, logits, text, show):
    """What may come after each character of a text, and what is drawn after the last one."""
    above, below = (figure := course.figure(12, 6.4)).subplots(2, 1)
    order = np.argsort(-logits, axis=-1)
    shares = np.take_along_axis(jax.nn.softmax(logits), order, -1)[:, :5].T
    figure.colorbar(above.imshow(shares, "Blues", vmin=0, vmax=1, aspect="auto"), ax=above, label="probability")
    for (rank, at), share in np.ndenumerate(shares):
        came = [*text[1:], None][at] == show(order[at, rank])
        colour = "#d95f02" if came else "white" if share > 0.6 else "#444444"
        above.text(at, rank, show(order[at, rank]), ha="center", va="center", color=colour, weight=700 if came else 400)
    above.set_title(f"{name}: the five most likely next characters; orange: the one that came")
    above.set(xlabel="the character read", ylabel="rank", yticks=range(5), yticklabels=range(1, 6))
    above.set_xticks(range(len(text)), text)
    keys = jax.random.split(jax.random.key(0), 10_000)
    for place, (option, value) in enumerate(WAYS):
        drawn = jax.vmap(lambda key, how={option: value}: F.sample(key, logits[-1], **how))(keys)
        share = np.bincount(drawn, minlength=logits.shape[-1]) / len(keys)
        below.bar(np.arange(15) + 0.13 * (place - 2.5), share[order[-1, :15]], 0.13, label=f"{option} {value}")
    below.set_xticks(range(15), [show(token) for token in order[-1, :15]])
    below.set(xlabel="the character after the last of them", ylabel="share of 10,000 draws")
    below.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main():
    parser = course.parser(__doc__, "13_language_model", ["python_sources", "tiny_shakespeare"])
    parser.add_argument("--model", choices=["gpt", "lstm", "both"], default="both")
    parser.add_argument("--steps", type=int, default=2000, help="rounded up to parts of one length")
    parser.add_argument("--learning-rate", type=float, dest="rate", default=3e-3, help="the highest; nanoGPT has 1e-3")
    parser.add_argument("--characters", type=int, help="how many of the text, default: all")
    args = course.parse(parser)
    if len(text := getattr(dl.data, args.dataset)()[: args.characters]) < 1000:
        parser.error(f"--characters must be 1,000 or more, got {args.characters}")
    cut = int(0.9 * len(text))
    tokenizer = dl.data.train_tokenizer([text[:cut]], 256, level="character", lowercase=False)
    ids = np.array(tokenizer.encode(text).ids)
    show = lambda token: {"\n": "↵", " ": "␣"}.get(found := tokenizer.decode([token]), found)  # noqa: E731
    results, samples, begin = [], [], ids[cut : cut + 48]
    for name in ["gpt", "lstm"] if args.model == "both" else [args.model]:
        model = model_of(name, tokenizer.get_vocab_size())
        print(dl.inspect.summary(model, ids[None, :LENGTH]))
        trained, history = train_model(model, ids, cut, args)
        size, seconds, loss = course.count(trained.params), course.seconds(history), history["validation_loss"][-1]
        results.append(course.Result(name.upper(), args.dataset, size, "validation loss", loss, "nats", seconds))
        dl.inspect.plot_history(history, args.out / f"learning_curves_{name}.png")
        logits = np.asarray(model.apply(trained.params, trained.state, begin[None], train=False)[0][0])
        draw_next(args.out / f"next_{name}.png", name.upper(), logits, [show(token) for token in begin], show)
        for option, value in WAYS:
            written = tokenizer.decode(write(name, model, trained, begin, 500, {option: value}))
            samples.append(f"{'=' * 20} {name.upper()}, {option} {value}\n{written}\n")
    (args.out / "samples.txt").write_text("\n".join(samples), encoding="utf-8")
    course.report(args.out, results)


if __name__ == "__main__":
    main()
