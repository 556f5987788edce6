"""What a watcher tells and when, by the clock of the test: each alert once, and nothing while all is well."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.alerts.model import Alert, AlertMemory, AlertVerdict, Facts
from daemon.alerts.rules import RESUME_H, decide
from daemon.config.model import AlertKind, Alerts
from daemon.protocols.watching import Verdict
from daemon.records.events import EventName, ReasonCode
from daemon.records.records import AnyRecord, Event, FieldSecured, FileEntry, FocusResult
from daemon.records.states import NightState
from daemon.run_folder.heartbeat import Heartbeat
from daemon.system.process_table import Running
from tests.support.small_night import object_row, secured, skipped, slide_closed

NOW = 1_700_000_000.0
NEEDS = ("Look at mini-slide 2.", "Calibrate.")
SAID = Verdict(headline="All is well.", tone="warning", needs=NEEDS, detail=" ".join(NEEDS))
GB = 10**9
EVERYTHING = Alerts(tell=get_args(AlertKind), hung_s=60, paused_s=600, empty_fields=4, unfocused_fields=3)
FIRST, SECOND = Running(100, 1.0), Running(200, 2.0)


class Watched:
    """A night and its watcher; a look every second."""

    def __init__(self, settings: Alerts = EVERYTHING) -> None:
        self.settings = settings
        self.memory = AlertMemory()
        self.now = NOW
        self.seq = 0
        self.told: list[Alert] = []
        self.supervisor = FIRST
        self.lives = True
        self.beats = True
        self.verdict: AlertVerdict | None = None
        self.beat = Heartbeat(
            utc=NOW,
            monotonic_s=0.0,
            pid=FIRST.pid,
            state=NightState.SCANNING,
            reason="",
            planned=100,
            secured=10,
            skipped=0,
            slide=1,
            spool_limit_bytes=10 * GB,
            disk_free_bytes=500 * GB,
        )

    def look(self, *records: AnyRecord, times: int = 1, passed_s: float = 1.0) -> list[str]:
        """Look so many times; what was told."""
        told: list[Alert] = []
        for _ in range(times):
            self.now += passed_s
            if self.beats and self.lives:
                self.change(utc=self.now)
            numbered = tuple(enumerate(records, self.memory.seq + 1))
            facts = Facts(
                supervisor=self.supervisor,
                lives=self.lives,
                heartbeat=self.beat,
                records=numbered,
                more=False,
                recorded_here=True,
            )
            self.verdict = decide(self.memory, facts, self.settings, self.now)
            # What is remembered may be written down and read again between any two looks.
            self.memory = msgspec.json.decode(msgspec.json.encode(self.verdict.memory), type=AlertMemory)
            told += self.verdict.alerts
            records = ()
        self.told += told
        return [alert.kind for alert in told]

    def change(self, **what: object) -> None:
        self.beat = msgspec.structs.replace(self.beat, **what)

    @property
    def well(self) -> bool:
        assert self.verdict is not None
        return self.verdict.well

    @property
    def over(self) -> bool:
        assert self.verdict is not None
        return self.verdict.over


def field(
    number: int, *, slide: int = 1, found: bool = True, focused: bool = True, size: int = 1, analysed: bool = True
) -> FieldSecured:
    return msgspec.structs.replace(
        secured(slide, number, ()),
        objects=(object_row(0),) if found else (object_row(0, score=0.3),),
        focus=FocusResult(z_um=0.25 if focused else None, at_edge=False, contrast=2.0),
        files=(FileEntry(name="slide-1/field-0001.ome.tif", size=size, sha256=""),),
        analysed=analysed,
    )


def event(name: EventName, message: str, slide: int | None = None, level: str = "warning") -> Event:
    return Event(utc=NOW, level=level, name=name, message=message, monotonic_s=0.0, slide=slide, field=slide and 7)


def left(slide: int, why: ReasonCode) -> Event:
    return msgspec.structs.replace(event(EventName.SLIDE_LEFT, "however this is put", slide), reason_code=why)


def test_a_healthy_night_tells_its_end_alone() -> None:
    night = Watched(Alerts())
    fields = [field(number, found=bool(number % 3), focused=bool(number % 5)) for number in range(1, 50)]
    for one in fields:
        assert night.look(one) == []
        assert night.well
    assert night.look(slide_closed(1, 49)) == []
    night.change(state=NightState.DELIVERING)
    assert night.look(times=300) == []
    night.change(state=NightState.COMPLETE, secured=100, verdict=SAID)
    assert night.look() == ["finished"]
    assert SAID.headline in night.told[0].text
    night.lives = False
    assert night.look(times=5) == []
    assert night.over


def test_a_process_that_is_gone_without_a_word_is_told_once_and_so_is_its_resumption() -> None:
    night = Watched()
    assert night.look(times=3) == []
    night.lives = False
    assert night.look() == ["crashed"]
    assert "scanning at 10 of 100 fields" in night.told[0].text
    assert night.look(times=100) == []
    assert not night.well
    assert not night.over
    night.supervisor, night.lives, night.beats = SECOND, True, False
    # The old heartbeat is still there, and says nothing of the new process.
    assert night.look(times=5) == ["goes on"]
    night.beats = True
    night.change(pid=SECOND.pid)
    assert night.look(times=100) == []
    assert night.well
    night.lives = False
    assert night.look(times=5) == ["crashed"]
    assert night.look(passed_s=RESUME_H * 3600 + 1) == []
    assert night.over


def test_a_crash_that_no_watcher_saw_is_told_by_the_next_one() -> None:
    night = Watched()
    night.look()
    night.supervisor = SECOND
    night.change(pid=SECOND.pid)
    assert night.look(times=10) == ["crashed"]
    assert "resumed" in night.told[0].text


@pytest.mark.parametrize("name", [EventName.INTERRUPTED, EventName.NIGHT_STOPPED, EventName.NOT_DELIVERED])
def test_an_end_that_no_watcher_saw_is_no_crash(name: EventName) -> None:
    night = Watched()
    night.look()
    night.supervisor = SECOND
    night.change(pid=SECOND.pid)
    assert night.look(event(name, "said so"), times=10) == []


def test_a_heartbeat_that_stands_still_is_told_once_and_again_when_it_comes_back() -> None:
    night = Watched()
    night.look(times=10)
    for _ in range(2):
        night.beats = False
        assert night.look(times=59) == []
        assert night.look(times=30) == ["hung"]
        assert not night.well
        night.beats = True
        assert night.look(times=30) == ["goes on"]


def test_a_computer_that_slept_or_whose_clock_was_set_does_not_hang() -> None:
    night = Watched()
    night.look(times=10)
    night.beats = False
    for passed_s in (8 * 3600.0, -3600.0, 1.0):
        assert night.look(passed_s=passed_s) == []
    night.beats = True
    assert night.look(times=100) == []


def test_a_night_that_never_gives_a_heartbeat_hangs() -> None:
    night = Watched()
    night.supervisor, night.beats = SECOND, False
    assert night.look(times=200) == ["hung"]


def test_a_long_pause_is_told_with_its_reason_and_a_short_one_is_not() -> None:
    night = Watched()
    night.change(state=NightState.PAUSED, reason="the spool is full")
    assert night.look(times=590) == []
    night.change(state=NightState.SCANNING, reason="")
    assert night.look() == []
    night.change(state=NightState.PAUSED, reason="the recorder does not answer")
    assert night.look(times=599) == []
    assert night.look(times=200) == ["paused"]
    assert "10 min: the recorder does not answer" in night.told[0].text
    assert night.look(times=2 * 3600) == ["paused", "paused"]
    assert "2.2 h: the recorder does not answer" in night.told[-1].text
    assert not night.well
    night.change(state=NightState.SCANNING, reason="")
    assert night.look(times=3) == ["goes on"]
    assert night.well


def test_a_spool_near_its_bound_is_told_once_until_it_has_emptied() -> None:
    night = Watched()
    for used, told in ((79, []), (81, ["spool"]), (95, []), (75, []), (85, []), (20, []), (90, ["spool"])):
        night.change(spool_bytes=used * GB // 10)
        assert night.look(times=3) == told


def test_a_disk_is_told_where_little_is_left() -> None:
    night = Watched()
    for free, told in ((5.1, []), (4.9, ["disk"]), (5.2, []), (4.0, []), (50, []), (1, ["disk"])):
        night.change(disk_free_bytes=int(free * GB))
        assert night.look(times=3) == told


def test_a_disk_is_told_where_it_fills_within_the_hour_and_before_the_end() -> None:
    night = Watched()
    night.change(seconds_left=4 * 3600.0)
    assert night.look(field(1, size=2 * GB)) == []  # 90 fields to come, 180 GB; 500 are free
    night.change(disk_free_bytes=100 * GB)  # for 50 fields, two hours and more
    assert night.look() == []
    night.change(disk_free_bytes=40 * GB)
    assert night.look(times=3) == ["disk"]
    assert "full in 53 min" in night.told[0].text
    night.change(disk_free_bytes=39 * GB, seconds_left=0.5)
    assert night.look(times=3) == []


def test_lost_oil_is_told_and_what_follows_from_it_is_not() -> None:
    night = Watched()
    assert night.look(
        event(EventName.DIM_FIELD, "a bubble?", 1), event(EventName.OIL_LOST, "check immersion oil", 1)
    ) == ["oil lost"]
    assert night.told[0].text == "Mini-slide 1, field 7: check immersion oil."
    blurred = [field(number, found=False, focused=False) for number in range(8, 20)]
    assert night.look(*blurred) == []
    assert night.look(left(1, ReasonCode.NO_FOCUS)) == []
    assert night.look(left(1, ReasonCode.FAULTS_IN_A_ROW)) == ["fault"]
    assert night.look(event(EventName.OIL_LOST, "check immersion oil", 2)) == ["oil lost"]


def test_a_dim_lamp_is_told() -> None:
    night = Watched()
    assert night.look(event(EventName.LAMP_DIM, "check the lamp", 3)) == ["lamp dim"]


def test_lost_focus_is_told_once_a_mini_slide_until_it_is_found() -> None:
    night = Watched()
    away = [field(number, focused=False) for number in range(1, 10)]
    assert night.look(*away[:2]) == []
    assert night.look(*away[2:]) == ["focus lost"]
    assert night.look(left(1, ReasonCode.NO_FOCUS)) == []
    assert night.look(field(10), *away[:2]) == []
    assert night.look(away[2]) == ["focus lost"]
    assert night.look(field(1, slide=2, focused=False), field(2, slide=2, focused=False)) == []
    assert night.look(field(3, slide=2, focused=False)) == ["focus lost"]


def test_nothing_found_is_told_once_until_something_is() -> None:
    night = Watched()
    empty = [field(number, found=False) for number in range(1, 10)]
    assert night.look(*empty[:3]) == []
    assert night.look(field(4, analysed=False)) == []
    assert night.look(empty[4]) == ["nothing found"]
    assert night.look(*empty[5:]) == []
    assert night.look(field(10), *empty[:3]) == []
    assert night.look(empty[3]) == ["nothing found"]


def test_faults_that_a_person_should_know_of_are_told_once_each() -> None:
    night = Watched()
    lost = event(EventName.DETECTOR_LOST, "raw stacks are kept", level="error")
    assert night.look(lost, lost, event(EventName.FAULT, "exposing again", 1)) == ["fault"]
    assert night.look(event(EventName.DETECTOR_BACK, "it answers", level="info"), lost) == ["fault"]
    assert night.look(skipped(1, 3), left(1, ReasonCode.FAULTS_IN_A_ROW)) == ["fault"]


def test_mini_slides_are_told_where_that_is_wanted() -> None:
    night = Watched()
    assert night.look(slide_closed(1, 9, 3), slide_closed(2, 12)) == ["slide finished", "slide finished"]
    assert night.told[0].text == "Mini-slide 1 (core-1) is done: 9 fields, 3 skipped."
    assert night.look(slide_closed(1, 12)) == []


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"state": NightState.COMPLETE}, "finished", "The night ended: complete."),
        ({"state": NightState.COMPLETE, "verdict": SAID}, "finished", "All is well. Look at mini-slide 2. Calibrate."),
        ({"state": NightState.COMPLETE, "skipped": 4}, "finished with skips", ""),
        ({"state": NightState.COMPLETE, "not_analysed": 2}, "finished with skips", ""),
        ({"state": NightState.STOPPED, "reason": "Z stuck"}, "stopped", "The night ended: stopped, Z stuck."),
        ({"state": NightState.REFUSED}, "stopped", ""),
        ({"state": NightState.NOT_DELIVERED}, "stopped", ""),
        ({"state": NightState.INTERRUPTED}, "interrupted", ""),
        ({"state": NightState.TERMINATED}, "interrupted", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_end_is_told_once_and_then_the_watcher_may_go(change: dict[str, object], kind: str, said: str) -> None:
    night = Watched()
    night.look(times=3)
    night.change(**change)
    assert night.look(times=5) == [kind]
    assert said in night.told[0].text
    assert not night.over
    night.lives = False
    assert night.look(times=5) == []
    assert night.over
    night.supervisor, night.lives = SECOND, True
    night.change(pid=SECOND.pid, state=NightState.SCANNING, reason="")
    assert night.look(times=5) == []
    night.change(**change)
    assert night.look(times=5) == [kind]


def test_every_word_by_which_a_night_ends_is_told_as_some_end() -> None:
    for state in filter(lambda state: state.ended, NightState):
        night = Watched()
        night.change(state=state)
        assert len(night.look(times=3)) == 1


def test_a_microscope_that_is_not_safe_is_told_whatever_the_end() -> None:
    night = Watched()
    night.change(
        state=NightState.COMPLETE, unsafe="the microscope could not be made safe: check shutter, lamp and objective"
    )
    assert night.look(times=5) == ["not safe", "finished"]


def test_only_the_kinds_that_were_chosen_are_told() -> None:
    night = Watched(Alerts(tell=("finished",)))
    night.lives = False
    assert night.look(times=5) == []
    night.supervisor, night.lives = SECOND, True
    night.change(pid=SECOND.pid, state=NightState.COMPLETE)
    assert night.look(times=5) == ["finished"]


@given(
    st.lists(
        st.tuples(st.sampled_from(["beats", "stands", "gone", "paused", "resumed", "ended"]), st.integers(1, 30)),
        max_size=12,
    )
)
def test_no_alert_is_told_twice_while_its_condition_holds(course: list[tuple[str, int]]) -> None:
    night = Watched(Alerts(hung_s=20, paused_s=50))
    night.look()
    for what, looks in course:
        if what == "gone":
            night.lives = False
        elif what == "resumed":
            number = night.supervisor.pid + 1
            night.supervisor, night.lives, night.beats = Running(number, 0.0), True, True
            night.change(pid=number, state=NightState.SCANNING)
        elif what == "ended":
            night.change(state=NightState.COMPLETE)
        elif what == "paused":
            night.change(state=NightState.PAUSED)
        else:
            night.beats = what == "beats"
        told = night.look(times=looks)
        assert len(told) == len(set(told)), (what, told)
        before = night.look(times=60)
        assert night.look(times=60) == [], (what, before)
