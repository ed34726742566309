"""The interface of an opened model file, whichever framework wrote it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rnnshapes.cells.cell import Weight
from rnnshapes.network.graph import Network
from rnnshapes.network.structure import FileCheck

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights


class OpenedFile(ABC):
    """A model file that stays open as long as its numbers may be needed.

    ``unbuilt`` says that it holds no weights, ``framework`` who wrote it. ``framework_weights`` are
    the arrays of its layers in the framework's own layout, where that is not Keras's.
    """

    path: Path
    network: Network
    unbuilt: bool
    framework: str = "Keras"
    framework_weights: Mapping[str, tuple[Weight, ...]] = MappingProxyType({})

    @property
    def input_dtype(self) -> str:
        """The dtype to which the model rounds its input."""
        return "float32"

    def recurrent(self, layer: str | None = None) -> OpenedFile:
        """Return the part of the file that can be computed: all of it, if it has a graph."""
        return self

    @abstractmethod
    def check(self, network: Network) -> FileCheck:
        """Compare the file with the shapes expected for ``network``, whose sizes are known."""

    @abstractmethod
    def require_computable(self, network: Network, *, keras: bool) -> None:
        """Check that enough is known of the model to compute its outputs.

        Args:
            network: The network, with known sizes.
            keras: Whether Keras is to compute them, too.

        Raises:
            InputError: the file is incomplete, or contradicts itself.
            UnsupportedError: the file holds something that is not supported.
        """

    @abstractmethod
    def weights(self) -> Weights:
        """Return the numbers of all layers, as the equations have them.

        Raises TooLargeError where they do not fit into memory.
        """
