"""One language for the names of files: what they tell, in which order planes come, and which are missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.earlier_replay import in_one_language
from drivers.errors import ImageRefused, SettingRefused
from drivers.recorded.file_names import NamePattern, Polarizations, StackFiles, group


def only(names: list[str], pattern: str, *given: str) -> StackFiles:
    stacks, strangers = group(names, NamePattern(pattern), Polarizations.of(given))
    assert not strangers
    (stack,) = stacks
    return stack


@pytest.mark.parametrize(
    ("pattern", "name", "told"),
    [
        ("{field}_z{z}.tif", "a/f1_z-4.tif", ("a", "", "f1", "", "-4")),
        ("{field}_z{z}.tif", "f1_Z+0.50.TIF", ("", "", "f1", "", "+0.50")),
        ("{field} Z{z}.tif", "1 Z1341.95.tif", ("", "", "1", "", "1341.95")),
        ("{field}-{z}.tif", "plane-3.tif", ("", "", "plane", "", "3")),
        ("{field}{z}.tif", "plane-3.tif", ("", "", "plane-", "", "3")),
        ("*{z}.tif", "deep/er/plane-03.tif", ("deep/er", "", "", "", "03")),
        ("{slide}/{field}_z{z}_{polarization}.*", "x/core 2/f_1_z0,5_LR.png", ("x", "core 2", "f_1", "LR", "0,5")),
        # One typed it composed, the other computer stored it decomposed.
        ("\u00e9chantillon{field}.tif", "e\u0301chantillon7.tif", ("", "", "7", "", "")),
    ],
)
def test_a_name_tells_where_its_file_belongs(pattern: str, name: str, told: tuple[str, ...]) -> None:
    assert NamePattern(pattern).match(name) == told


def test_names_that_do_not_fit_are_named_with_the_reason() -> None:
    stacks, strangers = group(["f1_z1.tif", "overview.tif"], NamePattern("{field}_z{z}.tif"), Polarizations())
    assert [stack.names for stack in stacks] == [("f1_z1.tif",)]
    assert strangers == {"overview.tif": "its name does not fit --planes '{field}_z{z}.tif'"}


@given(st.permutations([-12, -4, -3, 0, 1, 2, 10, 30]))
def test_planes_come_in_the_order_of_their_values(heights: list[int]) -> None:
    stack = only([f"f_z{z * 25 / 100:.2f}.tif" for z in heights], "{field}_z{z}.tif")
    assert stack.names == tuple(f"f_z{z / 4:.2f}.tif" for z in sorted(heights))


@pytest.mark.parametrize(
    ("heights", "fault", "told"),
    [
        (["-4", "-3", "-2"], "", False),
        (["1", "02", "003"], "", False),  # numbers of other widths
        (["-2.00", "-1.50", "-1.00"], "", False),
        (["0", "333", "667", "1000"], "", False),  # nm, rounded
        (["0.0", "0.3", "0.5", "0.8"], "", False),  # 0.27 um, rounded
        (["1341.95", "1342.44", "1342.97"], "", True),  # as the stage read back
        (["0.0", "0.5", "1.2", "1.7"], "", True),
        (["0", "1", "3"], "some are missing between them", False),
        (["0", "3", "5"], "some are missing between them", False),
        (["0.30", "0.60", "1.20", "1.50"], "some are missing between them", False),
        (["10.00", "10.31", "10.91", "11.20"], "some are missing between them", False),  # a stage that is a little off
        (["1", "1.0"], "plane 1 of parallel is there twice", False),
    ],
)
def test_a_hole_in_a_regular_grid_is_a_missing_plane_and_unequal_steps_are_told(
    heights: list[str], fault: str, told: bool
) -> None:
    stack = only([f"f_z{z}.tif" for z in heights], "{field}_z{z}.tif")
    assert (fault in stack.fault) if fault else not stack.fault
    assert bool(stack.told) is told


def test_a_third_word_is_left_out_where_two_are_said_to_be_polarizations() -> None:
    names = [f"f_{word}_z{z}.tif" for word in ("DAPI", "LL", "LR") for z in (0, 1)]
    given = Polarizations.of(["crossed=LR", "parallel=LL"])
    (stack,), strangers = group(names, NamePattern("{field}_{polarization}_z{z}.tif"), given)
    assert (stack.states, stack.fault) == (("crossed", "parallel"), "")
    assert stack.names == ("f_LR_z0.tif", "f_LR_z1.tif", "f_LL_z0.tif", "f_LL_z1.tif")
    assert list(strangers) == ["f_DAPI_z0.tif", "f_DAPI_z1.tif"]


@pytest.mark.parametrize(
    ("given", "names", "taken"),
    [
        (("crossed=LR", "parallel=LL"), ("LL", "DAPI", "lr"), (("parallel", "crossed"), (0, 2), ("DAPI",))),
        ((), ("Brightfield", "crossed", "parallel"), (("crossed", "parallel"), (1, 2), ("Brightfield",))),
        (("crossed=1", "parallel=3"), ("", "", ""), (("crossed", "parallel"), (0, 2), ("2",))),
        (("crossed=LR",), ("LR", "LL"), (("crossed",), (0,), ("LL",))),
        (("parallel", "crossed"), ("A", "B"), (("parallel", "crossed"), (0, 1), ())),
        ((), ("Default",), (("parallel",), (0,), ())),
        ((), ("crossed", "GFP"), None),
        ((), ("", "", ""), None),
        (("crossed", "parallel"), ("", "", ""), None),
        (("crossed=LR", "parallel=LL"), ("LR", "LR", "LL"), None),
    ],
)
def test_channels_that_are_polarizations_are_taken_and_others_told(
    given: tuple[str, ...], names: tuple[str, ...], taken: object
) -> None:
    polarizations = Polarizations.of(given)
    if taken is not None:
        assert polarizations.among(names, in_order=True) == taken
        return
    with pytest.raises(ImageRefused, match=f"it has {len(names)} channels, .*such as --polarization "):
        polarizations.among(names, in_order=True)


def test_patterns_that_mean_nothing_are_refused() -> None:
    for text in ("z.tif", "{slide}.tif", "{field}{field}.tif", "{field}_{time}.tif"):
        with pytest.raises(SettingRefused, match="--planes"):
            NamePattern(text)


@pytest.mark.parametrize(
    ("earlier", "planes"),
    [
        ({"layout": "planes", "field_pattern": r"plane-(?P<z>\d+)\.tif$"}, "*plane-{z}.tif"),
        ({"layout": "planes", "pattern": "*.png", "field_pattern": r"z(?P<z>-?\d+)\.png$"}, "*z{z}.png"),
        ({"layout": "planes", "field_pattern": r"f(?P<field>\d+)-c(?P<c>\w)-z(?P<z>\d+)"},
         "*f{field}-c{polarization}-z{z}*.tif"),
        ({"layout": "stacks", "pattern": "*.ome.tif"}, "{field}.ome.tif"),
        ({"layout": "stacks", "pattern": "**/field-*.tif"}, "field-{field}.tif"),
        ({"layout": "stacks", "field_pattern": r"field-(?P<field>\d+)"}, "*field-{field}.tif"),
        ({"layout": "stacks", "pattern": "*/field-*-raw.ome.tif",
          "field_pattern": r"slide-(?P<slide>\d)/field-(?P<field>\d+)-raw"},
         "*slide-{slide}/field-{field}-raw*.ome.tif"),
    ],
)  # fmt: skip
def test_configurations_of_version_0_2_are_read_as_what_they_mean(earlier: dict[str, str], planes: str) -> None:
    assert in_one_language({"folder": "x", **earlier}) == {"planes": planes, "folder": "x"}
    NamePattern(planes)


def test_what_names_cannot_say_is_refused_with_what_to_write() -> None:
    for earlier in (
        {"layout": "planes"},
        {"layout": "planes", "field_pattern": r"(?P<z>\d+)(a|b)"},
        {"layout": "planes", "pattern": "*_LL*.tif", "field_pattern": r"z(?P<z>\d+)"},
        {"layout": "stacks", "pattern": "field-?.tif"},
    ):
        with pytest.raises(ValueError, match=r"are keys of version 0\.2; write planes instead"):
            in_one_language(earlier)
