"""JSON Schemas (draft 2020-12) of what ``--format json`` and ``to_dict()`` say of each result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from rnnshapes.errors import InputError

#: Results by the word that their ``"schema"`` has: ``inspect`` for ``rnnshapes.inspect/1``.
NAMES = ("inspect", "trace", "step", "verify", "golden")
#: What that word stands in: the package, and the version of the form.
_VERSIONED = r"rnnshapes\.(\w+)/1"


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a result: ``"inspect"``, or ``"rnnshapes.inspect/1"`` as in JSON.

    It describes each key with its unit. Later versions may add keys, so it allows others, which
    readers ignore. ``"verify"`` is the schema of a port, too.

    Raises:
        InputError: No result has this name.
    """
    found = re.fullmatch(_VERSIONED, str(name))
    word = found[1] if found else name
    if word not in NAMES:
        raise InputError(f"unknown schema {name!r}: choose one of {', '.join(NAMES)}")
    path = Path(__file__).with_name(f"{word}.schema.json")
    made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return made
