"""The network of a config: its layers, their arrays beside them, and who feeds whom."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved import mask_ops
from rnnshapes.load.saved.config_graph import ClosedError, FileCall, Flattening
from rnnshapes.load.saved.config_layers import Owner
from rnnshapes.load.saved.converted import Held
from rnnshapes.load.saved.inbound_nodes import shape_of
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import ITEM_BYTES, SHORT_DTYPES, Network, Tap
from rnnshapes.network.layers.registry import is_recurrent

#: More than anyone would read; they take about three seconds to write.
MOST_LINES = 1000
#: More tensors in one formula than anyone would read.
MOST_SOURCES = 32
#: The arrays of each layer, by its name.
ByLayer = Mapping[str, Sequence[Held]]


@contextmanager
def understood() -> Iterator[None]:
    """InputError for a config that Keras would not write, whatever it is that is wrong in it."""
    try:
        yield
    except InputError:
        raise
    except RecursionError:
        raise InputError("its config is nested deeper than that of a model") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise InputError(f"its config is not one that Keras writes ({what})") from None


def flattened(config: Mapping[str, Any], *, legacy: bool) -> tuple[Flattening, tuple[Tap, ...]]:
    """All calls of layers in a config, and which of them are its outputs.

    A model inside the model is not gone into where it is called with more than tensors.
    """
    closed: frozenset[str] = frozenset()
    with understood():
        while True:
            flat = Flattening(legacy=legacy, closed=closed)
            try:
                outputs = tuple(flat.model(config))
                masked = any(entered.mask is not None for entered in flat.entered)
                own = (
                    mask_ops.of_models(assemble(_plan(flat, outputs, {})), flat)
                    if masked
                    else set()
                )
            except ClosedError as error:
                own = {str(error)}
            if not own - closed:
                return flat, outputs
            closed |= own


def network_of(
    flat: Flattening,
    outputs: tuple[Tap, ...],
    held: ByLayer,
    same: Mapping[str, str] = MappingProxyType({}),
) -> Network:
    """The network of these calls; ``held`` are the arrays that the file has.

    ``same`` are layers that are another one, by the names of both.
    """
    with understood():
        plan = _plan(flat, outputs, held)
        named = (replace(call, name=same.get(call.name, call.name)) for call in plan.calls)
        plan = replace(plan, calls=tuple(named))
        if any(call.mask is not None for call in flat.calls):
            own = mask_ops.not_as_derived(assemble(plan), flat)
            why = "it is called with a mask that its input does not have"
            calls = (
                replace(c, unsupported_reason=why) if i in own else c
                for i, c in enumerate(plan.calls)
            )
            plan = replace(plan, calls=tuple(calls))
        network = assemble(plan.ordered())
        lines = sum(node.layer.equation_lines for node in network.nodes)
        if lines > MOST_LINES:
            raise InputError(f"its equations would take about {lines:,} lines, more than are shown")
        return network


def _plan(flat: Flattening, outputs: tuple[Tap, ...], held: ByLayer) -> LayerGraph:
    owners = list(flat.owners.values())
    calls = [_call(flat, place, call, held) for place, call in enumerate(flat.calls)]
    inputs = [call for call in calls if call.class_name == "InputLayer"]
    batch = next((b for c in inputs if (b := c.config["batch_shape"][0]) is not None), None)
    return LayerGraph(tuple(calls), outputs, _dtype(owners), batch=batch)


def _call(flat: Flattening, place: int, call: FileCall, held: ByLayer) -> LayerCall:
    owner, config = call.owner, call.owner.config
    why = ""
    if owner.class_name == "InputLayer":
        shape = shape_of(config.get("batch_shape")) or shape_of(config.get("batch_input_shape"))
        if not shape:
            raise InputError(f"input {owner.name!r} has no shape")
        users = [c for c in flat.calls if (place, 0) in c.sources]
        integers = any(user.owner.class_name == "Embedding" for user in users)
        config = {"batch_shape": shape, "integers": integers}
    elif call.other:
        why = f"it is called with {', '.join(call.other)}, which is not supported"
    elif _quantized(owner):
        why = "it is quantized, or has LoRA"
    elif owner.inner is not None:
        why = "it is a model inside the model that is called with more than tensors"
    elif len(call.sources) > MOST_SOURCES:
        why = f"it is called on {len(call.sources)} tensors, more than {MOST_SOURCES}"
    shapes = call.shapes or _shape_by_kernel(flat, place, held)
    known = range(max(shapes, default=-1) + 1)
    outputs = tuple(shapes[n] for n in known if n in shapes)
    return LayerCall(
        name=owner.name,
        class_name=owner.class_name,
        config=config,
        sources=call.sources,
        initial=call.initial,
        stored=tuple((h.name, h.shape) for h in held.get(owner.name, ())),
        named=False,
        outputs=outputs if len(outputs) == len(known) else (),
        trainable=owner.trainable,
        trainable_count=_trained(owner, held.get(owner.name, ())),
        computes_in=_computes_in(owner),
        mask_dropped=bool(call.initial) and call.mask is None and not flat.legacy,
        unsupported_reason=why,
    )


def _shape_by_kernel(
    flat: Flattening, place: int, held: ByLayer
) -> Mapping[int, tuple[int | None, ...]]:
    """What a call yields, by the kernel of the recurrent layer that takes it, if there is one."""
    for call in flat.calls:
        kernel = next(iter(held.get(call.owner.name, ())), None)
        # The first array of an RNN around a user's cell may be anything.
        recurrent = is_recurrent(call.owner.class_name) and call.owner.class_name != "RNN"
        takes = call.sources == ((place, 0),) and recurrent
        if takes and kernel is not None and len(kernel.shape) == 2:
            return {0: (None, None, kernel.shape[0])}
    return {}


def _trained(owner: Owner, held: Sequence[Held]) -> int | None:
    """How many parameters are trained, where only some of a layer's parts are."""
    if not owner.trainable or all(each.trained for each in held):
        return None
    return sum(math.prod(each.shape) for each in held if each.trained)


def _quantized(owner: Owner) -> bool:
    policy = owner.config.get("dtype")
    kind = policy.get("class_name") if isinstance(policy, dict) else None
    options = owner.config.get("quantization_config"), owner.config.get("lora_rank")
    return any(options) or "Quantized" in str(kind)


def policy(owners: Sequence[Owner]) -> str:
    """A dtype policy under which Keras computes in another dtype than that of the weights."""
    found = _policies(owners)
    plain = len(found) == 1 and not found[0].startswith("mixed_")
    return "" if plain else ", ".join(found)


def dtypes(owners: Sequence[Owner]) -> tuple[str, ...]:
    """Those of the weights."""
    found = ("float32" if name.startswith("mixed_") else name for name in _policies(owners))
    return tuple(dict.fromkeys(found))


def _dtype(owners: Sequence[Owner]) -> str:
    """That of the weights, where all layers have the same."""
    found = dtypes(owners)
    return found[0] if len(found) == 1 else "float32"


def _policies(owners: Sequence[Owner]) -> list[str]:
    """Those of all layers; masks are made by operations of other dtypes."""
    found = {_policy(owner) for owner in owners if owner.class_name != "InputLayer"}
    return sorted(n for n in found if n.startswith("mixed_") or n in ITEM_BYTES) or ["float32"]


def _computes_in(owner: Owner) -> str:
    """The short format in which it computes, if it does."""
    name = _policy(owner).removeprefix("mixed_")
    return name if name in SHORT_DTYPES else ""


def _policy(owner: Owner) -> str:
    policy: Any = owner.config.get("dtype")
    if isinstance(policy, dict):
        policy = policy.get("config")
        policy = policy.get("name") if isinstance(policy, dict) else None
    return policy if isinstance(policy, str) else "float32"
