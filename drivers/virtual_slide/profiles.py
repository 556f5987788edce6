"""What a mini-slide holds: how many of each kind lie in a field, and how that differs between the slides of a night."""

from __future__ import annotations

from functools import cache

import numpy as np

from drivers.profile_names import Profile
from drivers.settings import Emulation
from drivers.virtual_slide.seeds import generator
from drivers.virtual_slide.specimens.collection import KINDS

FIELD_UM2 = 14600.0
"""Area that the numbers of a profile are of: 2048 x 2048 px of 0.059 um."""
_SERIES = 41

PROFILES: dict[Profile, dict[str, float]] = {
    "easy": {
        "emiliania": 12, "gephyrocapsa": 10, "coccolithus": 1.5, "florisphaera": 4, "coccosphere": 0.3,
        "thalassiosira": 3, "coscinodiscus": 0.1, "thalassionema": 3, "nitzschia": 1.5, "chaetoceros_spore": 4,
        "dictyocha": 0.5, "quartz": 5, "shard": 5, "aggregate": 1, "fluff": 0.5,
    },
    "trap": {
        "emiliania": 0.5, "gephyrocapsa": 0.35, "coccolithus": 0.1, "florisphaera": 0.15, "coccosphere": 0.02,
        "thalassiosira": 0.12, "coscinodiscus": 0.01, "thalassionema": 0.12, "nitzschia": 0.06,
        "chaetoceros_spore": 0.2, "dictyocha": 0.05, "radiolarian": 0.02, "spicule": 0.02,
        "quartz": 40, "shard": 38, "aggregate": 5, "bubble": 0.05, "fluff": 2.5,
    },
    "coccolith": {
        "emiliania": 40, "gephyrocapsa": 30, "coccolithus": 1.5, "florisphaera": 18, "coccosphere": 0.5,
        "thalassiosira": 0.3, "thalassionema": 0.5, "chaetoceros_spore": 0.5, "quartz": 6, "shard": 6,
        "aggregate": 1, "fluff": 0.5,
    },
    "reference": {
        "emiliania": 4, "gephyrocapsa": 4, "coccolithus": 3, "florisphaera": 4, "coccosphere": 2,
        "thalassiosira": 3, "coscinodiscus": 0.5, "thalassionema": 3, "nitzschia": 2.5, "chaetoceros_spore": 4,
        "dictyocha": 4, "radiolarian": 1.5, "spicule": 1, "quartz": 5, "shard": 5, "aggregate": 2.5, "bubble": 0.4,
        "fluff": 1.5,
    },
    "mixed": {
        "emiliania": 4, "gephyrocapsa": 4, "coccolithus": 2, "florisphaera": 4, "coccosphere": 0.7,
        "thalassiosira": 2, "coscinodiscus": 0.2, "thalassionema": 2, "nitzschia": 1.5, "chaetoceros_spore": 3,
        "dictyocha": 1.5, "radiolarian": 0.3, "spicule": 0.3,
        "quartz": 12, "shard": 16, "aggregate": 2, "bubble": 0.1, "fluff": 1,
    },
    "species": {
        "emiliania-huxleyi": 3, "emiliania-huxleyi-overcalcified": 1, "gephyrocapsa-oceanica": 1.2,
        "gephyrocapsa-muellerae": 1.2, "gephyrocapsa-caribbeanica": 0.6, "gephyrocapsa-small": 1.2,
        "calcidiscus-leptoporus": 0.6, "calcidiscus-quadriperforatus": 0.2, "umbilicosphaera-sibogae": 0.5,
        "umbilicosphaera-foliosa": 0.3, "coccolithus-pelagicus": 0.4, "coccolithus-braarudii": 0.2,
        "helicosphaera-carteri": 0.4, "helicosphaera-wallichii": 0.15, "helicosphaera-hyalina": 0.2,
        "syracosphaera-pulchra": 0.5, "florisphaera-profunda": 2, "coccosphere": 0.2,
        "thalassiosira-eccentrica": 0.3, "thalassiosira-lineata": 0.25, "thalassiosira-oestrupii": 0.35,
        "coscinodiscus-radiatus": 0.12, "coscinodiscus-oculus-iridis": 0.08, "actinocyclus-curvatulus": 0.15,
        "actinocyclus-octonarius": 0.15, "actinoptychus-senarius": 0.15, "cyclotella-striata": 0.3,
        "cyclotella-litoralis": 0.3, "thalassionema-nitzschioides": 0.8, "thalassionema-bacillare": 0.3,
        "thalassionema-frauenfeldii": 0.25, "fragilariopsis-kerguelensis": 0.4, "fragilariopsis-doliolus": 0.3,
        "nitzschia-sp": 0.3, "pseudo-nitzschia-seriata-group": 0.3, "pseudo-nitzschia-delicatissima-group": 0.4,
        "rhizosolenia-styliformis": 0.15, "rhizosolenia-bergonii": 0.15, "chaetoceros-diadema": 0.6,
        "chaetoceros-affinis": 0.7, "dictyocha-fibula": 0.25, "dictyocha-stapedia": 0.25, "octactis-speculum": 0.3,
        "octactis-octonaria": 0.1, "radiolarian": 0.1, "spicule": 0.1,
        "quartz": 10, "shard": 12, "aggregate": 1.5, "bubble": 0.1, "fluff": 1,
    },
    "blank": {},
}  # fmt: skip
"""Mean number of each kind in a field, at density 1."""

GROUPS = {"coccolith": "calcareous", "diatom": "siliceous", "silicoflagellate": "siliceous", "radiolarian": "siliceous",
          "spicule": "siliceous"}  # fmt: skip
SWING = {"calcareous": 0.5, "siliceous": 0.7, "lithogenic": 0.3}
"""Of the logarithm of abundance, over the eight slides of a night, which are one year."""
MONTH = {"calcareous": 5.0, "siliceous": 2.0, "lithogenic": 7.0}
"""Slide with the greatest abundance, before the seed shifts it by up to one."""


@cache
def abundance(seed: int, slide: int, class_name: str) -> float:
    """Abundance of a class on a slide over its mean of the night: siliceous bloom, then calcareous, then dust."""
    group = GROUPS.get(class_name, "lithogenic")
    shift = float(generator(seed, _SERIES, sorted(SWING).index(group)).uniform(-1, 1))
    slides = np.arange(1, 9)
    series = np.exp(SWING[group] * np.cos(2 * np.pi * (slides - MONTH[group] - shift) / 8))
    return float(series[(slide - 1) % 8] / series.mean())


def kinds_of(profile: Profile) -> tuple[str, ...]:
    """Names of the kinds that a profile may show."""
    return tuple(PROFILES[profile])


def kinds_shown(emulation: Emulation) -> tuple[str, ...]:
    """Names of the kinds that an emulation may show; none where a target lies in place of specimens."""
    bare = emulation.plate is None and emulation.micrometer is None
    return kinds_of(emulation.profile) if bare else ()


def mean_number(profile: Profile, kind: str, seed: int, slide: int, density: float, area_um2: float) -> float:
    """Mean number of a kind in an area of a slide."""
    often = PROFILES[profile][kind] * abundance(seed, slide, KINDS[kind].class_name)
    return often * density * area_um2 / FIELD_UM2
