"""Against overfitting: L1, L2 and both on a linear model, beside scikit-learn's; then seven ways on one network.

A penalty pulls coefficients towards zero: Σ|w| lets go of one after the other, Σw² shrinks them together. The
network learns its few rows by heart unless something holds it back: a penalty of weights or of activations (sparse),
dropout, or the end of training at the best epoch. The validation part chooses how much; the test part is read once.

python examples/04_regularisation.py                            # scikit-learn's diabetes, no network
python examples/04_regularisation.py --dataset wine_quality     # or abalone: found through JAXDL_DATA_DIR
"""

import time

import course
import jax
import numpy as np
import optax
from matplotlib import colormaps
from sklearn.linear_model import ElasticNet, Lasso, Ridge

import jaxdl as dl
from jaxdl import layers as L

LINE, LOSS = L.dense(1, use_bias=False), dl.losses.mean_squared_error  # features and target are centred: no bias
STRENGTHS = np.geomspace(0.01, 3, 30)
EXACT = {"fit_intercept": False, "tol": 1e-10, "max_iter": 1_000_000}
KINDS = {  # shares of the strength, and scikit-learn's: of half the mean error, but of the sum of errors for Ridge
    "L1": (1, 0, lambda l1, l2, rows: Lasso(alpha=l1 / 2, **EXACT)),
    "L2": (0, 1, lambda l1, l2, rows: Ridge(alpha=l2 * rows, fit_intercept=False)),
    "elastic net": (0.5, 0.5, lambda l1, l2, rows: ElasticNet(alpha=l1 / 2 + l2, l1_ratio=l1 / (l1 + 2 * l2), **EXACT)),
}


def coefficients(data, l1, l2, steps=20_000):
    """What minimises the mean squared error + l1 Σ|w| + l2 Σw²: after each step along the gradient the soft threshold
    that stands for l1 Σ|w|, whose own gradient leads about zero and never onto it."""
    rate = 0.5 / (np.linalg.norm(data["x"], 2) ** 2 / len(data["x"]) + l2)
    optimizer = optax.chain(optax.sgd(rate), dl.penalties.proximal_l1(rate * l1, 1.0))  # traced, so one product
    loss_fn = dl.supervised(LINE, LOSS, penalty=lambda params: l2 * dl.penalties.l2(1.0)(params))
    step, start = dl.make_step(loss_fn, optimizer), dl.train.create_state(LINE, optimizer, data["x"])
    return jax.lax.fori_loop(0, steps, lambda _, state: step(state, data)[0], start).params["kernel"][:, 0]


def draw_paths(path, dataset, data, features):
    """Each coefficient over the strength, ours as lines, scikit-learn's as dots; gives their largest differences."""
    figure, results, begin = course.figure(12, 4.4), [], time.perf_counter()
    rows = np.hstack([data["x"], data["y"]]).astype(float)
    few = np.float32(np.linalg.qr(rows)[1] * (rows.shape[1] / len(rows)) ** 0.5)  # the same error for all weights
    strengths = np.float32([np.outer(STRENGTHS, shares) for *shares, _ in KINDS.values()])
    found = jax.vmap(jax.vmap(lambda both: coefficients({"x": few[:, :-1], "y": few[:, -1:]}, *both)))(strengths)
    seconds = (time.perf_counter() - begin) / len(KINDS)
    for axes, kind, lines, pairs in zip(figure.subplots(1, 3, sharey=True), KINDS, found, strengths, strict=True):
        models = [KINDS[kind][-1](*pair, len(rows)).fit(rows[:, :-1], rows[:, -1]) for pair in pairs.tolist()]
        dots = np.array([model.coef_ for model in models])
        row = (f"linear, {kind}", dataset, len(features), "largest difference to scikit-learn's coefficients")
        results.append(course.Result(*row, np.abs(lines - dots).max(), "", seconds))
        axes.set_prop_cycle(color=colormaps["tab20"].colors)
        axes.plot(STRENGTHS, lines, label=features)
        axes.plot(STRENGTHS[::3], dots[::3], "k.", markersize=3)
        axes.set(title=f"{kind} (dots: scikit-learn)", xscale="log", xlabel="strength λ", ylabel="coefficient")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=100)
    return results


def net(*extra):
    return dl.sequential(L.dense(64), jax.nn.relu, *extra, L.dense(64), jax.nn.relu, *extra, L.dense(1))


def ways(tries):
    """Each way of holding the network back, with its settings from weak to strong: their names, model, and penalty."""
    penalties, sizes = dl.penalties, (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
    yield "none", [("", net(), {})]
    yield "L1", [(f"λ = {s:g}", net(), {"penalty": penalties.l1(s)}) for s in sizes[:tries]]
    yield "L2", [(f"λ = {s:g}", net(), {"penalty": penalties.l2(s)}) for s in sizes[2:][:tries]]
    yield "elastic net", [(f"λ = {s:g} each", net(), {"penalty": penalties.elastic_net(s, s)}) for s in sizes[:tries]]
    yield "dropout", [(f"rate {rate:g}", net(L.dropout(rate)), {}) for rate in (0.2, 0.4, 0.6)[:tries]]
    yield "early stopping", [("patience 20", net(), {"callbacks": [dl.early_stopping("validation_loss", patience=20)]})]
    yield "sparse", [(f"λ = {s:g}", net(L.activity_penalty(penalties.activity_l1(s))), {}) for s in sizes[3:][:tries]]


def parts(dataset, seed):
    """Training, validation and test part, standardised by the first one; the target's deviation; the features."""
    table = getattr(dl.data, dataset)()
    rows = np.unique(np.column_stack([table.data["x"], table.data["y"]]), axis=0)  # no row in two parts
    rest, test = dl.data.split({"x": rows[:, :-1], "y": rows[:, -1:]}, 0.2, seed=seed, stratify=False)
    found = (*dl.data.split(rest, 0.25, seed=seed, stratify=False), test)
    x, y = (dl.data.standardize(*[part[name] for part in found]) for name in "xy")
    return [{"x": a, "y": b} for a, b in zip(x, y, strict=True)], found[0]["y"].std(), table.features


def main():
    parser = course.parser(__doc__, "04_regularisation", ["diabetes", "wine_quality", "abalone"])
    parser.add_argument("--epochs", type=int, default=200, help="of the network")
    parser.add_argument("--tries", type=int, choices=(1, 2, 3), default=3, help="settings of each way")
    args = course.parse(parser)
    (train, validation, test), deviation, features = parts(args.dataset, args.seed)
    results = draw_paths(args.out / "paths.png", args.dataset, train, features)
    print(dl.inspect.summary(net(), train["x"][:1]))
    axes, table, sets = (figure := course.figure(9, 4.4)).subplots(), [], {"train error": train, "test error": test}
    common = {"optimizer": optax.adam(1e-3), "loss": LOSS, "epochs": args.epochs, "batch_size": 32, "seed": args.seed}
    for way, settings in ways(args.tries):
        tried = [(name, m, *dl.fit(m, train, validation=validation, **common, **more)) for name, m, more in settings]
        seconds = sum(course.seconds(history) for *_, history in tried)
        chosen, model, trained, history = min(tried, key=lambda found: found[-1]["validation_loss"][-1])
        axes.plot(history["epoch"], deviation * np.sqrt(history["validation_loss"]), label=f"{way} {chosen}".strip())
        errors = {on: deviation * dl.evaluate(model, trained, sets[on], loss=LOSS)["loss"] ** 0.5 for on in sets}
        near = np.mean(np.abs(np.concatenate([np.ravel(layer["kernel"]) for layer in trained.params.values()])) < 1e-3)
        active = np.mean(train["x"] @ trained.params["dense"]["kernel"] + trained.params["dense"]["bias"] > 0)
        table.append("{:16}{:18}{:11.3f}{:12.3f}{:12.1%}{:10.1%}".format(way, chosen, *errors.values(), near, active))
        row = f"MLP, {way}", args.dataset, course.count(trained.params)
        results += [course.Result(*row, *error, "", seconds) for error in errors.items()]
    axes.set(title="The network on the validation part", xlabel="epoch", ylabel="root mean squared error")
    figure.legend(loc="outside right center", fontsize=8)
    figure.savefig(args.out / "network.png", dpi=100)
    print(f"{'way':16}{'chosen':18}train error  test error  weights ~0  units on", *table, sep="\n")
    course.report(args.out, results)


if __name__ == "__main__":
    main()
