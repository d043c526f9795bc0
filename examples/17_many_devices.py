"""One model over many devices, by one argument of ``dl.fit``: the result is that of one device.

A mesh is a grid of devices. The examples of each batch are spread over its axis ``data``: each device computes the
gradient of its share, and they add them up. What each device has to hold is said by ``sharding``: all parameters
(``"data"``), a share of each (``"fsdp"``), or columns and rows of a transformer's kernels (``"tensor"``). Without
accelerators one CPU plays eight devices: nothing is faster then, but all that is exchanged is the same.

python examples/17_many_devices.py                    # a vision transformer on 8×8 digits, eight devices of one CPU
python examples/17_many_devices.py --devices 4
python examples/17_many_devices.py --devices 0        # those that there are, such as the GPUs of this machine
"""

import course
import jax
import numpy as np
import optax

import jaxdl as dl

ONE, WAYS = "one device", ["data", "fsdp", "tensor", "fsdp+tensor"]


def where(way, count):
    """The mesh and the sharding of that name; those with ``tensor`` are of two axes."""
    if way == ONE:
        return {}
    if way in ("data", "fsdp"):
        return {"mesh": dl.mesh(data=count), "sharding": way}
    return {"mesh": dl.mesh(data=count // 2, model=2), "sharding": tuple(way.split("+"))}


def held(s):
    """How many bytes of parameters and of what the optimizer keeps for them lie on each device."""
    return dl.inspect.describe_sharding({"params": s.params, "optimizer": s.opt_state}).bytes


def draw(path, curves, bytes_held):
    left, right = (figure := course.figure(10, 3.8)).subplots(1, 2)
    for place, (name, curve) in enumerate(curves.items()):
        left.plot(range(1, 1 + len(curve)), curve, label=name, linewidth=2 * (len(curves) - place))
    left.set(xlabel="epoch", ylabel="training loss", title="Every curve lies on that of one device")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False)
    bars = right.barh(list(bytes_held), [count / 1000 for count in bytes_held.values()], color="#1f77b4")
    right.bar_label(bars, fmt="%.0f", padding=3)
    right.invert_yaxis()
    right.margins(x=0.15)
    right.set(xlabel="kB", title="Parameters and optimizer on each device")
    figure.savefig(path, dpi=110)


def main():
    parser = course.parser(__doc__, "17_many_devices")
    parser.add_argument("--devices", type=int, default=8, metavar="N", help="of one CPU; 0: those that there are")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS, metavar="WAY", help=f"of {', '.join(WAYS)}")
    args = course.parse(parser, devices=0)
    if args.devices:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", args.devices)
    if (count := len(jax.devices())) % 2 and any("tensor" in way for way in args.ways):
        parser.error(f"--ways with tensor need an even number of devices, there are {count}; --ways data fsdp does not")
    print(dl.devices())
    train, test = course.images("digits", args.seed)
    model = dl.models.vit(10, patch=2, features=64, layers=3, heads=4)
    print(dl.inspect.summary(model, train["x"][:1]))
    measured = {"loss": dl.losses.cross_entropy, "metrics": {"accuracy": dl.metrics.accuracy}}
    asked = {"optimizer": optax.adam(1e-3), "epochs": args.epochs, "batch_size": 64, "seed": args.seed}
    results, curves, bytes_held, first = [], {}, {}, None
    for name in [ONE, *args.ways]:
        print(f"\n{name}")
        s, history = dl.fit(model, train, **measured, **asked, **where(name, count))
        seconds, curves[name], bytes_held[name] = course.seconds(history), history["loss"], held(s)
        if name == "fsdp":
            print(lying := dl.inspect.describe_sharding(s.params))
            lying.plot(args.out / "parameters.png")
        first = curves[name] if first is None else first
        apart = float(np.max(np.abs(np.subtract(curves[name], first))))
        row = (f"vision transformer, {name}", "digits", course.count(s.params))
        accuracy = 100 * dl.evaluate(model, s, test, **measured)["accuracy"]
        results += [course.Result(*row, "test accuracy", accuracy, "%", seconds)]
        results += [course.Result(*row, "largest difference of the loss to one device's", apart, "", seconds)]
        results += [
            course.Result(*row, "parameters and optimizer on each device", bytes_held[name] / 1000, "kB", seconds)
        ]
    draw(args.out / "devices.png", curves, bytes_held)
    course.report(args.out, results)


if __name__ == "__main__":
    main()
