"""Data that do not lie in memory: folders of images, memory maps, buckets of lengths, Grain's data sets."""

import itertools
import warnings

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import jaxdl as dl
from jaxdl import data
from jaxdl import layers as L
from jaxdl.data.examples import stack_examples
from jaxdl.train import chunks, feed, sources

RNG = np.random.default_rng(0)
MODEL = dl.sequential(L.flatten(), L.dense(2))
HOW = dict(loss=dl.losses.cross_entropy, optimizer=optax.sgd(0.1), progress=False)


def equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


# Folders of images


@pytest.fixture
def folder(tmp_path):
    for name, shade in (("cats", 40), ("dogs", 200)):
        (tmp_path / name / "deeper").mkdir(parents=True)
        for index, place in enumerate(("a.png", "deeper/b.jpg", "c.PNG")):
            picture = np.full((20 + 4 * index, 30, 3), shade, np.uint8)
            picture[:, :15] += index
            Image.fromarray(picture).save(tmp_path / name / place)
        (tmp_path / name / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    return tmp_path


def test_images_are_read_as_asked_for(folder):
    images = data.image_folder(folder, (8, 12))
    assert (len(images), images.classes) == (6, ("cats", "dogs"))
    assert [path.name for path in images.paths] == ["a.png", "c.PNG", "b.jpg"] * 2
    assert images.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert repr(images) == "image_folder of 6 images in 2 classes"
    first = images[0]
    assert (first["x"].shape, first["x"].dtype, first["y"].dtype) == ((8, 12, 3), np.float32, np.int32)
    np.testing.assert_allclose(first["x"], 40 / 255, atol=1e-6)
    np.testing.assert_allclose(images[-1]["x"], 200 / 255, atol=0.01)
    grey = data.image_folder(folder, 6, channels=1, fit="stretch", dtype=np.uint8, classes=["dogs"])
    assert (len(grey), grey[1]["x"].shape, grey[1]["x"].dtype, int(grey[1]["y"])) == (3, (6, 6, 1), np.uint8, 0)
    assert grey[0]["x"].tolist() == np.full((6, 6, 1), 200).tolist()


def test_crop_keeps_the_middle_and_stretch_all(tmp_path):
    (tmp_path / "one").mkdir()
    stripes = np.zeros((4, 12, 3), np.uint8)
    stripes[:, 4:8] = 255
    Image.fromarray(stripes).save(tmp_path / "one" / "a.png")
    crop, stretch = (data.image_folder(tmp_path, 4, fit=fit)[0]["x"] for fit in ("crop", "stretch"))
    assert crop.min() == 1
    assert stretch.min() < 0.2


def test_a_network_trains_on_a_folder(folder):
    images = data.image_folder(folder, 4)
    trained, history = dl.fit(MODEL, images, epochs=3, batch_size=2, seed=1, **HOW)
    arrays = stack_examples("test", images, range(6))
    again, _ = dl.fit(MODEL, arrays, epochs=3, batch_size=2, seed=1, **HOW)
    equal(trained.params, again.params)


def test_bad_folders_are_named(folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match="must be a folder with a folder for each class; got no folder"):
        data.image_folder(folder / "nowhere", 4)
    with pytest.raises(ValueError, match="the folder must hold a folder for each class; got none"):
        data.image_folder(folder / "cats" / "deeper", 4)
    with pytest.raises(ValueError, match="each class must have a folder; got none for 'cows'"):
        data.image_folder(folder, 4, classes=["cats", "cows"])
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="each class must have images; got none in 'empty'"):
        data.image_folder(folder, 4)
    for arguments, message in [
        (dict(size=0), "size must be a positive int"),
        (dict(size=4, channels=2), "channels must be 1 or 3; got 2"),
        (dict(size=4, fit="pad"), 'fit must be "crop" or "stretch"; got \'pad\''),
        (dict(size=4, dtype=np.int32), r"dtype must be np.uint8 or floating; got int32|dtype\('int32'\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            data.image_folder(folder, **arguments, classes=["cats"])
    (folder / "cats" / "b.png").write_bytes(b"no image at all")
    images = data.image_folder(folder, 4, classes=["cats"])
    with pytest.raises(
        ValueError, match=r"example 1, '.*b\.png', must be an image that Pillow reads; got Unidentified"
    ):
        images[1]
    (folder / "cats" / "b.png").write_bytes((folder / "cats" / "c.PNG").read_bytes()[:80])
    with pytest.raises(ValueError, match=r"example 1, '.*b\.png', must be an image"):
        images[1]

    def without_pillow(name, *args):
        if name.startswith("PIL"):
            raise ImportError(name)
        return whole(name, *args)

    whole = data.folders.need.__globals__["importlib"].import_module
    monkeypatch.setattr("jaxdl.core.extras.importlib.import_module", without_pillow)
    with pytest.raises(
        ImportError, match=r"data.image_folder: needs PIL; install it with: pip install 'jaxdl\[data\]'"
    ):
        data.image_folder(folder, 4)


# Memory maps


@pytest.mark.slow
def test_mapped_arrays_are_those_in_the_files_and_train_the_same(tmp_path):
    arrays = {"x": RNG.normal(size=(10, 3)).astype(np.float32), "y": np.arange(10) % 2}
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = data.memmap(tmp_path)
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in mapped.values())
    equal(mapped, arrays)
    named = data.memmap({"y": tmp_path / "y.npy", "x": tmp_path / "x.npy"})
    assert list(named) == ["y", "x"]
    found, expected = (dl.fit(MODEL, given, epochs=2, batch_size=4, **HOW)[0].params for given in (mapped, arrays))
    equal(found, expected)
    whole = np.memmap(tmp_path / "raw", np.float32, "w+", shape=(10, 3))
    whole[:] = arrays["x"]
    equal(dl.fit(MODEL, {"x": whole, "y": arrays["y"]}, epochs=2, batch_size=4, **HOW)[0].params, expected)


def test_mapped_arrays_are_read_in_chunks_unless_an_array_is_made_of_them(tmp_path, monkeypatch):
    """Never as a whole: neither to be kept nor to be checked."""
    monkeypatch.setattr("jaxdl.train.chunks.CHUNK_STEPS", 2)
    seen = []
    whole = feed.check_finite

    def check(call, given, *rows):
        seen.append(len(given["y"]))
        whole(call, given, *rows)

    monkeypatch.setattr("jaxdl.train.sources.check_finite", check)
    monkeypatch.setattr("jaxdl.train.chunks.check_finite", check)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (40, 3))
    x[:] = RNG.normal(size=(40, 3))
    given = {"x": x, "y": np.arange(40) % 2}
    for mapped in (given, given | {"x": np.asarray(x)}, given | {"x": x[:, 1:]}):
        assert isinstance(sources.open_feed("fit", mapped, batch_size=4), chunks.ChunkFeed)
    copied = sources.open_feed("fit", given | {"x": np.array(x)}, batch_size=4)
    assert isinstance(copied, feed.ResidentFeed)
    seen.clear()
    trained, _ = dl.fit(MODEL, given, epochs=1, batch_size=4, **HOW)
    dl.evaluate(MODEL, trained, given, loss=dl.losses.cross_entropy, batch_size=4)
    assert max(seen) == 8
    x[23, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 nan or inf in data\['x'\], the first in example 23"):
        dl.fit(MODEL, given, epochs=1, batch_size=4, **HOW)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a folder; got none, or a file"):
        data.memmap(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="the folder must hold .npy files; got none"):
        data.memmap(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"x\.npy.*must be a file; got none"):
        data.memmap({"x": tmp_path / "x.npy"})
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    np.save(tmp_path / "y.npy", np.ones(3))
    with pytest.raises(ValueError, match="all arrays must have the same number of examples"):
        data.memmap(tmp_path)
    np.save(tmp_path / "y.npy", np.array(["a", "b", "c", "d"]))
    with pytest.raises(ValueError, match=r"y\.npy.*must hold numbers; got <U1\[4\]"):
        data.memmap(tmp_path)
    np.save(tmp_path / "y.npy", np.array([{}, 1, 2, 3], object))
    with pytest.raises(ValueError, match=r"y\.npy.*must be a whole .npy file of numbers"):
        data.memmap(tmp_path)
    whole = (tmp_path / "x.npy").read_bytes()
    for damaged in (whole[:-8], whole[:40], b"", b"text"):
        (tmp_path / "x.npy").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"x\.npy.*must be a whole .npy file of numbers"):
            data.memmap({"x": tmp_path / "x.npy"})


# Sources


def test_what_a_source_raises_names_the_example():
    class Source:
        def __getitem__(self, index):
            if index == 7:
                raise OSError("the disk is gone")
            return {"x": np.ones(2 + (index == 5))}

    assert stack_examples("fit", Source(), np.array([1, 2]))["x"].shape == (2, 2)
    with pytest.raises(OSError, match="the disk is gone") as raised:
        stack_examples("fit", Source(), [3, 7])
    assert raised.value.__notes__ == ["  in example 7 of the data"]
    with pytest.raises(
        ValueError, match=r"fit: each example must be like example 3, \{'x': float64\[2\]\}; got .*\[3\]\} in"
    ):
        stack_examples("fit", Source(), [3, 5])
    mixed = [np.float32(1), np.float64(2)]
    with pytest.raises(ValueError, match=r"must be like example 0, float32\[\]; got float64\[\] in example 1"):
        stack_examples("fit", mixed, [0, 1])


def test_what_a_source_raises_names_the_example_through_fit():
    class Source:
        def __len__(self):
            return 9

        def __getitem__(self, index):
            if index == 7:
                raise OSError("the disk is gone")
            return {"x": np.ones(2, np.float32), "y": np.int32(0)}

    with pytest.raises(OSError, match="the disk is gone") as raised:
        dl.fit(MODEL, Source(), epochs=1, batch_size=3, **HOW)
    assert "  in example 7 of the data" in raised.value.__notes__


# Buckets of lengths


def sequences(count, longest, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 9, rng.integers(0, longest + 1)) for _ in range(count)]


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(1, 40),
    longest=st.integers(0, 12),
    size=st.integers(1, 7),
    lengths=st.one_of(st.integers(1, 5), st.just((3, 7, 12))),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_each_example_comes_once_in_the_smallest_size_that_holds_it(count, longest, size, lengths, epoch, shuffle):
    words, y = sequences(count, longest), np.arange(count)
    batches = data.buckets({"x": words, "y": y}, size, lengths=lengths, shuffle=shuffle)
    seen = []
    for batch in batches(epoch):
        x = batch["x"]
        assert x.x.shape[1] in batches.lengths
        assert len(x.x) == len(batch["y"]) <= size
        for row, length, label in zip(x.x, x.lengths, batch["y"], strict=True):
            np.testing.assert_array_equal(row[:length], words[label])
            assert not row[length:].any()
            assert x.x.shape[1] == min(room for room in batches.lengths if room >= length)
            seen.append(label)
    assert sorted(seen) == list(range(count))
    assert len(list(batches(epoch))) == len(batches)
    for start in {0, 1, len(batches) // 2}:
        jax.tree.map(np.testing.assert_array_equal, list(batches(epoch, start)), list(batches(epoch))[start:])


def test_the_order_is_a_function_of_seed_and_epoch():
    words = {"x": sequences(30, 9), "y": np.arange(30)}

    def order(seed, epoch, **how):
        return [batch["y"].tolist() for batch in data.buckets(words, 4, seed=seed, **how)(epoch)]

    assert order(0, 1) == order(0, 1)
    assert len({str(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4
    assert order(0, 0, shuffle=False) == order(1, 3, shuffle=False)
    dropped = order(0, 0, remainder="drop")
    assert {len(batch) for batch in dropped} == {4}


def test_targets_may_be_sequences_and_sizes_fall_evenly():
    words = [np.arange(n) for n in (1, 2, 3, 4, 5, 6, 7, 8)]
    batches = data.buckets((words, words), 8, lengths=4, shuffle=False)
    assert batches.lengths == (2, 4, 6, 8)
    for batch in batches(0):
        equal(batch["x"], batch["y"])
    assert data.buckets((words, words), 8, lengths=(8, 100)).lengths == (8, 100)
    ragged = data.pad_sequences([[1, 2], [3], [4, 5, 6]])
    (batch,) = data.buckets((ragged, np.arange(3)), 3, lengths=1, shuffle=False)(0)
    equal(batch["x"], ragged)


@pytest.mark.slow
def test_a_network_trains_on_buckets_and_resumes(tmp_path):
    words, y = [row[:8] for row in sequences(24, 8)], np.arange(24) % 2
    batches = data.buckets((words, y), 4, lengths=(4, 8), remainder="drop", seed=3)
    model = dl.sequential(L.embedding(9, 4), L.global_avg_pool(), L.dense(2))
    whole, history = dl.fit(model, batches, epochs=4, **HOW)
    assert history["steps"] == [len(batches)] * 4
    dl.fit(model, batches, epochs=2, checkpoint=tmp_path / "run", **HOW)
    resumed, again = dl.fit(model, batches, epochs=4, checkpoint=tmp_path / "run", resume=True, **HOW)
    equal(resumed.params, whole.params)
    assert again["loss"] == history["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("remainder", ["train", "drop"])
def test_buckets_say_how_many_shapes_they_have(remainder):
    words, y = [np.arange(1 + row % 8) for row in range(41)], np.arange(41) % 2
    batches = data.buckets((words, y), 4, lengths=(2, 4, 6, 8), remainder=remainder)
    assert batches.kinds == (8 if remainder == "train" else 4)
    model = dl.sequential(L.embedding(9, 4), L.global_avg_pool(), L.dense(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dl.fit(model, batches, epochs=2, **HOW)
    batches.kinds = 3
    with pytest.warns(UserWarning, match="compiled again, for batches of"):
        dl.fit(model, batches, epochs=1, **HOW | {"optimizer": optax.sgd(0.2)})


def test_wrong_buckets_are_named():
    words, y = [[1, 2], [3]], np.arange(2)
    for arguments, message in [
        (dict(data={"x": y, "y": y}), "one column must be a list of sequences, or a Ragged; got arrays: x, y"),
        (dict(data={"x": words, "y": np.arange(3)}), "all columns must have the same number of examples"),
        (dict(data={"x": [], "y": y[:0]}), "one at least"),
        (dict(data={"x": words, "y": [1, 2]}), r"a list must be of sequences, 'y' here; got a number in example 0"),
        (dict(data={"x": words, "y": [[1], [1]]}), "must be as long as each other; got 2 and 1 in example 0"),
        (dict(data=(words, y), lengths=(1,)), r"the last of lengths, 1, must hold all; got 2 in example 0"),
        (dict(data=(words, y), lengths=(3, 2)), "lengths must be ascending ints, or one int"),
        (dict(data=(words, y), lengths=0), "lengths must be a positive int; got 0"),
        (dict(data=(words, y), batch_size=0), "batch_size must be a positive int; got 0"),
        (dict(data=(words, y), remainder="keep"), 'remainder must be "train" or "drop"'),
        (dict(data=(words, y), remainder="drop", batch_size=3), "a bucket must hold a whole batch"),
    ]:
        with pytest.raises(ValueError, match=message):
            data.buckets(**{"batch_size": 2, **arguments})
    with pytest.raises(TypeError, match=r"data must be \{'x': sequences, 'y': …\} or \(x, y\)"):
        data.buckets(words, 2)
    with pytest.raises(TypeError, match=r"'y' must be a list of sequences, a Ragged or an array"):
        data.buckets((words, 3), 2)


# Grain


def numbers(grain, count=10):
    return grain.MapDataset.range(count).map(lambda i: {"x": np.full(2, i, np.float32), "y": np.int32(i % 2)})


@pytest.mark.slow
def test_grain_examples_are_a_source():
    grain = pytest.importorskip("grain")
    arrays = {"x": np.stack([np.full(2, i, np.float32) for i in range(10)]), "y": np.arange(10) % 2}
    found, expected = (
        dl.fit(MODEL, given, epochs=2, batch_size=4, **HOW)[0].params for given in (numbers(grain), arrays)
    )
    equal(found, expected)


@pytest.mark.slow
def test_grain_batches_resume_at_any_of_them(tmp_path):
    grain = pytest.importorskip("grain")
    dataset = numbers(grain).seed(1).shuffle().batch(4)
    batches = data.from_grain(dataset)
    epochs = [[batch["x"][:, 0].tolist() for batch in batches(epoch)] for epoch in range(3)]
    assert [sorted(itertools.chain(*epoch)) for epoch in epochs] == [list(range(10))] * 3
    assert len({str(epoch) for epoch in epochs}) == 3, "each epoch has an order of its own"
    for epoch in range(2):
        for start in range(4):
            assert [batch["x"][:, 0].tolist() for batch in batches(epoch, start)] == epochs[epoch][start:]
    whole, _ = dl.fit(MODEL, batches, epochs=3, **HOW)
    dl.fit(MODEL, batches, epochs=1, checkpoint=tmp_path / "run", **HOW)
    resumed, _ = dl.fit(MODEL, batches, epochs=3, checkpoint=tmp_path / "run", resume=True, **HOW)
    equal(resumed.params, whole.params)


def test_other_grain_data_sets_and_functions_of_the_epoch():
    grain = pytest.importorskip("grain")
    plain = numbers(grain).batch(4)
    loader = grain.DataLoader(
        data_source=grain.sources.RangeDataSource(0, 8, 1),
        sampler=grain.samplers.IndexSampler(8, shuffle=True, seed=0, num_epochs=1),
        operations=[grain.transforms.Batch(4)],
    )
    for made in (plain.to_iter_dataset(), loader, lambda epoch: plain.seed(epoch).shuffle()):
        batches = data.from_grain(made)
        first = list(batches(0))
        equal(list(batches(0, 1)), first[1:])
    reseeded = data.from_grain(lambda epoch: numbers(grain).seed(epoch).shuffle().batch(5))
    one, two = (next(reseeded(epoch))["x"][:, 0].tolist() for epoch in (0, 1))
    assert one != two


@pytest.mark.slow
def test_grain_worker_processes_give_the_same_batches():
    grain = pytest.importorskip("grain")
    dataset = grain.MapDataset.range(12).seed(1).shuffle().batch(4)
    alone, beside = (list(data.from_grain(dataset, workers=workers)(1, 1)) for workers in (0, 2))
    equal(beside, alone)


def test_wrong_grain_arguments_are_named(monkeypatch):
    grain = pytest.importorskip("grain")
    with pytest.raises(
        TypeError, match="data must be a grain.MapDataset, grain.IterDataset or grain.DataLoader of batches"
    ):
        data.from_grain([1, 2])
    with pytest.raises(TypeError, match="data must be a grain.MapDataset"):
        data.from_grain(lambda epoch: [1, 2])(0)
    with pytest.raises(ValueError, match=r"must end after one epoch.*Did you mean it without .repeat\(\)\?"):
        data.from_grain(grain.MapDataset.range(3).repeat())
    with pytest.raises(ValueError, match="workers must be an int of 0 or more; got -1"):
        data.from_grain(grain.MapDataset.range(3), workers=-1)
