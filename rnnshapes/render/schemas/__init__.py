"""JSON Schemas (draft 2020-12) of what ``--format json`` and ``to_dict()`` return."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rnnshapes.errors import InputError

#: Names of the schemas: ``inspect`` for a result whose ``"schema"`` is ``rnnshapes.inspect/1``.
NAMES = ("inspect", "trace", "step", "verify", "golden", "quantize", "inspect-files")
#: The value of ``"schema"``: package, name, version.
_VERSIONED = r"rnnshapes\.([\w-]+)/1"


def schema(name: str | None) -> dict[str, Any]:
    """Return the JSON Schema of a result: ``"inspect"``, or ``"rnnshapes.inspect/1"`` as in JSON.

    It describes each key with its unit. Later versions may add keys, so it allows others, which
    readers ignore. ``"verify"`` is the schema of a port, too.

    Raises:
        InputError: No result has this name.
    """
    import difflib
    import json

    versioned = re.fullmatch(_VERSIONED, str(name))
    word = versioned[1] if versioned else name
    if word not in NAMES:
        near = difflib.get_close_matches(str(word).lower(), NAMES, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        fact = "a schema name is required" if name is None else f"unknown schema {name!r}{hint}"
        raise InputError(f"{fact}: use one of {', '.join(NAMES)}")
    path = Path(__file__).with_name(f"{word}.schema.json")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
