"""Objects per area, from counts by fields."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from calibration.counting.abundance import Abundance
from calibration.counting.dispersion import cautious, dispersion

FEW_FIELDS = 30
"""Below so many fields their dispersion is hardly known from them alone."""


def counted_density(
    counts: ArrayLike, areas: ArrayLike, least_phi: ArrayLike = 1.0, stopped: ArrayLike = False
) -> Abundance:
    """Give the density of what was counted by fields.

    Parameters
    ----------
    counts
        (..., fields), objects counted, each field once.
    areas
        (fields,), area that each field was counted on, above zero.
    least_phi
        (...,), dispersion known from elsewhere, as from all mini-slides of a campaign; taken where the fields' own is
        smaller, or not known.
    stopped
        (...,), whether counting ended because enough of just these were counted, with fields in an order that chance
        gave. Then the last field tends to be a rich one, and (n - phi) / A is unbiased where n / A is not.

    Raises
    ------
    ValueError
        There is no field, or one without area.

    Notes
    -----
    After stopping (n - 1) / A is right for Poisson's counts alone (J. B. S. Haldane 1945, Biometrika 33, 222).
    """
    seen, on = np.asarray(counts, np.float64), np.asarray(areas, np.float64)
    if on.size == 0 or not (on > 0).all():
        raise ValueError(f"a density needs fields with areas above zero, not {on.tolist()}")
    n, area = seen.sum(axis=-1), on.sum()
    own = np.maximum(np.nan_to_num(dispersion(seen, on), nan=1.0), 1.0) if on.size > 1 else np.ones_like(n)
    n = np.where(stopped, np.maximum(n - own, 0.0), n)
    phi: NDArray[np.float64] = np.maximum(cautious(own, n, on.size), np.asarray(least_phi, np.float64))
    return Abundance(n / area, n * phi / area**2, phi / area)
