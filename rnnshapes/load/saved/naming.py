"""How Keras 3 names the groups of its files: by class, in small letters, and counted."""

from __future__ import annotations

import re


def snake_case(name: str) -> str:
    """As ``keras/src/utils/naming.py`` writes it."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def counted(base: str, used: dict[str, int]) -> str:
    """As ``keras/src/saving/saving_lib.py`` names it: ``gru``, then ``gru_1``."""
    used[base] = used.get(base, -1) + 1
    return base if used[base] == 0 else f"{base}_{used[base]}"
