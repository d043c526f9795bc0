"""Where the boxes and the arrows of a picture lie, in inches, from the top: pieces that are put together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

GAP, PAD, ROW, LANE = 0.26, 0.16, 0.42, 0.3


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    title: str
    note: str
    family: str


class Frame(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    title: str


class Line(NamedTuple):
    x: tuple[float, ...]
    y: tuple[float, ...]
    arrow: bool


class Joint(NamedTuple):
    x: float
    y: float
    text: str


Mark = Box | Frame | Line | Joint


@dataclass(frozen=True)
class Piece:
    """Some marks; what comes in arrives at the top at ``middle``, and what comes out leaves there at the bottom."""

    width: float
    height: float
    middle: float
    marks: tuple[Mark, ...] = field(default=())

    def at(self, x: float, y: float) -> tuple[Mark, ...]:
        return tuple(_moved(mark, x, y) for mark in self.marks)


def _moved(mark: Any, x: float, y: float) -> Any:
    if isinstance(mark, Line):
        return Line(tuple(at + x for at in mark.x), tuple(at + y for at in mark.y), mark.arrow)
    return mark._replace(x=mark.x + x, y=mark.y + y)


def box(title: str, note: str, family: str) -> Piece:
    """One layer."""
    width = max(1.3, 0.3 + 0.072 * len(title), 0.3 + 0.06 * len(note))
    return Piece(width, ROW, width / 2, (Box(0, 0, width, ROW, title, note, family),))


def through() -> Piece:
    """A line from the top to the bottom."""
    return Piece(0, GAP, 0, (Line((0, 0), (0, GAP), False),))


def chain(pieces: Sequence[Piece]) -> Piece:
    """One below the other."""
    if not pieces:
        return through()
    middle = max(piece.middle for piece in pieces)
    width = middle + max(piece.width - piece.middle for piece in pieces)
    marks: list[Mark] = []
    y = 0.0
    for number, piece in enumerate(pieces):
        if number:
            marks.append(Line((middle, middle), (y, y + GAP), True))
            y += GAP
        marks += piece.at(middle - piece.middle, y)
        y += piece.height
    return Piece(width, y, middle, tuple(marks))


def around(piece: Piece, title: str) -> Piece:
    """A frame with a title at its upper left."""
    head = 0.24
    wide = max(piece.width, 0.2 + 0.066 * len(title))
    shift = PAD + (wide - piece.width) / 2
    middle, bottom = piece.middle + shift, head + PAD / 2 + piece.height
    marks = (
        Frame(0, 0, wide + 2 * PAD, bottom + PAD, title),
        Line((middle, middle), (0, head + PAD / 2), False),
        *piece.at(shift, head + PAD / 2),
        Line((middle, middle), (bottom, bottom + PAD), False),
    )
    return Piece(wide + 2 * PAD, bottom + PAD, middle, marks)


def skipping(piece: Piece, shortcut: Piece | None) -> Piece:
    """A piece, and a line around it (through the shortcut) that is added to what comes out."""
    aside = shortcut or through()
    lane = piece.width + LANE + (aside.middle if shortcut else 0)
    height = max(piece.height, aside.height) + 2 * GAP
    foot = height + GAP / 2
    middle = piece.middle
    start = (height - aside.height) / 2 if shortcut else 0.1
    marks: list[Mark] = [
        Line((middle, middle), (0, GAP), True),
        *piece.at(0, GAP),
        Line((middle, middle), (GAP + piece.height, foot - 0.1), True),
        Joint(middle, foot, "+"),
    ]
    if shortcut is None:
        marks.append(Line((middle, lane, lane, middle + 0.1), (0.1, 0.1, foot, foot), True))
        width = lane + 0.06
    else:
        marks += [
            Line((middle, lane, lane), (0.1, 0.1, start), True),
            *shortcut.at(lane - shortcut.middle, start),
            Line((lane, lane, middle + 0.1), (start + shortcut.height, foot, foot), True),
        ]
        width = lane + shortcut.width - shortcut.middle
    marks.append(Line((middle, middle), (foot + 0.1, foot + 0.1 + GAP / 2), False))
    return Piece(width, foot + 0.1 + GAP / 2, middle, tuple(marks))


def beside(pieces: Sequence[Piece], joint: str) -> Piece:
    """Side by side: what comes in goes to each, and what comes out is brought together."""
    width = sum(piece.width for piece in pieces) + LANE * (len(pieces) - 1)
    height = max(piece.height for piece in pieces)
    middle, x = width / 2, 0.0
    top, foot = GAP, GAP + height + GAP
    marks: list[Mark] = []
    for piece in pieces:
        lane = x + piece.middle
        marks.append(Line((middle, middle, lane, lane), (0, 0.1, 0.1, top), True))
        marks += piece.at(x, top)
        marks.append(Line((lane, lane, middle), (top + piece.height, foot, foot), False))
        x += piece.width + LANE
    marks.append(Joint(middle, foot, joint))
    marks.append(Line((middle, middle), (foot + 0.1, foot + 0.1 + GAP / 2), False))
    return Piece(width, foot + 0.1 + GAP / 2, middle, tuple(marks))
