"""A document as HTML for a notebook, in the colours of the notebook, dark or light."""

from __future__ import annotations

from collections.abc import Iterator

from rnnshapes.render.document import Document
from rnnshapes.render.formats import html_elements

#: CSS of each role. Colours of text have about the same contrast with black and with white.
_CSS = {
    "plain": "",
    "strong": "font-weight:bold",
    "dim": "opacity:.75",
    "good": "color:#1f8a3b",
    "warning": "color:#9a6700;font-weight:bold",
    "bad": "color:#e0403a;font-weight:bold",
    "line": "margin:.2em 0;white-space:pre-wrap",
    "apart": "margin-top:.8em",
    "box": "overflow-x:auto;margin:.6em 0",
    "title": "text-align:left;font-weight:bold;color:inherit;padding:0 0 .3em;caption-side:top",
    "text": "text-align:left;white-space:nowrap",
    "number": "text-align:right;white-space:nowrap",
    "heading": "",
    "name": "font-weight:inherit",
    "figure": "margin:.6em 0",
    "picture": (
        "white-space:pre;overflow-x:auto;max-width:100%;margin:0;padding:0 0 3px;border:0;"
        "background:none;color:inherit;font-size:14px;line-height:16px;"
        "font-family:'DejaVu Sans Mono',Menlo,'Cascadia Mono','Liberation Mono',Consolas,"
        "ui-monospace,monospace"
    ),
}


def chunks(document: Document) -> Iterator[str]:
    """Yield the markup, piece by piece; every text in it is escaped."""
    yield "<div>"
    yield from html_elements.elements(document, _look_of)
    yield "</div>"


def _look_of(roles: str) -> str:
    css = ";".join(_CSS[role] for role in roles.split() if _CSS[role])
    return f' style="{css}"' if css else ""
