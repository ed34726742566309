"""The command line: reads options, calls, renders, and gives the exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal, Optional, cast, get_args

import typer

from rnnshapes import __version__, api
from rnnshapes.cells.cell import ACTIVATIONS
from rnnshapes.cells.registry import BY_NAME
from rnnshapes.display import Displayed
from rnnshapes.errors import CannotRunError, InputError, RnnshapesError
from rnnshapes.inspection import Inspection
from rnnshapes.network import MEANING, check_size
from rnnshapes.render import delivery
from rnnshapes.render.view import View, view
from rnnshapes.sizes import DEFAULTS, MERGE_MODES

app = typer.Typer(
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANEL = "Network"


def _size(name: str) -> Callable[[str], int]:
    def parse(text: str | int) -> int:
        try:
            return check_size(name, _integer(text))
        except InputError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def _integer(text: str | int) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def _size_option(name: str, more: str = "") -> object:
    return typer.Option(
        f"--{name}",
        parser=_size(name),
        metavar="SIZE",
        help=f"{MEANING[name].capitalize()}{more}; {DEFAULTS[name]} if left out.",
        rich_help_panel=_PANEL,
    )


Samples = Annotated[Optional[int], _size_option("N")]
Steps = Annotated[Optional[int], _size_option("T")]
Features = Annotated[Optional[int], _size_option("D")]
Hidden = Annotated[
    Optional[list[int]], _size_option("M", ", again for each further recurrent layer")
]
Outputs = Annotated[Optional[int], _size_option("K")]
TextFormat = Literal["table", "json", "csv", "markdown"]
TraceFormat = Literal["table", "json", "csv", "markdown", "npz"]


def _format_option(formats: object) -> object:
    names = ", ".join(get_args(formats))
    text = f"{names}; if left out, that of FILE's ending, or table."
    return typer.Option("--format", metavar="FORMAT", help=text)


Format = Annotated[Optional[TextFormat], _format_option(TextFormat)]
AnyFormat = Annotated[Optional[TraceFormat], _format_option(TraceFormat)]
Output = Annotated[
    Optional[Path],
    typer.Option(
        "--output", "-o", metavar="FILE", readable=False, help="Write to FILE, whole or not at all."
    ),
]
Input = Annotated[
    Optional[Path],
    typer.Option(
        "--input",
        metavar="X",
        readable=False,
        help="x from a .npy, .npz or .csv file, (N, T, D) or (T, D); random if left out.",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", metavar="SEED", min=0, help="Seed of the random weights and input.")
]
CellName = Annotated[
    Literal["simple", "lstm", "gru"],
    typer.Option("--cell", metavar="CELL", help=f"{', '.join(BY_NAME)}.", rich_help_panel=_PANEL),
]
_ACTIVATION_HELP = f"{', '.join(ACTIVATIONS)}; Keras's default if left out."
Activation = Annotated[
    Optional[str],
    typer.Option("--activation", metavar="NAME", help=_ACTIVATION_HELP, rich_help_panel=_PANEL),
]
RecurrentActivation = Annotated[
    Optional[str],
    typer.Option(
        "--recurrent-activation",
        metavar="NAME",
        help="The same for the gates of lstm and gru.",
        rich_help_panel=_PANEL,
    ),
]
Bias = Annotated[
    Optional[bool],
    typer.Option(
        "--bias/--no-bias", help="A bias of the recurrent layer, or none.", rich_help_panel=_PANEL
    ),
]
ResetAfter = Annotated[
    Optional[bool],
    typer.Option(
        "--reset-after/--no-reset-after",
        help="gru: reset h_{t-1} after its product with Wh, or before.",
        rich_help_panel=_PANEL,
    ),
]
Bidirectional = Annotated[
    Optional[bool],
    typer.Option(
        "--bidirectional/--one-direction",
        help="Read in both directions, or in one.",
        rich_help_panel=_PANEL,
    ),
]
MergeMode = Annotated[
    Optional[str],
    typer.Option(
        "--merge-mode",
        metavar="MODE",
        help=f"Join the directions by {', '.join(MERGE_MODES)}.",
        rich_help_panel=_PANEL,
    ),
]
GoBackwards = Annotated[
    Optional[bool],
    typer.Option(
        "--go-backwards/--forwards",
        help="Start at the last step, or at the first.",
        rich_help_panel=_PANEL,
    ),
]
ReturnSequences = Annotated[
    Optional[bool],
    typer.Option(
        "--return-sequences/--last-only",
        help="Answer at each step, or at the last.",
        rich_help_panel=_PANEL,
    ),
]
NoKeras = Annotated[bool, typer.Option("--no-keras", help="Leave Keras out.")]


@app.callback(invoke_without_command=True)
def rnnshapes(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Every shape, every step and a proof, for recurrent networks.

    The network is Input((T, D)) -> SimpleRNN(M) -> Dense(K), for N samples.

    Examples:

        rnnshapes inspect --T 10 --D 3 --M 5

        rnnshapes trace --input x.npy --show y,h

        rnnshapes verify --N 4 --T 200
    """
    if version:
        typer.echo(f"rnnshapes {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def inspect(
    N: Samples = None,
    T: Steps = None,
    D: Features = None,
    M: Hidden = None,
    K: Outputs = None,
    cell: CellName = "simple",
    activation: Activation = None,
    recurrent_activation: RecurrentActivation = None,
    use_bias: Bias = None,
    reset_after: ResetAfter = None,
    bidirectional: Bidirectional = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    return_sequences: ReturnSequences = None,
    format: Format = None,
    output: Output = None,
    no_keras: NoKeras = False,
) -> int:
    """Show every weight's shape and parameter count, and every shape that flows.

    The table comes from the formulas, at once.

    Then the network is built in Keras, and a line says whether Keras agrees.

    Examples:

        rnnshapes inspect --T 10 --D 3 --M 5

        rnnshapes inspect --cell lstm --M 64 --M 32 --no-keras

        rnnshapes inspect --M 1000000000 --format json
    """
    form = _prepare_output(format, output, TextFormat)
    spec = _spec(locals())
    result = api.inspect(**spec)
    if output is None and form == "table":
        return _inspect_on_screen(result, no_keras)
    if not no_keras:
        result = _checked(result)
    _deliver(result, form, View(), output)
    return int(result.keras is not None and not result.keras.agrees)


@app.command()
def trace(
    N: Samples = None,
    T: Steps = None,
    D: Features = None,
    M: Hidden = None,
    K: Outputs = None,
    cell: CellName = "simple",
    activation: Activation = None,
    recurrent_activation: RecurrentActivation = None,
    use_bias: Bias = None,
    reset_after: ResetAfter = None,
    bidirectional: Bidirectional = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    return_sequences: ReturnSequences = None,
    input: Input = None,
    sample: Annotated[
        int, typer.Option("--sample", metavar="SAMPLE", help="Which sample to show.")
    ] = 0,
    steps: Annotated[
        Optional[str],
        typer.Option("--steps", metavar="A:B", help="Which time steps to show, as in Python."),
    ] = None,
    show: Annotated[
        str, typer.Option("--show", metavar="y,h,c,gates", help="Show states and gates, too: y,h.")
    ] = "y",
    layer: Annotated[
        Optional[str],
        typer.Option("--layer", metavar="NAME", help="Show those of this layer alone."),
    ] = None,
    seed: Seed = 0,
    format: AnyFormat = None,
    output: Output = None,
    no_keras: NoKeras = False,
) -> int:
    """Show y_hat at each time step, computed in NumPy, next to what Keras computes.

    Tables show one sample (--sample, --steps); json, csv and npz always hold all of them.

    Examples:

        rnnshapes trace --T 10 --D 3 --M 5

        rnnshapes trace --cell gru --input x.npy --show y,h,gates --steps 0:4

        rnnshapes trace --T 1000000 --no-keras -o trace.npz
    """
    form = _prepare_output(format, output, TraceFormat, input)
    spec = _spec(locals())
    network, source = api.prepare(x=input, seed=seed, **spec)
    part = view(network.known("N"), network.known("T"), sample, steps)
    with _busy("Running the recurrence in NumPy" + ("" if no_keras else " and in Keras")):
        options: dict[str, Any] = {"show": show, "layer": layer, "keras": not no_keras}
        result = api.trace_prepared(network, source, seed=seed, **options)
    on_terminal = output is None and sys.stdout.isatty()
    _deliver(result, form, replace(part, most_rows=30 if on_terminal else None), output)
    return 0


@app.command()
def verify(
    N: Samples = None,
    T: Steps = None,
    D: Features = None,
    M: Hidden = None,
    K: Outputs = None,
    cell: CellName = "simple",
    activation: Activation = None,
    recurrent_activation: RecurrentActivation = None,
    use_bias: Bias = None,
    reset_after: ResetAfter = None,
    bidirectional: Bidirectional = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    return_sequences: ReturnSequences = None,
    input: Input = None,
    seed: Seed = 0,
    format: Format = None,
    output: Output = None,
) -> int:
    """Prove that shapes, counts and every step are what Keras has and computes.

    The exit status is 0 if every check passes, 1 if one fails.

    Examples:

        rnnshapes verify

        rnnshapes verify --cell lstm --N 4 --T 200 --D 8 --M 32 --seed 7

        rnnshapes verify --input x.csv --format json -o report.json
    """
    form = _prepare_output(format, output, TextFormat, input)
    spec = _spec(locals())
    with _busy("Building, running and checking the network in Keras"):
        result = api.verify(x=input, seed=seed, **spec)
    _deliver(result, form, View(), output)
    if output is not None and not result.passed:
        _pass_on(f"rnnshapes: verification FAILED; {output} says where\n")
    return int(not result.passed)


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - till the end
    status = None
    try:
        with _standard_output():  # what is not guarded below is help, which Typer prints
            status = app(args, prog_name="rnnshapes", standalone_mode=False)
            sys.stdout.flush()
        return status or 0
    except typer.TyperException as error:
        return _fail(_with_hint(error), 2)
    except RnnshapesError as error:
        if isinstance(error, CannotRunError):
            _pass_on(error.log)
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # Typer's way, when it prints help
            return 0
        raise


def _spec(given: Mapping[str, Any]) -> api.Spec:
    """The network's options among all that a command was given."""
    return cast("api.Spec", {name: given[name] for name in api.Spec.__annotations__})


def _inspect_on_screen(result: Inspection, no_keras: bool) -> int:
    """The table first, and Keras's answer when it comes."""
    from rnnshapes.render import inspection, terminal

    with _standard_output() as output:
        terminal.draw(inspection.derived(result), terminal.screen(sys.stdout))
        sys.stdout.flush()
    if no_keras or output.closed:
        return 0
    result = _checked(result)
    with _standard_output():
        terminal.draw(inspection.keras_lines(result), terminal.screen(sys.stdout))
    return int(result.keras is not None and not result.keras.agrees)


def _checked(result: Inspection) -> Inspection:
    with _busy("Building the network in Keras"):
        result = result.checked()
    _pass_on(result.log)
    return result


def _prepare_output(
    form: str | None, output: Path | None, formats: object, source: Path | None = None
) -> str:
    name = delivery.format_for(form, output, get_args(formats))
    delivery.check_writable(output, source)
    return name


def _deliver(result: Displayed, form: str, part: View, output: Path | None) -> None:
    if output is not None:
        delivery.write_file(result, form, part, output)
        return
    with _standard_output():
        delivery.write_text(result, form, part, sys.stdout)
        sys.stdout.flush()


@contextmanager
def _standard_output() -> Iterator[SimpleNamespace]:
    """A closed pipe ends the output silently; a full device is an error of one line.

    What is handed out has ``closed`` set once nobody reads any more.
    """
    state = SimpleNamespace(closed=False)
    try:
        yield state
    except OSError as error:
        _discard_output()
        # Windows knows no broken pipe, but calls it an invalid argument.
        state.closed = error.errno == (errno.EINVAL if os.name == "nt" else errno.EPIPE)
        if not state.closed:
            raise InputError(f"standard output cannot be written: {error.strerror}") from None


def _discard_output() -> None:
    # What is left in the buffer would be written, and fail again, when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _busy(what: str) -> Iterator[None]:
    """A spinner on standard error while the block runs, if that is a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    # A copy of the descriptor, since TensorFlow's own messages are held back on 2 meanwhile.
    stream = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace")
    spinner = "dots" if sys.stderr.encoding.lower().startswith("utf") else "line"
    with stream, Console(file=stream).status(what, spinner=spinner):
        yield


def _with_hint(error: typer.TyperException) -> str:
    """The message, and where help is for a mistake that is not about a value."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is None or isinstance(error, typer.BadParameter):
        return message
    return f"{message.rstrip('.')}; see {context.command_path} --help"


def _fail(message: str, status: int) -> int:
    line = "".join(c if c.isprintable() else " " for c in message)
    _pass_on(f"rnnshapes: error: {' '.join(line.split())}\n")
    return status


def _pass_on(text: str) -> None:
    """Write to standard error, if there is one and it takes what is written."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()
