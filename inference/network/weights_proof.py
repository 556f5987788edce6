"""Whether weights fit, before a night or an archive is begun with them."""

from __future__ import annotations

from inference.network.weights_file import DIGEST, Weights, check_weights, find_weights
from inference.settings import DetectorSettings


def prove_weights(settings: DetectorSettings) -> Weights:
    """Give the weights that settings name, once it is known that they fit.

    What lamelle wrote is known by its digest; only what another program wrote is tried, for which torch is imported.

    Raises
    ------
    WeightsRefused
        They do not fit.
    """
    weights = find_weights(settings.weights)
    if DIGEST not in check_weights(weights.path, settings.architecture, settings.classes):
        from inference.network.network import load

        load(weights, settings.architecture, settings.classes)
    return weights
