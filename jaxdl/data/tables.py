"""Tables, as ``{"x": float32 (n, features), "y": (n,)}``: small real ones by name, and any CSV file."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxdl.core import bad_value
from jaxdl.core.extras import need
from jaxdl.data.files import DataFile, find_files
from jaxdl.data.rows import column_place, is_missing, read_rows

Folder = str | os.PathLike[str] | None


class Table(NamedTuple):
    """A table of numbers: ``data = {"x", "y"}``, the names of the features, and of the classes where y counts them."""

    data: dict[str, np.ndarray]
    features: tuple[str, ...]
    classes: tuple[str, ...] = ()


def read_table(path: str | os.PathLike[str], *, target: str | int = -1, columns: Sequence[str] | None = None) -> Table:
    """A CSV file as numbers: a column of numbers is one feature, a column of words one 0/1 feature for each word.

    A target of words becomes class numbers, in the order of the sorted words. A feature's number that is missing (an
    empty field) becomes the median of its column; a target may not be missing. A column of whole texts is for
    :func:`read_texts`, one of dates for :func:`read_series`.

    **Args** ``target``: the column of y, by name or place; ``columns``: the names, for a file whose first row has none.

    **Raises** ``ValueError`` for rows of unequal length (with the line's number), columns of one name, an unknown
    target or one with missing values, or a file without rows or features.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "a.csv"
        ...     _ = path.write_text("size,colour,price\\n1,red,10\\n3,blue,30\\n")
        ...     table = read_table(path, target="price")
        >>> table.features, table.data["x"].tolist(), table.data["y"].tolist()
        (('size', 'colour=blue', 'colour=red'), [[1.0, 0.0, 1.0], [3.0, 1.0, 0.0]], [10.0, 30.0])
    """
    call = f"read_table({str(path)!r})"
    names, lines = read_rows(call, path, columns)
    place = column_place(call, "target", names, target)
    if len(names) < 2:
        raise bad_value(call, "the file must hold features beside the target", f"the column {names[0]!r} alone")
    name = names[place]
    fields = dict(zip(names, zip(*lines.values(), strict=True), strict=True))
    for line, value in zip(lines, fields[name], strict=True):
        if is_missing(value):
            raise bad_value(call, f"the target {name!r} must have a value in each row", f"none in line {line}")
    y, classes = _target(fields.pop(name))
    features = [feature for name, values in fields.items() for feature in _features(name, values)]
    x = np.stack([column for _, column in features], axis=1).astype(np.float32)
    return Table({"x": x, "y": y}, tuple(name for name, _ in features), classes)


def _numbers(values: Sequence[str]) -> np.ndarray | None:
    """The column as numbers, nan where it is empty; None where it holds words."""
    try:
        return np.array([float(value) if value.strip() else np.nan for value in values])
    except ValueError:
        return None


def _target(values: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    numbers = _numbers(values)
    if numbers is not None:
        return numbers.astype(np.float32), ()
    classes, y = np.unique(values, return_inverse=True)
    return y.astype(np.int32), tuple(map(str, classes))


def _features(name: str, values: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    numbers = _numbers(values)
    if numbers is None:
        return [(f"{name}={word}", np.array([value == word for value in values])) for word in sorted(set(values))]
    if np.isnan(numbers).all():
        raise bad_value("read_table", f"the column {name!r} must hold a value", "none")
    return [(name, np.where(np.isnan(numbers), np.nanmedian(numbers), numbers))]


def iris() -> Table:
    """150 iris flowers in 3 classes, by the length and width of sepal and petal (cm); ships with scikit-learn.

    Example:
        >>> table = iris()
        >>> table.data["x"].shape, table.classes
        ((150, 4), ('setosa', 'versicolor', 'virginica'))

    **References** Fisher, The use of multiple measurements in taxonomic problems, 1936.
    """
    bunch = need("sklearn.datasets", "data.iris", extra="data").load_iris()
    features = tuple(name.removesuffix(" (cm)") for name in bunch.feature_names)
    data = {"x": bunch.data.astype(np.float32), "y": bunch.target.astype(np.int32)}
    return Table(data, features, tuple(map(str, bunch.target_names)))


def diabetes() -> Table:
    """442 patients, by age, sex, body mass index (kg/m²), blood pressure (mmHg) and six blood values; y is how far the
    disease has gone a year later, from 25 to 346; ships with scikit-learn, here not scaled.

    Example:
        >>> table = diabetes()
        >>> table.data["x"].shape, table.features[:3]
        ((442, 10), ('age', 'sex', 'body mass index'))

    **References** Efron, Hastie, Johnstone and Tibshirani, Least angle regression, 2004.
    """
    bunch = need("sklearn.datasets", "data.diabetes", extra="data").load_diabetes(scaled=False)
    return Table({"x": bunch.data.astype(np.float32), "y": bunch.target.astype(np.float32)}, _DIABETES_COLUMNS)


def wine_quality(colour: str = "red", folder: Folder = None) -> Table:
    """Portuguese wines, by 11 measurements; y is the tasters' score: 1,599 red ones, or 4,898 white ones.

    **Args** ``colour``: ``"red"`` or ``"white"``; ``folder``: where the file is; by default it is searched as for
    :func:`mnist`.

    **References** Cortez, Cerdeira, Almeida, Matos and Reis, Modeling wine preferences by data mining from
    physicochemical properties, 2009.
    """
    if colour not in _WINE:
        raise bad_value("wine_quality", 'colour must be "red" or "white"', repr(colour))
    return read_table(find_files("tabular", (_WINE[colour],), _MIRRORS, folder)[0], columns=_WINE_COLUMNS)


def abalone(folder: Folder = None) -> Table:
    """4,177 sea snails, by sex, sizes and weights; y is the number of rings, which tells the age.

    **Args** ``folder`` as for :func:`wine_quality`.

    **References** Nash, Sellers, Talbot, Cawthorn and Ford, The population biology of abalone in Tasmania, 1994.
    """
    return read_table(find_files("tabular", (_ABALONE,), _MIRRORS, folder)[0], columns=_ABALONE_COLUMNS)


def california_housing(folder: Folder = None) -> Table:
    """20,640 districts of California in 1990, by place, age, rooms, people and income; y is the median house value ($).

    Bedrooms missing in 207 rows are the column's median; the nearness of the ocean is one 0/1 feature for each of its 5
    words. Values are capped at 500,001.

    **Args** ``folder`` as for :func:`wine_quality`.

    **References** Pace and Barry, Sparse spatial autoregressions, 1997.
    """
    return read_table(find_files("tabular", (_CALIFORNIA,), (), folder)[0], target="median_house_value")


_DIABETES_COLUMNS = (
    "age",
    "sex",
    "body mass index",
    "blood pressure",
    "total cholesterol",
    "LDL",
    "HDL",
    "cholesterol ratio",
    "log triglycerides",
    "glucose",
)
_MIRRORS = ("https://raw.githubusercontent.com/jbrownlee/Datasets/master",)
_WINE = {
    "red": DataFile("winequality-red.csv", 84028, "c9614512e980f1cbd221c796daa97f00c4898c3cd1716863abac60f6cd1a522e"),
    "white": DataFile(
        "winequality-white.csv", 264255, "659d419fff887f225bf977d20520bb64a64cae203e460087f809721d4430ba27"
    ),
}
_WINE_COLUMNS = (
    "fixed acidity",
    "volatile acidity",
    "citric acid",
    "residual sugar",
    "chlorides",
    "free sulfur dioxide",
    "total sulfur dioxide",
    "density",
    "pH",
    "sulphates",
    "alcohol",
    "quality",
)
_ABALONE = DataFile("abalone.csv", 191872, "eb2de13be807e9bb9ec4128b9c89b98ab23d7739121cfd17b7dde69b46ba7bf6")
_ABALONE_COLUMNS = (
    "sex",
    "length",
    "diameter",
    "height",
    "whole weight",
    "shucked weight",
    "viscera weight",
    "shell weight",
    "rings",
)
_CALIFORNIA = DataFile(
    "california_housing.csv", 1423529, "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e"
)
