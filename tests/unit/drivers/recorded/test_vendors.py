"""Files of Leica and Zeiss, made here; those of Nikon were tried by hand: docs/images-read.md."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest

from drivers.errors import ImageRefused
from drivers.recorded.images import opened
from tests.support.vendor_files import czi, lif

pytest.importorskip("liffile", reason="comes with lamelle[formats]")
pytest.importorskip("czifile", reason="comes with lamelle[formats]")

SCENES = np.random.default_rng(0).integers(0, 4096, (2, 2, 3, 16, 20)).astype(np.uint16)
MADE = {
    "lif": lif({"one": SCENES[0], "two": SCENES[1]}),
    "czi": czi(SCENES),
    "packed czi": czi(SCENES, packed=True),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_images_and_scenes_are_stacks(tmp_path: Path, kind: str, as_bytes: bool) -> None:
    path = tmp_path / "a"
    path.write_bytes(MADE[kind])
    with opened(io.BytesIO(MADE[kind]) if as_bytes else path) as stacks:
        assert [one.name for one in stacks] == (["one", "two"] if kind == "lif" else ["scene 0", "scene 1"])
        for one, truth in zip(stacks, SCENES, strict=True):
            np.testing.assert_array_equal(one.read(), truth)
            assert one.header.pixel_um == pytest.approx(0.1)
            assert one.header.step_um == pytest.approx(0.5)
            assert one.header.bits == 12
            assert one.header.channels == (() if kind == "lif" else ("LR", "LL"))


def test_planes_that_are_missing_are_told() -> None:
    with opened(io.BytesIO(czi(SCENES, without=1))) as stacks:
        np.testing.assert_array_equal(stacks[0].read(), SCENES[0])
        with pytest.raises(ImageRefused, match="1 of its 6 planes are missing, the first is plane 2 of LL"):
            stacks[1].read()
    with opened(io.BytesIO(MADE["lif"][:-10])) as stacks:
        np.testing.assert_array_equal(stacks[0].read(), SCENES[0])
        with pytest.raises(ImageRefused, match="it is damaged"):
            stacks[1].read()


@pytest.mark.parametrize("kind", MADE)
def test_no_bytes_at_all_are_a_traceback(kind: str) -> None:
    drawn = random.Random(7)
    for _ in range(60):
        content = bytearray(MADE[kind])
        for _ in range(drawn.randint(1, 4)):
            content[drawn.randrange(16, len(content))] = drawn.randrange(256)
        told = ""
        try:
            with opened(io.BytesIO(content[: drawn.choice([len(content), drawn.randrange(len(content))])])) as stacks:
                for one in stacks:
                    assert one.read().shape == one.header.shape_czyx
        except ImageRefused as error:
            told = str(error)
        assert "\n" not in told
