"""The verdict on a night: one sentence on how it stands, whether that is well, and what a person should do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from daemon.protocols.watching import Tone, Verdict
from daemon.records.events import EventName, ReasonCode
from daemon.records.flags import FieldFlag
from daemon.records.records import Event, message_with
from daemon.records.states import NightState
from daemon.system.progress import duration, ranges
from daemon.verdict.facts import OF_PROCESS, Levels, NightFacts, SkippedFields, SlideFacts
from inference.wording import counted

RESUME = "Go on with it: `lamelle scan CONFIG --run DIR --resume`, once what stopped it is put right."
NEARLY = 0.85
"""Share of the spool from which on it is nearly full."""
AFTER_FAULTS = (ReasonCode.FAULT, ReasonCode.FAULTS_IN_A_ROW, ReasonCode.ANALYSIS_FAILED, ReasonCode.UNREADABLE)
"""Why fields are skipped that somebody may have wanted; others were left by order, or had nothing in focus."""
OF_LIGHT = frozenset({EventName.DIM_FIELD, EventName.OIL_LOST})
"""Events that say nothing new of a field that is not counted."""
ACTIONS = {
    EventName.SLIDE_LEFT: "Look at a mini-slide that was left early",
    EventName.CAMERA_FULL: "Look at the exposure",
    EventName.NOT_MEASURED: "Look at objects that could not be measured",
    EventName.NOT_NAMED: "Name objects that have no name",
    EventName.DIM_FIELD: "Decide about a dim field, which is counted",
    EventName.OIL_LOST: "Look at immersion oil and lamp",
    EventName.LAMP_DIM: "Look at the lamp",
    EventName.DETECTOR_LOST: "Look at the graphics card",
    EventName.RECORDER_AWAY: "Look at the recorder",
    EventName.RECORDER_WAITS: "Look at the recorder",
    EventName.DELIVERY_REFUSED: "Look at the recorder, which refuses the night",
    EventName.DELIVERY_WAITS: "Look at this computer, which cannot deliver",
    EventName.NOT_KEPT_AWAKE: "See that the computer does not go to sleep",
    EventName.NOT_WATCHED: "Watch the night yourself, as nobody sends alerts",
}
"""What to do after an event."""


def judge(facts: NightFacts) -> Verdict:
    """Judge a night by what is known of it."""
    headline, tone = _headline(facts)
    needs = tuple(_needs(facts))
    if facts.unsafe or (facts.dataset_faults and facts.alive is not True):
        tone = "bad"
    elif needs and tone in ("good", "running"):
        tone = "warning"
    return Verdict(headline=headline, tone=tone, needs=needs, detail=" ".join(needs) or "Nothing needs you.")


def progress(facts: NightFacts) -> str:
    """Say how many of the planned fields are done, and while fields are taken again, how many of them."""
    skipped = f", {facts.left_out} of them skipped" if facts.left_out else ""
    going_on = facts.again_made < facts.again_ordered
    again = f"; {facts.again_made} of {facts.again_ordered} are taken again" if going_on else ""
    return f"{facts.recorded + facts.left_out} of {facts.planned} fields are done{skipped}{again}"


def _headline(facts: NightFacts) -> tuple[str, Tone]:
    done = progress(facts)
    state = facts.state
    if facts.alive is False and state is not None and not state.ended:
        state = None
    closed = facts.closed and (state is None or state.ended) and state is not NightState.NOT_DELIVERED
    if closed or state is NightState.COMPLETE:
        return _complete(facts)
    match state:
        case NightState.NOT_DELIVERED:
            return (
                "Complete here, but not all is delivered." if facts.closed else f"Not all was delivered: {done}.",
                "bad",
            )
        case NightState.STOPPED:
            return f"Stopped by a fault: {facts.reason or 'its log says which'}. {done}.", "bad"
        case NightState.REFUSED:
            return f"Could not begin: {facts.reason or 'its log says why'}.", "bad"
        case NightState.INTERRUPTED:
            return f"Stopped by a person: {done}.", "warning"
        case NightState.TERMINATED:
            return f"Ended by the system: {done}.", "warning"
        case NightState.PAUSED:
            return f"Paused: {facts.reason}. {done}.", "warning"
        case NightState.DELIVERING:
            exposed = "All fields are exposed; the rest goes" if facts.closed else "What is recorded goes"
            return f"{exposed} to the recorder: {done}.", "running"
        case NightState.SCANNING:
            return f"Scanning{_where(facts)}: {done}.", "running"
        case NightState.STARTING:
            return "Starting.", "running"
    if facts.alive:
        return f"Still running: {done}.", "running"
    if facts.alive is None:
        return f"Not complete: {done}. The night still runs, or was stopped, where its run folder is.", "warning"
    return f"Ended without a word, as a killed process or a power cut does: {done}.", "bad"


def _complete(facts: NightFacts) -> tuple[str, Tone]:
    if facts.dataset_faults:
        return f"All fields are done, but the dataset is not whole: {progress(facts)}.", "bad"
    if not facts.recorded:
        return f"Complete, but nothing was recorded: all {facts.planned} fields were skipped.", "bad"
    parts = [f"{facts.recorded} of {counted(facts.planned, 'field')} recorded"]
    parts += [f"{facts.left_out} skipped"] * bool(facts.left_out)
    parts += [f"{facts.not_analysed} not analysed yet"] * bool(facts.not_analysed)
    tone: Tone = "warning" if len(parts) > 1 else "good"
    parts += [f"{len(facts.excluded)} not counted"] * bool(facts.excluded)
    return f"Complete: {', '.join(parts)}, {counted(facts.objects, 'object')}.", tone


def _needs(facts: NightFacts) -> Iterator[str]:
    """Give what a person should do; nothing of what the night has dealt with itself."""
    ended = facts.state is not None and facts.state.ended
    running = not ended and (facts.alive is True or (facts.alive is None and facts.state is not None))
    if facts.unsafe:
        yield f"See to the microscope at once: {facts.unsafe}."
    if facts.dataset_faults:
        faults = counted(facts.dataset_faults, "fault")
        yield f"The dataset has {faults}: `lamelle inspect DIR` names what is missing, twice or at odds."
    if facts.state is NightState.NOT_DELIVERED:
        yield f"Deliver the rest with --resume: {facts.reason or 'some records are not with the recorder'}."
    elif not facts.closed and not running and facts.state is not NightState.COMPLETE:
        yield RESUME
    if facts.state is NightState.PAUSED and running:
        yield f"See to what keeps the night: {facts.reason}."
    if not running and facts.planned and not facts.recorded:
        yield f"Find out why nothing was recorded: 0 of {counted(facts.planned, 'field')}."
    yield from (_after_faults(slide, list(same)) for slide, same in groupby(_faulty(facts), lambda one: one.slide))
    if facts.levels is not None and facts.state is NightState.SCANNING:
        yield from _filling(facts.levels)
    if facts.not_analysed:
        yield f"Have {counted(facts.not_analysed, 'field')} analysed: `lamelle analyse DIR`."
    yield from _excluded(facts)
    yield from _empty([slide for slide in facts.slides if slide.closed and slide.searched and not slide.objects])
    yield from _unlike(facts)
    left_out = [event for event in facts.events if event.name is EventName.LEFT_OUT]
    yield from not_read({event.message: event.names for event in left_out})
    yield from _calibrations([event for event in facts.events if event.name is EventName.CALIBRATION])
    settled = facts.excluded | facts.said
    yield from _actions(
        [
            event
            for event in facts.events
            if event.name in ACTIONS
            and (running or event.name not in OF_PROCESS)
            and not (event.name in OF_LIGHT and (event.slide, event.field) in settled)
        ]
    )


def _empty(slides: Sequence[SlideFacts]) -> Iterator[str]:
    """Give on which mini-slides nothing was found, and whether something was to be seen there."""
    if not slides:
        return
    where = _slide(slides[0]) if len(slides) == 1 else f"mini-slides {ranges([slide.slide for slide in slides])}"
    fields, blank = sum(slide.searched for slide in slides), sum(slide.blank for slide in slides)
    need = f"Look at {where}: nothing was found in {counted(fields, 'field')}"
    if blank:
        some = f"{blank} of them show nothing at all" if blank > 1 else "1 of them shows nothing at all"
        need += (
            f", and {'none of them shows anything at all' if blank == fields else some}. Their pictures (`lamelle view "
            "DIR`) tell whether there was light; else these places are empty, or focus lies elsewhere: check z_um and "
            "z_window_um"
        )
    yield f"{need}."


def _excluded(facts: NightFacts) -> Iterator[str]:
    """Give which fields the night's rule does not count; what persons said they know themselves."""
    for slide in facts.slides:
        if fields := slide.excluded.get(FieldFlag.OIL_LOST):
            analysed = slide.recorded - slide.not_analysed
            yield (
                f"M{_slide(slide)[1:]}, lost its oil: {len(fields)} of its {counted(analysed, 'field')} "
                f"({ranges(list(fields))}) are not counted. Put oil on it and take them again: "
                f'`lamelle scan CONFIG --run DIR --redo "slide {slide.slide} fields {ranges(list(fields))}"`; '
                f"`lamelle include DIR --slide {slide.slide} --fields {ranges(list(fields)).replace(' ', '')}` counts "
                "them as they are."
            )
    whys: dict[FieldFlag, list[tuple[int, tuple[int, ...]]]] = {}
    for slide in facts.slides:
        for flag, fields in slide.excluded.items():
            if flag is not None and flag is not FieldFlag.OIL_LOST:
                whys.setdefault(flag, []).append((slide.slide, fields))
    for flag, where in whys.items():
        count = sum(len(fields) for _, fields in where)
        places = "; ".join(f"mini-slide {slide}: {ranges(list(fields))}" for slide, fields in where)
        are = (
            f"1 field is not counted ({flag.words}, {places})"
            if count == 1
            else (f"{count} fields are not counted ({flag.words}, {places})")
        )
        yield f"{are}; `lamelle include DIR` counts what you want counted."


def _unlike(facts: NightFacts) -> Iterator[str]:
    """Give which mini-slides the classifier may be wrong about, the oddest first."""
    if not facts.unlike:
        return
    slides = {slide.slide: slide for slide in facts.slides}
    oddest, *others = sorted(facts.unlike, key=lambda one: -one.times)
    further = f" (mini-slide {', '.join(str(one.slide) for one in sorted(others, key=lambda one: one.slide))} too)"
    shows = "; `lamelle look-first DIR` shows them" if oddest.far else ""
    yield (
        f"Do not trust the names on {_slide(slides[oddest.slide])}{further if others else ''}: its objects differ "
        f"from what the classifier learnt {oddest.times:.1f} times as much as usual, and {oddest.far} of "
        f"{oddest.objects} are unlike any that it knows{shows}. See what changed (focus, light, objective, kind of "
        "sample)."
    )


def not_read(whys: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Give what was left out of an archive, in a sentence at most.

    Parameters
    ----------
    whys
        names of files and folders, by the reason why they were left out.
    """
    if not whys:
        return
    count = sum(map(len, whys.values()))
    what = counted(count, "file or folder of the archive that was", "files or folders of the archive that were")
    reasons = [message_with(why, tuple(names)) for why, names in whys.items()]
    several = f"there are {len(reasons)} reasons; the events 'left out' name them"
    yield f"Look at {what} not read: {reasons[0] if len(reasons) == 1 else several}."


def _faulty(facts: NightFacts) -> list[SkippedFields]:
    return sorted((one for one in facts.skipped if one.code in AFTER_FAULTS), key=lambda one: one.slide)


def _after_faults(slide: int, skipped: Sequence[SkippedFields]) -> str:
    count = sum(one.fields for one in skipped)
    what = f"{counted(count, 'field')} of mini-slide {slide}"
    return f"Look at what kept {what} from being recorded: {skipped[-1].sentence}."


def _calibrations(events: Sequence[Event]) -> Iterator[str]:
    """Give one complaint as it is, and of many how many there are: the end of a report names them."""
    distinct = list(dict.fromkeys(event.message for event in events))
    if len(distinct) == 1:
        yield f"Calibrate: {distinct[0]}."
    elif distinct:
        yield f"Calibrate: there are {len(distinct)} complaints about calibrations; the events name them."


def _actions(events: Sequence[Event]) -> Iterator[str]:
    """Give what to do after events, once for those of one name: the last of them, and where all of them were.

    Of fields that are dim the darkest comes last (`daemon.verdict.facts.BY_LIGHT`).
    """
    alike: dict[EventName, list[Event]] = {}
    for event in events:
        alike.setdefault(event.name, []).append(event)
    for name, same in alike.items():
        slides = sorted({event.slide for event in same if event.slide is not None})
        where = f" (mini-slide {', '.join(map(str, slides))})" if slides else ""
        yield f"{ACTIONS[name]}: {same[-1].message}{where}."


def _filling(levels: Levels) -> Iterator[str]:
    """Give what may fill up before the night ends."""
    if levels.disk_hours is not None and levels.seconds_left and 3600 * levels.disk_hours < levels.seconds_left:
        yield f"Make room: the disk is full in {duration(3600 * levels.disk_hours)}, before the night ends."
    if levels.spool_share > NEARLY:
        yield "Look at the recorder: the spool is nearly full, so it does not keep up, or is away."


def _where(facts: NightFacts) -> str:
    """Name the mini-slide that is scanned; none while it is done and the next one has not begun."""
    again = facts.again_made < facts.again_ordered
    here = [slide for slide in facts.slides if slide.slide == facts.slide]
    return "".join(f" {_slide(one)}" for one in here if again or one.recorded + one.skipped < one.planned)


def _slide(slide: SlideFacts) -> str:
    return f"mini-slide {slide.slide}, {slide.sample}"
