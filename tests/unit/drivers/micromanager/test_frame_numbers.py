import pytest

from drivers.errors import FrameFault
from drivers.micromanager.core import tags_of
from drivers.micromanager.frame_numbers import FrameNumbers


def numbers(counter: FrameNumbers, tags: list[dict[str, str]]) -> list[int]:
    """Numbers of a sequence's frames, tags being given where they are asked for."""
    counter.begin(len(tags), 20.0)
    return [counter.number(one if counter.wants_tags else {}) for one in tags]


def elapsed(*milliseconds: float) -> list[dict[str, str]]:
    return [{"ImageNumber": str(n), "ElapsedTime-ms": f"{ms:g}"} for n, ms in enumerate(milliseconds)]


def test_frames_are_numbered_by_the_core_where_the_camera_does_not_count() -> None:
    counter = FrameNumbers()
    assert numbers(counter, [{"ImageNumber": str(n)} for n in range(4)]) == [0, 1, 2, 3]
    assert numbers(counter, [{"ImageNumber": str(n)} for n in (0, 1, 3)]) == [0, 1, 3]


def test_the_own_counter_of_a_camera_shows_what_the_core_never_saw() -> None:
    tags = [{"ImageNumber": str(n), "PVCAM-FrameNr": str(own)} for n, own in enumerate((7, 8, 10, 11))]
    assert numbers(FrameNumbers(), tags) == [0, 1, 2, 4]


def test_a_sequence_that_takes_a_frame_longer_than_its_like_lost_one() -> None:
    counter = FrameNumbers()
    assert numbers(counter, elapsed(0, 20, 40, 60)) == [0, 1, 2, 3]
    # One that came late by chance, and the next one in time.
    assert numbers(counter, elapsed(3, 35, 43, 72)) == [0, 1, 2, 3]
    with pytest.raises(FrameFault, match="4 frames took 80 ms, 20 ms longer than before"):
        numbers(counter, elapsed(0, 20, 60, 80))
    assert numbers(counter, elapsed(0, 20, 40, 60, 80)) == [0, 1, 2, 3, 4]
    # Times in which nothing can have been exposed say nothing.
    quick = FrameNumbers()
    assert [numbers(quick, elapsed(0, 1, 2, last)) for last in (3, 90)] == [[0, 1, 2, 3]] * 2


def test_tags_are_read_as_micromanager_writes_them() -> None:
    written = "3\ns\nImageNumber\n_\n1\n12\na\nTimes\nCamera\n1\n2\n5\n6\ns\nFrameNr\nPVCAM\n0\n4\n"
    assert tags_of(written) == {"ImageNumber": "12", "Camera-Times": "5", "PVCAM-FrameNr": "4"}
