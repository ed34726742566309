"""One small result of each kind, computed once."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import rnnshapes
from rnnshapes.render.formats import json_csv
from rnnshapes.result import Result

#: All sizes different.
SIZES: dict[str, Any] = {"N": 2, "T": 6, "D": 3, "M": 4, "K": 5}
KINDS = ("inspect", "trace", "verify", "port", "golden")


@cache
def result_of(kind: str) -> Result:
    """Return the result of this kind; the port has its time steps in reverse."""
    match kind:
        case "inspect":
            return rnnshapes.inspect(cell="lstm", bidirectional=True, **SIZES)
        case "trace":
            return rnnshapes.trace(cell="gru", show="y,h,gates", **SIZES)
        case "verify":
            return rnnshapes.verify(**SIZES)
        case "port":
            y_hat = rnnshapes.golden(**SIZES).arrays["y_hat"]
            return rnnshapes.verify(**SIZES, against=y_hat[:, ::-1])
        case "quantized":
            return rnnshapes.quantize(to="int8", cell="lstm", **SIZES)
        case _:
            return rnnshapes.golden(**SIZES)


def as_json(result: Result) -> Any:
    """Return what ``--format json`` writes, read again."""
    return json.loads("".join(json_csv.json_chunks(result.to_dict())))
