"""What to try next: one line at the end of each command, with the options that were given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnshapes import memory
from rnnshapes.cli.options import DataArguments, NetworkArguments
from rnnshapes.network.graph import ITEM_BYTES, Network
from rnnshapes.render.command_line import DATA, NETWORK, command_line
from rnnshapes.session import is_weight_file

if TYPE_CHECKING:
    from rnnshapes.forward.tracing import Trace
    from rnnshapes.network.file_summary import FileSummaries
    from rnnshapes.network.summary import Inspection
    from rnnshapes.port.report import PortVerification
    from rnnshapes.verification.report import Check, Verification

_STEPS = 10  # for a time axis that the model leaves open
_MARGIN = 3  # steps to show before the worst one


def after_inspect(result: Inspection, options: NetworkArguments) -> str:
    """Propose the trace of an inspected network, if it can be computed.

    As in ``Next: rnnshapes trace --T 20  shows every time step``.
    """
    network = result.network
    if not result.agrees:
        return _next("inspect", "lists every difference", options, None, "--format", "json")
    sizes = _missing_sizes(network)
    if network.recurrent and result.file is not None and result.file.framework != "Keras":
        return _next("trace", "shows every time step", options, None, *(sizes or []))
    is_unbuilt = result.file is not None and result.file.unbuilt
    if sizes is None or is_unbuilt or network.not_buildable_reason or not _fits_in_memory(network):
        return _next("inspect", "writes JSON, for programs", options, None, "--format", "json")
    if not network.recurrent:
        return _next("verify", "verifies it against Keras", options, None, *sizes)
    return _next("trace", "shows every time step", options, None, *sizes)


def other_views(parts: Iterable[str], *, has_model: bool) -> str:
    """Return what else ``--view`` shows, as a second line below :func:`after_inspect`.

    The values of weights can be shown only for a model.
    """
    names = [part for part in parts if part != "summary" and (part != "values" or has_model)]
    return f"Or:   --view {', '.join(names)}  shows other parts"


def after_files(result: FileSummaries) -> str:
    """Propose the inspection of the first file with a difference or a warning, or of the first."""
    readable = [file for file in result.files if not file.error]
    conspicuous = [file for file in readable if file.exit_status or file.warnings]
    if not readable:
        return ""
    path = Path((conspicuous or readable)[0].path)
    return _next("inspect", "shows every weight", NetworkArguments(model=path), None)


def after_trace(
    result: Trace, options: NetworkArguments, data: DataArguments, golden: Path | None
) -> str:
    """Propose the proof, or the check of the port that a golden file is for."""
    if golden is not None:
        return _next("verify", "checks your port", options, data, "--against", "y_hat.npy")
    if result.network.not_in_keras:
        reason = "writes every intermediate value"
        return _next("trace", reason, options, data, "--golden", "golden.npz")
    steps = "--step t  one step in full; --follow  with keys; " * bool(result.network.recurrent)
    others = f"\nOr:   {steps}--view flow, numbers, all"
    if result.keras is not None:
        return _next("verify", "proves that NumPy and Keras agree", options, data) + others
    return _next("verify", "compares NumPy with Keras", options, data) + others


def after_quantize(options: NetworkArguments, data: DataArguments, quantize: str) -> str:
    """Propose a golden file of integers."""
    more = ("--quantize", quantize, "--golden", "golden.h")
    return _next("trace", "writes the integers for a port in C", options, data, *more)


def after_verify(result: Verification, options: NetworkArguments, data: DataArguments) -> str:
    """Propose a golden file for a port; or the steps around a failure."""
    if not result.network.recurrent:
        return _next("inspect", "shows every shape", options, None)
    failed = [check for check in result.checks if not check.passed]
    if not failed:
        reason = "writes reference values for your port"
        return _next("trace", reason, options, data, "--golden", "golden.npz")
    steps = next(filter(None, map(_steps_around, failed)), [])
    reason = "shows where it differs" if steps else "shows every step"
    return _next("trace", reason, options, data, "--show", "all", *steps)


def after_port(result: PortVerification, options: NetworkArguments, data: DataArguments) -> str:
    """Propose a golden file: to find the first difference, or for the tests of a correct port."""
    if result.passed:
        reason = "writes reference values for your port"
        return _next("trace", reason, options, data, "--golden", "golden.h")
    reason = "writes every step, to find the first that differs"
    return _next("trace", reason, options, data, "--golden", "golden.npz")


def after_weight_file(path: Path | None) -> str:
    """Propose the inspection of a weight file."""
    return _next("inspect", "shows its own layout", NetworkArguments(model=path), None)


def after_conversion(path: Path, *, to_keras: bool) -> str:
    """Propose what to do with converted weights; nothing for a file that no command reads."""
    if to_keras:
        return f"Next: model.load_weights({str(path)!r})  in Keras puts them into the model"
    return after_weight_file(path) if is_weight_file(path) else ""


def _next(
    command: str, reason: str, options: NetworkArguments, data: DataArguments | None, *more: str
) -> str:
    values: dict[str, Any] = vars(options) | ({} if data is None else vars(data))
    return f"Next: {command_line(command, values, (*NETWORK, *DATA), *more)}  {reason}"


def _missing_sizes(network: Network) -> list[str] | None:
    """Return options for the sizes that are open, ``None`` if no option can give them."""
    names = {name[0] for name, value in network.sizes.items() if value is None} - {"N"}
    if names - {"T"}:
        return None
    return ["--T", str(_STEPS)] if names else []


def _fits_in_memory(network: Network) -> bool:
    """Return whether memory can hold the weights in all forms that a trace needs."""
    free = memory.available()
    return free is None or network.parameters * 4 * ITEM_BYTES["float64"] < free


def _steps_around(check: Check) -> list[str]:
    """Return options for the steps around the largest error, as ``--sample 3 --steps 4:11``."""
    if (index := check.index) is None or index.t is None:
        return []
    first = max(0, index.t - _MARGIN)
    return ["--sample", str(index.sample), "--steps", f"{first}:{index.t + 1}"]
