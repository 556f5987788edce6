import pytest

from calibration.routines.trigger import trigger
from calibration.steps import NotUsable, Outcome
from tests.support.bench import area_of
from tests.support.calibration_bench import bench
from tests.support.instruments import instrument

STATE = "crossed"


def tried(trigger_is: str, profile: str = "coccolith") -> Outcome:
    with bench(profile=profile, density=2.0, trigger=trigger_is, drift_um_per_field=0.002) as rig:
        rig.scope.light(True)
        return rig.carry_out(trigger(area_of(instrument(frame_px=(256, 320))), STATE, 9, 0.5, pairs=2))


def test_a_trigger_that_works_brings_each_plane_where_it_is_by_steps() -> None:
    outcome = tried("true")
    assert outcome.values["planes"].value == 9
    assert abs(outcome.values["offset"].value) < 0.1
    assert abs(outcome.values["worst"].value) < 0.25


@pytest.mark.parametrize(
    ("trigger_is", "told"),
    [("late", "most of them 1 below their own"), ("dead", "does not follow the camera's trigger")],
)
def test_a_trigger_that_does_not_is_told(trigger_is: str, told: str) -> None:
    with pytest.raises(NotUsable, match=told):
        tried(trigger_is)
