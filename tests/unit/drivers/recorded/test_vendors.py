"""Files of Leica, Zeiss and Nikon, made here."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from drivers.errors import ImageRefused
from drivers.recorded.images import opened, opened_one
from tests.support.vendor_files import czi, lif, nd2

pytest.importorskip("liffile", reason="comes with lamelle[formats]")
pytest.importorskip("czifile", reason="comes with lamelle[formats]")
pytest.importorskip("nd2", reason="comes with lamelle[formats]")

SCENES = np.random.default_rng(0).integers(0, 4096, (2, 2, 3, 16, 20)).astype(np.uint16)
MADE = {
    "lif": lif({"one": SCENES[0], "two": SCENES[1]}),
    "czi": czi(SCENES),
    "packed czi": czi(SCENES, packed=True),
    "czi written backwards": czi(SCENES, backwards=True),
    "czi whose channels are named as they are shown": czi(SCENES, shown=True),
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


@pytest.mark.parametrize("packed", [False, True])
def test_a_frame_of_an_nd2_is_read_whole_or_not_at_all(tmp_path: Path, packed: bool) -> None:
    path, content = tmp_path / "a.nd2", nd2(SCENES[0, 0, 0], packed=packed)
    path.write_bytes(content)
    with opened_one(path) as held:
        np.testing.assert_array_equal(held.read()[0, 0], SCENES[0, 0, 0])
        assert held.header.pixel_um == pytest.approx(0.1)
        assert held.header.bits == 12
    # nd2 gives black for a frame that its index says lies behind the end.
    listed = content.rindex(b"ImageDataSeq|0!") + len(b"ImageDataSeq|0!")
    path.write_bytes(content[:listed] + struct.pack("<Q", len(content) - 4200) + content[listed + 8 :])
    with opened_one(path) as held, pytest.raises(ImageRefused, match=r"frame 1 is cut off|is damaged"):
        held.read()


def test_a_frame_of_an_nd2_that_unpacks_to_more_than_its_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.nd2"
    path.write_bytes(nd2(SCENES[0, 0, 0], packed=True, content=bytes(64 << 20)))
    with opened_one(path) as held:
        tracemalloc.start()
        try:
            with pytest.raises(ImageRefused, match="its frame 1 unpacks to more than its pixels; it is damaged"):
                held.read()
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()
