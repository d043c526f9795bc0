"""Readers, the search for files, splits and orders."""

import functools
import gzip
import hashlib
import http.client
import http.server
import struct
import threading
import urllib.request

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import data
from jaxdl.data import files, images
from jaxdl.data.files import DataFile, find_files

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


def idx(array, kind=0x08):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def write(tmp_path):
    def write(content, name="a-idx"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("kind", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")]
)
def test_idx_of_every_type(write, pack, kind, dtype):
    array = IMAGES.astype(dtype)
    found = data.read_idx(write(pack(idx(array, kind))))
    np.testing.assert_array_equal(found, array)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "must begin with two zero bytes, a known type and 1 or more axes; got first bytes none"),
        (b"PNG!" + bytes(20), "got first bytes 50 4e 47 21"),
        (bytes([0, 0, 7, 1]) + bytes(20), "got first bytes 00 00 07 01"),
        (bytes([0, 0, 8, 0]), "got first bytes 00 00 08 00"),
        (idx(IMAGES)[:9], "the header must give 3 sizes; got one that is truncated"),
        (idx(IMAGES)[:-5], r"24 bytes must follow the header of shape \(2, 3, 4\); got 19, it is truncated"),
        (idx(IMAGES) + b"!", "24 bytes must follow the header of shape .*; got more"),
        (gzip.compress(idx(IMAGES))[:-12], "the gzip stream must be whole; got one that is truncated"),
        (gzip.compress(idx(IMAGES))[:-8] + bytes(8), "the gzip stream must be sound; got a damaged one .*CRC"),
        (gzip.compress(idx(IMAGES))[:10] + b"\xff" * 40, "the gzip stream must be sound; got a damaged one"),
    ],
    ids=["empty", "png", "type", "axes", "header", "short", "long", "gzip-short", "gzip-crc", "gzip-bytes"],
)
def test_damaged_idx_files_are_named(write, content, text):
    path = write(content)
    with pytest.raises(ValueError, match=text) as error:
        data.read_idx(path)
    assert str(path) in str(error.value)


def test_a_small_file_cannot_expand_without_bound(write):
    bomb = bytes([0, 0, 8, 3]) + struct.pack(">3I", 60000, 60000, 60000)
    with pytest.raises(ValueError, match="the array must hold at most max_bytes=1073741824; got shape"):
        data.read_idx(write(gzip.compress(bomb + bytes(1 << 20))))
    with pytest.raises(ValueError, match="max_bytes=10; got shape"):
        data.read_idx(write(idx(IMAGES)), max_bytes=10)


def file_of(name, content):
    return DataFile(name, len(content), hashlib.sha256(content).hexdigest())


A, B = b"first file", b"second file!"
FILES = (file_of("a.gz", A), file_of("b.gz", B))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A place of its own: no environment folder, an empty cache."""
    monkeypatch.delenv("JAXDL_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def put(folder):
    folder.mkdir(parents=True)
    (folder / "a.gz").write_bytes(A)
    (folder / "b.gz").write_bytes(B)
    return folder


def test_the_search_order(home, monkeypatch):
    argument, environment = put(home / "argument"), put(home / "environment" / "set")
    cached = put(files.cache_folder() / "set")
    monkeypatch.setenv("JAXDL_DATA_DIR", str(home / "environment"))
    assert find_files("set", FILES, (), argument)[0].parent == argument
    assert find_files("set", FILES, ())[0].parent == environment
    monkeypatch.delenv("JAXDL_DATA_DIR")
    assert find_files("set", FILES, ())[0].parent == cached


def test_another_set_of_the_same_file_names_does_not_stand_in_the_way(home, monkeypatch):
    other = put(home / "flat")
    (other / "a.gz").write_bytes(b"not the one")
    monkeypatch.setenv("JAXDL_DATA_DIR", str(other))
    cached = put(files.cache_folder() / "set")
    assert find_files("set", FILES, ())[0].parent == cached


def test_a_wrong_file_is_named_and_kept(home):
    folder = put(home / "here")
    (folder / "b.gz").write_bytes(b"second file?")
    with pytest.raises(ValueError, match=f"b.gz: must have SHA-256 {FILES[1].sha256}; got "):
        find_files("set", FILES, (), folder)
    (folder / "b.gz").write_bytes(b"short")
    with pytest.raises(ValueError, match="b.gz: must have 12 bytes; got 5"):
        find_files("set", FILES, (), folder)
    assert (folder / "b.gz").read_bytes() == b"short"


@pytest.fixture
def mirror(home):
    """A server on this machine with the two files, and a log of what it was asked for."""
    served = put(home / "served")
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", served, asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_is_verified_and_happens_once(mirror):
    url, _served, asked = mirror
    paths = find_files("set", FILES, ("http://127.0.0.1:9", url))
    assert [path.read_bytes() for path in paths] == [A, B]
    assert find_files("set", FILES, ()) == paths
    assert asked.count("/a.gz") == 1
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["a.gz", "b.gz"], "no temporary file stays"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"virus file", "must have SHA-256"),
        (b"x" * 100, "must have 10 bytes; got 11"),
        (b"x", "must have 10 bytes; got 1"),
    ],
    ids=["other", "longer", "shorter"],
)
def test_a_wrong_download_never_takes_the_name(mirror, content, text):
    url, served, _ = mirror
    (served / "a.gz").write_bytes(content)
    with pytest.raises(FileNotFoundError, match=text):
        find_files("set", FILES, (url,))
    assert list((files.cache_folder() / "set").iterdir()) == []


def test_a_mirror_that_speaks_no_http_is_passed_over(mirror, monkeypatch):
    url, _, asked = mirror
    opened = urllib.request.urlopen

    def broken(address, timeout):
        if address.split("/")[3] == "9":
            raise http.client.BadStatusLine("nonsense")
        return opened(address, timeout=timeout)

    monkeypatch.setattr(urllib.request, "urlopen", broken)
    assert [path.read_bytes() for path in find_files("set", FILES, (f"{url}/9", url))] == [A, B]
    assert asked == ["/a.gz", "/b.gz"]


def test_offline_and_not_found_says_what_to_put_where(home, monkeypatch):
    monkeypatch.setattr(images, "_MNIST_MIRRORS", ("http://127.0.0.1:9",))
    with pytest.raises(FileNotFoundError) as error:
        data.mnist()
    text = str(error.value)
    assert "train-images-idx3-ubyte.gz  9912422 bytes  sha256 440fcabf73cc546fa21475e81ea3702656" in text
    assert f"Put these files into {files.cache_folder() / 'mnist'}" in text
    assert "Connection refused" in text
    with pytest.raises(FileNotFoundError, match="mnist: not found in .*nowhere/mnist\n"):
        data.mnist(home / "nowhere")


def test_of_a_set_that_is_there_in_part_the_files_that_lack_are_named(home):
    (home / "a.gz").write_bytes(A)
    with pytest.raises(FileNotFoundError, match=r"not found in .*\n  .* lacks b\.gz, and holds the others\n"):
        find_files("set", FILES, (), home)


def test_an_unwritable_cache_is_named(home, monkeypatch):
    (home / "cache").write_text("a file where the folder should be")
    with pytest.raises(FileNotFoundError, match=r"Not a directory: .*cache/jaxdl"):
        find_files("set", FILES, ("http://127.0.0.1:9",))


def test_mnist_reads_its_four_files(home, monkeypatch):
    labels = np.array([3, 9], np.uint8)
    contents = [gzip.compress(idx(array)) for array in (IMAGES, labels, IMAGES[:1], labels[:1])]
    names = [file.name for file in images._MNIST]
    monkeypatch.setattr(images, "_MNIST", tuple(map(file_of, names, contents)))
    for name, content in zip(names, contents, strict=True):
        (home / name).write_bytes(content)
    train, test = data.mnist(home)
    assert train["x"].shape == (2, 3, 4, 1)
    assert train["x"].dtype == np.float32
    np.testing.assert_allclose(train["x"][1, 2, 3, 0], 23 / 255)
    assert test["y"].tolist() == [3]
    assert test["y"].dtype == np.int32


def test_digits_are_split_in_proportion_and_without_overlap():
    train, test = data.digits()
    assert len(train["y"]) + len(test["y"]) == 1797
    assert np.abs(np.bincount(train["y"]) / len(train["y"]) - np.bincount(test["y"]) / len(test["y"])).max() < 0.002
    again, _ = data.digits()
    other, _ = data.digits(seed=1)
    np.testing.assert_array_equal(train["x"], again["x"])
    assert not np.array_equal(train["y"], other["y"])
    assert 0 == train["x"].min() < train["x"].max() == 1


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.integers(0, 5))
def test_a_split_shares_no_example(half, seed):
    whole = {"x": np.arange(2 * half), "y": np.arange(2 * half) % 2}
    train, test = data.split(whole, 0.5, seed=seed)
    assert sorted([*train["x"], *test["x"]]) == list(range(2 * half))
    np.testing.assert_array_equal(train["y"], train["x"] % 2)


def test_wrong_splits_are_named():
    whole = {"x": np.arange(4), "y": np.arange(4) % 2}
    for share in (0, 1, -1):
        with pytest.raises(ValueError, match=f"test must be a share between 0 and 1; got {share}"):
            data.split(whole, share)
    with pytest.raises(ValueError, match=r'stratify=True needs data\["y"\]'):
        data.split({"x": np.arange(4)}, 0.5)
    with pytest.raises(ValueError, match="must have the same number of examples"):
        data.split({"x": np.arange(4), "y": np.arange(3)}, 0.5)


def test_standardize_of_integers_and_of_what_does_not_vary():
    scaled, other = data.standardize(np.array([[0], [200], [100]], np.uint8), np.array([[50]], np.uint8))
    np.testing.assert_allclose(scaled.ravel(), [-1.2247449, 1.2247449, 0], rtol=1e-6)
    np.testing.assert_allclose(other.ravel(), [-0.61237246], rtol=1e-6)
    for count in (3, 7, 1000):
        same, off = data.standardize(np.full((count, 1), 0.1), np.array([[0.6]]))
        assert not same.any()
        np.testing.assert_allclose(off, 0.5)


def test_standardize_takes_statistics_from_the_training_part_alone():
    rng = np.random.default_rng(0)
    train, test = rng.normal(5, 3, (100, 2)), rng.normal(-5, 1, (50, 2))
    train[:, 1] = 7
    scaled, other = data.standardize(train, test)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(0), [1, 0], atol=1e-12)
    np.testing.assert_allclose(other[:, 0], (test[:, 0] - train[:, 0].mean()) / train[:, 0].std())


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200), st.integers(0, 2**40), st.integers(0, 1000))
def test_an_order_is_a_permutation_and_a_function_of_seed_and_epoch(count, seed, epoch):
    order = data.epoch_order(count, seed=seed, epoch=epoch)
    assert sorted(order.tolist()) == list(range(count))
    np.testing.assert_array_equal(order, data.epoch_order(count, seed=seed, epoch=epoch))


def test_orders_of_epochs_and_seeds_differ_and_do_not_change_with_versions():
    assert data.epoch_order(8, seed=0, epoch=0).tolist() == PINNED
    assert data.epoch_order(8, seed=0, epoch=1).tolist() != PINNED
    assert data.epoch_order(8, seed=1, epoch=0).tolist() != PINNED


PINNED = [5, 0, 6, 1, 7, 2, 4, 3]
