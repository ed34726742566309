"""The errors rnnshapes raises: one root, and the exit status each stands for.

A message is one line that says what is wrong, where, what was expected and what to do.
"""

from __future__ import annotations


class RnnshapesError(Exception):
    """Root of every error that rnnshapes raises on purpose.

    ``exit_status`` is what the command line ends with.
    """

    exit_status = 2


class InputError(RnnshapesError, ValueError):
    """A size, an option, a file or a model that cannot be used as given (exit status 2)."""


class CannotRunError(RnnshapesError, RuntimeError):
    """Nothing is wrong with the request, but it cannot be run here (exit status 3).

    ``log`` holds what Keras and its backend wrote to standard error when they were tried.
    """

    exit_status = 3

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class KerasUnavailableError(CannotRunError):
    """Keras, or the backend it is set to, cannot be imported."""


class TooLargeError(CannotRunError):
    """The network or its data needs more memory than this machine has."""
