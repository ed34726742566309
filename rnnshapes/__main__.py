"""``python -m rnnshapes``, and what the command ``rnnshapes`` runs."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line; Ctrl-C at any time, also while it loads, gives 130."""
    try:
        if sys.argv[2:3] and not sys.argv[2].startswith("-"):  # a saved model
            from rnnshapes.load.saved import spawn

            spawn.start_early(sys.argv[1:])
        gc.disable()  # what is loaded stays: to look for garbage in it takes a seventh of the start
        from rnnshapes import cli

        gc.freeze()
        gc.enable()
        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    status = main()
    # Python ends ``-m`` by SIGINT if Ctrl-C came inside exec() of a text, as dataclasses use it,
    # though it was caught and the status is 130. Another exec() takes that back.
    exec("")  # noqa: S102 - nothing is run
    sys.exit(status)
