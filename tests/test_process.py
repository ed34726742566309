"""The command as the system sees it: start-up, streams, signals, and what is loaded."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

import pytest

import rnnshapes
from rnnshapes import __main__, __version__, cli
from rnnshapes.errors import SignalExit
from rnnshapes.load.saved import spawn
from tests.helpers.commands import Result, interruptible, loaded_by, mentioning, process
from tests.helpers.results import result_of

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
SILENT = Result(0, "", "")
#: Stands between the outputs of commands in one process.
END = "--- end ---\n"
SCRIPT = "import sys; from rnnshapes.__main__ import main; sys.exit(main())"


#: Runs commands as a program would, each with its options.
COMMANDS = (
    "from rnnshapes.cli import main\nfor args in {commands}:\n    status = main(args.split())\n"
)


@pytest.mark.parametrize(
    ("commands", "allowed"),
    [
        (
            ["--help", "inspect --no-keras", "inspect --no-keras --format=json", "trace --T 0"],
            set(),
        ),
        (["trace --no-keras"], {"numpy"}),
    ],
)
def test_heavy_modules_load_on_demand_only(commands: list[str], allowed: set[str]) -> None:
    """Tables need no NumPy, and the NumPy side needs no Keras."""
    code = "import rnnshapes\nprint(rnnshapes.inspect(M=10**9))\n"
    assert loaded_by(code + COMMANDS.format(commands=commands)) == allowed


@POSIX
def test_only_results_are_written(tmp_path: Path) -> None:
    """TensorFlow's messages reach no stream; a terminal shows a spinner, and then nothing."""
    pyte = pytest.importorskip("pyte")
    commands = [f"{name} --quiet --format json" for name in ("inspect", "trace", "verify")]
    code, out = COMMANDS.format(commands=commands) + "raise SystemExit(status)", tmp_path / "out"
    with out.open("w") as stdout:
        status, shown = on_terminal("-c", code, stdout=stdout)
    assert (status, "\x1b[?25l" in shown) == (0, True)  # the spinner hides the cursor
    screen = pyte.Screen(80, 24)
    pyte.Stream(screen).feed(shown)
    assert "".join(screen.display).strip() == ""
    decoder, rest, schemas = json.JSONDecoder(), out.read_text("utf-8"), []
    while rest.strip():
        record, end = decoder.raw_decode(rest)
        schemas.append(record["schema"].partition("/")[0])
        rest = rest[end:].lstrip()
    assert schemas == ["rnnshapes.inspect", "rnnshapes.trace", "rnnshapes.verify"]


@contextmanager
def closed_pipe() -> Iterator[int]:
    """A pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    yield write
    os.close(write)


def broken_tensorflow(folder: Path, statement: str) -> dict[str, str]:
    """An environment in which TensorFlow writes to descriptor 2, and then fails."""
    package = folder / "tensorflow"
    package.mkdir()
    code = f"import os\nos.write(2, b'libfoo.so.1 is missing\\n')\n{statement}\n"
    (package / "__init__.py").write_text(code, encoding="utf-8")
    return {"PYTHONPATH": str(folder), "KERAS_BACKEND": "tensorflow"}


def test_failed_import_exits_3_with_its_messages(tmp_path: Path) -> None:
    env = broken_tensorflow(tmp_path, "raise ImportError('DLL load failed')")
    for command in ("trace", "verify"):
        done = process(command, env=env)
        assert (done.status, done.out) == (3, "")
        first, last = done.err.splitlines()
        assert first == "libfoo.so.1 is missing"
        assert re.search(mentioning("Keras", "DLL load failed", "pip install"), last)


def test_inspect_succeeds_without_keras(tmp_path: Path) -> None:
    done = process("inspect", env=broken_tensorflow(tmp_path, "raise ImportError('broken')"))
    assert done.status == 0
    assert "57 parameters" in done.out
    assert "Keras" in done.out
    assert done.err == "libfoo.so.1 is missing\n"


def test_unknown_backend_exits_3() -> None:
    done = process("verify", env={"KERAS_BACKEND": "abacus"})
    assert done.status == 3
    assert "abacus" in done.err.splitlines()[-1]


@pytest.mark.parametrize("how", [["-m", "rnnshapes"], ["-c", "from rnnshapes.__main__ import *"]])
def test_module_runs_and_imports(how: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *how, *(["--version"] if how[0] == "-m" else [])],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == (f"rnnshapes {__version__}\n" if how[0] == "-m" else "")


@POSIX
def test_closed_pipe_exits_0_silently() -> None:
    """``rnnshapes ... > /dev/null | head -1`` is no error."""
    with closed_pipe() as pipe:
        assert process("inspect", "--no-keras", "--format", "json", stdout=pipe) == SILENT


HELP = ["--help", "--version", "verify --help", "schema trace"]
WRITTEN = ["inspect", "trace --no-keras", "inspect --no-keras --format html", "verify -q"]
WRITTEN += ["trace --no-keras --format csv", "trace --no-keras --step 2"]


@POSIX
@pytest.mark.parametrize("command", [*HELP, *WRITTEN])
def test_closed_pipe_ends_the_command(command: str, monkeypatch, capsys) -> None:
    """Without a message; Keras does not run after ``inspect`` has lost its reader."""
    verified = result_of("verify")
    monkeypatch.setattr("rnnshapes.api.inspect_in_keras", None)
    monkeypatch.setattr("rnnshapes.session.Session.verify", lambda session: verified)
    with closed_pipe() as pipe:
        stream = os.fdopen(os.dup(pipe), "w")
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main(command.split()) == 0
        with suppress(BrokenPipeError) if command in HELP else nullcontext():
            stream.close()  # nothing waits to be written
    assert capsys.readouterr().err == ""


@FULL
@pytest.mark.parametrize("command", [*HELP, *WRITTEN[1:]])
def test_full_device_is_one_line(command: str, monkeypatch, capsys) -> None:
    verified = result_of("verify")
    monkeypatch.setattr("rnnshapes.session.Session.verify", lambda session: verified)
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main(command.split()) == 2
    err = capsys.readouterr().err
    assert (err.startswith("rnnshapes: error: "), err.count("\n")) == (True, 1)
    assert "No space left on device" in err


@POSIX
def test_help_to_closed_pipe_exits_0() -> None:
    with closed_pipe() as pipe:
        assert process("verify", "--help", stdout=pipe) == SILENT


#: Sends SIGINT to itself when a module begins to load.
INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
from rnnshapes.__main__ import main
sys.exit(main())
"""


@POSIX
@pytest.mark.parametrize("name", ["rnnshapes.api", "tensorflow"])
def test_ctrl_c_exits_130_and_prints_nothing(name: str) -> None:
    with interruptible():
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED.format(name=name), "verify"],
            check=False,
            capture_output=True,
        )
    assert (done.returncode, done.stdout) == (130, b"")
    assert b"rnnshapes" not in done.stderr


@POSIX
def test_ctrl_c_while_keras_runs_exits_130(monkeypatch, capfd) -> None:
    def interrupt(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("rnnshapes.reference.run", interrupt)
    with interruptible():
        assert cli.main(["verify"]) == 130
    assert capfd.readouterr() == ("", "")


@POSIX
@pytest.mark.parametrize("how", [["-m", "rnnshapes"], ["-c", SCRIPT]])
@pytest.mark.parametrize(
    "code",
    [
        'exec("raise KeyboardInterrupt")',
        "class A:\n    def __set_name__(self, *_): raise KeyboardInterrupt\nclass B:\n    a = A()",
        "try:\n    raise KeyboardInterrupt\nexcept BaseException:\n    raise ImportError",
    ],
)
def test_ctrl_c_while_classes_are_made_exits_130(how, code: str, tmp_path: Path) -> None:
    """Python would end itself by SIGINT there, or raise another exception."""
    (tmp_path / "typer.py").write_text(code, encoding="utf-8")
    command = [sys.executable, *how, "inspect"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def by(error: BaseException, *, context: BaseException) -> BaseException:
    """Return an error that was raised while another one was handled."""
    error.__context__ = context
    return error


#: How the command line ends, and the exit status; ``None`` where it is a bug, which stays visible.
ENDS: list[tuple[int | BaseException, int | None]] = [
    *((0, 0), (4, 4), (KeyboardInterrupt(), 130)),
    (by(ImportError("numpy"), context=KeyboardInterrupt()), 130),
    (by(RuntimeError("class"), context=by(ValueError(), context=SignalExit(129))), 129),
    (by(ValueError(), context=KeyError()), None),
    *((ValueError("bug"), None), (ImportError("no\n numpy"), 3), (MemoryError(), 3)),
]


@pytest.fixture
def run_main(monkeypatch, capsys) -> Iterator[Callable[..., int]]:
    """Run ``main`` in this process, with a command line that ends in this way."""

    def run(end: Any, *args: str) -> int:
        def command_line() -> int:
            if isinstance(end, BaseException):
                raise end
            return end() if callable(end) else end

        monkeypatch.setattr(cli, "main", command_line)
        monkeypatch.setattr(sys, "argv", ["rnnshapes", *args])
        return __main__.main()

    monkeypatch.setattr(gc, "freeze", lambda: None)
    with interruptible():
        terminate = signal.signal(signal.SIGTERM, signal.SIG_DFL)
        yield run
        signal.signal(signal.SIGTERM, terminate)


@pytest.mark.parametrize(("end", "status"), ENDS, ids=[repr(end) for end, _ in ENDS])
def test_end_decides_the_exit_status(end: Any, status: int | None, run_main, capsys) -> None:
    """Also a signal that ends as another exception; what this machine lacks is one line."""
    if status is None:
        with pytest.raises(type(end)):
            run_main(end)
        return
    assert run_main(end) == status
    err = capsys.readouterr().err
    assert err.count("\n") == (status == 3)
    if status == 3:
        words = ["no numpy;", "pip install"] if isinstance(end, ImportError) else ["memory"]
        assert [word for word in words if word not in err] == []


@POSIX
def test_signals_are_exceptions_until_the_end(run_main) -> None:
    """One that the caller ignores stays ignored."""

    def raising() -> int:
        for name in ("SIGTERM", "SIGHUP"):
            with pytest.raises(SignalExit) as ended:
                signal.raise_signal(number := getattr(signal, name))
            assert ended.value.code == 128 + number
        return int(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)

    assert run_main(raising) == 0
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    run_main(0)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_model_is_read_while_modules_are_imported(run_main, monkeypatch) -> None:
    """What nobody has asked for is ended."""
    started: list[Any] = []

    def start(args: list[str]) -> None:
        started.append(args)
        raise OSError

    monkeypatch.setattr(spawn, "start_early", start)
    monkeypatch.setattr(spawn, "end_unused", lambda: started.append("ended"))
    for args in ([], ["inspect"], ["inspect", "--T"], ["--help", "x"], ["trace", "m.keras", "-q"]):
        assert run_main(0, *args) == 0
    early = [["--help", "x"], "ended", ["trace", "m.keras", "-q"], "ended"]
    assert started == [*["ended"] * 3, *early]


@pytest.mark.parametrize(
    ("columns", "kept"),
    [("1", True), ("99999", True), ("100000", False), ("²", False), ("-5", False), ("８", False)],
)
def test_impossible_width_of_a_terminal_is_ignored(
    columns: str, kept: bool, run_main, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert run_main(lambda: int("COLUMNS" in os.environ)) == kept


def test_ascii_locale_gets_ascii() -> None:
    commands = [f"inspect --no-keras --format {form}" for form in ("table", "csv", "markdown")]
    table, *others = outputs(*commands, PYTHONIOENCODING="ascii")
    assert "(1,3)*(3,5) + (5,) + (1,5)*(5,5) -> (1,5)" in table
    assert "\\u" not in table
    for text in (table, *others):
        assert "D*M" in text.replace("\\", "")
        assert text.isascii()
        assert "\x1b" not in text


def outputs(*commands: str, **env: str) -> list[str]:
    """Return the output of each command; one process runs them one after the other."""
    code = COMMANDS.format(commands=commands) + f"    print({END!r}, end='')\n"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **env}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    assert done.stderr == b""
    return done.stdout.decode().split(END)[:-1]


def on_terminal(*args: str, stdout: IO[str] | None = None) -> tuple[int, str]:
    """Return the exit status of Python, and all that it writes to a terminal of 80 columns."""
    import fcntl
    import pty
    import struct
    import termios

    child, terminal = pty.fork()
    if child == 0:
        if stdout is not None:
            os.dup2(stdout.fileno(), 1)
        os.execv(sys.executable, [sys.executable, *args])  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    received = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        received += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), received.decode()


@POSIX
def test_terminal_shows_a_short_table() -> None:
    status, shown = on_terminal("-m", "rnnshapes", "trace", "--T", "500", "--K", "9", "--no-keras")
    assert status == 0
    assert len(shown.splitlines()) < 60
    steps = [line.split()[0] for line in shown.splitlines() if line.strip()[:1].isdigit()]
    assert {"0", "498"} <= set(steps)
    assert "250" not in steps


@POSIX
def test_ascii_and_no_color_are_respected(in_folder: Path, monkeypatch) -> None:
    """Bold and dim may stay."""
    rnnshapes.golden().save("port.npz")
    command = ("-m", "rnnshapes", "verify", "--against", "port.npz")
    status, shown = on_terminal(*command)
    assert (status, shown.isascii()) == (0, False)
    assert "\x1b[32m" in shown
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("NO_COLOR", "1")
    status, shown = on_terminal(*command)
    assert status == 0
    assert shown.isascii()
    assert "\x1b[32m" not in shown


@POSIX
def test_dev_stdout_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n", encoding="utf-8")
    with log.open("a") as stream:
        args = ("inspect", "--no-keras", "--format", "csv", "-o", "/dev/stdout")
        assert process(*args, stdout=stream).status == 0
    assert log.read_text("utf-8").startswith("first\nlayer,type")


@POSIX
def test_terminal_shows_all_requested_steps() -> None:
    _, shown = on_terminal(
        "-m", "rnnshapes", "trace", "--T", "500", "--steps", "100:200", "--no-keras"
    )
    assert sum(line.strip()[:1].isdigit() for line in shown.splitlines()) == 100


def test_force_color_colours_a_pipe() -> None:
    """JSON never has colour."""
    commands = ("inspect --no-keras", "inspect --no-keras --format json")
    table, record = outputs(*commands, FORCE_COLOR="1")
    assert "\x1b[1m" in table
    assert "\x1b" not in record


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completes_commands(shell: str) -> None:
    words = {
        "bash": {"COMP_WORDS": "rnnshapes in", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "rnnshapes in"},
        "fish": {
            "_TYPER_COMPLETE_ARGS": "rnnshapes in",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }
    done = process(env={"_RNNSHAPES_COMPLETE": f"complete_{shell}", **words[shell]})
    assert "inspect" in done.out
