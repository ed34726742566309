"""The pictures of the README and of the pages on the cells, made by the commands they show.

Run it where rnnshapes is installed with its extra ``plot``, as CI does. Keras's numbers in them
may differ in the last digits from one machine to another.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rnnshapes import cli

HERE = Path(__file__).parent

#: A file, and the command that makes it.
PICTURES = {
    "inspect.svg": "inspect --T 10 --D 3 --M 5 --view flow --no-keras --output",
    "docs/trace.png": "trace --cell lstm --T 60 --D 3 --M 8 --show all --quiet --plot",
    "docs/verify.png": "verify --cell gru --T 200 --M 16 --quiet --plot",
    "docs/cells/simple_rnn.svg": "inspect --T 10 --D 3 --M 5 --view flow --no-keras --output",
    "docs/cells/lstm.svg": "inspect --cell lstm --T 10 --D 3 --M 5 --view flow --no-keras --output",
    "docs/cells/gru.svg": "inspect --cell gru --T 10 --D 3 --M 5 --view flow --no-keras --output",
}


def main() -> int:
    """Make all of them; the exit status is that of the first command that fails."""
    os.environ["COLUMNS"] = "80"
    for name, command in PICTURES.items():
        status = cli.main([*command.split(), str(HERE / name)])
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
