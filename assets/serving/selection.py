"""Which of the trained models to serve. Pure."""

import math
from collections.abc import Mapping
from typing import Any

METRIC = "ndcg@10"
NET = "net"


def best_model(manifests: Mapping[str, Mapping[str, Any]]) -> str:
    """Name of the model with the highest validation ndcg@10, the earlier one on a tie.

    Nets come before counting models whatever their metric: a counting model gives every user the same list, so an index
    of its item vectors answers nothing that a sorted list would not.

    Args:
        manifests: checkpoint manifests by model name, in roster order.

    Raises:
        ValueError: when there is no model, or when one's manifest has no finite validation metric.
    """
    if not manifests:
        raise ValueError("no model to serve: the roster is empty")
    quality = {name: _quality(name, manifest) for name, manifest in manifests.items()}
    nets = [name for name, manifest in manifests.items() if manifest["kind"] == NET]
    return max(nets or list(manifests), key=lambda name: quality[name])


def _quality(name: str, manifest: Mapping[str, Any]) -> float:
    value = manifest.get("metrics", {}).get("validation", {}).get(METRIC)
    if value is None or not math.isfinite(value):
        raise ValueError(f"the manifest of {name} has validation {METRIC} {value}: train it again (training/{name})")
    return float(value)
