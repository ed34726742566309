"""Fixtures of all tests: the command in this process, runs of Keras, a saved model."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rnnshapes import cli
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.saved import spawn
from tests.helpers.commands import Result
from tests.helpers.foreign import written
from tests.helpers.fork_server import ForkServer
from tests.helpers.keras_runs import KerasRun, keras_run, run_compiled, run_eagerly

# Each collection visits models that stay, and at first the million objects of TensorFlow.
gc.set_threshold(100_000)

#: Variables that change what a terminal shows; workers of pytest-xdist have COLUMNS.
_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM_PROGRAM")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _TERMINAL:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _fork_readers() -> Iterator[None]:
    """Fork the processes that read saved models, instead of importing h5py in each of them.

    A command in a process of its own starts them as for a user.
    """
    if not hasattr(os, "fork"):
        yield
        return
    real, script = spawn.start, spawn.SCRIPT
    options = {"OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
    server = ForkServer("h5py", script.stem, folder=str(script.parent), **options)

    def start(path: str) -> Any:
        if script != spawn.SCRIPT:
            return real(path)
        return server.pipe(script.stem, "main", arguments=[path])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spawn, "start", start)
        yield
    server.close()


@pytest.fixture(scope="session")
def commands() -> Iterator[ForkServer]:
    """Small processes that have imported the command, and nothing heavy."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _TERMINAL:
            patch.delenv(name, raising=False)
        server = ForkServer("rnnshapes.cli", "rnnshapes.api", "rnnshapes.load.saved.model")
    yield server
    server.close()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """The command line in this process: ``run("inspect", "--T", 7)``."""

    def command(*args: object) -> Result:
        status = cli.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return command


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of one model side by side: a worker builds and runs each model once."""
    from tests.helpers.models import MODELS

    indices = {name: index for index, name in enumerate(MODELS)}

    def index(item: pytest.Item) -> int:
        values = item.callspec.params.values() if hasattr(item, "callspec") else ()
        found = [indices[value] for value in values if isinstance(value, str) and value in indices]
        return min(found, default=len(indices))

    items.sort(key=index)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Run Keras without compiling: most models of the tests run once, on little data."""
    run_eagerly()


@pytest.fixture
def compiled() -> Iterator[None]:
    """Keras as users run it, where compiling may change numbers."""
    run_compiled()
    yield
    run_eagerly()


@pytest.fixture(scope="session")
def small_run() -> KerasRun:
    """All sizes different, several samples, biases not zero."""
    return keras_run(N=4, T=9, D=3, M=6, K=2)


@pytest.fixture(scope="session")
def stacked_run() -> KerasRun:
    """Two recurrent layers, all sizes different."""
    return keras_run(N=2, T=8, D=3, M=[6, 5], K=4)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def lstm(tmp_path: Path) -> Path:
    """A saved model of all sizes different, its layers with names of their own."""
    from keras import layers as la

    from tests.helpers.files import saved
    from tests.helpers.models import randomized, sequential

    layers = (la.LSTM(5, name="encode"), la.Dense(2, name="answer"))
    return saved(randomized(sequential(*layers, shape=(6, 3))), tmp_path / "model.keras")


@pytest.fixture
def source_of(tmp_path: Path) -> Iterator[Callable[[bytes], ByteSource]]:
    """Return a function that opens a file with this content."""
    opened: list[ByteSource] = []

    def open_one(data: bytes) -> ByteSource:
        opened.append(ByteSource(written(tmp_path / "content", data)))
        return opened[-1]

    yield open_one
    for source in opened:
        source.close()
