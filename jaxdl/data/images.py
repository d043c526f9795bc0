"""Image data sets, as ``{"x": float32 (n, height, width, channels) in [0, 1], "y": int32 (n,)}``."""

import gzip
import os
from pathlib import Path

import numpy as np

from jaxdl.core.extras import need
from jaxdl.data.files import DataFile, find_files
from jaxdl.data.idx import read_idx
from jaxdl.data.split import split

Data = dict[str, np.ndarray]


def digits(*, test: float = 0.2, seed: int = 0) -> tuple[Data, Data]:
    """Handwritten digits: 1,797 images of 8×8 in 10 classes, the ones that ship with scikit-learn; no network.

    **Args** ``test``: the share held out, with the classes in proportion; ``seed``: of the split.

    Example:
        >>> train, test = digits()
        >>> train["x"].shape, test["x"].shape, train["y"].dtype
        ((1437, 8, 8, 1), (360, 8, 8, 1), dtype('int32'))

    **References** Alpaydin and Kaynak, Optical recognition of handwritten digits, UCI machine learning repository,
    1998.
    """
    datasets = need("sklearn.datasets", "data.digits", extra="data")
    bunch = datasets.load_digits()
    data = {"x": (bunch.images / 16).astype(np.float32)[..., None], "y": bunch.target.astype(np.int32)}
    return split(data, test, seed=seed)


def mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Data, Data]:
    """Handwritten digits: 60,000 and 10,000 images of 28×28 in 10 classes.

    **Args** ``folder``: where the four files are; by default they are searched in ``$JAXDL_DATA_DIR``, then in the
    cache folder, then downloaded, with their SHA-256 verified.

    **Raises** ``FileNotFoundError`` that names the files, their checksums and where to put them.

    **References** LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
    """
    return _four_files("mnist", _MNIST, _MNIST_MIRRORS, folder)


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Data, Data]:
    """Articles of clothing: 60,000 and 10,000 images of 28×28 in 10 classes, named by :data:`FASHION_CLASSES`.

    **Args**, **Raises** as for :func:`mnist`.

    **References** Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017.
    """
    return _four_files("fashion_mnist", _FASHION, _FASHION_MIRRORS, folder)


def cifar10_subset(folder: str | os.PathLike[str] | None = None) -> tuple[Data, Data]:
    """Colour photographs: the first 4,000 training and 1,000 test images of CIFAR-10, 32×32 in 10 classes, named by
    :data:`CIFAR10_CLASSES`. A subset: its accuracies do not compare with published ones.

    **Args** ``folder``: where ``train_4000.bin.gz`` and ``test_1000.bin.gz`` are, by default searched as for
    :func:`mnist`; there is no public download.

    **Raises** as :func:`mnist`.

    **References** Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    train, test = find_files("cifar10_subset", _CIFAR10, (), folder)
    return _records(train), _records(test)


def _records(path: Path) -> Data:
    """CIFAR's binary layout: for each image its label, then the red, the green and the blue plane, row by row."""
    with gzip.open(path) as stream:
        rows = np.frombuffer(stream.read(), np.uint8).reshape(-1, 3073)
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return {"x": images / np.float32(255), "y": rows[:, 0].astype(np.int32)}


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

_MNIST_MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist",
)
_MNIST = (
    DataFile("train-images-idx3-ubyte.gz", 9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    DataFile("train-labels-idx1-ubyte.gz", 28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    DataFile("t10k-images-idx3-ubyte.gz", 1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    DataFile("t10k-labels-idx1-ubyte.gz", 4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
_FASHION_MIRRORS = (
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
)
_FASHION = (
    DataFile(
        "train-images-idx3-ubyte.gz", 26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
    ),
    DataFile("train-labels-idx1-ubyte.gz", 29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    DataFile("t10k-images-idx3-ubyte.gz", 4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    DataFile("t10k-labels-idx1-ubyte.gz", 5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)


_CIFAR10 = (
    DataFile("train_4000.bin.gz", 11316918, "0bb145d179ecb2a750190e62493390eeb7162bf39f48bbe8e48630dd27a8a1ba"),
    DataFile("test_1000.bin.gz", 2825834, "481869234567c4835abc7c5f640eb4c2dd6fb841f09ea94a7f989d31f337e06c"),
)


def _four_files(
    dataset: str, files: tuple[DataFile, ...], mirrors: tuple[str, ...], folder: str | os.PathLike[str] | None
) -> tuple[Data, Data]:
    arrays = [read_idx(path) for path in find_files(dataset, files, mirrors, folder)]
    train_images, train_labels, test_images, test_labels = arrays
    return _scaled(train_images, train_labels), _scaled(test_images, test_labels)


def _scaled(images: np.ndarray, labels: np.ndarray) -> Data:
    return {"x": images[..., None] / np.float32(255), "y": labels.astype(np.int32)}
