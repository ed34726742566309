"""The command as the system sees it: start-up, streams, signals, and what is loaded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rnnshapes
from rnnshapes import __version__
from tests.helpers.commands import Result, interruptible, loaded_by, mentioning, process

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
SCRIPT = "import sys; from rnnshapes.__main__ import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import rnnshapes", set()),
        ("import rnnshapes; print(rnnshapes.inspect(M=10**9))", set()),
        ("from rnnshapes import cli; cli.main(['inspect', '--no-keras'])", set()),
        ("from rnnshapes import cli; cli.main(['inspect', '--no-keras', '--format=json'])", set()),
        ("from rnnshapes import cli; cli.main(['--help'])", set()),
        ("from rnnshapes import cli; cli.main(['trace', '--T', '0'])", set()),
        ("from rnnshapes import cli; cli.main(['trace', '--no-keras'])", {"numpy"}),
    ],
)
def test_heavy_modules_load_on_demand_only(code: str, allowed: set[str]) -> None:
    """Tables need no NumPy, and the NumPy side needs no Keras."""
    assert loaded_by(code) == allowed


def test_only_results_are_written() -> None:
    """TensorFlow's messages reach neither standard output nor standard error."""
    code = (
        "from rnnshapes.cli import main\n"
        "for command in ('inspect', 'trace', 'verify'):\n"
        "    assert main([command, '--format', 'json']) == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    decoder, rest, schemas = json.JSONDecoder(), done.stdout, []
    while rest.strip():
        record, end = decoder.raw_decode(rest)
        schemas.append(record["schema"].partition("/")[0])
        rest = rest[end:].lstrip()
    assert schemas == ["rnnshapes.inspect", "rnnshapes.trace", "rnnshapes.verify"]
    assert done.stderr == ""


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
        assert done.status == 3
        assert done.out == ""
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
@pytest.mark.parametrize("form", ["table", "json"])
def test_closed_pipe_exits_0_silently(form: str) -> None:
    """``rnnshapes ... > /dev/null | head -1`` is no error."""
    read, write = os.pipe()
    os.close(read)
    done = process("inspect", "--no-keras", "--format", form, stdout=write)
    os.close(write)
    assert done == Result(0, "", "")


@POSIX
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", [["inspect"], ["trace", "--format", "csv"]])
def test_full_device_exits_2_in_one_line(args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = process(*args, "--no-keras", stdout=full)
    assert done.status == 2
    assert done.err.startswith("rnnshapes: error: ")
    assert done.err.count("\n") == 1
    done = process(*args, "--no-keras", "-o", "/dev/full")
    assert done.status == 2
    assert "No space left on device" in done.err
    assert Path("/dev/full").is_char_device()


#: Sends SIGINT to itself when a module begins to load, or when Keras begins to run a model.
INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)

def interrupt(*args):
    os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
if {name!r} == "":
    from rnnshapes import reference
    reference.run = interrupt
from rnnshapes.__main__ import main
sys.exit(main())
"""


@POSIX
@pytest.mark.parametrize("name", ["rnnshapes.api", "tensorflow", ""])
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
@pytest.mark.parametrize("how", [["-m", "rnnshapes"], ["-c", SCRIPT]])
def test_ctrl_c_inside_exec_exits_130(how: list[str], tmp_path: Path) -> None:
    """Python would end itself by SIGINT there, as when a dataclass is made."""
    (tmp_path / "typer.py").write_text('exec("raise KeyboardInterrupt")\n')
    command = [sys.executable, *how, "inspect"]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_ascii_locale_gets_ascii(tmp_path: Path) -> None:
    done = process("inspect", "--no-keras", env={"PYTHONIOENCODING": "ascii"})
    assert done.status == 0
    assert done.out.isascii()
    assert "(1,3)*(3,5) + (5,) + (1,5)*(5,5) -> (1,5)" in done.out
    assert "\\u" not in done.out
    for form in ("csv", "markdown"):
        done = process("inspect", "--no-keras", "--format", form, env={"PYTHONIOENCODING": "ascii"})
        assert done.status == 0
        assert "D*M" in done.out.replace("\\", "")
        assert done.out.isascii()


def on_terminal(*args: str, width: int = 80) -> tuple[int, str]:
    """The status, and all that a terminal of this width is sent."""
    import fcntl
    import pty
    import struct
    import termios

    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "rnnshapes", *args])  # noqa: S606
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
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
    status, shown = on_terminal("trace", "--T", "500", "--K", "9", "--no-keras")
    assert status == 0
    assert len(shown.splitlines()) < 60
    steps = [line.split()[0] for line in shown.splitlines() if line.strip()[:1].isdigit()]
    assert {"0", "498"} <= set(steps)
    assert "250" not in steps


@POSIX
def test_terminal_shows_colours_and_a_spinner() -> None:
    status, shown = on_terminal("verify")
    assert status == 0
    assert "21 checks" in shown
    assert "\x1b[32m" in shown
    assert "\x1b[?25l" in shown  # the spinner hides the cursor


@POSIX
def test_ascii_and_no_color_are_respected(in_folder: Path, monkeypatch) -> None:
    """Bold and dim may stay."""
    rnnshapes.golden().save("port.npz")
    command = ("verify", "--against", "port.npz")
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
@pytest.mark.parametrize("args", [["--help"], ["--version"], ["verify", "--help"]])
def test_help_to_closed_pipe_or_full_device(args: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    assert process(*args, stdout=write) == Result(0, "", "")
    os.close(write)
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = process(*args, stdout=full)
        assert done.status == 2
        assert done.err.count("\n") == 1


@POSIX
def test_closed_pipe_ends_inspect_before_keras() -> None:
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from rnnshapes import cli; cli.main(['inspect']); "
    code += "sys.stderr.write(str('keras' in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert done.stderr == b"False"


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
    _, shown = on_terminal("trace", "--T", "500", "--steps", "100:200", "--no-keras")
    assert sum(line.strip()[:1].isdigit() for line in shown.splitlines()) == 100


def test_force_color_colours_a_pipe() -> None:
    """JSON never has colour."""
    coloured = process("inspect", "--no-keras", env={"FORCE_COLOR": "1"})
    assert "\x1b[1m" in coloured.out
    assert "\x1b" not in process("inspect", "--no-keras").out
    record = process("inspect", "--no-keras", "--format", "json", env={"FORCE_COLOR": "1"})
    assert "\x1b" not in record.out


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
