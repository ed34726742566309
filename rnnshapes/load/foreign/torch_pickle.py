"""The pickle in a PyTorch file, interpreted opcode by opcode; nothing is imported or called.

``pickletools.genops`` splits it into opcodes. Those on a short list build dicts, lists, numbers
and texts, and records of tensors; any other says that the file holds objects.
Source: ``torch/_utils.py``, ``torch/serialization.py`` and ``torch/_weights_only_unpickler.py``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.tensors import MOST_AXES
from rnnshapes.load.saved.untrusted_json import printable

MOST_OPCODES = 500_000
#: Keys of dicts are smaller: larger integers can be chosen to have one hash.
LARGEST_KEY = 2**32
ADVICE = "it holds objects, not only weights; save model.state_dict() in PyTorch"
#: Dtypes by the classes of storages.
_STORAGES = MappingProxyType(
    {
        "DoubleStorage": "float64",
        "FloatStorage": "float32",
        "HalfStorage": "float16",
        "BFloat16Storage": "bfloat16",
        "LongStorage": "int64",
        "IntStorage": "int32",
        "ShortStorage": "int16",
        "CharStorage": "int8",
        "ByteStorage": "uint8",
        "BoolStorage": "bool",
    }
)
_ORDERED, _SIZE = "collections OrderedDict", "torch Size"
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_NAMES = frozenset({_ORDERED, _SIZE, _TENSOR, _PARAMETER, *(f"torch {name}" for name in _STORAGES)})
_CONSTANTS = MappingProxyType({"NONE": None, "NEWTRUE": True, "NEWFALSE": False})
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_TEXTS = ("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")


class Storage(NamedTuple):
    """A storage: its dtype, the name of its member, and how many numbers it has."""

    dtype: str
    key: str
    length: int


class StoredTensor(NamedTuple):
    """A tensor: where in a storage it begins, its shape, and the steps along its axes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Name(NamedTuple):
    """A class or function that the pickle names."""

    text: str


class _Mark:
    """Where the parts of a tuple, list or dict begin."""


_MARK = _Mark()


def _refuse(reason: str = "") -> NoReturn:
    raise InputError(f"{ADVICE}{f' ({reason})' if reason else ''}")


def read_pickle(data: bytes) -> Any:
    """Return what a pickle holds, with a :class:`StoredTensor` for each tensor.

    Raises:
        InputError: It holds anything but dicts, lists, texts, numbers and tensors.
    """
    machine = _Machine()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if number > MOST_OPCODES:
                raise InputError(f"its data.pkl has more than {MOST_OPCODES:,} opcodes")
            if opcode.name == "STOP":
                return machine.pop()
            machine.run(opcode.name, argument)
    except InputError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        text = printable(" ".join(str(error).split()))[:100]
        raise InputError(f"its data.pkl is damaged ({text}); save it again in PyTorch") from None
    raise InputError("its data.pkl is damaged (it has no end); save it again in PyTorch")


class _Machine:
    """The stack and the memo of the interpreter."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._actions: dict[str, Callable[[Any], None]] = {
            "PROTO": self._ignore,
            "FRAME": self._ignore,
            "MARK": lambda _: self.stack.append(_MARK),
            "EMPTY_DICT": lambda _: self.stack.append({}),
            "EMPTY_LIST": lambda _: self.stack.append([]),
            "EMPTY_TUPLE": lambda _: self.stack.append(()),
            "TUPLE": lambda _: self.stack.append(tuple(self._above_mark())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "BINGET": self._get,
            "LONG_BINGET": self._get,
            "BINPUT": self._put,
            "LONG_BINPUT": self._put,
            "MEMOIZE": lambda _: self._put(len(self.memo)),
            "SETITEM": lambda _: self._set([self.pop(), self.pop()][::-1]),
            "SETITEMS": lambda _: self._set(self._above_mark()),
            "APPEND": lambda _: self._append([self.pop()]),
            "APPENDS": lambda _: self._append(self._above_mark()),
            "GLOBAL": lambda text: self._name(str(text)),
            "STACK_GLOBAL": lambda _: self._name(" ".join([self._text(), self._text()][::-1])),
            "REDUCE": lambda _: self._reduce(self.pop()),
            "BUILD": lambda _: self._build(self.pop()),
            "BINPERSID": lambda _: self._persistent(self.pop()),
            **dict.fromkeys((*_NUMBERS, *_TEXTS), self.stack.append),
            **{name: partial(self._push, value) for name, value in _CONSTANTS.items()},
        }

    def run(self, name: str, argument: Any) -> None:
        """Apply one opcode."""
        action = self._actions.get(name)
        if action is None:
            _refuse(f"the opcode {name}")
        action(argument)

    def pop(self) -> Any:
        """Return the top of the stack, which is no mark."""
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark too many")
        return value

    def _push(self, value: Any, _: Any) -> None:
        self.stack.append(value)

    def _ignore(self, _: Any) -> None:
        """Do nothing."""

    def _text(self) -> str:
        text = self.pop()
        if not isinstance(text, str):
            raise TypeError("a name that is no text")
        return text

    def _above_mark(self) -> list[Any]:
        values = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _tuple(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(values[::-1]))

    def _get(self, index: Any) -> None:
        self.stack.append(self.memo[index])

    def _put(self, index: Any) -> None:
        value = self.pop()
        self.memo[index] = value
        self.stack.append(value)

    def _set(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict):
            _refuse("items of an object")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # torch's own state dicts have no other keys
            if isinstance(key, str) or (isinstance(key, int) and abs(key) < LARGEST_KEY):
                target[key] = value

    def _append(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            _refuse("items of an object")
        target.extend(values)

    def _name(self, text: str) -> None:
        if text not in _NAMES:
            _refuse(printable(text.replace(" ", "."))[:60])
        self.stack.append(_Name(text))

    def _reduce(self, arguments: Any) -> None:
        """Make a record of what would be called."""
        name = self.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            _refuse("a call")
        if name.text == _ORDERED and not arguments:
            self.stack.append({})
        elif name.text == _SIZE:
            self.stack.append(_sizes(*arguments))
        elif name.text == _PARAMETER and isinstance(arguments[0], StoredTensor):
            self.stack.append(arguments[0])
        elif name.text == _TENSOR:
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, Storage) or not isinstance(offset, int):
                raise TypeError("a tensor without a storage")
            self.stack.append(StoredTensor(storage, offset, _sizes(shape), _sizes(strides)))
        else:
            _refuse(f"a call of {name.text.replace(' ', '.')}")

    def _build(self, state: Any) -> None:
        """Leave out the attributes of a dict; torch keeps version numbers there."""
        if not isinstance(self.stack[-1], dict) or not isinstance(state, dict):
            _refuse("the state of an object")

    def _persistent(self, identity: Any) -> None:
        kind, storage, key, _, count = identity
        if kind != "storage" or not isinstance(storage, _Name):
            _refuse("an object outside the pickle")
        dtype = _STORAGES.get(storage.text.removeprefix("torch "))
        if dtype is None or not isinstance(key, str) or not isinstance(count, int):
            _refuse("a storage of another kind")
        self.stack.append(Storage(dtype, key, count))


def _sizes(sizes: Any) -> tuple[int, ...]:
    """Return a shape or strides; raise TypeError for anything but a few integers."""
    if not isinstance(sizes, tuple | list) or len(sizes) > MOST_AXES:
        raise TypeError(f"a shape that is no list of at most {MOST_AXES} integers")
    if not all(isinstance(size, int) for size in sizes):
        raise TypeError("a shape of other values than integers")
    return tuple(sizes)
