"""The command line: reads options, calls, renders, and gives the exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from rnnshapes import __version__, api
from rnnshapes.cli.options import (
    Activation,
    Against,
    AnyFormat,
    Bias,
    Bidirectional,
    CellName,
    Delay,
    Features,
    Follow,
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
    Parts,
    Plot,
    PortFormat,
    Quiet,
    RecurrentActivation,
    ResetAfter,
    ReturnSequences,
    Sample,
    Samples,
    SchemaName,
    Seed,
    Show,
    Steps,
    TextFormat,
    TimeSteps,
    TraceFormat,
)
from rnnshapes.cli.output import Outlet, outlet
from rnnshapes.cli.progress import busy
from rnnshapes.cli.streams import pass_on, standard_output
from rnnshapes.errors import CannotRunError, InputError, RnnshapesError
from rnnshapes.network.summary import Inspection
from rnnshapes.render import write_file
from rnnshapes.render.document import printable
from rnnshapes.render.view import View, parse_view
from rnnshapes.session import NetworkOptions, Session, open_session

if TYPE_CHECKING:
    from rnnshapes.forward.tracing import Trace
    from rnnshapes.port.report import PortVerification
    from rnnshapes.verification.report import Verification

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
    parts: Parts = "all",
    format: Format = None,
    output: Output = None,
    plot: Plot = None,
    no_keras: NoKeras = False,
    quiet: Quiet = False,
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
    given = locals()
    out, shown = outlet(given, get_args(TextFormat), model), View(blocks=parts)
    if parts != "all" and not out.for_people:
        raise InputError(f"--view {parts}: {out.form} holds everything; leave --view out")
    result = api.inspect(model, **_spec(given))
    if out.on_screen:
        result = _inspect_on_screen(result, out, shown, no_keras)
    else:
        result = result if no_keras else _checked(result)
        out.deliver(result, shown)
    from rnnshapes.cli import next_command

    out.hint(next_command.after_inspect, result, given)
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
    show: Show = None,
    layer: LayerName = None,
    seed: Seed = 0,
    golden: Golden = None,
    follow: Follow = False,
    delay: Delay = None,
    format: AnyFormat = None,
    output: Output = None,
    plot: Plot = None,
    no_keras: NoKeras = False,
    quiet: Quiet = False,
) -> int:
    """Show y_hat at each time step, computed in NumPy, next to what Keras computes.

    Tables show one sample (--sample, --steps); json, csv and npz always hold all of them.

    Examples:

        rnnshapes trace --T 10 --D 3 --M 5

        rnnshapes trace --cell gru --input x.npy --show y,h,gates --steps 0:4

        rnnshapes trace model.keras --input x.npy --no-keras

        rnnshapes trace --cell lstm --golden golden.h
    """
    given = locals()
    if follow or delay is not None:
        from rnnshapes.cli import follow as player

        return player.follow(given, _spec(given))
    out = outlet(given, get_args(TraceFormat), input, model)
    with open_session(model, x=input, seed=seed, **_spec(given)) as session:
        part = parse_view(session.network.size("N"), session.network.max_steps, sample, steps)
        result, asked, note = _traced(session, given, out)
    out.deliver(result, replace(part, most_rows=out.most_rows, show=asked))
    out.say(note)
    from rnnshapes.cli import next_command

    out.hint(next_command.after_trace, result, given)
    return 0


def _traced(
    session: Session, given: Mapping[str, Any], out: Outlet
) -> tuple[Trace, tuple[str, ...], str]:
    """The trace, what of it was asked for, and what is said of a golden file that is written."""
    from rnnshapes.forward import tracing

    keras, golden = not given["no_keras"], given["golden"]
    asked = tracing.check_show(session.network, "y" if given["show"] is None else given["show"])
    with busy("Running the recurrence in NumPy" + (" and in Keras" if keras else "")):
        options: Any = {"layer": given["layer"], "keras": keras}
        options |= {"show": out.wanted(session.network, asked), "bounds": out.draws}
        if golden is None:
            return session.trace(**options), asked, ""
        result, kept = session.trace_with_golden(**options)
        return result, asked, write_file.write_golden(kept, golden)


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
    seed: Seed = 0,
    against: Against = None,
    dtype: PortFormat = None,
    format: Format = None,
    output: Output = None,
    plot: Plot = None,
    quiet: Quiet = False,
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
    """
    given = locals()
    out = outlet(given, get_args(TextFormat), input, model, against)
    if dtype is not None and against is None:
        raise InputError("--dtype is that of a port: give --against, too")
    result = _verified(given)
    out.deliver(result, View())
    if output is not None and not result.passed:
        pass_on(f"rnnshapes: verification FAILED; {output} says where\n")
    from rnnshapes.cli import next_command

    after = next_command.after_verify if against is None else next_command.after_port
    out.hint(after, result, given)
    return int(not result.passed)


def _verified(given: Mapping[str, Any]) -> Verification | PortVerification:
    x, seed, against = given["input"], given["seed"], given["against"]
    with open_session(given["model"], x=x, seed=seed, **_spec(given)) as session:
        if against is not None:
            with busy("Comparing the port, under other conventions, too"):
                return session.compare(against, given["dtype"])
        with busy("Building, running and checking the network in Keras"):
            return session.verify()


@app.command()
def schema(name: SchemaName) -> int:
    """Print the JSON Schema of what --format json writes: its fields, and what each holds.

    Example:

        rnnshapes schema trace
    """
    import json

    from rnnshapes.render import schemas

    typer.echo(json.dumps(schemas.schema(name), indent=2, ensure_ascii=False))
    return 0


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - till the end
    status = None
    try:
        with standard_output():  # what is not guarded below is help, which Typer prints
            status = app(args, prog_name="rnnshapes", standalone_mode=False)
            sys.stdout.flush()
        return status or 0
    except typer.TyperException as error:
        return _fail(_with_hint(error), 2)
    except RnnshapesError as error:
        if isinstance(error, CannotRunError):
            pass_on(error.log)
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return 130
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # Typer's way, when it prints help
            return 0
        raise


def _spec(given: Mapping[str, Any]) -> NetworkOptions:
    """The network's options among all that a command was given."""
    return cast("NetworkOptions", {name: given[name] for name in NetworkOptions.__annotations__})


def _inspect_on_screen(result: Inspection, out: Outlet, shown: View, no_keras: bool) -> Inspection:
    """The tables first, and Keras's answer when it comes."""
    from rnnshapes.render.documents import inspection

    if out.draw(inspection.symbolic_part(result, shown)) and not no_keras:
        result = _checked(result)
        out.draw(inspection.keras_part(result))
    out.draw_plot(result, shown)
    return result


def _checked(result: Inspection) -> Inspection:
    with busy("Building the network in Keras"):
        result = api.inspect_in_keras(result)
    pass_on(result.log)
    return result


def _with_hint(error: typer.TyperException) -> str:
    """The message, and where help is for a mistake that is not about a value."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is None or isinstance(error, typer.BadParameter):
        return message
    return f"{message.rstrip('.')}; see {context.command_path} --help"


def _fail(message: str, status: int) -> int:
    pass_on(f"rnnshapes: error: {printable(' '.join(message.split()))}\n")
    return status
