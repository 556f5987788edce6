from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from daemon.emulation import gallery
from drivers.settings import Emulation
from drivers.virtual_slide.specimens.collection import KINDS

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("gallery")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "KINDS", {name: KINDS[name] for name in ("emiliania", "coccosphere")})
        assert gallery.draw_gallery(into, Emulation(), QUIET) == 3
    return into


@pytest.mark.slow
def test_there_is_a_picture_of_each_kind_and_one_of_all(drawn: Path) -> None:
    assert sorted(path.name for path in drawn.iterdir()) == ["all.png", "coccosphere.png", "emiliania.png"]


def pictures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of bright field's empty background, and of black, are."""
    grey = np.asarray(Image.open(path).convert("RGB")).astype(int)
    same = (grey == grey[..., :1]).all(axis=2)
    return same & (abs(grey[..., 0] - 159) <= 1), same & (grey[..., 0] == 0)


def test_one_range_of_grey_shows_an_empty_field_alike_everywhere(drawn: Path) -> None:
    """Bright field from 0.5 to 1.3 of an empty field, whose 1 is (1 - 0.5) / 0.8 of 255; crossed is black there."""
    for path in drawn.iterdir():
        empty, black = pictures(path)
        assert empty.mean() > 0.001, path.name
        assert black.mean() > 0.001, path.name
