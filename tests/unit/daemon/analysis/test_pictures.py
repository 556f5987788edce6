"""Pictures that annotations speak of are read as all images are."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal
from PIL import Image

from daemon.analysis.pictures import read_picture
from drivers.errors import ImageRefused


def test_every_plane_and_channel_of_a_stack_is_read_from_a_file_or_from_its_bytes(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 3, 8, 9)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, ome=True, photometric="minisblack", metadata={"axes": "CZYX"})
    assert_array_equal(read_picture(path), pixels)
    assert_array_equal(read_picture(io.BytesIO(path.read_bytes())), pixels)


def test_a_picture_is_a_stack_of_one_plane_and_something_else_is_refused(tmp_path: Path) -> None:
    grey = np.arange(72, dtype=np.uint8).reshape(8, 9)
    Image.fromarray(grey).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found.dtype == np.uint16
    assert_array_equal(found, grey[None, None])
    (tmp_path / "words.png").write_text("words", encoding="utf-8")
    with pytest.raises(ImageRefused):
        read_picture(tmp_path / "words.png")
