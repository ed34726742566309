"""Several saved models side by side, each summarized in one row."""

from __future__ import annotations

from dataclasses import dataclass

from rnnshapes.errors import RnnshapesError
from rnnshapes.network.graph import Node
from rnnshapes.network.summary import Inspection
from rnnshapes.result import Result


@dataclass(frozen=True)
class FileSummary:
    """One saved model, or the reason why it cannot be read.

    Attributes:
        path: Path as given.
        kind: ``.keras`` or ``HDF5``; empty for a file that cannot be read.
        keras_version: Version of Keras that wrote it.
        cells: Class of each recurrent layer: ``LSTM``, ``Bidirectional(GRU)``.
        units: Number of hidden units (M) of each cell; None where it is open.
        params: Number of parameters; None where it depends on an open size.
        agrees: Whether its arrays match its config; None where there is nothing to compare.
        warnings: Remarks on the file and on its layers.
        error: Why it cannot be read; empty for a file that can.
        exit_status: Exit status that the file alone causes.
    """

    path: str
    kind: str = ""
    keras_version: str = ""
    cells: tuple[str, ...] = ()
    units: tuple[int | None, ...] = ()
    params: int | None = None
    agrees: bool | None = None
    warnings: tuple[str, ...] = ()
    error: str = ""
    exit_status: int = 0


@dataclass(frozen=True, repr=False)
class FileSummaries(Result):
    """Summaries of several saved models, in the order in which they were given."""

    schema = "rnnshapes.inspect-files/1"
    renderer = "inspection_files"

    files: tuple[FileSummary, ...]

    @property
    def exit_status(self) -> int:
        """Return the worst exit status."""
        return max((file.exit_status for file in self.files), default=0)


def summarize(path: str, result: Inspection) -> FileSummary:
    """Return the summary of an inspected file."""
    network, file = result.network, result.file
    assert file is not None
    return FileSummary(
        path=path,
        kind=file.kind,
        keras_version=file.keras_version,
        cells=tuple(map(_cell_text, network.recurrent)),
        units=tuple(size for name, size in network.sizes.items() if name.startswith("M")),
        params=result.params,
        agrees=file.agrees if file.facts or file.contradictions else None,
        warnings=_warnings(result),
        exit_status=int(not file.agrees),
    )


def failure(path: str, error: RnnshapesError) -> FileSummary:
    """Return the summary of a file that cannot be read, without its path in the reason."""
    text = " ".join(str(error).removeprefix(f"{path}: ").split())
    return FileSummary(path, error=text, exit_status=error.exit_status)


def _cell_text(node: Node) -> str:
    """Return ``LSTM``, ``LSTM + GRU`` for cells in one layer, or ``Bidirectional(LSTM)``."""
    cells = node.layer.directions[0].cell.cells_by_suffix.values()
    text = " + ".join(cell.class_name for cell in cells)
    return f"Bidirectional({text})" if len(node.layer.directions) > 1 else text


def _warnings(result: Inspection) -> tuple[str, ...]:
    """Return what is wrong, changed or not supported in a file, each once, the worst first."""
    network, file = result.network, result.file
    assert file is not None
    texts = list(file.contradictions)
    if count := len(file.differences):
        texts.append(f"{count} difference{'s' * (count > 1)} between its arrays and its config")
    texts += [f"{name}: {text}" for name, text in network.known_differences.items()]
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in network.unsupported_reasons.items():
        if name not in network.contradictions:
            names_by_reason.setdefault(reason, []).append(name)
    texts += [f"{', '.join(names)}: {reason}" for reason, names in names_by_reason.items()]
    return tuple(dict.fromkeys([*texts, *file.notes]))
