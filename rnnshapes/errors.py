"""The errors rnnshapes raises: one root class, and the exit status each error stands for.

A message is one line: what is wrong, where, what was expected, and what to do.
"""

from __future__ import annotations


class RnnshapesError(Exception):
    """Root of every error that rnnshapes raises on purpose.

    ``exit_status`` is the exit status of the command line.
    """

    exit_status = 2


class InputError(RnnshapesError, ValueError):
    """A size, an option, a file or a model that cannot be used as given (exit status 2)."""


class ContradictionError(InputError):
    """A layer whose config Keras itself would refuse: the file contradicts itself.

    ``inspect`` shows the rest of the file, and ends with exit status 1.
    """


class CannotRunError(RnnshapesError, RuntimeError):
    """A correct request that this machine cannot run (exit status 3).

    ``log`` holds what Keras and its backend wrote to standard error before the failure.
    """

    exit_status = 3

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class KerasUnavailableError(CannotRunError):
    """Keras, or the backend it is set to, that cannot be imported."""


class TooLargeError(CannotRunError):
    """A network or data that need more memory than this machine has."""


class SignalExit(SystemExit):
    """Exit caused by a signal; its code is 128 + the signal number."""

    code: int


class UnsupportedError(RnnshapesError):
    """Error for a model that contains something unsupported (exit status 4).

    ``inspect`` shows such a layer with the shapes that the model states for it.
    """

    exit_status = 4
