"""What to try next: one line at the end of each command, with the options that were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rnnshapes import memory
from rnnshapes.network.graph import ITEM_BYTES, Network
from rnnshapes.render.command_line import DATA, NETWORK, command_line

if TYPE_CHECKING:
    from rnnshapes.forward.tracing import Trace
    from rnnshapes.network.summary import Inspection
    from rnnshapes.port.report import PortVerification
    from rnnshapes.verification.report import Check, Verification

#: Options as a command was given them.
Given = Mapping[str, Any]

_STEPS = 10  # for a time axis that the model leaves open
_AROUND = 3  # steps to look at before and after a place


def after_inspect(result: Inspection, given: Given) -> str:
    """Propose the steps of what was inspected, if they can be computed.

    As in ``Next: rnnshapes trace --T 20  shows every time step``.
    """
    network = result.network
    if not result.agrees:
        return _next("inspect", given, NETWORK, "--format", "json", why="lists every difference")
    sizes = _open_sizes(network)
    unbuilt = result.file is not None and result.file.unbuilt
    if sizes is None or unbuilt or network.not_buildable_reason or not _fits(network):
        return _next("inspect", given, NETWORK, "--format", "json", why="is for programs")
    if not network.recurrent:
        return _next("verify", given, NETWORK, *sizes, why="proves it against Keras")
    return _next("trace", given, NETWORK, *sizes, why="shows every time step")


def after_trace(result: Trace, given: Given) -> str:
    """Propose the proof, or the comparison with the port that a golden file is for."""
    names = (*NETWORK, *DATA)
    if given["golden"] is not None:
        return _next("verify", given, names, "--against", "y_hat.npy", why="judges your port")
    both = result.keras is not None
    why = "proves that NumPy and Keras are the same" if both else "proves it against Keras"
    return _next("verify", given, names, why=why)


def after_verify(result: Verification, given: Given) -> str:
    """Propose what a port has to reproduce; or the steps where a check failed."""
    names = (*NETWORK, *DATA)
    network = result.network
    if not network.recurrent:
        return _next("inspect", given, NETWORK, why="shows every shape")
    failed = [check for check in result.checks if not check.passed]
    at = next((found for found in map(_where, failed) if found), None)
    if at is not None:
        return _next("trace", given, names, "--show", "all", *at, why="shows where it differs")
    if failed:
        return _next("trace", given, names, "--show", "all", why="shows every step")
    return _next(
        "trace", given, names, "--golden", "golden.npz", why="writes what a port has to reproduce"
    )


def after_port(result: PortVerification, given: Given) -> str:
    """Propose every intermediate, to find the first that differs; or tests for the port."""
    name, why = "golden.npz", "holds every step, to find the first that differs"
    if result.passed:
        name, why = "golden.h", "writes numbers for the tests of your port"
    return _next("trace", given, (*NETWORK, *DATA), "--golden", name, why=why)


def _next(command: str, given: Given, names: tuple[str, ...], *more: str, why: str) -> str:
    return f"Next: {command_line(command, given, names, *more)}  {why}"


def _open_sizes(network: Network) -> list[str] | None:
    """Options for the sizes that are open; ``None`` if there are no options for them."""
    names = {name[0] for name, value in network.sizes.items() if value is None} - {"N"}
    if names - {"T"}:
        return None
    return ["--T", str(_STEPS)] if names else []


def _fits(network: Network) -> bool:
    """Whether the weights fit into memory in all forms in which a trace has them."""
    free = memory.available()
    return free is None or network.parameters * 4 * ITEM_BYTES["float64"] < free


def _where(check: Check) -> list[str]:
    """``--sample 3 --steps 4:11``, around the worst place of a check."""
    if (index := check.index) is None or index.t is None:
        return []
    first = max(0, index.t - _AROUND)
    return ["--sample", str(index.sample), "--steps", f"{first}:{index.t + 1}"]
