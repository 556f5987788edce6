"""What bodies of the virtual slide are made of: materials, thin layers of them, and the mount that they lie in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Map = NDArray[np.float64]
"""Of matter; drawn in double precision and then rounded, so that every machine draws the same."""

REFERENCE_WAVELENGTH_UM = 0.546


@dataclass(frozen=True)
class Material:
    """A transparent material.

    Attributes
    ----------
    index
        refractive index at 546 nm; of a crystal that of its ordinary ray.
    birefringence
        index of the extraordinary ray less that of the ordinary one; 0 is isotropic.
    density_pg_um3
        mass of a um3.
    """

    name: str
    index: float
    birefringence: float = 0.0
    density_pg_um3: float = 2.0


CALCITE = Material("calcite", 1.6616, -0.17396, 2.71)
QUARTZ = Material("quartz", 1.5462, 0.0091, 2.65)
OPAL = Material("opal", 1.44, 0.0, 2.1)
CLAY = Material("clay", 1.57, 0.0, 2.6)
ORGANIC = Material("organic", 1.54, 0.0, 1.1)
GAS = Material("gas", 1.0, 0.0, 0.0)


def calcite_indices(wavelength_um: float) -> tuple[float, float]:
    """Ordinary and extraordinary index of calcite (Ghosh 1999, Optics Communications 163, 95)."""
    square = wavelength_um**2
    ordinary = 1.73358749 + 0.96464345 * square / (square - 1.94325203e-2) + 1.82831454 * square / (square - 120)
    extraordinary = 1.35859695 + 0.82427830 * square / (square - 1.06689543e-2) + 0.14429128 * square / (square - 120)
    return float(np.sqrt(ordinary)), float(np.sqrt(extraordinary))


def birefringence(material: Material, wavelength_um: float) -> float:
    """Birefringence at a wavelength; that of other crystals than calcite hardly depends on it."""
    if material != CALCITE:
        return material.birefringence
    ordinary, extraordinary = calcite_indices(wavelength_um)
    return extraordinary - ordinary


@dataclass(frozen=True)
class Slice:
    """A thin layer of one material.

    Attributes
    ----------
    z_um
        height relative to the body's reference plane, in stage units (larger is nearer to the condenser).
    material
        what it is made of.
    thickness
        (H, W) in um, along the light.
    azimuth
        (H, W) in rad, direction of the optic axis in the plane of the slide; None where it does not matter.
    inclination
        (H, W) in rad, of the optic axis out of the plane of the slide; None is flat.
    absorption
        (H, W), -ln(transmission); None is clear.
    """

    z_um: float
    material: Material
    thickness: Map
    azimuth: Map | None = None
    inclination: Map | None = None
    absorption: Map | None = None

    def retardation_um(self, wavelength_um: float = REFERENCE_WAVELENGTH_UM) -> Map:
        """Path difference of the two rays, (H, W), signed; an axis along the light has none.

        The index of the extraordinary ray is that of the index ellipsoid (Born and Wolf, Principles of Optics, 15.3).
        """
        difference = birefringence(self.material, wavelength_um)
        if self.inclination is None:
            return np.asarray(self.thickness * difference)
        ordinary = self.material.index
        rise = self.inclination
        inverse = (np.sin(rise) / ordinary) ** 2 + (np.cos(rise) / (ordinary + difference)) ** 2
        return np.asarray(self.thickness * (inverse**-0.5 - ordinary))

    def excess_path_um(self, medium_index: float) -> Map:
        """Optical path beyond that of the medium, (H, W), averaged over both rays."""
        return np.asarray(self.thickness * (self.material.index - medium_index) + self.retardation_um() / 2)


@dataclass(frozen=True)
class Pose:
    """How a body lies, and what it was grown from.

    Attributes
    ----------
    view
        what it turns to the eye: its `face`, its `side` (girdle view), or something between, `oblique`.
    face
        which face that is, `outer` (distal, outside of a valve) or `inner`; empty where it has none or shows its side.
    units
        valves, liths, skeletons that it consists of.
    traits
        what its form was drawn with, by name: what a person with a perfect ruler could tell taxa by.
    """

    view: str = "face"
    face: str = ""
    units: int = 1
    traits: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Body:
    """A body lying along x, its centre in the middle of a grid.

    Attributes
    ----------
    pixel_um
        of the grid.
    slices
        all of one shape, (H, W), in any order.
    mask
        (H, W) bool; what a person would outline.
    pose
        how it lies.
    """

    pixel_um: float
    slices: tuple[Slice, ...]
    mask: NDArray[np.bool_]
    pose: Pose = Pose()

    @property
    def birefringent(self) -> bool:
        """Whether it turns polarized light."""
        return any(layer.material.birefringence != 0.0 and layer.azimuth is not None for layer in self.slices)

    @property
    def depth_um(self) -> tuple[float, float]:
        """Lowest and highest z of its slices."""
        heights = [float(layer.z_um) for layer in self.slices]
        return min(heights), max(heights)

    def thickness_um(self, material: Material) -> Map:
        """Thickness of one material, (H, W)."""
        layers = [layer.thickness for layer in self.slices if layer.material == material]
        return np.asarray(np.sum(layers, axis=0) if layers else np.zeros(self.mask.shape))
