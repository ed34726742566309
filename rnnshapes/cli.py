"""The command line: reads options, calls, renders, and gives the exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from rnnshapes import __version__, api
from rnnshapes.display import Displayed, Tick
from rnnshapes.errors import CannotRunError, InputError, RnnshapesError
from rnnshapes.inspection import Inspection
from rnnshapes.options import (
    Activation,
    Against,
    AnyFormat,
    Bias,
    Bidirectional,
    CellName,
    Features,
    Format,
    GoBackwards,
    Golden,
    Hidden,
    Input,
    LayerName,
    MergeMode,
    Model,
    NoKeras,
    Output,
    Outputs,
    PortFormat,
    RecurrentActivation,
    ResetAfter,
    ReturnSequences,
    Sample,
    Samples,
    Seed,
    Show,
    Steps,
    Sweep,
    TextFormat,
    TimeSteps,
    TraceFormat,
)
from rnnshapes.render import delivery
from rnnshapes.render.view import View, view

if TYPE_CHECKING:
    from rnnshapes.against import PortVerification
    from rnnshapes.sweeping import Sweep as Swept
    from rnnshapes.verification import Verification

app = typer.Typer(
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
    model: Model = None,
    N: Samples = None,
    T: Steps = None,
    D: Features = None,
    M: Hidden = None,
    K: Outputs = None,
    cell: CellName = None,
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

        rnnshapes inspect model.keras --N 1

        rnnshapes inspect --M 1000000000 --format json
    """
    form = _prepare_output(format, output, TextFormat, model)
    spec = _spec(locals())
    result = api.inspect(model, **spec)
    if output is None and form == "table":
        return _inspect_on_screen(result, no_keras)
    if not no_keras:
        result = _checked(result)
    _deliver(result, form, View(), output)
    return int(not result.agrees)


@app.command()
def trace(
    model: Model = None,
    N: Samples = None,
    T: Steps = None,
    D: Features = None,
    M: Hidden = None,
    K: Outputs = None,
    cell: CellName = None,
    activation: Activation = None,
    recurrent_activation: RecurrentActivation = None,
    use_bias: Bias = None,
    reset_after: ResetAfter = None,
    bidirectional: Bidirectional = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    return_sequences: ReturnSequences = None,
    input: Input = None,
    sample: Sample = 0,
    steps: TimeSteps = None,
    show: Show = "y",
    layer: LayerName = None,
    seed: Seed = 0,
    golden: Golden = None,
    format: AnyFormat = None,
    output: Output = None,
    no_keras: NoKeras = False,
) -> int:
    """Show y_hat at each time step, computed in NumPy, next to what Keras computes.

    Tables show one sample (--sample, --steps); json, csv and npz always hold all of them.

    Examples:

        rnnshapes trace --T 10 --D 3 --M 5

        rnnshapes trace --cell gru --input x.npy --show y,h,gates --steps 0:4

        rnnshapes trace model.keras --input x.npy --no-keras

        rnnshapes trace --T 1000000 --no-keras -o trace.npz

        rnnshapes trace --cell lstm --golden golden.h
    """
    form = _prepare_output(format, output, TraceFormat, input, model)
    delivery.check_golden(golden, output, input, model)
    spec = _spec(locals())
    what = "Running the recurrence in NumPy" + ("" if no_keras else " and in Keras")
    with api.prepare(model, x=input, seed=seed, **spec) as task:
        network = task.network
        part = view(network.known("N"), network.longest, sample, steps)
        with _busy(what) as tick:
            options: Any = {"show": show, "layer": layer, "keras": not no_keras, "tick": tick}
            result, note = _traced(task, golden, **options)
    on_terminal = output is None and sys.stdout.isatty()
    _deliver(result, form, replace(part, most_rows=30 if on_terminal else None), output)
    _pass_on(note)
    return 0


def _traced(task: api.Task, golden: Path | None, **options: Any) -> tuple[Displayed, str]:
    """The trace, and what is said of the golden file that is written with it."""
    if golden is None:
        return api.trace_prepared(task, **options), ""
    result, kept = api.golden_prepared(task, **options)
    return result, delivery.write_golden(kept, golden)


@app.command()
def verify(
    model: Model = None,
    N: Samples = None,
    T: Steps = None,
    D: Features = None,
    M: Hidden = None,
    K: Outputs = None,
    cell: CellName = None,
    activation: Activation = None,
    recurrent_activation: RecurrentActivation = None,
    use_bias: Bias = None,
    reset_after: ResetAfter = None,
    bidirectional: Bidirectional = None,
    merge_mode: MergeMode = None,
    go_backwards: GoBackwards = None,
    return_sequences: ReturnSequences = None,
    input: Input = None,
    sweep: Sweep = False,
    seed: Seed = 0,
    against: Against = None,
    dtype: PortFormat = None,
    format: Format = None,
    output: Output = None,
) -> int:
    """Prove that shapes, counts and every step are what Keras has and computes.

    The exit status is 0 if every check passes, 1 if one fails.

    With --against, your own implementation is judged instead, by the same equations.

    Examples:

        rnnshapes verify

        rnnshapes verify --cell lstm --N 4 --T 200 --D 8 --M 32 --seed 7

        rnnshapes verify --input x.csv --format json -o report.json

        rnnshapes verify model.keras

        rnnshapes verify model.keras --input x.npy --against y_hat.npy

        rnnshapes verify --sweep --cell gru --M 8
    """
    form = _prepare_output(format, output, TextFormat, input, model, against)
    spec = _spec(locals())
    if dtype is not None and against is None:
        raise InputError("--dtype is that of a port: give --against, too")
    if sweep:
        beside = {"MODEL": model, "--input": input, "--against": against}
        return _swept(beside, spec, seed, form, output)
    with api.prepare(model, x=input, seed=seed, **spec) as task:
        result = _verified(task, against, dtype)
    return _verdict(result, form, output)


def _verified(
    task: api.Task, against: Path | None, dtype: str | None
) -> Verification | PortVerification:
    if against is not None:
        with _busy("Comparing the port, under other conventions, too"):
            return api.compare_prepared(task, against, dtype)
    with _busy("Building, running and checking the network in Keras") as tick:
        return api.verify_prepared(task, tick=tick)


def _swept(
    beside: Mapping[str, Path | None], spec: api.Spec, seed: int, form: str, output: Path | None
) -> int:
    for name, given in beside.items():
        if given is not None:
            raise InputError(
                f"--sweep makes its own networks and inputs: leave {name} ({given}) out, or --sweep"
            )
    with _busy("Verifying", "configurations") as tick:
        result = api.sweep(seed=seed, tick=tick, **spec)
    return _verdict(result, form, output)


def _verdict(
    result: Verification | PortVerification | Swept, form: str, output: Path | None
) -> int:
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
        return int(not result.agrees)
    result = _checked(result)
    with _standard_output():
        terminal.draw(inspection.keras_lines(result), terminal.screen(sys.stdout))
    return int(not result.agrees)


def _checked(result: Inspection) -> Inspection:
    with _busy("Building the network in Keras"):
        result = result.checked()
    _pass_on(result.log)
    return result


def _prepare_output(
    form: str | None, output: Path | None, formats: object, *sources: Path | None
) -> str:
    name = delivery.format_for(form, output, get_args(formats))
    for source in sources or (None,):
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
def _busy(what: str, unit: str = "samples") -> Iterator[Tick]:
    """A spinner on standard error while the block runs, if that is a terminal.

    What is handed out makes a bar of it, once it is told how many of the ``unit`` are done.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, whole: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    # A copy of the descriptor, since TensorFlow's own messages are held back on 2 meanwhile.
    stream = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="replace")
    spinner = SpinnerColumn("dots" if sys.stderr.encoding.lower().startswith("utf") else "line")
    columns = (spinner, TextColumn("{task.description}"))
    bar = (BarColumn(), TextColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}"))
    with stream, Progress(*columns, console=Console(file=stream), transient=True) as progress:
        work = progress.add_task(what, total=None)

        def tick(done: int, whole: int) -> None:
            if done < whole and len(progress.columns) == len(columns):
                progress.columns = (*columns, *bar)
            progress.update(work, completed=done, total=whole)

        yield tick


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
