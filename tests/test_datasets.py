"""The small real data sets by name, read from files of their format; and any CSV file as a table."""

import gzip
import hashlib

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


def test_cifar10_planes_become_channels(plant):
    record = bytes([7]) + bytes([255] * 1024) + bytes([0] * 1024) + bytes(range(256)) * 4
    folder = plant(images, "_CIFAR10", {"a": gzip.compress(record * 2), "b": gzip.compress(record)})
    train, test = data.cifar10_subset(folder)
    assert train["x"].shape == (2, 32, 32, 3)
    assert train["x"].dtype == np.float32
    np.testing.assert_allclose(test["x"][0, 0, 5], [1, 0, 5 / 255])
    assert data.CIFAR10_CLASSES[test["y"][0]] == "horse"


def test_a_line_without_a_label_is_an_error(plant):
    folder = plant(corpora, "_TREC", {"a": b"Who ?\n", "b": b"4 Where ?\n"})
    with pytest.raises(ValueError, match="each line must be a label, a space and a text; got 1 lines"):
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


def test_iris_is_there_without_files():
    table = data.iris()
    assert np.bincount(table.data["y"]).tolist() == [50, 50, 50]
    assert table.features[0] == "sepal length"


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
