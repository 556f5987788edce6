import pytest
import yaml

from drivers.settings import Instrument, MiniSlide
from tests.support.places import CONFIGS


@pytest.mark.parametrize("name", ["emulated", "replay", "micromanager"])
def test_shipped_instruments_are_valid_and_within_their_own_limits(name: str) -> None:
    document = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    instrument = Instrument.model_validate(document["instrument"])
    assert instrument.travel.z_um.holds(instrument.motion.withdrawn_z_um)
    for slide in map(MiniSlide.model_validate, document["scan"]["slides"]):
        assert slide.z_window_um.holds(slide.z_um)
        assert instrument.motion.withdrawn_z_um < slide.z_window_um.low
        assert instrument.travel.x_um.holds(slide.centre_um[0])
        assert instrument.travel.y_um.holds(slide.centre_um[1])
