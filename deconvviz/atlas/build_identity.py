"""What an atlas is built from, as one digest: builds with the same digest write the same files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from deconvviz.atlas.projected_units import AtlasSource, ListedUnit
from deconvviz.atlas.records import AtlasHeader, AtlasLayer
from deconvviz.data.digests import Digest
from deconvviz.data.identity import identity_of
from deconvviz.data.source import Source
from deconvviz.projection.provenance import settings_of
from deconvviz.recording.placement import required_arguments
from deconvviz.trace import Trace


def build_identity(
    source: AtlasSource,
    data: Any,
    run: Trace,
    *,
    header: AtlasHeader,
    layers: Sequence[AtlasLayer],
    units: Mapping[str, Sequence[ListedUnit]],
    options: Mapping[str, Any],
) -> str:
    """The digest of a build.

    Args:
        source: The network, the scan and the images. Weights, numbers of the scan and the preprocess count; of a
            dataset what `data.identity` says.
        data: The dataset.
        run: A run of the network on the first image; the device, the type and the settings of torch count.
        header: What holds for the whole atlas; the versions of deconvviz and torch are in it.
        layers: Its layers.
        units: The units to project, by layer.
        options: Other options on which the files depend.
    """
    net, top = source.net, source.top
    arguments = required_arguments(net.model)
    preprocess = source.pictures.placement.preprocess(net.preprocess, arguments)
    plain = {
        "identity": identity_of(net.model, Source(data), preprocess),
        "style": {"name": net.style.name, **net.style.choices},
        "settings": settings_of(net.model, run.call.first),
        "header": dataclasses.asdict(header),
        "layers": [dataclasses.asdict(layer) for layer in layers],
        "units": {name: [list(unit) for unit in of_layer] for name, of_layer in units.items()},
        **options,
    }
    digest = Digest(json.dumps(plain, sort_keys=True, default=str), run.call.first)
    for layer in layers:
        statistics = vars(top.statistics[layer.name]).values()
        for tensor in (top.values[layer.name], top.images[layer.name], top.positions[layer.name], *statistics):
            digest.add(tensor)
    return digest.text
