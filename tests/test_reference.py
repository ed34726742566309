"""The door to Keras: what it says, what it leaves alone, and how it is interrupted."""

from __future__ import annotations

import gc
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import rnnshapes
from rnnshapes import CannotRunError, TooLargeError, memory, reference
from rnnshapes.forward import golden, scan, tracing
from rnnshapes.load.live.keras_private import get_mask
from rnnshapes.load.live.network import read_model
from rnnshapes.load.live.recorded_model import unused_name
from rnnshapes.network import from_sizes
from rnnshapes.network.structure import Engine
from rnnshapes.reference import quiet
from tests.helpers.commands import interruptible
from tests.helpers.keras_runs import KerasRun
from tests.helpers.models import randomized


def test_engine_names_keras_and_backend() -> None:
    import keras

    engine = reference.engine()
    backend = sys.modules[keras.backend.backend()]
    assert engine == Engine(keras.__version__, keras.backend.backend(), backend.__version__)


def test_engine_says_whether_products_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """To TensorFloat-32, as on a GPU whose backend allows it."""

    def allowed(value: bool) -> SimpleNamespace:
        return SimpleNamespace(allow_tf32=value)

    def of_torch(gpu: bool, rounds: bool) -> SimpleNamespace:
        matmul = SimpleNamespace(matmul=allowed(rounds))
        cuda = SimpleNamespace(is_available=lambda: gpu)
        return SimpleNamespace(cuda=cuda, backends=SimpleNamespace(cuda=matmul))

    def of_tensorflow(gpu: bool, rounds: bool) -> SimpleNamespace:
        switch = SimpleNamespace(tensor_float_32_execution_enabled=lambda: rounds)
        gpus = {"GPU": ["one"] * gpu, "CPU": ["one"]}
        config = SimpleNamespace(list_physical_devices=gpus.get, experimental=switch)
        return SimpleNamespace(config=config)

    import keras

    made = {"torch": of_torch, "tensorflow": of_tensorflow, "jax": lambda *_: SimpleNamespace()}
    for name, make in made.items():
        for gpu, rounds in itertools.product((False, True), repeat=2):
            with monkeypatch.context() as patch:
                patch.setattr(keras.config, "backend", lambda name=name: name)
                patch.setitem(sys.modules, name, make(gpu, rounds))
                found = reference.engine()
            rounded = gpu and rounds and name != "jax"
            assert found == Engine(keras.__version__, name, "?", rounded)


def test_failure_inside_keras_is_one_line(small_run: KerasRun) -> None:
    class Broken:
        layers = variables = ()

        def predict(self, *args: object, **options: object) -> None:
            os.write(2, b"a log line\n")
            raise MemoryError("no\nroom")

    with pytest.raises(CannotRunError) as error:
        reference.run(Broken(), small_run.network, small_run.xs)
    assert str(error.value) == "Keras could not run the model: MemoryError: no room"
    assert error.value.log == "a log line\n"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_input_is_not_rounded_to_16_bits(
    dtype: str, small_run: KerasRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    monkeypatch.setattr(keras.config, "floatx", lambda: dtype)
    with pytest.raises(CannotRunError, match=rf"floatx.* {dtype}"):
        reference.run(reference.build(small_run.network), small_run.network, small_run.xs)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("swallowed", [True, False])
def test_ctrl_c_survives_foreign_code(swallowed: bool) -> None:
    """A C++ initialiser turns it into an ImportError, or swallows it."""

    def foreign() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except KeyboardInterrupt:
            if not swallowed:
                raise ImportError("initialization failed") from None

    with interruptible():
        with pytest.raises(KeyboardInterrupt), quiet.keras_at_work("try"):
            foreign()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with quiet.interruptible():
            done = True
        with pytest.raises(ImportError, match="of its own"), quiet.interruptible():
            raise ImportError("of its own")
    assert done


def test_only_the_main_thread_handles_ctrl_c() -> None:
    """Python refuses handlers elsewhere; a handler of the user's stays."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            with quiet.interruptible():
                pass
        except BaseException as error:
            failed.append(error)

    with interruptible():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert failed == []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with quiet.interruptible():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_garbage_collector_is_restored() -> None:
    for switch, state in ((gc.enable, True), (gc.disable, False)):
        switch()
        with reference.garbage_collection_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is state
    gc.enable()


def free_descriptors() -> list[int]:
    """Return the lowest file descriptors that are not in use."""
    numbers = [os.dup(2) for _ in range(5)]
    for number in numbers:
        os.close(number)
    return numbers


def test_threads_restore_descriptor_2() -> None:
    before, free = os.fstat(2), free_descriptors()

    def hold() -> None:
        for _ in range(50):
            with quiet.captured_stderr():
                os.write(2, b"held back")

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)
    assert free_descriptors() == free


def test_buffered_stderr_is_written_where_it_belongs(monkeypatch, capfd) -> None:
    with open(2, "w", closefd=False) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        stderr.write("before, ")
        with quiet.captured_stderr():
            stderr.write("inside, ")
        stderr.write("after")
        monkeypatch.undo()
    assert capfd.readouterr().err == "before, after"


def test_program_without_standard_error_is_quiet(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with quiet.captured_stderr() as log:
        os.write(2, b"inside")
        assert quiet.read_log(log) == "inside"
    os.write(2, b"after")
    monkeypatch.undo()
    assert capfd.readouterr().err == "after"


def least(accepts: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> int:
    """How much memory has to be available for something to be accepted."""
    low, high = 0, 2**40
    while high - low > 1:
        middle = (low + high) // 2
        monkeypatch.setattr(memory, "available", lambda there=middle: there)
        try:
            accepts()
        except TooLargeError:
            low = middle
        else:
            high = middle
    return high


WITH_KERAS: list[dict[str, bool]] = [{}, {"with_keras": False}, {"with_keras": True}]


def test_required_memory_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    net = from_sizes.from_sizes(N=7, T=1000, D=30, M=50, K=20)
    params = 50 * (30 + 50 + 1) + 20 * 51
    assert least(lambda: reference.require_memory(net), monkeypatch) == 4 * params
    alone = least(lambda: tracing.require_memory(net), monkeypatch)
    block = 7 * scan.block_steps(net, "float64") * (30 + 50 + 20 + 20)
    assert alone == 8 * (2 * params + 7 * 1000 * 20 + 7 * 20 + block)
    with_h = least(lambda: tracing.require_memory(net, "y,h"), monkeypatch)
    assert with_h - alone == 8 * 7 * 1000 * 50
    keras = least(lambda: tracing.require_memory(net, with_keras=True), monkeypatch)
    assert keras - alone == 8 * (2 * params + 7 * 1000 * (30 + 50 + 50 + 20))
    # x, and the products and the sum of a step
    files = [least(lambda k=k: golden.require_memory(net, **k), monkeypatch) for k in WITH_KERAS]
    assert files[0] == files[1] == files[2] - (keras - alone)
    assert files[0] - with_h == 8 * 7 * 1000 * (30 + 3 * 50)


def test_unknown_memory_refuses_impossible_sizes(monkeypatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.require(sys.maxsize, "it")
    with pytest.raises(TooLargeError):
        memory.require(sys.maxsize + 1, "it")


def test_container_limit_counts(tmp_path: Path) -> None:
    """Control groups exist in versions 1 and 2; "max" is no limit."""
    assert memory.container_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.container_limit(tmp_path) is None
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("2000\n")
    assert memory.container_limit(tmp_path) == 2000
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.container_limit(tmp_path) == 1000


def test_numpy_integers_are_sizes_and_seeds() -> None:
    result = rnnshapes.trace(
        T=np.int64(4),
        M=np.array(5),
        seed=np.int64(3),
        show=(part for part in ("y", "h")),
        keras=False,
    )
    assert [list(layer.states) for layer in result.layers] == [["h"]]
    assert rnnshapes.inspect(M=np.array([5, 4])).params == 45 + 40 + 10
    with pytest.raises(rnnshapes.InputError, match="seed"):
        rnnshapes.trace(seed=1.5, keras=False)


def test_failure_has_no_colours_and_an_end() -> None:
    def fail() -> None:
        os.write(2, b"\xffa line")
        raise ValueError("\x1b[31mred\x1b[0m\n  more" + "x" * 999)

    with pytest.raises(CannotRunError) as error, quiet.keras_at_work("try"):
        fail()
    text = str(error.value)
    assert text.startswith("Keras could not try: ValueError: red morexxx")
    assert len(text) < 400
    assert error.value.log == "\ufffda line"
    assert isinstance(error.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("dtype", "of_input"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
    ],
)
def test_input_of_16_bits_is_float32(dtype: str, of_input: str) -> None:
    """As in a model of Keras whose layers compute in 16 bits."""
    network = from_sizes.from_sizes(N=2, T=4, M=4).with_dtype(dtype)
    model = reference.build(network)
    assert [x.dtype for x in model.inputs] == [of_input]
    assert model.inputs[0].shape == (None, 4, 3)
    layers = model.layers[1:]
    assert [layer.compute_dtype for layer in layers] == [dtype] * 2
    assert {weight.dtype for layer in layers for weight in layer.weights} == {dtype}


def test_built_model_computes_what_the_original_does() -> None:
    """With a layer that is called twice, states of several cells, and two outputs.

    Keras passes on no mask beside initial states, unless it is given once more.
    """
    import keras
    from keras import layers as la

    x, y = keras.Input((6, 3)), keras.Input((5, 3))
    gru = la.GRU(4, return_sequences=True, go_backwards=True)
    first, second = gru(la.Masking()(x)), gru(y)
    cells = la.RNN([la.LSTMCell(5), la.GRUCell(2)], return_state=True)
    last, *states = cells(second)
    again = la.RNN([la.LSTMCell(5), la.GRUCell(2)])(first, initial_state=states)
    masked = la.GRU(2)(first, initial_state=last, mask=get_mask(first))
    model = randomized(keras.Model([x, y], [la.Subtract()([last, again]), la.Dense(7)(masked)]))
    network = read_model(model)
    built = reference.build(network, reference.weights_of(model, network))
    assert [tuple(output.shape) for output in built.outputs] == [(None, 2), (None, 7)]
    rng = np.random.default_rng(4)
    xs = [rng.standard_normal((4, steps, 3)).astype("float32") for steps in (6, 5)]
    xs[0][1, :2] = xs[0][3, 3:] = 0
    for found, expected in zip(built(xs), model(xs), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_arrays_of_keras_cannot_be_changed(small_run: KerasRun) -> None:
    found = small_run.keras
    arrays = [*found.outputs, *found.masks.values()]
    arrays += [
        array for field in (found.values, found.each) for each in field.values() for array in each
    ]
    arrays += [
        a
        for field in (found.states, found.starts)
        for each in field.values()
        for a in each.values()
    ]
    assert not any(array.flags.writeable for array in arrays)


def test_random_numbers_of_the_user_go_on() -> None:
    random.seed(5)
    before = random.getstate()
    with quiet.keras_at_work("try"):
        random.seed(6)
    assert random.getstate() == before


def test_names_that_are_used_get_numbers() -> None:
    assert unused_name("a", ["b"]) == "a"
    assert unused_name("a", ["a"]) == "a_1"
    assert unused_name("a", {"a", "a_1", "a_3"}) == "a_2"
