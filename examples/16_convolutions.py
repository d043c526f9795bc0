"""Convolution in one, two, three and four dimensions: the same layer, the same sum, a window with one more axis each.

A number of the output is a sum over a window of three places along each axis: 3 numbers of a series, 9 of an image, 27
of a film, 81 of a sequence of films. Four tasks, each of which needs all its axes: how many sunspots next month; which
digit; which way a digit moves (no frame alone shows it); whether from film to film its way turns left or right.

python examples/16_convolutions.py                           # without sunspots.csv at hand: digits read row by row
python examples/16_convolutions.py --epochs 2 --out runs/short
"""

import course
import jax
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

WAYS = np.array([(0, 1), (-1, 0), (0, -1), (1, 0)])  # right, up, left, down: each a quarter turn left of the last
FRAMES, SIZE, MONTHS, TRAINED = 4, 11, 48, 2256  # of 2,820 months


def network(outputs):
    """The network of all four: ``conv(16, 3)`` has a window of 3 along as many axes as its input has."""
    first, second = ([L.conv(many, 3, padding="SAME"), jax.nn.relu, L.max_pool(2)] for many in (16, 32))
    return dl.sequential(*first, *second, L.flatten(), L.dense(outputs))


def films(images, starts, ways):
    """Each digit moves a pixel a frame in its way, from its start on a canvas whose opposite edges meet."""
    canvases = np.pad(images, [(0, 0), (0, SIZE - 8), (0, SIZE - 8), (0, 0)])
    places = starts[:, None] + np.arange(FRAMES)[:, None] * WAYS[ways][:, None]
    return np.array([[np.roll(canvas, at, (0, 1)) for at in way] for canvas, way in zip(canvases, places, strict=True)])


def signals(parts):
    """Sunspots of each month with the next one's, in hundreds, the later years for the test; or the digits' pixels."""
    try:
        numbers = dl.data.sunspots().values / 100
    except FileNotFoundError as error:
        print(f"{error}\nso the 1-D case takes the digits instead: the 64 pixels of each, row by row, as one signal")
        return "digits, row by row", "which digit?", *({**part, "x": part["x"].reshape(-1, 64, 1)} for part in parts)
    return "sunspots", "how many next month?", *(dl.data.windows(n, MONTHS) for n in np.split(numbers, [TRAINED]))


def tasks(seed):
    """For one to four axes: the name of the data, what is asked, the training and the test part."""
    generator = np.random.default_rng(seed)
    parts, moving, turning = dl.data.digits(seed=seed), [], []
    yield from [signals(parts), ("digits", "which digit?", *parts)]
    for part in parts:
        numbers = generator.integers(0, [SIZE, SIZE, 4, 2], (len(part["y"]), 4))
        starts, way, left = numbers[:, :2], numbers[:, 2], numbers[:, 3]
        moving.append({"x": films(part["x"], starts, way), "y": way})
        steps = [films(part["x"], starts, (way + (2 * left - 1) * step) % 4) for step in range(4)]
        turning.append({"x": np.stack(steps, 1), "y": left})
    yield from [("moving digits", "which way?", *moving), ("turning digits", "left or right?", *turning)]


def learn(axes, task, args):
    """Train on one task: what came of it, the trained parameters, and the losses on the way."""
    name, question, train, test = task
    classes = int(train["y"].max()) + 1 if np.issubdtype(train["y"].dtype, np.integer) else 0
    loss = dl.losses.cross_entropy if classes else dl.losses.mean_squared_error
    model = network(classes or 1)
    print(f"\n{axes}-D, {name}: {question}\n{dl.inspect.summary(model, train['x'][:1])}")
    asked = {"loss": loss, "metrics": {"accuracy": dl.metrics.accuracy} if classes else {}, "batch_size": 32}
    trained, history = dl.fit(model, train, optimizer=optax.adam(2e-3), epochs=args.epochs, seed=args.seed, **asked)
    row, seconds = (f"{axes}-D CNN", name, course.count(trained.params)), course.seconds(history)
    end = dl.evaluate(model, trained, test, **asked)
    fall = ("training loss, last over first", history["loss"][-1] / history["loss"][0], "")
    score = ("test accuracy", 100 * end["accuracy"], "%") if classes else ("test RMSE", 100 * end["loss"] ** 0.5, "")
    return [course.Result(*row, *figure, seconds) for figure in (score, fall)], trained.params, history["loss"]


def explain(axes, params, x):
    """Print a line of the table, with a number of the first convolution added up by hand; all that it gives."""
    kernel, bias = params["conv"]["kernel"], params["conv"]["bias"]
    y = dl.functional.conv(x, kernel, bias, padding="SAME")[0]
    place = [size // 2 for size in x.shape[1:-1]]
    window = x[0, *(slice(at - 1, at + 2) for at in place)]
    by_hand, of = (window * kernel[..., 0]).sum() + bias[0], f"{' · '.join('3' * axes)} = {window.size}"
    shapes = f"{x.shape[1:]!s:18} {kernel.shape!s:21} {y.shape!s:19}"
    print(f"{axes}-D  {shapes} {of:18} {by_hand:9.4f} {y[*place, 0]:9.4f}")
    return y


def draw(panels, title, x, answer, losses):
    """The input, what one filter of the first convolution answers to it, and the loss."""
    strongest = answer.reshape(-1, answer.shape[-1]).max(0).argmax()
    for panel, values in zip(panels[:2], (x, jax.nn.relu(answer[..., strongest])), strict=True):
        if values.ndim == 1:
            panel.plot(values)
            panel.set_xlabel("place in the signal")
        else:
            films = values.reshape(-1, FRAMES if values.ndim > 2 else 1, *values.shape[-2:], 1) / values.max()
            rows, columns = ([f"{place + 1}" for place in range(many) if many > 1] for many in films.shape[:2])
            course.sheet(panel, films, rows, columns)
    panels[0].set_title(title, fontsize=10)
    panels[1].set_title(f"what filter {strongest + 1} answers", fontsize=10)
    panels[2].plot(range(1, len(losses) + 1), losses, "o-", markersize=3, color="#d95f02")
    panels[2].set(xlabel="epoch", ylabel="training loss", ylim=(0, None), xticks=range(0, len(losses) + 1, 2))


def main():
    parser = course.parser(__doc__, "16_convolutions")
    parser.add_argument("--epochs", type=int, default=12)
    args = course.parse(parser)
    learnt = [(axes, task, *learn(axes, task, args)) for axes, task in enumerate(tasks(args.seed), 1)]
    print(f"\n     {'input':18} {'kernel':21} {'output':19} {'a sum over':18}   by hand  by layer")
    figure = course.figure(10, 10)
    for row, (axes, task, _, params, losses) in zip(figure.subplots(4, 3), learnt, strict=True):
        x = task[3]["x"][:1]
        draw(row, f"{axes}-D, {task[0]}: {task[1]}", x[0, ..., 0], explain(axes, params, x), losses)
    figure.savefig(args.out / "convolutions.png", dpi=100)
    course.report(args.out, [result for _, _, results, *_ in learnt for result in results])


if __name__ == "__main__":
    main()
