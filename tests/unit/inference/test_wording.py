"""Numbers of one are told as one."""

from inference.wording import counted


def test_one_is_told_as_one() -> None:
    assert [counted(number, "picture") for number in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]
    assert [counted(number, "box is", "boxes are") for number in (1, 21)] == ["1 box is", "21 boxes are"]
