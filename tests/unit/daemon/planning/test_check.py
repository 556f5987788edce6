from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from safetensors.numpy import save_file

from daemon.planning.check import Machine, check, free_disk, free_shared_memory, render
from daemon.planning.estimate import field_seconds
from daemon.system.errors import Refused
from daemon.system.ring import Ring
from tests.support.configuration_files import night
from tests.support.deadlines import DEADLINE_S
from tests.support.places import CONFIGS

ROOMY = Machine(free_disk=lambda _: 10**13, free_shared_memory=lambda: 10**11)
LAYER = "roi_heads.box_predictor.cls_score.weight"


@dataclass(frozen=True)
class Bad:
    """A configuration that loads but cannot work, and what the sentence must contain: key, value, remedy."""

    name: str
    changes: dict[str, Any]
    told: tuple[str, ...]
    machine: Machine = field(default=ROOMY)


BAD = [
    Bad(
        "unknown polarization",
        {"scan.polarizations": ["crossed", "oblique"]},
        ("scan.polarizations", "'oblique'", "crossed, parallel", "define it"),
    ),
    Bad(
        "polarization twice",
        {"scan.polarizations": ["crossed", "crossed"]},
        ("scan.polarizations", "'crossed' twice", "name each once"),
    ),
    Bad("no class", {"detector.classes": []}, ("detector.classes is []", "name at least one")),
    Bad(
        "kept above found",
        {"detector.keep_above": 0.6},
        ("detector.keep_above is 0.6", "detector.threshold 0.5", "lower it"),
    ),
    Bad("share of nothing", {"retention": {"raw": "share"}}, ("retention.share is 0", "give a share")),
    Bad("fused share of nothing", {"retention": {"fused": "share"}}, ("retention.fused share keeps nothing",)),
    Bad("search in one step", {"focus.search_step_um": 50}, ("focus.search_step_um is 50", "20", "smaller step")),
    Bad(
        "withdrawn out of reach",
        {"instrument.motion.withdrawn_z_um": -2000},
        ("instrument.motion.withdrawn_z_um is -2000", "instrument.travel.z_um -300 to 100", "can reach"),
    ),
    Bad(
        "withdrawn into the window",
        {"instrument.motion.withdrawn_z_um": -50},
        ("instrument.motion.withdrawn_z_um is -50", "position 1", "withdraw farther"),
    ),
    Bad(
        "window outside the travel",
        {"scan.slides.3.z_window_um": {"low": -60, "high": 160}},
        ("scan.slides[3] (position 4)", "-60 to 160", "instrument.travel.z_um", "narrow"),
    ),
    Bad(
        "height outside the window",
        {"scan.slides.4.z_um": 61},
        ("scan.slides[4] (position 5)", "z_um is 61", "-60 to 60", "move one"),
    ),
    Bad(
        "stack higher than the window",
        {"scan.slides.0.z_window_um": {"low": -1, "high": 2}},
        ("scan.slides[0]", "-1 to 2", "9 planes every 0.5 um", "widen"),
    ),
    Bad(
        "no room for the approach",
        {"scan.slides.0.z_window_um": {"low": -270, "high": 60}, "instrument.motion.z_backlash_um": 40},
        ("instrument.motion.z_backlash_um is 40", "-270 to 60", "raise the window's low"),
    ),
    Bad(
        "position twice",
        {"scan.slides.5.position": 1},
        ("scan.slides", "position 1 twice", "1 to 8"),
    ),
    Bad(
        "overlapping mini-slides",
        {"scan.slides.1.centre_um": [24000, 26000]},
        ("positions 1", "2 (centre_um [24000.0, 26000.0])", "overlap", "correct centre_um or size_um"),
    ),
    Bad(
        "field outside the travel",
        {"instrument.travel.x_um.high": 90000},
        ("field", "position 4", "instrument.travel.x_um 0 to 90000", "correct the mini-slide's centre_um"),
    ),
    Bad("too many fields", {"scan.fields": 100_000}, ("scan.fields is 100000", "slide 1", "fewer fields")),
    Bad("no weights", {"detector.weights": "none.safetensors"}, ("detector.weights", "none.safetensors", "name a")),
    Bad(
        "weights of other classes",
        {"detector.classes": ["coccolith", "diatom"]},
        ("detector.classes has 2 (coccolith, diatom)", "slim.safetensors", "for 5", "set detector.classes"),
    ),
    Bad(
        "weights of another architecture",
        {"detector.architecture": "resnet50"},
        ("detector.architecture is 'resnet50'", "'slim'", "set detector.architecture"),
    ),
    Bad(
        "recorder endpoint without keys",
        {"recorder.endpoint": "tcp://192.168.1.5:5555"},
        ("recorder.endpoint", "tcp://192.168.1.5:5555", "CURVE keys"),
    ),
    Bad(
        "watch endpoint without keys",
        {"watch.publish": "tcp://0.0.0.0:5556"},
        ("watch.publish", "tcp://0.0.0.0:5556", "CURVE keys"),
    ),
    Bad("endpoint that is none", {"recorder.endpoint": "laboratory"}, ("recorder.endpoint", "'laboratory'", "tcp://")),
    Bad(
        "spool below a field",
        {"recorder.spool_mb": 16, "retention.raw": "all"},
        ("recorder.spool_mb is 16", "48 MB", "room for many fields"),
    ),
    Bad(
        "credit below a chunk",
        {"recorder.credit_mb": 1, "recorder.chunk_kb": 2048},
        ("recorder.credit_mb is 1", "2048", "raise the credit"),
    ),
    Bad(
        "camera buffer below a sweep",
        {"instrument.buffer_mb": 16},
        ("instrument.buffer_mb is 16", "19 MB", "room for a sweep"),
    ),
    Bad(
        "preset not in the hardware file",
        {"instrument.polarizations.crossed.preset": "Circular"},
        ("instrument.polarizations.crossed", "Polarization/Circular", "emulated.cfg", "it defines"),
    ),
    Bad(
        "device not in the hardware file",
        {"instrument.devices.focus": "PIFOC"},
        ("instrument.devices.focus", "'PIFOC'", "emulated.cfg", "give one of"),
    ),
    Bad("no hardware file", {"instrument.hardware": "none.cfg"}, ("instrument.hardware", "none.cfg", "name a")),
    Bad("hardware not named", {"instrument.hardware": None}, ("instrument.hardware is missing", "'emulated'", "name")),
    Bad("no adapters", {"instrument.adapters": "nowhere"}, ("instrument.adapters", "nowhere", "correct the path")),
    Bad("replay of nothing", {"instrument.backend": "replay"}, ("instrument.replay is missing", "name the recording")),
    Bad(
        "replay of no folder",
        {"instrument.backend": "replay", "instrument.replay": {"folder": "nowhere"}},
        ("instrument.replay.folder", "nowhere", "correct the path"),
    ),
    Bad(
        "replay of an empty folder",
        {"instrument.backend": "replay", "instrument.replay": {"folder": "."}},
        ("instrument.replay.folder", "holds no image", "correct"),
    ),
    Bad("no sheet", {"scan.samples": "none.csv"}, ("none.csv", "scan.samples")),
    Bad(
        "shared memory too small",
        {},
        ("ring_stacks is 3", "0.11 GB", "0.07 GB free", "take fewer scan.planes"),
        Machine(free_disk=lambda _: 10**13, free_shared_memory=lambda: 64 * 2**20),
    ),
    Bad(
        "no disk for the plan",
        {"retention.raw": "all"},
        ("scan.fields is 12", "plan of 4.58 GB", "0.1 GB must stay free", "only 1.00 GB", "retention.raw"),
        Machine(free_disk=lambda _: 10**9, free_shared_memory=lambda: 10**11),
    ),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_night_that_cannot_work_is_refused_in_one_sentence(bad: Bad, tmp_path: Path) -> None:
    config = night(tmp_path, bad.changes)
    with pytest.raises(Refused) as refused:
        check(config, tmp_path / "run", bad.machine)
    sentence = str(refused.value)
    assert "\n" not in sentence
    for part in bad.told:
        assert part in sentence
    assert not (tmp_path / "run").exists()


def test_neighbouring_mini_slides_that_only_touch_are_no_overlap(tmp_path: Path) -> None:
    config = night(tmp_path, {"scan.slides.1.centre_um": [25000, 20000]})
    check(config, None, ROOMY)


def test_the_report_counts_what_the_camera_will_deliver(tmp_path: Path) -> None:
    report = check(night(tmp_path, {"retention": {"raw": "every", "every": 4}}), tmp_path / "run", ROOMY)
    stack = 2 * 9 * 1024 * 1024 * 2
    assert report.fields == 8 * 12
    assert report.frames == 8 * 12 * 18
    assert report.raw_bytes == 96 * stack
    assert report.retained_bytes == 24 * stack
    assert report.ring_bytes == 3 * stack
    assert 24 * stack < report.recorded_bytes < 96 * stack
    assert 96 * 0.93 < report.seconds < 96 * 0.93 + 8 * 3


def test_kept_fused_fields_have_their_price(tmp_path: Path) -> None:
    plain = check(night(tmp_path), None, ROOMY)
    report = check(night(tmp_path, {"retention": {"fused": "share", "share": 0.25}}), None, ROOMY)
    fused = 2 * 1024 * 1024 * 2
    assert (report.retained_bytes, report.fused_bytes, plain.fused_bytes) == (0, 24 * fused, 0)
    assert report.recorded_bytes - plain.recorded_bytes == 24 * fused
    assert "keeps 0.1 GB of fused fields; all of them would be 0.4 GB" in render(report)


def test_a_field_takes_its_moves_and_exposures(tmp_path: Path) -> None:
    """150 ms of XY, a switch of 120, twenty moves of 15 in z, eighteen exposures of 20; half for one state."""
    assert field_seconds(night(tmp_path)) == pytest.approx(0.93)
    assert field_seconds(night(tmp_path, {"scan.polarizations": ["parallel"]})) == pytest.approx(0.48)
    still = {"xy_ms": 0, "z_ms": 0, "polarizer_ms": 0}
    assert field_seconds(night(tmp_path, {"instrument.emulation.timing": still})) == pytest.approx(0.36)


def test_the_report_is_printed_with_its_price(tmp_path: Path) -> None:
    text = render(check(night(tmp_path), None, ROOMY))
    assert "MD-07" in text
    assert "retention keeps 0.0 GB of raw stacks; all of them would be 3.6 GB" in text
    assert "ring in shared memory: 0.11 GB" in text
    assert text.isascii()


def test_a_sample_on_two_mini_slides_is_told(tmp_path: Path) -> None:
    sheet = tmp_path / "samples.csv"
    sheet.write_text("position,sample\n" + "".join(f"{n},S{n % 7}\n" for n in range(1, 9)), encoding="utf-8")
    report = check(night(tmp_path, {"scan.samples": str(sheet)}), None, ROOMY)
    assert report.notes[0] == "sample S1 lies on the mini-slides 1, 8"
    assert "note: sample S1" in render(report)


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({}, None),
        ({"scan.polarizations": ["parallel"]}, "scan.polarizations is parallel alone: where the light is out from"),
        ({"retry.light_cycles": 100}, "out of order is tried so often within 1.7 h, so the night stops before its ret"),
        ({"retry.instrument_patience_h": 24}, "stops before its retry.instrument_patience_h of 24 h; allow more, or"),
        ({"retry.light_cycles": 100, "retry.longest_pause_s": 300}, None),
    ],
)
def test_what_ends_patience_and_what_is_not_seen_is_noted(
    tmp_path: Path, changes: dict[str, Any], noted: str | None
) -> None:
    usual = check(night(tmp_path), None, ROOMY).notes
    notes = [note for note in check(night(tmp_path, changes), None, ROOMY).notes if note not in usual]
    assert len(notes) == (noted is not None)
    assert all(noted is not None and noted in note for note in notes)
    assert not any("light" in note for note in usual)


def test_a_remote_recorder_needs_no_room_for_the_dataset_but_for_the_spool(tmp_path: Path) -> None:
    small = Machine(free_disk=lambda _: 10**9, free_shared_memory=lambda: 10**11)
    changes = {"retention.raw": "all", "recorder.endpoint": "tcp://127.0.0.1:5555", "recorder.spool_mb": 500}
    check(night(tmp_path, changes), tmp_path / "run", small)
    with pytest.raises(Refused, match=r"2\.00 GB"):
        check(night(tmp_path, changes | {"recorder.spool_mb": 2000}), tmp_path / "run", small)


def test_what_a_resumed_night_has_recorded_counts_as_room(tmp_path: Path) -> None:
    """0.2 GB are free where the whole plan needs about 0.9 GB; 0.9 GB of it lie there already."""
    small = Machine(free_disk=lambda _: 2 * 10**8, free_shared_memory=lambda: 10**11)
    run = tmp_path / "run"
    with pytest.raises(Refused):
        check(night(tmp_path), run, small)
    (run / "dataset").mkdir(parents=True)
    with (run / "dataset" / "field").open("wb") as sparse:
        sparse.truncate(9 * 10**8)
    check(night(tmp_path), run, small)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="shared memory has no files here")
def test_the_ring_of_a_killed_night_counts_as_room(tmp_path: Path) -> None:
    """A ring takes 113 MB; 60 MB are free beside one that was left behind."""
    full = Machine(free_disk=lambda _: 10**13, free_shared_memory=lambda: 60 * 10**6)
    config, run = night(tmp_path), tmp_path / "run"
    with closing(Ring.create(run, 2, (2, 9, 1024, 1024))):
        check(config, run, full)
        with pytest.raises(Refused, match="ring_stacks is 3"):
            check(config, tmp_path / "another", full)


def test_weights_that_do_not_fit_are_refused_before_the_night(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"

    def refusal(classes: int, metadata: dict[str, str] | None, layer: str = LAYER) -> str:
        save_file({layer: np.zeros((classes + 1, 4), np.float16)}, path, metadata)
        with pytest.raises(Refused) as refused:
            check(night(tmp_path, {"detector.weights": str(path)}), None, ROOMY)
        return str(refused.value)

    assert "were trained for 4" in refusal(4, None)
    assert "for 3 (x, y, z)" in refusal(3, {"classes": json.dumps(["x", "y", "z"])})
    assert LAYER in refusal(3, None, layer="head.weight")
    told = refusal(5, None)
    assert "does not fit architecture 'slim' (Missing key" in told
    assert len(told) < 400
    assert "\n" not in told
    path.write_bytes(b"PK\x03\x04 a pickle, perhaps")
    with pytest.raises(Refused, match="not a safetensors file"):
        check(night(tmp_path, {"detector.weights": str(path)}), None, ROOMY)


def test_this_computer_tells_its_room(tmp_path: Path) -> None:
    assert free_disk(tmp_path / "not" / "yet" / "there") == free_disk(tmp_path) > 0
    assert free_shared_memory() > 0


def test_checking_imports_no_torch_and_no_core(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from daemon.config.loading import load;"
        "from daemon.planning.check import check;"
        f"check(load(Path({str(CONFIGS / 'emulated.yaml')!r})), None);"
        "print(sorted({'torch', 'pymmcore', 'mmpycorex', 'pycromanager'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    assert done.stdout.strip() == "[]"


def test_a_replay_is_checked_against_what_was_recorded(tmp_path: Path) -> None:
    for number in (1, 2):
        stack = np.zeros((2, 5, 64, 80), np.uint16)
        tifffile.imwrite(tmp_path / f"field-{number}.tif", stack, metadata={"axes": "CZYX"}, ome=True)
    changes = {
        "instrument.backend": "replay",
        "instrument.hardware": None,
        "instrument.replay": {"folder": "."},
        "instrument.frame_px": [64, 80],
        "scan.planes": 5,
        "scan.fields": 2,
    }
    report = check(night(tmp_path, changes), None, ROOMY)
    assert report.frames == 8 * 2 * 10
    assert report.seconds == 0
    for key, value in (("scan.fields", 3), ("scan.planes", 6), ("instrument.frame_px", [80, 64])):
        with pytest.raises(Refused, match=key.replace(".", r"\.")):
            check(night(tmp_path, changes | {key: value}), None, ROOMY)
