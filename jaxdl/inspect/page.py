"""A table for a notebook."""

import html
from collections.abc import Sequence

_STYLE = "border-collapse:collapse;font-family:ui-monospace,monospace;font-size:12px"
_CELL = "padding:3px 10px;border-bottom:1px solid #8884;white-space:nowrap"


def table_page(head: Sequence[str], rows: Sequence[Sequence[str]], foot: str) -> str:
    """A piece of HTML with a table of texts, numbers to the right; it brings its style along."""
    right = {column for column in range(len(head)) if rows and all(_is_figure(row[column]) for row in rows)}

    def line(tag: str, cells: Sequence[str]) -> str:
        aligned = ("right" if column in right else "left" for column in range(len(cells)))
        body = (
            f'<{tag} style="{_CELL};text-align:{side}">{html.escape(cell)}</{tag}>'
            for side, cell in zip(aligned, cells, strict=True)
        )
        return f"<tr>{''.join(body)}</tr>"

    body = "".join(line("td", row) for row in rows)
    note = f'<caption style="caption-side:bottom;text-align:left;padding:6px 10px">{html.escape(foot)}</caption>'
    return f'<table style="{_STYLE}">{note}<thead>{line("th", head)}</thead><tbody>{body}</tbody></table>'


def _is_figure(text: str) -> bool:
    return text[:1].isdigit() or text in ("", "–")
