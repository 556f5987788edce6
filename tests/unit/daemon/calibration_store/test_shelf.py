"""Calibration records: their schema and seal, the shelf, which of them a night uses, and what it takes from them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from calibration.record import RecordDamaged, decode, encode
from calibration.steps import Curve, Map, Outcome, Quantity
from daemon.calibration_runs.listing import render, routines
from daemon.calibration_runs.picture import draw
from daemon.calibration_runs.routines import ROUTINES
from daemon.calibration_store.corrections import corrections_of, read
from daemon.calibration_store.quantities import told
from daemon.calibration_store.shelf import UNPROVEN, Shelf, choose, complain, proven, require
from daemon.config.model import NightConfig
from daemon.planning.check import Machine, check
from daemon.system.errors import Refused
from tests.support.configuration_files import night
from tests.support.some_records import FRAME_PX, NOW, VALUES, a_record, arrays_of, put

ROOMY = Machine(free_disk=lambda _: 10**13, free_shared_memory=lambda: 10**11)


def configured(folder: Path, **calibration: Any) -> NightConfig:
    changes = {f"calibration.{key}": value for key, value in calibration.items()}
    return night(folder, {"instrument.frame_px": list(FRAME_PX), **changes})


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    return tmp_path / "calibrations"


def test_a_record_survives_writing_and_reads_for_a_person() -> None:
    record = a_record()
    text = encode(record).decode()
    assert msgspec.structs.replace(decode(text.encode()), seal="") == record
    content = json.loads(text)
    assert content["values"]["gain"] == [2.21, 0.01, "DN"]
    assert content["taken"] == "2026-11-24T15:00:00Z"
    assert len(content["seal"]) == 64


def tampered(change: Callable[[dict[str, Any]], Any]) -> bytes:
    content = json.loads(encode(a_record()))
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (tampered(lambda c: c["values"].__setitem__("gain", [2.3, 0.01, "DN"])), "seal is broken"),
        (tampered(lambda c: c.__setitem__("valid_until", "2030-01-01T00:00:00Z")), "seal is broken"),
        (tampered(lambda c: c.__setitem__("valid_until", "2030-01-01T00:00:00")), "UTC"),
        (tampered(lambda c: c.__setitem__("verdict", "perhaps")), "not a calibration record"),
        (tampered(lambda c: c.__setitem__("colour", "red")), "not a calibration record"),
        (tampered(lambda c: c["values"].__setitem__("gain", [None, 0.01, "DN"])), "not a calibration record"),
        (tampered(lambda c: c["values"].__setitem__("gain", [2.21, 0.01])), "not a calibration record"),
        (tampered(lambda c: c.__delitem__("shots")), "not a calibration record"),
        (encode(a_record())[:-40], "not a calibration record"),
        (b"\xff\xfe", "not a calibration record"),
        (b"", "not a calibration record"),
    ],
)
def test_a_record_that_was_changed_or_is_none_is_refused(body: bytes, told: str) -> None:
    with pytest.raises(RecordDamaged, match=told):
        decode(body)


def test_other_spacing_breaks_no_seal() -> None:
    assert decode(tampered(lambda _content: None)).values["gain"].value == 2.21


def test_records_of_one_second_never_take_each_others_place(shelf: Path) -> None:
    first, second = (put(shelf, a_record(camera=camera)) for camera in ("one", "two"))
    assert first == "camera-20261124T150000Z"
    assert second == "camera-20261124T150000Z-2"
    assert [kept.record.camera for kept in Shelf(shelf).kept() if kept.record] == ["two", "one"]
    (shelf / "camera-20261124T150000Z-3-frames").mkdir()
    assert Shelf(shelf).new_name("camera", NOW) == "camera-20261124T150000Z-4"


def test_what_lies_beside_a_record_is_written_before_it(shelf: Path) -> None:
    name = put(shelf, a_record("flat"))
    record, arrays = Shelf(shelf).load(name)
    assert record.arrays is not None
    assert record.picture is not None
    assert (shelf / record.picture.name).read_bytes() == b"a picture"
    np.testing.assert_array_equal(arrays["flat_parallel"], arrays_of("flat")["flat_parallel"])  # type: ignore[index]
    times = [(shelf / f"{name}{end}").stat().st_mtime_ns for end in (".npz", ".png", ".json")]
    assert times == sorted(times)


def test_the_newest_valid_record_of_this_instrument_is_used(shelf: Path, tmp_path: Path) -> None:
    config = configured(tmp_path, wanted=["camera"])
    day = timedelta(days=1)
    put(shelf, a_record(taken=NOW - 9 * day))
    wanted = put(shelf, a_record(taken=NOW - 5 * day))
    put(shelf, a_record(taken=NOW - 4 * day, days=1))
    put(shelf, a_record(taken=NOW - 3 * day, instrument="another"))
    put(shelf, a_record(taken=NOW - 2 * day, frame_px=(64, 64)))
    put(shelf, a_record(taken=NOW - 1 * day, verdict="not usable", reason="lamp off"))
    choice = choose(config, NOW)
    assert choice.names == (wanted,)
    assert choice.complaints == ()


def expired(shelf: Path) -> str:
    return put(shelf, a_record(taken=NOW - timedelta(days=40)))


def foreign(shelf: Path) -> str:
    return put(shelf, a_record(instrument="another"))


def other_frames(shelf: Path) -> str:
    return put(shelf, a_record(frame_px=(2048, 2048)))


def changed_by_hand(shelf: Path) -> str:
    name = put(shelf, a_record())
    path = shelf / f"{name}.json"
    path.write_text(path.read_text(encoding="utf-8").replace("2.21", "2.31"), encoding="utf-8")
    return name


def cut_short(shelf: Path) -> str:
    name = put(shelf, a_record())
    path = shelf / f"{name}.json"
    path.write_bytes(path.read_bytes()[:100])
    return name


def under_another_name(shelf: Path) -> str:
    name = put(shelf, a_record())
    (shelf / f"{name}.json").rename(shelf / "camera-20261124T160000Z.json")
    flat = put(shelf, a_record("flat"))
    (shelf / f"{flat}.json").replace(shelf / "camera-20261124T160000Z.json")
    return "camera-20261124T160000Z"


BAD = [
    (lambda _shelf: None, "missing", "no calibration of camera"),
    (expired, "expired", "was valid until 2026-11-14"),
    (foreign, "foreign", "instrument.name 'another', not 'emulated'"),
    (other_frames, "foreign", r"instrument.frame_px \[2048, 2048\], not \[64, 80\]"),
    (changed_by_hand, "damaged", "seal is broken"),
    (cut_short, "damaged", "not a calibration record"),
    (under_another_name, "damaged", "a record of flat under another name"),
]


@pytest.mark.parametrize(("spoil", "fault", "told"), BAD, ids=lambda value: getattr(value, "__name__", None))
def test_bad_records_are_refused_or_warned_about_as_the_configuration_says(
    spoil: Callable[[Path], str | None], fault: str, told: str, shelf: Path, tmp_path: Path
) -> None:
    name = spoil(shelf)
    lenient = {"missing": "warn", "expired": "warn", "foreign": "warn", "damaged": "warn"}
    config = configured(tmp_path, wanted=["camera"], **{**lenient, fault: "refuse"})
    choice = choose(config, NOW)
    with pytest.raises(Refused, match=rf"{told}.*lamelle calibrate camera CONFIG.*calibration\.{fault} to warn"):
        list(complain(choice, config))
    config = configured(tmp_path, wanted=["camera"], **lenient)
    notices = list(complain(choose(config, NOW), config))
    assert any(np.char.find(sentence, "camera") >= 0 for _level, sentence in notices)
    assert "warning" in {level for level, _ in notices}
    assert choose(config, NOW).names == ((name,) if fault == "expired" else ())


def test_a_damaged_record_gives_way_to_the_next_older_one(shelf: Path, tmp_path: Path) -> None:
    older = put(shelf, a_record("dark", NOW - timedelta(days=2)))
    newer = put(shelf, a_record("dark"))
    arrays = shelf / f"{newer}.npz"
    body = bytearray(arrays.read_bytes())
    body[len(body) // 2] ^= 1
    arrays.write_bytes(body)
    config = configured(tmp_path, wanted=["dark"], damaged="warn")
    choice = choose(config, NOW)
    assert choice.names == (older,)
    ((level, told),) = complain(choice, config)
    assert level == "warning"
    assert f"{newer}.npz, were changed after they were written" in told
    arrays.unlink()
    assert "cannot be read" in choose(config, NOW).complaints[0].message


def test_checking_a_night_tells_or_refuses(shelf: Path, tmp_path: Path) -> None:
    frames = {"instrument.frame_px": [64, 80]}
    report = check(night(tmp_path, frames), None, ROOMY)
    assert "no calibration of dark, flat, camera, polarization, pixel-size" in report.notes[-1]
    with pytest.raises(Refused, match=r"no calibration of dark.*calibration\.missing to warn"):
        check(night(tmp_path, {**frames, "calibration.missing": "refuse"}), None, ROOMY)
    check(night(tmp_path, {**frames, "calibration.missing": "refuse"}), None, ROOMY, begun=True)
    for key, value in (("wanted", ["drak"]), ("valid_days", {"drak": 3})):
        with pytest.raises(Refused, match=rf"calibration\.{key} names 'drak'.*choose from dark"):
            check(night(tmp_path, {**frames, f"calibration.{key}": value}), None, ROOMY)
    for routine in VALUES:
        put(shelf, a_record(routine, datetime.now(UTC).replace(microsecond=0)))
    report = check(night(tmp_path, {**frames, "calibration.missing": "refuse"}), None, ROOMY)
    assert not any("calibration" in note for note in report.notes)


def test_a_z_sequence_wants_a_trigger_that_was_seen_to_be_true(shelf: Path, tmp_path: Path) -> None:
    def notes(**changes: Any) -> list[str]:
        keys = {"instrument.frame_px": list(FRAME_PX), "instrument.motion.z_sequence": True, **changes}
        told = check(night(tmp_path, keys), None, ROOMY).notes
        return [note for note in told if not note.startswith("no calibration of dark")]

    assert notes() == [UNPROVEN]
    now = datetime.now(UTC).replace(microsecond=0)
    put(shelf, a_record("trigger", now, verdict="not usable"))
    put(shelf, a_record("trigger", now, instrument="another"))
    assert notes() == [UNPROVEN]
    put(shelf, a_record("trigger", now))
    assert notes() == []
    config = night(tmp_path, {"instrument.frame_px": list(FRAME_PX), "instrument.motion.z_sequence": True})
    assert proven(config) == (config.instrument, ())
    instrument, told = proven(config, now + timedelta(days=31))
    assert (instrument.motion.z_sequence, told) == (False, (UNPROVEN,))
    (rounded,) = notes(**{"scan.step_um": 0.25})
    assert "round the heights of a sequence to 0.1 um" in rounded


def test_a_night_takes_its_corrections_from_the_records_it_names(shelf: Path, tmp_path: Path) -> None:
    exposures = {f"instrument.polarizations.{s}.exposure_ms": ms for s, ms in (("crossed", 80), ("parallel", 20))}
    config = night(tmp_path, {"instrument.frame_px": list(FRAME_PX), **exposures})
    names = tuple(put(shelf, a_record(routine)) for routine in VALUES)
    corrections = corrections_of(config, names)
    dark, flat = arrays_of("dark"), arrays_of("flat")
    assert dark is not None
    assert flat is not None
    np.testing.assert_array_equal(corrections.offset_dn, dark["offset_dn"])
    np.testing.assert_array_equal(corrections.flat, np.stack([flat["flat_crossed"], flat["flat_parallel"]]))
    assert np.argwhere(corrections.bad).tolist() == [[3, 4], [5, 6]]
    assert corrections.exposures_ms == (80, 20)
    assert (corrections.ratio, corrections.shift_px) == (0.98, (1.2, -0.7))
    assert (corrections.leakage, corrections.leakage_deviation) == (0.0031, 4e-4)
    assert (corrections.dn_per_electron, corrections.read_noise_dn, corrections.full_dn) == (2.21, 3.52, 65535)
    assert corrections.records == names


def test_without_records_a_night_assumes(tmp_path: Path) -> None:
    corrections = corrections_of(configured(tmp_path), ())
    assert corrections.records == ()
    assert (corrections.flat == 1).all()
    assert not corrections.offset_dn.any()


def test_a_night_that_has_begun_wants_its_records_as_they_were(shelf: Path, tmp_path: Path) -> None:
    config, name = configured(tmp_path), put(shelf, a_record("dark"))
    newer = put(shelf, a_record("dark", NOW + timedelta(hours=1)))
    require(shelf, [name])
    assert corrections_of(config, [name]).records == (name,)
    changed_by_hand(shelf)
    require(shelf, [name])
    (shelf / f"{name}.json").unlink()
    told = rf"the calibration {name} in .* cannot be used.*put it back"
    with pytest.raises(Refused, match=told):
        require(shelf, [name])
    read.cache_clear()  # as in another process
    with pytest.raises(Refused, match=told):
        corrections_of(config, [name])
    require(shelf, [newer])


def test_arrays_that_do_not_fit_the_frame_are_refused(shelf: Path, tmp_path: Path) -> None:
    name = put(shelf, a_record("dark"))
    with pytest.raises(Refused, match=rf"of the calibration {name} is 64 x 80 px.*calibrate again"):
        corrections_of(night(tmp_path), [name])


def test_the_list_shows_what_is_there_and_what_is_used(shelf: Path, tmp_path: Path) -> None:
    config = configured(tmp_path, wanted=["camera", "dark"])
    used = put(shelf, a_record(taken=NOW - timedelta(days=3)))
    put(shelf, a_record(taken=NOW - timedelta(minutes=90), verdict="not usable", reason="lamp off"))
    put(shelf, a_record(taken=NOW - timedelta(days=90)))
    text = render(config, None, NOW)
    (line,) = [line for line in text.splitlines() if used in line]
    assert line.split("|")[1].strip() == "*"
    for part in ("usable", "3 d", "2026-12-21", "gain 2.210 ± 0.010 DN"):
        assert part in line
    (unusable,) = [line for line in text.splitlines() if "lamp off" in line]
    assert "90 min" in unusable
    assert "2026-09-25, expired" in text
    assert "missing: there is no calibration of dark" in text
    assert "missing" not in render(config, "camera", NOW)
    assert "changed" not in text
    changed_by_hand(shelf)
    assert "damaged" in render(config, "camera", NOW)


def test_every_routine_is_listed_with_what_it_finds() -> None:
    lines = routines().splitlines()
    assert [line.split()[0] for line in lines] == list(ROUTINES)
    assert "offset, read noise, hot and dead pixels" in lines[0]


def test_a_record_that_lacks_a_number_is_refused(shelf: Path, tmp_path: Path) -> None:
    name = put(shelf, a_record("camera", values={"gain": Quantity(2.2, 0.1, "DN/e-")}))
    with pytest.raises(Refused, match="the calibration camera of 2026-11-24 lacks read_noise; calibrate again"):
        corrections_of(configured(tmp_path), [name])


@pytest.mark.parametrize(("pixel_um", "told"), [(0.059, False), (0.05905, False), (0.0593, True)])
def test_a_pixel_that_was_measured_otherwise_is_told(pixel_um: float, told: bool, shelf: Path, tmp_path: Path) -> None:
    values = {"pixel": Quantity(0.059, 1e-6, "um")}
    name = put(shelf, a_record("pixel-size", values=values))
    changes = {"instrument.frame_px": list(FRAME_PX), "instrument.pixel_um": pixel_um}
    config = night(tmp_path, {**changes, "calibration.wanted": ["pixel-size"]})
    notices = [sentence for _level, sentence in complain(choose(config, NOW), config)]
    assert bool(notices) == told
    if told:
        assert notices == [f"instrument.pixel_um is 0.0593, but the calibration {name} measured 0.059; set it"]


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Quantity(2.19834, 0.00171, "DN/e-"), "2.1983 ± 0.0017 DN/e-"),
        (Quantity(65535.0, 0.5, "DN"), "65535.00 ± 0.50 DN"),
        (Quantity(29746.4, 63.0, "e-"), "29746 ± 63 e-"),
        (Quantity(-123456.0, 4321.0, "um"), "-123500 ± 4300 um"),
        (Quantity(21.0, 0.0, "px"), "21 px"),
        (Quantity(1.5e-9, 2e-10, "share"), "1.5e-09 ± 2e-10 share"),
        (Quantity(0.0, 0.25, ""), "0.00 ± 0.25"),
    ],
)
def test_a_number_is_told_with_the_digits_that_its_uncertainty_allows(quantity: Quantity, text: str) -> None:
    assert told(quantity) == text


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_outcome_is_drawn_whatever_it_holds(count: int) -> None:
    x = np.arange(500.0)
    even = Map("even", "DN", np.ones((1500, 900), np.float32))
    pictures = (Curve("line", "x (um)", "y (DN)", x, 2 * x, 2 * x), even, Curve("dots", "x", "y", x[:1], x[:1]))
    outcome = Outcome({"gain": Quantity(2.2, 0.1, "DN/e-")}, pictures=pictures[:count])
    picture = Image.open(io.BytesIO(draw("trial", outcome)))
    assert picture.width == (1144 if count > 1 else 572)
    pixels = np.asarray(picture.convert("L"))
    assert pixels.min() < 100
    assert np.median(pixels) > 200 or count == 3
