"""How a measured number is told: with as many digits as its uncertainty allows."""

from __future__ import annotations

import math
from collections.abc import Mapping

from calibration.steps import Quantity


def told(quantity: Quantity) -> str:
    """Value and uncertainty with as many digits as the uncertainty allows, and the unit: `2.204 ± 0.012 DN/e-`."""
    value, uncertainty, unit = quantity
    if not uncertainty > 0:
        return f"{value:.6g} {unit}".rstrip()
    places = 1 - math.floor(math.log10(uncertainty))
    if -4 < places < 8:
        digits = max(0, places)
        return f"{round(value, places):.{digits}f} ± {round(uncertainty, places):.{digits}f} {unit}".rstrip()
    return f"{value:.6g} ± {uncertainty:.2g} {unit}".rstrip()


def numbers_of(values: Mapping[str, Quantity], residuals: Mapping[str, Quantity]) -> list[str]:
    """Give a line for each number, in columns."""
    lines = [*values.items(), *((f"residual {name}", quantity) for name, quantity in residuals.items())]
    width = max((len(name) for name, _ in lines), default=0) + 2
    return [f"{name:<{width}}{told(quantity)}" for name, quantity in lines]
