"""The command ``rnnshapes``, also as ``python -m rnnshapes``."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line and return its exit status, 130 for Ctrl-C at any time."""
    try:
        if sys.argv[2:3] and not sys.argv[2].startswith("-"):  # a saved model
            from rnnshapes.load.saved import spawn

            # The process that reads the file starts while this one still imports its modules.
            spawn.start_early(sys.argv[1:])
        from rnnshapes import cli

        gc.freeze()  # imported modules stay: no collection, also none at exit, visits them (12 %)
        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    status = main()
    # If Ctrl-C arrives inside exec(), which dataclasses use, Python remembers it and ends
    # ``python -m`` by SIGINT, even though main() caught it. A new exec() clears that memory.
    exec("")  # noqa: S102 - runs nothing
    sys.exit(status)
