"""The small real data sets by name, read from files of their format; and any CSV file as a table."""

import csv
import gzip
import hashlib
import tracemalloc

import numpy as np
import pytest

from jaxdl import data
from jaxdl.data import corpora, images, read_table, tables
from jaxdl.data.files import DataFile


@pytest.fixture
def plant(tmp_path, monkeypatch):
    """Put files of a data set into a folder, and have the loader expect them."""

    def put(module, constant, contents, key=None):
        listed = []
        for name, raw in contents.items():
            (tmp_path / name).write_bytes(raw)
            listed.append(DataFile(name, len(raw), hashlib.sha256(raw).hexdigest()))
        monkeypatch.setattr(module, constant, tuple(listed) if key is None else {key: listed[0]})
        return tmp_path

    return put


def test_sst2(plant):
    folder = plant(corpora, "_SST2", {"a": b"1 a good film\n0 a bad one\n", "b": b"0 so so\n", "c": b"1 caf\xe9\n"})
    train, validation, test = data.sst2(folder)
    assert train["x"] == ["a good film", "a bad one"]
    assert train["y"].tolist() == [1, 0]
    assert validation["y"].dtype == np.int32
    assert test["x"] == ["café"]


def test_trec_and_its_classes(plant):
    folder = plant(corpora, "_TREC", {"a": b"5 How many ?\n3 Who ?\n", "b": b"4 Where ?\n"})
    train, test = data.trec(folder)
    assert [data.TREC_CLASSES[y] for y in train["y"]] == ["number", "human"]
    assert test["x"] == ["Where ?"]


def test_hotel_reviews_are_split_by_class(plant):
    rows = "".join(f'{label},"很好, {label} {index}"\n' for label in (1, 0) for index in range(10))
    folder = plant(corpora, "_HOTEL", {"a.csv": ("label,review\n" + rows).encode()})
    train, test = data.hotel_reviews(folder)
    assert len(train["x"]) == 16
    assert np.bincount(test["y"]).tolist() == [2, 2]
    assert len({*train["x"], *test["x"]}) == 20
    assert all(text.startswith("很好, ") for text in train["x"] + test["x"])


def test_tiny_shakespeare(plant):
    assert data.tiny_shakespeare(plant(corpora, "_SHAKESPEARE", {"input.txt": b"To be"})) == "To be"


def test_python_sources_are_the_same_text_each_time(tmp_path, monkeypatch):
    text = data.python_sources(5000)
    assert len(text) == 5000
    assert data.python_sources(300) == text[:300]
    assert "\ndef " in text
    (tmp_path / "b.py").write_bytes(b"b = 2\r\n")
    (tmp_path / "a.py").write_bytes(b"a = 1\n")
    (tmp_path / "_made.py").write_bytes(b"here = 3\n")
    (tmp_path / "c.py").write_text("c = 'é'\n", encoding="utf-8")
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda name: str(tmp_path / name[:0]))
    assert data.python_sources() == "a = 1\nb = 2\n"
    assert data.python_sources(8) == "a = 1\nb "
    with pytest.raises(ValueError, match=r"python_sources: characters must be a positive int; got 0"):
        data.python_sources(0)
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda name: str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="python_sources: there are no sources of the standard library in"):
        data.python_sources()


def test_cifar10_planes_become_channels(plant):
    record = bytes([7]) + bytes([255] * 1024) + bytes([0] * 1024) + bytes(range(256)) * 4
    folder = plant(images, "_CIFAR10", {"a": gzip.compress(record * 2), "b": gzip.compress(record)})
    train, test = data.cifar10_subset(folder)
    assert train["x"].shape == (2, 32, 32, 3)
    assert train["x"].dtype == np.float32
    np.testing.assert_allclose(test["x"][0, 0, 5], [1, 0, 5 / 255])
    assert data.CIFAR10_CLASSES[test["y"][0]] == "horse"


def test_a_line_without_a_label_is_an_error(plant):
    for raw, got in ((b"Who ?", "'Who [?]' in line 1"), (b"4 \n", "'4' in line 1"), (b"1 a\n\n2", "'2' in line 3")):
        folder = plant(corpora, "_TREC", {"a": raw, "b": b"4 Where ?\n"})
        with pytest.raises(ValueError, match=f"each line must be a label, a space and a text; got {got}"):
            data.trec(folder)


def test_the_tables(plant):
    wine = b"7.4,0.7,0,1.9,0.076,11,34,0.9978,3.51,0.56,9.4,5\r\n"
    table = data.wine_quality("white", plant(tables, "_WINE", {"w.csv": wine}, key="white"))
    assert len(table.features) == 11
    assert table.data["y"].tolist() == [5]
    with pytest.raises(ValueError, match='colour must be "red" or "white"; got \'rosé\''):
        data.wine_quality("rosé")


def test_abalone_and_california(plant, monkeypatch):
    snail = b"M,0.455,0.365,0.095,0.514,0.2245,0.101,0.15,15\nF,1,1,1,1,1,1,1,9"
    folder = plant(tables, "_ABALONE", {"a.csv": snail})
    monkeypatch.setattr(tables, "_ABALONE", tables._ABALONE[0])
    table = data.abalone(folder)
    assert table.features[:3] == ("sex=F", "sex=M", "length")
    assert table.data["x"][0, :3].tolist() == [0, 1, np.float32(0.455)]
    header = b"longitude,total_bedrooms,median_house_value,ocean_proximity\n"
    homes = header + b"-1,4,10,INLAND\n-2,,20,NEAR BAY\n-3,8,30,INLAND\n"
    folder = plant(tables, "_CALIFORNIA", {"c.csv": homes})
    monkeypatch.setattr(tables, "_CALIFORNIA", tables._CALIFORNIA[0])
    table = data.california_housing(folder)
    assert table.data["x"][:, 1].tolist() == [4, 6, 8]  # the median for what is missing
    assert table.features[-2:] == ("ocean_proximity=INLAND", "ocean_proximity=NEAR BAY")
    assert table.data["y"].tolist() == [10, 20, 30]


def test_texts_come_from_any_table(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('when,review,mood\n1,"房间, 好",good\n2,"two\nlines",bad\n3, ,bad\n', encoding="utf-8")
    found = data.read_texts(path, text="review", label="mood", skip_empty=True)
    assert found.data["x"] == ["房间, 好", "two\nlines"]
    assert (found.data["y"].tolist(), found.classes) == ([1, 0], ("bad", "good"))
    path.write_bytes("好,4\n坏,1.5\n".encode("gb18030"))
    found = data.read_texts(path, text=0, columns=("review", "stars"), encoding="gb18030")
    assert found.data["x"] == ["好", "坏"]
    assert found.data["y"].dtype == np.float32
    assert found.data["y"].tolist() == [4, 1.5]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, r"read_texts\(.*\): the file must hold rows; got none"),
        ("a,b\nx,1\n", {"text": "review"}, r"text must be one of the columns \['a', 'b'\]; got 'review'"),
        ("a,b\nx,1\n", {"label": "stars"}, r"label must be one of the columns \['a', 'b'\]; got 'stars'"),
        ("a,b\nx,1\n", {"label": "a"}, "text and label must be two columns; got 'a' for both"),
        ("a,b\nx,1\n ,2\n", {}, r"must have a text in 'a'; got none in line 3\. Did you mean skip_empty=True\?"),
        ("a,b\nx,\n", {}, "each row must have a label in 'b'; got none in line 2"),
        ("a,b\n ,1\n", {"skip_empty": True}, "the file must hold a row with a text; got none"),
        ("a,b\nx\n", {}, "each row must have 2 fields; got 1 in line 2"),
    ],
)
def test_errors_of_texts(tmp_path, text, options, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        data.read_texts(path, **{"text": "a"} | options)


def test_a_file_in_another_encoding_says_so(tmp_path):
    (tmp_path / "a.csv").write_bytes("review,label\n很好,1\n".encode("gb18030"))
    with pytest.raises(ValueError, match=r"the file must be text in utf-8; got .*Chinese files are often in"):
        data.read_texts(tmp_path / "a.csv", text="review")


def test_a_file_that_csv_cannot_read_says_so_with_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\nx,1\n" + "y" * (csv.field_size_limit() + 1) + ",2\n")
    with pytest.raises(
        ValueError, match=r"a\.csv'\): the file must be CSV; got field larger than .* in line 3\. Did you"
    ):
        data.read_texts(path, text="a")
    for encoding in ("utf-9", "base64"):
        message = rf"a\.csv'\): encoding must be the name of a text encoding; got '{encoding}'"
        with pytest.raises(ValueError, match=message):
            data.read_texts(path, text="a", encoding=encoding)


def test_texts_are_split_with_their_labels():
    texts = [f"text {number}" for number in range(10)]
    train, test = data.split({"x": texts, "y": np.arange(10) % 2}, 0.4)
    assert sorted(train["x"] + test["x"]) == texts
    assert [int(text[5:]) % 2 for text in test["x"]] == test["y"].tolist()
    with pytest.raises(ValueError, match="all arrays must have the same number of examples"):
        data.split({"x": texts, "y": np.arange(9) % 2}, 0.4)


def test_a_split_makes_no_array_as_wide_as_the_longest_text():
    texts = {"x": ["a"] * 99 + ["b" * 100_000]}
    data.split(texts, 0.5, stratify=False)  # what it imports is no part of the measure
    tracemalloc.start()
    try:
        data.split(texts, 0.5, stratify=False)
        assert tracemalloc.get_traced_memory()[1] < 1e6  # 40 MB as an array of characters
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "name",
    ["sst2", "trec", "hotel_reviews", "tiny_shakespeare", "daily_temperatures", "sunspots", "airline_passengers"],
)
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, name):
    with pytest.raises(
        FileNotFoundError, match=r"Put these files into .*\n  .*  \d+ bytes  sha256 [0-9a-f]{64}"
    ) as error:
        getattr(data, name)(tmp_path)
    (tmp_path / str(error.value).splitlines()[-1].split()[0]).write_text("no")
    if name not in ("sst2", "trec"):  # those are of several files
        with pytest.raises(ValueError, match=r"must have \d+ bytes; got 2"):
            getattr(data, name)(tmp_path)


def test_iris_is_there_without_files():
    table = data.iris()
    assert np.bincount(table.data["y"]).tolist() == [50, 50, 50]
    assert table.features[0] == "sepal length"


def test_diabetes_is_there_without_files():
    table = data.diabetes()
    assert table.data["x"].shape == (442, len(table.features))
    ages = table.data["x"][:, table.features.index("age")]
    assert (ages.min(), ages.max()) == (19, 79)  # years, not scaled
    assert (table.data["y"].min(), table.data["y"].max()) == (25, 346)


def test_a_target_of_words_becomes_classes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("1,b\n2,a\n")
    table = read_table(path, columns=["size", "kind"])
    assert table.classes == ("a", "b")
    assert table.data["y"].tolist() == [1, 0]


def test_a_spreadsheets_byte_order_mark_is_no_part_of_a_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfprice,size\n10,1\n")
    table = read_table(path, target="price")
    assert (table.features, table.data["y"].tolist()) == (("size",), [10])


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, r"read_table\(.*\): the file must hold rows; got none"),
        ("a,b\n", {}, "the file must hold rows; got none"),
        ("a,b\n1,2\n3\n", {}, r"each row must have 2 fields; got 1 in line 3"),
        ('a,b\n\n"1\n1",2\n\n3\n', {}, r"each row must have 2 fields; got 1 in line 6"),
        ("a,a,b\n1,2,3\n", {}, r"the names of columns must differ; got 'a' more than once"),
        ("1,2\n", {"columns": ["a", "a"]}, r"the names of columns must differ; got 'a' more than once"),
        ("a,b\n1,2\n\n3,\n", {}, r"the target 'b' must have a value in each row; got none in line 4"),
        ("a,b\n1,x\n2, \n", {}, r"the target 'b' must have a value in each row; got none in line 3"),
        ("a,b\n1,NaN\n2,3\n", {}, r"the target 'b' must have a value in each row; got none in line 2"),
        ("a\n1\n", {}, r"the file must hold features beside the target; got the column 'a' alone"),
        ("a,b\n1,2\n", {"target": True}, r"target must be one of the columns \['a', 'b'\]; got True"),
        ("a,b\n1,2\n", {"target": "c"}, r"target must be one of the columns \['a', 'b'\]; got 'c'"),
        ("a,b\n1,2\n", {"target": 2}, r"target must be one of the columns"),
        ("a,b\n,2\n", {}, r"the column 'a' must hold a value; got none"),
    ],
)
def test_errors(tmp_path, text, options, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_table(path, **options)
