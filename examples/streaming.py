"""Train from files: what is in memory is the batch at hand, so that a set of any size goes the same way.

python examples/streaming.py                             # 1,797 embedded digits, no network
python examples/streaming.py --dataset mnist             # found through JAXDL_DATA_DIR, or downloaded
python examples/streaming.py --out runs/streaming        # again, at any time: it goes on where it was

The first run writes the training images into .npy files, piece by piece, and the held-out ones into a folder of
pictures. Kill it at any moment and run it again: it goes on from its checkpoint, stops where it would have, and each
epoch has one line in history.jsonl. The images are shifted at random inside the compiled program, on the device.
"""

import argparse
from pathlib import Path

import jax
import numpy as np
import optax
from PIL import Image

import jaxdl as dl
from jaxdl import layers as L

MODEL = dl.sequential(
    L.conv(32, 3), jax.nn.relu, L.max_pool(2), L.flatten(), L.dropout(0.2), L.dense(128), jax.nn.relu, L.dense(10)
)
SHIFT = dl.data.augment.crop(1)
PIECE = 1000
"""Images that are in memory at once while the files are written."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--epochs", type=int, default=40, help="at most; it stops when the held-out loss gains nothing")
    parser.add_argument("--patience", type=int, default=5, help="epochs in a row that may gain nothing")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/streaming"), help="folder for data, checkpoints, history"
    )
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / ".writable").touch()
        (args.out / ".writable").unlink()
    except OSError as error:
        parser.error(f"--out {args.out}: cannot write there ({error.strerror})")
    return args


def write(dataset: str, folder: Path) -> None:
    """The real images as files: training as arrays of uint8, the held-out ones as a folder of PNGs for each class."""
    train, test = dl.data.digits() if dataset == "digits" else dl.data.mnist()
    (folder / "train").mkdir(parents=True, exist_ok=True)
    images = np.lib.format.open_memmap(folder / "train" / "x.npy", "w+", np.uint8, train["x"].shape)
    for start in range(0, len(images), PIECE):
        images[start : start + PIECE] = np.rint(255 * train["x"][start : start + PIECE])
    images.flush()
    np.save(folder / "train" / "y.npy", train["y"])
    for number, (image, label) in enumerate(zip(test["x"], test["y"], strict=True)):
        place = folder / "test" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(255 * image[..., 0]).astype(np.uint8)).save(place / f"{number:05d}.png")
    (folder / "whole").touch()  # last, so that files which a kill left half written are written again


def transform(batch: dict, key: jax.Array | None) -> dict:
    """Inside of the program: bytes to numbers and, in training alone, a random shift."""
    batch = batch | {"x": batch["x"].astype(np.float32) / 255}
    return SHIFT(batch, key)


def main() -> None:
    args = arguments()
    data = args.out / args.dataset
    if not (data / "whole").exists():
        write(args.dataset, data)
    train = dl.data.memmap(data / "train")
    test = dl.data.image_folder(data / "test", train["x"].shape[1:3], channels=1, dtype=np.uint8)
    print(f"{len(train['y']):,} images in {data / 'train'}, {len(test):,} in {data / 'test'}")

    trained, history = dl.fit(
        MODEL,
        train,
        loss=dl.losses.cross_entropy,
        optimizer=optax.adam(1e-3),
        epochs=args.epochs,
        batch_size=args.batch_size,
        validation=test,
        metrics={"accuracy": dl.metrics.accuracy},
        transform=transform,
        checkpoint=dl.Checkpoint(args.out / f"{args.dataset}_run", best="validation_loss", mode="min"),
        resume=True,
        callbacks=[
            dl.early_stopping("validation_loss", patience=args.patience),
            dl.history_file(args.out / f"{args.dataset}_history.jsonl"),
            dl.inspect.live_plot(args.out / f"{args.dataset}_curves.png"),
        ],
    )

    if not history:
        raise SystemExit("stopped before the first epoch was done: run it again to go on")
    found = dl.evaluate(
        MODEL, trained, test, loss=dl.losses.cross_entropy, metrics={"accuracy": dl.metrics.accuracy},
        transform=transform,
    )  # fmt: skip
    best = int(trained.step) // -(-len(train["y"]) // args.batch_size)
    print(f"wrote {', '.join(sorted(path.name for path in args.out.iterdir()))} to {args.out}/")
    print(f"test accuracy {100 * found['accuracy']:.2f} % with the state of epoch {best} of {len(history['epoch'])}")


if __name__ == "__main__":
    main()
