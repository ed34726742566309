"""Recurrent operators of an ONNX file, with their weights and their attributes.

Source: the operators RNN, LSTM and GRU in ``docs/Operators.md`` of ONNX.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from rnnshapes.cells.frameworks import BY_CELL, FrameworkCell
from rnnshapes.errors import InputError
from rnnshapes.layouts.frameworks import layout_of
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.modules import Contents, Module, ModuleLayer, OtherModule, StoredArray
from rnnshapes.load.foreign.onnx_chain import Zeros, read_chain
from rnnshapes.load.foreign.onnx_constants import add_constants
from rnnshapes.load.foreign.onnx_graph import IN_OTHER_FILES, OnnxModel, layer_name, read_model
from rnnshapes.load.foreign.tensors import FLOATS, Tensor, require_floats
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.elementwise import (
    ELU,
    Affine,
    Clip,
    ClippedReLU,
    Elementwise,
    HardSigmoid,
    LeakyReLU,
    ScaledTanh,
)
from rnnshapes.ops.onnx_ops import OnnxNode

_CELLS = MappingProxyType({"RNN": "simple", "LSTM": "lstm", "GRU": "gru"})
#: Positions of inputs, by the names of arrays in the layout.
_INPUTS = MappingProxyType({"W": 1, "R": 2, "B": 3, "P": 7})
_REVERSE = MappingProxyType(
    {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
)
#: Activations that have no constants, by ONNX's names in small letters.
_PLAIN = ("relu", "tanh", "sigmoid", "softsign", "softplus")
#: Activations with alpha and beta: what these are if they are left out; ``None`` where ONNX does
#: not say, and runtimes differ.
_DEFAULTS: Mapping[str, tuple[float | None, ...]] = MappingProxyType(
    {
        "affine": (None, None),
        "leakyrelu": (0.01,),
        "thresholdedrelu": (None,),
        "scaledtanh": (None, None),
        "hardsigmoid": (0.2, 0.5),
        "elu": (1.0,),
    }
)
#: The activations f, g and h of a cell, by the options of its class.
_ACTIVATION_OPTIONS = MappingProxyType(
    {
        "simple": (("activation", "Tanh"),),
        "lstm": (
            ("recurrent_activation", "Sigmoid"),
            ("activation", "Tanh"),
            ("state_activation", "Tanh"),
        ),
        "gru": (("recurrent_activation", "Sigmoid"), ("activation", "Tanh")),
    }
)
#: Operators that repeat a graph of their own.
_LOOPS = ("Loop", "Scan")
#: Operators whose Constant nodes are weights; those of others are numbers of the graph.
_WITH_WEIGHTS = ("MatMul", "Gemm", "Conv", "Gather", "Add")
#: What inputs of operators are for, by position: see OtherModule.
_ROLES: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "MatMul": {0: "weight", 1: "kernel"},
        "Gemm": {1: "kernel", 2: "bias"},
        "Conv": {1: "weight", 2: "bias"},
        "Gather": {0: "table"},
        "LayerNormalization": {1: "weight", 2: "bias"},
        "BatchNormalization": {1: "weight", 2: "bias", 3: "running_mean", 4: "running_var"},
    }
)


def read_onnx(source: ByteSource) -> Contents:
    """Return the recurrent operators of a file, and all other weights by operator.

    Raises:
        InputError: It is damaged, or no ONNX.
    """
    model = read_model(source)
    sources = add_constants(model, source.size)
    modules: list[tuple[OnnxNode, Module]] = []
    contradictions, warnings = [], list(_file_warnings(model))
    used: set[str] = set()
    zeros = Zeros(model)
    for number, node in enumerate(filter(_is_recurrent, model.nodes)):
        name = layer_name(node, number)
        try:
            module = _module(model, node, name, zeros)
        except InputError as error:
            contradictions.append(f"{name}: {error}")
            continue
        modules.append((node, module))
        warnings += [f"{name}: {text}" for text in _traps(node, model.producer)]
        _visit(node.inputs, sources, used)
    chain, steps = ((), None) if contradictions else read_chain(model, modules, zeros, sources)
    return Contents(
        "ONNX",
        ".onnx",
        tuple(module for _, module in modules),
        tuple(_others(model, used, sources, zeros)),
        tuple(warnings),
        tuple(contradictions),
        chain,
        steps,
    )


def _is_recurrent(node: OnnxNode) -> bool:
    return node.op_type in _CELLS and node.domain in ("", "ai.onnx")


def _visit(
    names: Sequence[str], sources: Mapping[str, tuple[str, ...]], visited: set[str]
) -> list[str]:
    """Add arrays, and those from which they are computed; return those that are new."""
    new: list[str] = []
    stack = list(names)
    while stack:
        name = stack.pop()
        if name not in visited:
            visited.add(name)
            new.append(name)
            stack += sources.get(name, ())
    return new


def _module(model: OnnxModel, node: OnnxNode, name: str, zeros: Zeros) -> Module:
    """Return a recurrent node as a module. Raises InputError for what no such node has."""
    cell_name = _CELLS[node.op_type]
    layout = layout_of("ONNX", cell_name)
    tensors = {array: _input(model, node, position) for array, position in _INPUTS.items()}
    found = {array: tensor for array, tensor in tensors.items() if tensor is not None}
    if "W" not in found or "R" not in found:
        raise InputError("W and R must be constants in the file")
    require_floats(found)
    kernel, recurrent = found["W"].shape, found["R"].shape
    direction = node.attributes.get("direction", "forward")
    reverse = _REVERSE.get(direction) if isinstance(direction, str) else None
    if reverse is None:
        raise InputError(f"unknown direction {direction!r:.40} (forward, reverse or bidirectional)")
    units = node.attributes.get("hidden_size", recurrent[-1] if recurrent else 0)
    gates = max(1, len(layout.gates))
    if not isinstance(units, int) or not 0 < units < 2**40:
        raise InputError(f"hidden_size must be a positive integer, not {units!r:.40}")
    if len(kernel) != 3 or kernel[:2] != (len(reverse), gates * units) or not kernel[2]:
        raise InputError(
            f"W is {kernel}, and hidden_size {units} requires ({len(reverse)}, {gates * units}, D)"
        )
    cells = _cells(node, cell_name, units, len(reverse), set(found))
    arrays = tuple(
        StoredArray(array.name, array, found[array.name])
        for array in layout.arrays
        if array.name in found
    )
    differences = "; ".join(_runtime_differences(node, zeros, found["W"].dtype))
    layer = ModuleLayer(cells, kernel[2], reverse, arrays, tuple(_notes(node)), differences)
    return Module(name, layout, (layer,))


def _input(model: OnnxModel, node: OnnxNode, position: int) -> Tensor | None:
    """Return a constant input; ``None`` if it is left out. Raises InputError for any other."""
    name = node.inputs[position] if position < len(node.inputs) else ""
    if not name:
        return None
    if name not in model.arrays:
        raise InputError(f"its input {name:.60} must be a constant in the file")
    return model.arrays[name]


def _cells(
    node: OnnxNode, cell_name: str, units: int, directions: int, found: set[str]
) -> tuple[FrameworkCell, ...]:
    """Return the cell of each direction, with the options that the attributes set."""
    options: dict[str, Any] = {"use_bias": "B" in found}
    attributes = node.attributes
    clip = attributes.get("clip")
    if clip is not None:
        if not isinstance(clip, float) or not 0 < clip < float("inf"):
            raise InputError(f"clip must be a positive number, not {clip!r:.40}")
        options["clip"] = Clip(-clip, clip)
    if cell_name == "gru":
        options["reset_after"] = bool(attributes.get("linear_before_reset", 0))
    if cell_name == "lstm":
        options |= {"peepholes": "P" in found, "coupled": bool(attributes.get("input_forget", 0))}
    activations = _Activations.of(attributes)
    return tuple(
        BY_CELL[cell_name](Dim.of(units), **options, **activations.options(cell_name))
        for _ in range(directions)
    )


@dataclass
class _Activations:
    """The activations of a node, whose constants are taken one after the other."""

    names: list[str]
    alphas: list[float]
    betas: list[float]
    functions: dict[str, Elementwise] = field(default_factory=dict)

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> _Activations:
        """Return those of a node. Raises InputError if the attributes are not lists."""
        lists = [
            attributes.get(name) or []
            for name in ("activations", "activation_alpha", "activation_beta")
        ]
        kinds = (str, float, float)
        for values, kind in zip(lists, kinds, strict=True):
            if not isinstance(values, list) or not all(isinstance(v, kind) for v in values):
                raise InputError(
                    "activations must be a list of names, activation_alpha and activation_beta "
                    "lists of numbers"
                )
        names, alphas, betas = lists
        return cls(list(names), list(alphas), list(betas))

    def options(self, cell_name: str) -> dict[str, Any]:
        """Return the activations of the next direction, as options of its cell."""
        self.functions = {}
        options: dict[str, Any] = {}
        for option, default in _ACTIVATION_OPTIONS[cell_name]:
            name = self.names.pop(0) if self.names else default
            options[option] = self._next(name)
        return {**options, "functions": tuple(self.functions.items())}

    def _next(self, name: str) -> str:
        """Return the name of an activation here; one with constants is kept under it."""
        word = name.lower()
        if word in _PLAIN:
            return word
        if word not in _DEFAULTS:
            raise InputError(f"unknown activation {name!r:.40}")
        defaults = _DEFAULTS[word]
        constants = [self.alphas.pop(0) if self.alphas else defaults[0]]
        if len(defaults) > 1:
            constants.append(self.betas.pop(0) if self.betas else defaults[1])
        given = [constant for constant in constants if constant is not None]
        if len(given) < len(constants):
            raise InputError(f"activation {name:.40} lacks activation_alpha or activation_beta")
        function = _function(word, given)
        own = function.name if word != "thresholdedrelu" else "thresholded_relu"
        while self.functions.get(own, function) != function:
            own += "'"
        self.functions[own] = function
        return own


def _function(word: str, constants: Sequence[float]) -> Elementwise:
    alpha = constants[0]
    if word in ("affine", "hardsigmoid", "scaledtanh"):
        kinds = {"affine": Affine, "hardsigmoid": HardSigmoid, "scaledtanh": ScaledTanh}
        return kinds[word](alpha, constants[1])
    if word == "thresholdedrelu":
        return ClippedReLU(None, 0.0, alpha)
    return LeakyReLU(alpha) if word == "leakyrelu" else ELU(alpha)


def _runtime_differences(node: OnnxNode, zeros: Zeros, dtype: str) -> Iterator[str]:
    """Yield the reasons why a runtime computes other numbers than trace."""
    if dtype in ("float16", "bfloat16"):
        yield f"its weights are {dtype}: a runtime computes in {dtype}, trace in float32"
    inputs = {position: name for position, name in enumerate(node.inputs) if name}
    if 4 in inputs:
        yield "sequence_lens is set: trace ignores it and processes all steps"
    states = [inputs[n] for n in (5, 6)[: 1 + (node.op_type == "LSTM")] if n in inputs]
    if not all(map(zeros.holds, states)):
        yield "its initial states are inputs of the node; trace starts from zeros"


def _notes(node: OnnxNode) -> Iterator[str]:
    """Yield remarks on attributes that no array shows."""
    if node.attributes.get("input_forget"):
        yield "input_forget=1: the forget gate is 1 - i"
    if node.op_type == "GRU" and not node.attributes.get("linear_before_reset"):
        yield "linear_before_reset=0: r acts before the product, as with reset_after=False"


def _traps(node: OnnxNode, producer: str) -> Iterator[str]:
    """Yield what is known to go wrong with such a node."""
    if node.attributes.get("layout"):
        yield (
            "layout=1: X is (N, T, D). ONNX Runtime's CPU refuses it, and some runtimes ignore it "
            "(openvino#37820)"
        )
    before_reset = node.op_type == "GRU" and not node.attributes.get("linear_before_reset")
    if before_reset and "pytorch" in producer.lower():
        yield (
            "PyTorch's GRU needs linear_before_reset=1, but this export has 0: its outputs differ "
            "from PyTorch's. Export it again with another version (onnxscript#2852)"
        )
    if "tf2onnx" in producer.lower() and not node.attributes.get("activations"):
        yield (
            "it has ONNX's default activations; tf2onnx may have dropped the original ones "
            "(tensorflow-onnx#2211)"
        )


def _file_warnings(model: OnnxModel) -> Iterator[str]:
    """Yield what is not read, and where a recurrence may be that is no operator."""
    if model.external:
        count = len(model.external)
        yield f"the numbers of {count} array{'s' * (count > 1)} {IN_OTHER_FILES}"
    loops = [node for node in model.nodes if node.op_type in _LOOPS]
    if loops:
        node = loops[0]
        more = f" and {len(loops) - 1} more" if len(loops) > 1 else ""
        yield (
            f"a recurrence may be inside {node.op_type} {layer_name(node):.60}{more}, which is not "
            "read; tf2onnx writes a Keras GRU or SimpleRNN as a Loop. Export it again with: "
            "rnnshapes convert model.keras -o model.onnx"
        )
    kernels = Counter(
        name
        for node in model.nodes
        if node.op_type in ("MatMul", "Gemm")
        for name in node.inputs[1:2]
        if name in model.arrays
    )
    name, count = kernels.most_common(1)[0] if kernels else ("", 0)
    if count > 1 and not loops and not any(map(_is_recurrent, model.nodes)):
        yield (
            f"it has no RNN, LSTM or GRU operator, and {count} nodes multiply by {name:.60}: the "
            "exporter unrolled the steps, as PyTorch's does for nn.RNN. Export it again with "
            "torch.onnx.export(…, dynamo=False)"
        )


def _others(
    model: OnnxModel, used: set[str], sources: Mapping[str, tuple[str, ...]], zeros: Zeros
) -> Iterator[OtherModule]:
    """Yield the weights that other nodes take, by node; a bias with the product before it.

    Nodes that make zeros, such as initial states, have none.
    """
    visited = set(used)
    modules: dict[str, OtherModule] = {}
    for number, node in enumerate(model.nodes):
        if _is_recurrent(node) or (node.outputs[:1] and node.outputs[0] in model.arrays):
            continue
        if node.outputs and all(map(zeros.holds, node.outputs)):
            continue
        names = _visit([name for name in node.inputs if name in model.arrays], sources, visited)
        tensors = [
            model.arrays[name]
            for name in sorted(names)
            if (name not in sources or (not sources[name] and node.op_type in _WITH_WEIGHTS))
            and model.arrays[name].dtype in FLOATS
        ]
        if not tensors:
            continue
        products = [name for name in node.inputs if name in modules]
        is_bias = node.op_type == "Add" and len(tensors) == 1 and len(tensors[0].shape) == 1
        if is_bias and len(products) == 1:
            product, (bias,) = modules[products[0]], tensors
            roles = {**product.roles, bias.name: "bias"}
            both = replace(product, tensors=(*product.tensors, bias), roles=roles)
            modules[products[0]] = both
            continue
        name = layer_name(node, number)
        key = node.outputs[0] if node.op_type == "MatMul" and node.outputs else f" {number}"
        modules[key] = OtherModule(name, node.op_type, tuple(tensors), dict(_roles(node)))
    yield from modules.values()


def _roles(node: OnnxNode) -> Iterator[tuple[str, str]]:
    """Yield what the inputs of a node are for, by name."""
    roles = _ROLES.get(node.op_type, {})
    if node.op_type == "Gemm" and node.attributes.get("transB"):
        roles = {**roles, 1: "weight"}
    for position, name in enumerate(node.inputs):
        if position in roles:
            yield name, roles[position]
