"""A result as a web page: one file that loads nothing and runs nothing."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace

from rnnshapes.errors import RnnshapesError
from rnnshapes.render.document import Document, Drawing, title_of
from rnnshapes.render.formats import html_elements
from rnnshapes.render.view import View
from rnnshapes.result import Result

#: The browser enforces it: no script, no font, no picture except those inside.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

#: ASCII, because CSS knows no entities. In a picture lines are as high as box characters.
_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1b1f24; --dim: #57606a;
  --rule: #d5dae0; --soft: #f4f6f8; --good: #116329; --warning: #7a5200;
  --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --ink: #e6e8eb;
  --dim: #9aa4b0; --rule: #343b45; --soft: #1d2229; --good: #7ddb92; --warning: #eac46a;
  --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem clamp(.9rem, 4vw, 3rem) 3rem; max-width: 82rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
header { border-bottom: 1px solid var(--rule); margin-bottom: 1rem; padding-bottom: .6rem; }
h1 { margin: 0; font-size: 1.3rem; line-height: 1.35; white-space: pre-wrap;
  overflow-wrap: anywhere; }
p { margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.apart { margin-top: 1.1rem; }
.kind { color: var(--dim); font-size: .85rem; }
.strong { font-weight: 650; }
.dim { color: var(--dim); }
.good { color: var(--good); }
.warning { color: var(--warning); font-weight: 650; }
.bad { color: var(--bad); font-weight: 650; }
.box { overflow-x: auto; margin: 1.1rem 0; border: 1px solid var(--rule); border-radius: 8px; }
table { border-spacing: 0; min-width: 100%; font-variant-numeric: tabular-nums; }
.title { text-align: left; font-weight: 650; }
caption { padding: .55rem .8rem; background: var(--soft); border-bottom: 1px solid var(--rule); }
th, td { padding: .25rem .8rem; white-space: nowrap; vertical-align: top; }
thead th { color: var(--dim); font-weight: 500; font-size: .88rem; vertical-align: bottom; }
thead tr > * { border-bottom: 1px solid var(--rule); }
tbody, pre { font-family: "DejaVu Sans Mono", Menlo, "Cascadia Mono", "Liberation Mono",
  ui-monospace, monospace; font-size: .84rem; }
tbody + tbody tr:first-child > * { border-top: 1px solid var(--rule); }
tbody tr:hover { background: var(--soft); }
.text { text-align: left; }
.number { text-align: right; }
th.name { font-weight: inherit; }
figure { margin: 1.1rem 0; }
figcaption { margin-bottom: .4rem; }
pre { margin: 0; padding-bottom: .2rem; overflow-x: auto; font-size: .875rem; line-height: 1rem; }
img { display: block; width: 100%; min-width: 38rem; max-width: 64rem; height: auto;
  margin: 0 auto; padding: .7rem; background: #fff; }
.box:has(> img) { background: #fff; }
@media (max-width: 40rem) {
  .heading, .name { position: sticky; left: 0; background: var(--ground); }
  .name.text { white-space: normal; min-width: 8rem; max-width: 45vw; } }
@media print { .box, pre { overflow: visible; } }
"""


def chunks(result: Result, document: Document, view: View) -> Iterator[str]:
    """Yield the page, piece by piece; a plot, if there can be one, replaces drawings."""
    kind = f"rnnshapes {result.schema.split('.')[1].split('/')[0]}"
    heading = html_elements.text(title_of(document))
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield '<meta name="color-scheme" content="light dark">\n'
    yield f"<title>{kind}: {heading}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield f'<header><p class="kind">{kind}</p><h1>{heading}</h1></header>\n<main>\n'
    if (plot := _plot(result, view)) is not None:
        source = f"data:image/svg+xml;base64,{b64encode(plot.encode()).decode()}"
        alt = f"{kind} as a picture: {heading}"
        yield f'<div{_look_of("box")}><img alt="{alt}" src="{source}"></div>\n'
        document = tuple(b for b in document if not (isinstance(b, Drawing) and b.is_plotted))
    yield from html_elements.elements(document[1:], _look_of)
    yield "</main>\n</body>\n</html>\n"


def _look_of(roles: str) -> str:
    """Return classes, and make focusable what may have to be scrolled by keys."""
    classes = " ".join(role for role in roles.split() if role not in ("plain", "line"))
    focusable = ' tabindex="0"' if roles in ("box", "picture") else ""
    return (f' class="{classes}"' if classes else "") + focusable


def _plot(result: Result, view: View) -> str | None:
    """Return the plot as SVG; ``None`` without Matplotlib or without a plot of this result."""
    from rnnshapes.render import plots

    try:
        return plots.svg(result, replace(view, embedded=True))
    except RnnshapesError:
        return None
