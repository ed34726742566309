"""Comparison of an inspection with a model in Keras: names, shapes, counts."""

from __future__ import annotations

from dataclasses import replace

from rnnshapes import reference
from rnnshapes.errors import CannotRunError
from rnnshapes.network import structure
from rnnshapes.network.summary import Inspection, KerasCheck


def compare_with_model(inspection: Inspection, model: reference.Model) -> Inspection:
    """Return the inspection with the names, shapes and counts of ``model`` beside its own."""
    facts = structure.facts(inspection.network, reference.structure_of(model, inspection.network))
    return replace(inspection, keras=KerasCheck(reference.engine(), facts))


def compare_with_keras(inspection: Inspection) -> Inspection:
    """Build the network in Keras and compare; where that fails, return the reason instead."""
    network = inspection.network
    if inspection.file is not None and inspection.file.framework != "Keras":
        return inspection  # Keras has no such layers
    if inspection.file is not None and network.not_buildable_reason:
        return replace(inspection, not_built=network.not_buildable_reason)
    try:
        return compare_with_model(inspection, reference.build(network))
    except CannotRunError as error:
        return replace(inspection, not_built=str(error), log=error.log)
