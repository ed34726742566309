"""What the tests share: the command in this process and in one of its own, and a run of Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rnnshapes import api, cli, reference
from rnnshapes.load import inputs
from rnnshapes.network import weights
from rnnshapes.network.graph import Network
from rnnshapes.verification import report


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """The command line in this process: ``run("inspect", "--T", 7)``."""

    def command(*args: object) -> Result:
        status = cli.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return command


def process(*args: object, env: Mapping[str, str] | None = None, **options: Any) -> Result:
    """The command line in a process of its own, with ``env`` added to the environment."""
    command = [sys.executable, "-m", "rnnshapes", *map(str, args)]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
    done = subprocess.run(
        command,
        check=False,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
        timeout=240,
        **options,
    )
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


@dataclass(frozen=True)
class KerasRun:
    """A network, its weights and input, and what Keras computed from them."""

    network: Network
    weights: weights.Weights
    sources: inputs.InputSources
    built: reference.Built
    answers: reference.Answers

    @property
    def xs(self) -> list[Any]:
        """The input as arrays."""
        return [inputs.full_array(source) for source in self.sources]


def keras_run(seed: int = 5, **sizes: Any) -> KerasRun:
    """Build and run the network of these sizes in Keras."""
    with api.prepare(**sizes, seed=seed) as task:
        model = task.keras_model(task.weights())
        return model_run(model, task.network, task.sources)


def model_run(model: Any, network: Network, sources: inputs.InputSources) -> KerasRun:
    """Run a model that is this network."""
    found = reference.weights_of(model, network)
    answers = reference.run(model, network, [inputs.full_array(source) for source in sources])
    return KerasRun(network, found, sources, reference.built(model, network), answers)


def judge(run: KerasRun) -> list[report.Check]:
    """The numeric checks of a run."""
    return list(report.values(run.network, run.weights, run.xs, run.answers))


def with_layer(network: Network, name: str, **changes: Any) -> Network:
    """The same network with a layer of other options."""
    nodes = tuple(
        replace(node, layer=replace(node.layer, **changes)) if node.layer.name == name else node
        for node in network.nodes
    )
    return replace(network, nodes=nodes)


def with_cell(network: Network, make: Callable[[Any], Any]) -> Network:
    """The same network with another cell in each of its one-way recurrent layers."""
    for node in network.recurrent:
        direction = node.layer.directions[0]
        changed = replace(direction, cell=make(direction.cell))
        network = with_layer(network, node.layer.name, direction=changed)
    return network


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


def run_model(model: Any, **options: Any) -> KerasRun:
    """A model, read and run in Keras."""
    with api.prepare(model, seed=5, **options) as task:
        return model_run(model, task.network, task.sources)


@pytest.fixture
def lstm(tmp_path: Path) -> Path:
    """A saved model of all sizes different, its layers with names of their own."""
    from keras import layers as la

    from tests.files import saved
    from tests.models import sequential
    from tests.test_live import randomized

    layers = (la.LSTM(5, name="encode"), la.Dense(2, name="answer"))
    return saved(randomized(sequential(*layers, shape=(6, 3))), tmp_path / "model.keras")
