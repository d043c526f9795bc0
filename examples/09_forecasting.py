"""Forecast the next value of a series by recurrent and convolutional networks, beside what needs no learning.

Two forecasts cost nothing: the last value again (persistence), and the value a season ago (seasonal naive). A network
reads a window of values, scaled by the training part alone, and answers how the next one differs from the last: zero at
first, which is persistence, then it learns what that misses. Training, validation and test part follow in time.

python examples/09_forecasting.py                                 # airline passengers, 144 months
python examples/09_forecasting.py --dataset daily_temperatures    # each is found through JAXDL_DATA_DIR, or downloaded
python examples/09_forecasting.py --dataset sunspots
"""

import functools

import course
import jax
import numpy as np
import optax
from sklearn.metrics import root_mean_squared_error as rmse

import jaxdl as dl
from jaxdl import layers as L

TASKS = {
    "airline_passengers": {"season": 12, "length": 12, "scale": (np.log, np.exp), "differenced": True},
    "daily_temperatures": {"season": 365, "length": 30, "calendar": True},
    "sunspots": {"season": 132, "length": 36, "scale": (np.sqrt, np.square)},
}
NAIVE = ("persistence", "seasonal naive")


def networks(hidden):
    cells = {"simple RNN": L.simple_rnn, "LSTM": L.lstm, "GRU": L.gru}
    answer = L.dense(1, kernel_init=jax.nn.initializers.zeros)
    found = {name: dl.sequential(cell(hidden, outputs="last"), answer) for name, cell in cells.items()}
    last = lambda x: x[:, -1]  # (batch, time, features) -> (batch, features), which has seen 15 steps  # noqa: E731
    conv = [(L.conv(hidden, 3, padding="CAUSAL", dilation=dilation), jax.nn.relu) for dilation in (1, 2, 4)]
    return found | {"causal CNN": dl.sequential(*[part for pair in conv for part in pair], last, answer)}


class Windows:
    """The windows of a series in the order of time, and the way back from a network's answers to the series' unit.

    ``season``, ``length`` of a window: in steps; ``scale``, there and back, on which the series swings evenly;
    ``differenced`` against a season ago; ``calendar``: whether a network is told the time of the year.
    """

    def __init__(self, series, season, length, scale=(np.positive, np.positive), differenced=False, calendar=False):
        count, lag = len(series.values), season * differenced
        self.back, self.first, a, b = scale[1], lag + length, round(0.65 * count), round(0.8 * count)
        self.times = {"train": slice(self.first, a), "validation": slice(a, b), "test": slice(b, count)}
        values = scale[0](series.values)
        self.base = np.concatenate([np.zeros(lag, np.float32), values[: count - lag]]) * differenced
        rest = (values - self.base)[lag:]
        self.mean, self.deviation = rest[: a - lag].mean(), rest[: a - lag].std()
        columns = [(rest - self.mean) / self.deviation]
        if calendar:  # row i tells of day i + 1, whose date is known before
            days = (series.dates - series.dates.astype("datetime64[Y]")).astype(float)[lag:] + 1
            columns += [np.sin(2 * np.pi * days / 365.25), np.cos(2 * np.pi * days / 365.25)]
        found = dl.data.windows(np.stack(columns, -1).astype(np.float32), length)
        self.x, self.y = found["x"], found["y"][:, :, 0] - found["x"][:, -1:, 0]

    def part(self, name):
        rows = slice(self.times[name].start - self.first, self.times[name].stop - self.first)
        return {"x": self.x[rows], "y": self.y[rows]}  # an x may reach back into the part before, a y never

    def forecast(self, model, trained, name):
        x = self.part(name)["x"]
        answers = dl.predict(model, trained, x) + x[:, -1:, 0]
        return self.back(self.base[self.times[name]] + answers[:, 0] * self.deviation + self.mean)


def draw(path, series, times, forecasts, errors, best):
    above, below = (figure := course.figure(10, 6)).subplots(2, 1, height_ratios=(3, 2))
    end, colours = -min(120, times.stop - times.start), {best: "#d95f02"} | dict.fromkeys(NAIVE, "#bbbbbb")
    for name in (NAIVE[1], best):
        above.plot(series.dates[end:], forecasts[name][end:], color=colours[name], label=name)
    above.plot(series.dates[end:], series.values[end:], ".", color="black", markersize=4, label="measured")
    unit = f" ({series.unit})" if series.unit else ""
    above.set(ylabel=series.name + unit, ymargin=0.2, title="The end of the test part, each value from those before it")
    above.legend(frameon=False, ncols=3, loc="upper left")
    bars = below.barh(list(errors), list(errors.values()), color=[colours.get(name, "#1f77b4") for name in errors])
    below.bar_label(bars, fmt="%.3g", padding=3)
    below.invert_yaxis()
    below.set(xlabel=f"root mean squared error on the test part{unit}", title=f"Best on the validation part: {best}")
    figure.savefig(path, dpi=110)


def main():
    parser = course.parser(__doc__, "09_forecasting", list(TASKS))
    parser.add_argument("--epochs", type=int, default=200, help="at most: the validation part ends it")
    args = course.parse(parser)
    task, series = TASKS[args.dataset], getattr(dl.data, args.dataset)()
    windows, judged, rows = Windows(series, **task), {}, dict.fromkeys(NAIVE, (None, 0))
    truth, test = {name: series.values[times] for name, times in windows.times.items()}, windows.times["test"]
    print(args.dataset, "values to forecast:", ", ".join(f"{len(y):,} {name}" for name, y in truth.items()))
    lags = zip(NAIVE, (1, task["season"]), strict=True)
    forecasts = {name: series.values[test.start - lag : test.stop - lag] for name, lag in lags}
    fit = functools.partial(
        dl.fit, loss=dl.losses.mean_squared_error, optimizer=optax.adam(1e-3), batch_size=32,
        validation=windows.part("validation"), callbacks=[dl.early_stopping("validation_loss", patience=20)],
    )  # fmt: skip
    for name, model in networks(hidden=16).items():
        print(f"\n{name}\n{dl.inspect.summary(model, windows.x[:1])}")
        trained, history = fit(model, windows.part("train"), epochs=args.epochs, seed=args.seed)
        rows[name] = course.count(trained.params), course.seconds(history)
        judged[name] = rmse(truth["validation"], windows.forecast(model, trained, "validation"))
        forecasts[name] = windows.forecast(model, trained, "test")
    errors, best = {name: rmse(truth["test"], found) for name, found in forecasts.items()}, min(judged, key=judged.get)
    draw(args.out / "forecasts.png", series, test, forecasts, errors, best)
    print("\nRMSE on the validation part:", ", ".join(f"{name} {value:.4g}" for name, value in judged.items()))
    found = [(name, rows[name], "test RMSE", error, series.unit) for name, error in errors.items()]
    share = 100 * errors[best] / min(errors[name] for name in NAIVE)
    found.append(("best by validation", rows[best], "test RMSE, share of the better baseline's", share, "%"))
    course.report(args.out, [course.Result(name, args.dataset, of[0], *row, of[1]) for name, of, *row in found])


if __name__ == "__main__":
    main()
