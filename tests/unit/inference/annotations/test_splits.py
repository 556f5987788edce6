from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from inference.annotations import splits
from inference.annotations.coco import AnnotatedImage
from inference.annotations.splits import Member, Split
from inference.annotations.stacks import AnnotatedStack
from inference.errors import AnnotationError

SOURCES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=2, max_size=40)


def picture(path: Path, name: str, value: int) -> AnnotatedStack:
    """An image of one grey value, written in the format of its name."""
    cv2.imwrite(str(path / name), np.full((16, 20), value, np.uint8))
    return AnnotatedStack(path / name, AnnotatedImage(id=1, file_name=name, width=20, height=16), (), {})


def known(pairs: list[tuple[int, int]]) -> tuple[list[AnnotatedStack], list[Member]]:
    """Pictures by source and content, which may be that of another source's picture."""
    names = [f"{source}.rf.{number}.png" for number, (source, _) in enumerate(pairs)]
    stacks = [
        AnnotatedStack(Path(name), AnnotatedImage(id=k, file_name=name, width=1, height=1), (), {})
        for k, name in enumerate(names)
    ]
    members = [
        Member(file_name=name, source=stack.picture.source, sha256=str(content))
        for name, stack, (_, content) in zip(names, stacks, pairs, strict=True)
    ]
    return stacks, members


@given(SOURCES, st.floats(0.05, 0.9), st.integers(0, 99))
def test_no_source_and_no_copy_is_on_both_sides(pairs: list[tuple[int, int]], share: float, seed: int) -> None:
    stacks, members = known(pairs)
    try:
        learning, judging, split = splits.draw(stacks, members, share, seed)
    except AnnotationError:
        # All hang together through copies: walking from any source reaches every other.
        reached, size = {pairs[0][0]}, 0
        while size != len(reached):
            size = len(reached)
            contents = {content for source, content in pairs if source in reached}
            reached |= {source for source, content in pairs if content in contents}
        assert reached == {source for source, _ in pairs}
        return
    assert learning
    assert judging
    assert sorted(map(id, [*learning, *judging])) == sorted(map(id, stacks))
    assert [m.file_name for m in split.trained] == [one.picture.file_name for one in learning]
    assert [m.file_name for m in split.held_out] == [one.picture.file_name for one in judging]
    for trait in ("source", "sha256"):
        assert not {getattr(m, trait) for m in split.trained} & {getattr(m, trait) for m in split.held_out}
    assert splits.draw(stacks, members, share, seed) == (learning, judging, split)


@settings(max_examples=30)
@given(SOURCES, st.data())
def test_what_is_given_to_judge_must_not_train(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(pairs) - 1))
    stacks, members = known(pairs)
    ours, theirs = pairs[:at], pairs[at:]
    leaks = [p for p in theirs if p[0] in {s for s, _ in ours} or p[1] in {c for _, c in ours}]
    if leaks:
        with pytest.raises(AnnotationError, match=r"that trains? also judges?"):
            splits.given(stacks[:at], stacks[at:], members)
    else:
        assert splits.given(stacks[:at], stacks[at:], members).judging == stacks[at:]


def test_a_copy_in_another_format_is_a_copy(tmp_path: Path) -> None:
    one, copy, other = picture(tmp_path, "a.png", 80), picture(tmp_path, "b.tif", 80), picture(tmp_path, "c.png", 81)
    members = splits.members([one, copy, other], lambda *_: None)
    assert members[0].sha256 == members[1].sha256 != members[2].sha256
    (told,) = splits.copies(members)
    assert told.startswith("1 picture is there more than once, such as 'b.tif', which is 'a.png'; take one of each")
    assert splits.copies(members[1:]) == []
    with pytest.raises(AnnotationError, match=r"1 picture that trains also judges: 'b\.tif' is 'a\.png'"):
        splits.given([one], [copy], members[:2])
    assert splits.given([one], [other], [members[0], members[2]]).judging == [other]
    assert splits.unseen(members[1:], Split(seed=1, trained=(members[0],), held_out=())) == [False, True]
    assert splits.unseen(members, None) == [True] * 3
    (told,) = splits.copies([members[0], replace(members[0])])
    assert told.startswith("1 picture is there more than once, such as 'a.png', which is in two places; take one")


@pytest.mark.parametrize(
    ("subset", "for_what"),
    [
        ("train", "train"), ("Train", "train"), ("train2017", "train"), ("my task/Training_3", "train"),
        ("valid", "valid"), ("val", "valid"), ("val2017", "valid"), ("Validation", "valid"),
        ("test", "test"), ("test-dev2017", "test"),
        ("", ""), ("trainees", ""), ("valley", ""), ("default", ""), ("2017", ""),
    ],
)  # fmt: skip
def test_a_subset_is_for_what_its_name_says(subset: str, for_what: str) -> None:
    assert splits.role(subset) == for_what


def test_pictures_are_sorted_as_their_subsets_say_and_not_by_one_side_alone() -> None:
    def of(*subsets: str) -> list[AnnotatedStack]:
        pictures = [AnnotatedImage(id=1, file_name="a.png", width=20, height=16, subset=name) for name in subsets]
        return [AnnotatedStack(Path("a.png"), one, (), {}) for one in pictures]

    stacks = of("Train", "Validation", "Test", "", "Batch 3", "train")
    named = splits.as_named(stacks)
    assert named is not None
    assert [[stacks.index(one) for one in side] for side in named] == [[0, 5, 3, 4], [1], [2]]
    assert splits.as_named(of("train", "test", "")) is None
    assert splits.as_named(of("valid", "test")) is None


def test_a_picture_of_one_name_in_two_subsets_is_of_two_sources_but_not_a_copy_of_one_image() -> None:
    def source(subset: str, name: str) -> str:
        return AnnotatedImage(id=1, file_name=name, width=1, height=1, subset=subset).source

    assert source("train", "frame_000001.png") != source("valid", "frame_000001.png")
    assert source("train", "cell_png.rf.0a.jpg") == source("valid", "cell_png.rf.1b.jpg")


def test_a_damaged_split_is_refused_and_none_is_none(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    assert splits.read_split(weights) is None
    splits.split_file(weights).write_text('{"seed": 1}')
    with pytest.raises(AnnotationError, match=r"w\.split\.json' is not the split"):
        splits.read_split(weights)
