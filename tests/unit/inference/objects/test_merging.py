import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inference.objects.merging import Detections, merge, overlaps

coordinate = st.integers(0, 40)


@st.composite
def detections(draw: st.DrawFn) -> Detections:
    count = draw(st.integers(0, 12))
    corners = [(draw(coordinate), draw(coordinate)) for _ in range(count)]
    sizes = [(draw(st.integers(1, 20)), draw(st.integers(1, 20))) for _ in range(count)]
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sizes, strict=True)]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([draw(st.integers(1, 100)) / 100 for _ in range(count)], np.float32),
        np.array([draw(st.integers(1, 3)) for _ in range(count)], np.int64),
        np.array([draw(st.integers(0, 4)) for _ in range(count)], np.int64),
    )


def rows(found: Detections) -> list[tuple[float, ...]]:
    return sorted((*b, s, n) for b, s, n in zip(found.boxes.tolist(), found.scores, found.labels, strict=True))


@given(detections(), st.randoms())
def test_the_order_of_what_is_given_does_not_matter(found: Detections, random: object) -> None:
    order = np.arange(len(found))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert rows(merge(found, 0.5)) == rows(merge(found.take(order), 0.5))


@given(detections())
def test_nothing_is_left_twice_and_nothing_is_lost(found: Detections) -> None:
    merged = merge(found, 0.5)
    for k in range(len(merged)):
        others = np.delete(merged.boxes, k, axis=0)
        assert not (overlaps(merged.boxes[k], others) > 0.5).any()
    for box in found.boxes:
        assert (overlaps(box, merged.boxes) > 0.5).any()
    assert (np.diff(merged.scores) <= 0).all()


@given(detections())
def test_merging_again_changes_nothing(found: Detections) -> None:
    once = merge(found, 0.5)
    assert rows(merge(once, 0.5)) == rows(once)


def test_one_object_through_three_planes_is_one_with_the_best_planes_box() -> None:
    found = Detections(
        np.array([[10, 10, 30, 30], [11, 9, 31, 30], [9, 10, 30, 32], [100, 100, 120, 120]], np.float32),
        np.array([0.6, 0.9, 0.4, 0.8], np.float32),
        np.array([2, 1, 2, 1], np.int64),
        np.array([3, 4, 5, 4], np.int64),
    )
    merged = merge(found, 0.5)
    assert merged.boxes.tolist() == [[11, 9, 31, 30], [100, 100, 120, 120]]
    assert merged.planes.tolist() == [4, 4]
    assert merged.labels.tolist() == [2, 1], "two planes that say 2 with 1.0 outweigh one that says 1 with 0.9"


def test_what_is_seen_in_one_plane_only_is_believed_less() -> None:
    found = Detections(
        np.array([[10, 10, 30, 30], [10, 10, 30, 30], [50, 50, 70, 70]], np.float32),
        np.array([0.8, 0.6, 0.9], np.float32),
        np.array([1, 1, 1], np.int64),
        np.array([0, 1, 1], np.int64),
    )
    merged = merge(found, 0.5, support=2)
    np.testing.assert_allclose(merged.scores, [0.7, 0.45], rtol=1e-6)
