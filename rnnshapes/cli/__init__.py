"""Command line: options in, exit status out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rnnshapes import __version__, api
from rnnshapes.cli import guesses, next_command
from rnnshapes.cli.help import Command, Group
from rnnshapes.cli.options import (
    AgainstOption,
    ConvertedArgument,
    DataArguments,
    DelayOption,
    DtypeOption,
    FollowOption,
    FrameworkOption,
    GoldenArguments,
    IgnoreOption,
    InspectViewOption,
    KerasNetworkArguments,
    LikeOption,
    ModelsArgument,
    NetworkArguments,
    NoKerasOption,
    QuantizeOption,
    QuietOption,
    SchemaArgument,
    SelectionArguments,
    SizeArguments,
    TextOutputArguments,
    ToleranceOption,
    TraceOutputArguments,
    TraceViewOption,
    VerifyViewOption,
    WeightsOption,
    option_groups,
    parse_view,
)
from rnnshapes.cli.output import OutputTarget, output_target
from rnnshapes.cli.progress import show_progress
from rnnshapes.cli.streams import guard_stdout, write_stderr
from rnnshapes.errors import CannotRunError, InputError, RnnshapesError
from rnnshapes.network.summary import Inspection
from rnnshapes.render import write_file
from rnnshapes.render.document import printable
from rnnshapes.render.view import INSPECT_PARTS, TRACE_PARTS, VERIFY_PARTS, View
from rnnshapes.session import Session, is_weight_file, open_session

if TYPE_CHECKING:
    from rnnshapes.forward.golden import Golden
    from rnnshapes.forward.tracing import Trace
    from rnnshapes.port.report import PortVerification
    from rnnshapes.port.weight_files.comparison import WeightVerification
    from rnnshapes.verification.report import Verification

app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    invoke_without_command=True,
    epilog="""\
rnnshapes inspect --T 10 --D 3 --M 5
rnnshapes trace --input x.npy --show y,h
rnnshapes verify --N 4 --T 20""",
)
def rnnshapes(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Show every shape and step of a recurrent network, and verify them against Keras.

    Describe the network Input((T, D)) -> SimpleRNN(M) -> Dense(K) by its sizes, or
    give a saved model.
    """
    if version:
        typer.echo(f"rnnshapes {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(
    cls=Command,
    epilog="""\
rnnshapes inspect --T 10 --D 3 --M 5
rnnshapes inspect --cell lstm --M 64,32 --no-keras
rnnshapes inspect model.keras --view flow,gates
rnnshapes inspect model.keras other.h5""",
)
@option_groups
def inspect(
    models: ModelsArgument = None,
    *,
    sizes: SizeArguments,
    view: InspectViewOption = "summary",
    output: TextOutputArguments,
    no_keras: NoKerasOption = False,
) -> int:
    """Show every weight's shape and parameter count."""
    if models is not None and len(models) > 1:
        return _inspect_files(models, sizes, view, output)
    network = NetworkArguments(**vars(sizes), model=models[0] if models else None)
    target = output_target(output, network.model)
    shown = target.view(view, INSPECT_PARTS)
    result = _inspect(network, shown)
    if target.is_screen:
        result = _inspect_on_screen(result, target, shown, with_keras=not no_keras)
    else:
        result = result if no_keras else _compare_with_keras(result)
        target.write(result, shown)
        if target.path is not None and not result.agrees:
            write_stderr(f"rnnshapes: inspect FAILED; see {printable(str(target.path))}\n")
    hint = next_command.after_inspect(result, network)
    if shown.parts == {"summary"}:
        hint += "\n" + next_command.other_views(INSPECT_PARTS, has_model=network.model is not None)
    target.write_hint(hint)
    return int(not result.agrees)


def _inspect_files(
    models: list[Path], sizes: SizeArguments, view: str, output: TextOutputArguments
) -> int:
    """Show one row for each file, without Keras."""
    if output.plot is not None or view != "summary":
        option = "--view" if output.plot is None else "--plot"
        raise InputError(f"{option} requires a single file, and {len(models)} are given")
    target = output_target(output, *models)
    result = api.inspect_files(models, **sizes.options)
    target.write(result, target.view(view, INSPECT_PARTS))
    if failed := [file for file in result.files if file.exit_status]:
        reason = failed[0].error or next(iter(failed[0].warnings), "")
        text = f"{len(failed)} of {len(models)} files failed; {failed[0].path}: {reason}"
        write_stderr(f"rnnshapes: {printable(text)}\n")
    target.write_hint(next_command.after_files(result))
    return result.exit_status


def _inspect(network: NetworkArguments, view: View) -> Inspection:
    """Return the inspection, with the values of weights if they are to be shown.

    ``--view all`` shows them where there are any.
    """
    if "all" in view.parts and network.model is not None:
        with suppress(InputError):
            return api.inspect(network.model, values=True, **network.options)
    return api.inspect(network.model, values="values" in view.parts, **network.options)


def _inspect_on_screen(
    result: Inspection, target: OutputTarget, view: View, *, with_keras: bool
) -> Inspection:
    """Show the tables, then what Keras has, which takes longer."""
    from rnnshapes.render.documents import inspection

    has_reader = target.show(inspection.symbolic_part(result, view))
    if has_reader and with_keras:
        result = _compare_with_keras(result)
        target.show(inspection.keras_part(result))
    target.write_plot(result, view)
    return result


def _compare_with_keras(result: Inspection) -> Inspection:
    with show_progress("Building the network in Keras"):
        result = api.inspect_in_keras(result)
    write_stderr(result.log)
    return result


@app.command(
    cls=Command,
    epilog="""\
rnnshapes trace --cell gru --input x.npy --show y,h,gates --steps 0:4
rnnshapes trace model.keras --input x.npy --no-keras
rnnshapes trace --cell lstm --golden golden.h""",
)
@option_groups
def trace(
    *,
    network: NetworkArguments,
    data: DataArguments,
    selection: SelectionArguments,
    view: TraceViewOption = "summary",
    follow: FollowOption = False,
    delay: DelayOption = None,
    quantize: QuantizeOption = None,
    golden: GoldenArguments,
    output: TraceOutputArguments,
    no_keras: NoKerasOption = False,
) -> int:
    """Show y_hat at each time step, computed in NumPy and in Keras.

    Use random weights unless MODEL is given, and random x unless --input is.
    """
    if follow or delay is not None:
        from rnnshapes.cli import follow as step_by_step

        step_by_step.check_options(
            selection, output, golden.golden, quantize, follow=follow, delay=delay
        )
        return step_by_step.follow(
            network, data, selection, delay, with_keras=not no_keras, quiet=output.quiet
        )
    path, form = golden.golden, golden.form
    target = output_target(output, data.input, network.model, golden=path)
    parts = target.view(view, TRACE_PARTS)
    if quantize is not None:
        _check_quantize(selection, target, parts, golden)
        integers = None
        with (
            open_session(network.model, **data.options, **network.options) as session,
            show_progress("Running the recurrence in fixed point"),
        ):
            if path is None:
                quantization = session.quantize(quantize)
            else:
                quantization, integers = session.quantize_with_golden(quantize, form["only"])
        status = write_file.write_golden(integers, path) if path and integers else ""
        target.write(quantization, parts)
        target.write_status(status)
        target.write_hint(next_command.after_quantize(network, data, quantize))
        return 0
    _check_step(selection, target, view)
    with open_session(
        network.model, **data.options, layer=selection.layer, **network.options
    ) as session:
        result, golden_data, shown = _compute_trace(
            session, selection, target, parts, form, with_keras=not no_keras
        )
    status = ""
    if path is not None and golden_data is not None:
        status = write_file.write_golden(golden_data, path)
    if selection.step is None:
        target.write(result, shown)
    else:
        target.write(result.step(selection.step, selection.sample), shown)
    target.write_status(status)
    target.write_hint(next_command.after_trace(result, network, data, path))
    return 0


def _check_quantize(
    selection: SelectionArguments, target: OutputTarget, view: View, golden: GoldenArguments
) -> None:
    """Raise InputError where ``--quantize`` contradicts other options."""
    for option, is_given in {
        "--layout": golden.layout is not None,
        "--dtype": golden.dtype is not None,
        "--plot": target.plot is not None,
        "--format npz": target.format == "npz",
        "--view flow": "flow" in view.parts,
        "--step": selection.step is not None,
        "--steps": selection.steps is not None,
        "--show": selection.show is not None,
        "--layer": selection.layer is not None,
    }.items():
        if is_given:
            raise InputError(f"--quantize cannot be combined with {option}")


def _check_step(selection: SelectionArguments, target: OutputTarget, view: str) -> None:
    """Raise InputError where ``--step`` contradicts other options."""
    if selection.step is None:
        return
    if target.format == "npz" or target.plot is not None:
        raise InputError("--step cannot be combined with --format npz or --plot")
    for option, is_given in {
        "--steps": selection.steps is not None,
        "--show": selection.show is not None,
        "--view": view != "summary",
    }.items():
        if is_given:
            raise InputError(f"--step cannot be combined with {option}")


def _compute_trace(
    session: Session,
    selection: SelectionArguments,
    target: OutputTarget,
    view: View,
    form: Mapping[str, Any],
    *,
    with_keras: bool,
) -> tuple[Trace, Golden | None, View]:
    """Return the trace, the golden data if it has a form, and what of the trace is shown."""
    from rnnshapes.forward import tracing

    network = session.network
    shown = parse_view(network.size("N"), network.max_steps, selection.sample, selection.steps)
    requested = tracing.check_show(network, "y" if selection.show is None else selection.show)
    shown = replace(
        shown, abridged=target.is_abridged, show=requested, parts=view.parts, width=view.width
    )
    options: Any = {
        "show": target.quantities(network, requested),
        "layer": selection.layer,
        # A step in full shows NumPy alone; Keras computes the values of unsupported layers.
        "keras": with_keras and (selection.step is None or bool(network.unsupported)),
        "bounds": target.has_plots,
    }
    with show_progress("Running the recurrence in NumPy" + (" and in Keras" if with_keras else "")):
        if form:
            return *session.trace_with_golden(**options, **form), shown
        return session.trace(**options), None, shown


@app.command(
    cls=Command,
    epilog="""\
rnnshapes verify
rnnshapes verify --cell lstm --N 4 --T 20 --M 32 --seed 7
rnnshapes verify model.keras --format json -o report.json
rnnshapes verify model.keras --input x.npy --against y_hat.npy""",
)
@option_groups
def verify(
    *,
    network: KerasNetworkArguments,
    data: DataArguments,
    against: AgainstOption = None,
    dtype: DtypeOption = None,
    ignore: IgnoreOption = None,
    tolerance: ToleranceOption = None,
    view: VerifyViewOption = "summary",
    output: TextOutputArguments,
) -> int:
    """Check every shape and step against Keras, or check your own implementation (--against).

    Exit with status 0 if every check passes, with 1 if one fails.
    """
    target = output_target(output, data.input, network.model, against)
    for option, is_given in {
        "--dtype": dtype is not None,
        "--ignore": bool(ignore),
        "--tolerance": tolerance is not None,
    }.items():
        if is_given and against is None:
            raise InputError(f"{option} requires --against")
    shown = target.view(view, VERIFY_PARTS)
    if target.quiet and target.is_screen:  # the verdict alone, and what --view names
        shown = replace(shown, parts=shown.parts - {"summary"})
    if is_weight_file(against):
        weights = api.verify(
            network.model,
            **data.options,
            against=against,
            dtype=dtype,
            tolerance=tolerance,
            **network.options,
        )
        hint = next_command.after_weight_file(against) if weights.passed else ""
        return _write_verdict(weights, target, shown, hint)
    result: Verification | PortVerification
    with open_session(network.model, **data.options, keras_only=True, **network.options) as session:
        if against is None:
            with show_progress("Building, running and checking the network in Keras"):
                result = session.verify()
            hint = next_command.after_verify(result, network, data)
        else:
            with show_progress("Comparing the port, and trying known mistakes"):
                result = session.compare(against, dtype, ignore or (), tolerance)
            hint = next_command.after_port(result, network, data)
    return _write_verdict(result, target, shown, hint)


def _write_verdict(
    result: Verification | PortVerification | WeightVerification,
    target: OutputTarget,
    shown: View,
    hint: str,
) -> int:
    """Write a verification, and return the exit status."""
    target.write(result, shown)
    if target.path is not None and not result.passed:
        verdict = "INEXACT" if getattr(result, "verdict", "") == "inexact" else "FAILED"
        write_stderr(f"rnnshapes: verification {verdict}; see {printable(str(target.path))}\n")
    if target.quiet and (unknown := getattr(result, "unknown_arrays", ())):
        write_stderr(f"rnnshapes: not compared: {printable(', '.join(unknown))}\n")
    target.write_hint(hint)
    return int(not result.passed)


@app.command(
    cls=Command,
    epilog="""\
rnnshapes convert model.keras --to torch -o weights.safetensors
rnnshapes convert weights.safetensors --like model.keras -o new.weights.h5""",
)
def convert(
    model: ConvertedArgument,
    *,
    to: FrameworkOption = None,
    like: LikeOption = None,
    output: WeightsOption,
    quiet: QuietOption = False,
) -> int:
    """Write a model's weights for another framework, or for Keras, and prove them equal."""
    result = api.convert(model, output, to=to, like=like)
    if not quiet:
        target = OutputTarget("table", None, None, quiet=False)
        target.write(result, target.view("summary", VERIFY_PARTS))
        target.write_hint(next_command.after_conversion(output, to_keras=like is not None))
    return 0


@app.command(cls=Command, epilog="rnnshapes schema trace")
def schema(name: SchemaArgument = None) -> int:
    """Print the JSON Schema of what --format json writes."""
    import json

    from rnnshapes.render import schemas

    typer.echo(json.dumps(schemas.schema(name), indent=2, ensure_ascii=False))
    return 0


@cache
def command() -> Group:
    """Return the whole command line, which takes some time to build."""
    return cast(Group, typer.main.get_command(app))


def main(args: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - till the end
    status = None
    try:
        with guard_stdout():  # for help, which Typer prints
            status = command()(args, prog_name="rnnshapes", standalone_mode=False)
        return status or 0
    except typer.TyperException as error:
        return _fail(_usage_message(error), 2)
    except RnnshapesError as error:
        if isinstance(error, CannotRunError):
            write_stderr(error.log)
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return 130
    except SystemExit as exit_request:
        # Typer raises it when it prints help to a closed pipe.
        if isinstance(exit_request.__context__, BrokenPipeError):
            return 0
        raise


def _usage_message(error: typer.TyperException) -> str:
    """Return the message, with a pointer to the help unless a value is wrong."""
    context = getattr(error, "ctx", None)
    if isinstance(error, typer.BadParameter):
        return error.format_message()
    if text := guesses.unknown_option(error):
        return text
    message = error.format_message()
    if context is None:
        return message
    return f"{message.rstrip('.')} (see {context.command_path} --help)"


def _fail(message: str, status: int) -> int:
    write_stderr(f"rnnshapes: error: {printable(' '.join(message.split()))}\n")
    return status
