"""The course's CNN on real images: train it, watch it, look at what it gets wrong.

python examples/images.py                                # 1,797 embedded digits, no network
python examples/images.py --dataset mnist                # found through JAXDL_DATA_DIR, or downloaded
python examples/images.py --dataset fashion_mnist --epochs 10 --out runs/fashion
"""

import argparse
import json
from pathlib import Path

import jax
import numpy as np
import optax

import jaxdl as dl
from jaxdl import layers as L

MODEL = dl.sequential(
    L.conv(32, 3),
    jax.nn.relu,
    L.max_pool(2),
    L.flatten(),
    L.dense(128),
    jax.nn.relu,
    L.dense(10),
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["digits", "mnist", "fashion_mnist"], default="digits")
    parser.add_argument("--epochs", type=int, help="default: 30 for the small digits, else 5")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1, help="of the initial values, the order and the digits' split")
    parser.add_argument("--out", type=Path, default=Path("runs/images"), help="folder for weights, history, pictures")
    args = parser.parse_args()
    args.epochs = args.epochs if args.epochs is not None else 30 if args.dataset == "digits" else 5
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / ".writable").touch()
        (args.out / ".writable").unlink()
    except OSError as error:
        parser.error(f"--out {args.out}: cannot write there ({error.strerror})")
    return args


def main() -> None:
    args = arguments()
    train, test = dl.data.digits(seed=args.seed) if args.dataset == "digits" else getattr(dl.data, args.dataset)()
    classes = dl.data.FASHION_CLASSES if args.dataset == "fashion_mnist" else None

    print(f"{args.dataset}: {len(train['y']):,} training and {len(test['y']):,} test images on {jax.devices()[0]}")
    print(dl.inspect.summary(MODEL, train["x"][:1]))
    trained, history = dl.fit(
        MODEL,
        train,
        loss=dl.losses.cross_entropy,
        optimizer=optax.adam(1e-3),
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation=test,
        metrics={"accuracy": dl.metrics.accuracy},
        seed=args.seed,
    )

    if not history:
        raise SystemExit("stopped before the first steps were done: nothing to show")

    logits = dl.predict(MODEL, trained, test["x"])
    predicted = np.argmax(logits, axis=-1)
    dl.interop.save_params(args.out / "params.safetensors", trained.params, metadata={"dataset": args.dataset})
    (args.out / "history.json").write_text(json.dumps(history, indent=1) + "\n")
    dl.inspect.plot_history(history, args.out / "learning_curves.png")
    dl.inspect.plot_confusion(test["y"], predicted, classes, args.out / "confusion.png")
    dl.inspect.plot_mistakes(test["x"], test["y"], logits, classes, path=args.out / "mistakes.png")
    print(f"wrote {', '.join(sorted(path.name for path in args.out.iterdir()))} to {args.out}/")
    correct = int((predicted == test["y"]).sum())
    print(f"test accuracy {100 * correct / len(predicted):.2f} % ({correct} of {len(predicted)})")


if __name__ == "__main__":
    main()
