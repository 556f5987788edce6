import pytest

from inference.annotations.foreign import OddValue, as_numbers, identifier, relative_name


@pytest.mark.parametrize(
    ("written", "meant"),
    [(7, 7), (7.0, 7), ("7", 7), (" 7.00 ", 7), ("-7", -7), ("007", "007"), ("a7", "a7"), ("7.5", "7.5")],
)
def test_an_id_is_the_same_however_it_is_written(written: object, meant: int | str) -> None:
    assert identifier(written) == meant


@pytest.mark.parametrize("written", [None, "", "  ", 7.5, float("inf"), [7]])
def test_what_says_nothing_is_no_id(written: object) -> None:
    assert identifier(written) is None


def test_ids_stay_if_a_database_can_hold_all_of_them() -> None:
    largest = 2**63 - 1
    assert as_numbers([largest, -largest, 3]) == {largest: largest, -largest: -largest, 3: 3}
    assert as_numbers([5, largest + 1]) == {5: 1, largest + 1: 2}
    assert as_numbers(["b", 5, "b"]) == {"b": 1, 5: 2}


@pytest.mark.parametrize("name", [None, 7, "", "  ", ".", "./", "a\0.png", "\ud800.png", "a/" + "ä" * 128 + "/b.png"])
def test_what_no_file_can_be_called_is_odd(name: object) -> None:
    with pytest.raises(OddValue):
        relative_name(name, "coco.json")


def test_a_part_of_a_name_may_be_as_long_as_file_systems_take() -> None:
    longest = "ä" * 127 + "a"
    assert relative_name(f".\\{longest}//b.png", "coco.json") == f"{longest}/b.png"
