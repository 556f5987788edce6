"""A night of eight mini-slides, played fast: told by a real broadcaster, its pixels from the virtual slide.

Nothing is scanned: numbers are drawn from a seed, pictures are the same few fields again and again.
"""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self, TypedDict

import numpy as np
import zmq
from msgspec.structs import replace
from numpy.typing import NDArray
from PIL import Image

from daemon.config.model import Watch
from daemon.config.taxonomy_sheet import read_taxonomy
from daemon.figures.pixels import composite, contrasts
from daemon.live.publisher import Broadcaster
from daemon.protocols.control import Answer, Order, decode_order, encode
from daemon.protocols.watching import (
    About,
    Counters,
    EventNotice,
    FieldDone,
    Find,
    Hardware,
    Overview,
    ShownObject,
    ShownSpecimen,
    SlidePlan,
    Specimens,
    State,
)
from daemon.records.events import EventName, ReasonCode
from daemon.records.states import NightState
from daemon.system.errors import ProtocolViolation
from daemon.verdict.afterwards import where_kept
from daemon.verdict.facts import NightFacts, SkippedFields, SlideFacts
from daemon.verdict.verdict import judge
from tests.support.emulated_stacks import night, stack
from tests.support.places import CONFIGS

SAMPLES = ("U1510-12H", "U1510-13H", "U1510-14H", "U1511-02H", "U1511-03H", "MD95-07", "MD95-08", "trap-0417")
POLARIZATIONS = ("crossed", "parallel")
PITCH_UM = 57.4
BEAT_S = 1.0
"""So often nights tell their counters."""
TYPICAL = {"coccolith": (4.0, 0.35, 8.0), "diatom": (14.0, 0.5, None), "silicoflagellate": (22.0, 0.3, None)}
"""Of a class: median length in um and its spread, and mass in pg of a length of 4 um where it is measured."""
SHORT, LONG, SHORT_UM = "emiliania-huxleyi", "gephyrocapsa", 3.8
"""Taxa of coccoliths that are counted; others have no name there."""


@dataclass(frozen=True)
class Field:
    """A rendered field: its views, and what lies in it with its strips."""

    views: tuple[bytes, ...]
    objects: tuple[ShownObject, ...]
    specimens: tuple[tuple[ShownSpecimen, bytes], ...]


def jpeg(pixels: NDArray[np.uint8], quality: int = 82) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


@cache
def rendered(slide: int, place: int, frame_px: int, planes: int) -> Field:
    """A field of the virtual slide as a night would show it."""
    config = night(frame_px, planes, profile="mixed")
    pixels, truth = stack(config, slide, 150.0 * place)
    contrast = contrasts([pixels.max(axis=1)])
    flat = np.stack([pixels[0].max(axis=0), pixels[1].mean(axis=0).astype(np.uint16)])
    views = [jpeg(composite(flat, contrasts([flat])))]
    views += [jpeg(contrast[c].apply(pixels[c, planes // 2])) for c in range(2)]
    rng = np.random.default_rng([slide, place])
    objects, specimens = [], []
    for number, (best, one) in enumerate((z, o) for z, o in truth if not o.junk and o.class_name in TYPICAL):
        x0, y0, x1, y1 = (round(edge) for edge in one.box)
        score = float(np.clip(1 - rng.exponential(0.09), 0.32, 0.999))
        mass = one.mass_pg if one.mass_pg > 0 else None
        objects.append(
            ShownObject(
                number=number, box=(x0, y0, x1, y1), class_name=one.class_name, score=score,
                below_threshold=score < 0.5, counted=score >= 0.5 and one.whole, length_um=one.length_um, mass_pg=mass,
                taxon=one.taxon, taxon_probability=score,
            )
        )  # fmt: skip
        if not one.whole or not 1 <= best <= planes - 2:
            continue
        side = max(x1 - x0, y1 - y0) + 24
        left, top = (min(max((a + b - side) // 2, 0), frame_px - side) for a, b in ((x0, x1), (y0, y1)))
        crop = pixels[:, :, top : top + side, left : left + side]
        strip = np.concatenate([np.concatenate(contrast[c].apply(crop[c]), axis=1) for c in range(2)], axis=0)
        specimen = ShownSpecimen(
            number=number, class_name=one.class_name, score=score, best_plane=float(np.clip(best, 0, planes - 1)),
            tile_px=(side, side), tile_um=side * 0.059, length_um=one.length_um, mass_pg=mass,
            taxon=one.taxon, taxon_probability=score,
        )  # fmt: skip
        specimens.append((specimen, jpeg(strip)))
    return Field(tuple(views), tuple(objects), tuple(specimens))


def about(began_utc: float, fields: int, planes: int, samples: tuple[str, ...] = SAMPLES) -> About:
    columns = math.ceil(math.sqrt(fields))
    centres = [(15_000.0 + 25_000 * (n % 4), 20_000.0 + 30_000 * (n // 4)) for n in range(8)]
    slides = []
    for n, (x, y) in enumerate(centres):
        cells = ((row, column) for row in range(columns) for column in range(columns)[:: 1 if row % 2 == 0 else -1])
        places = [(x + (c - columns / 2) * PITCH_UM, y + (r - columns / 2) * PITCH_UM) for r, c in cells]
        slides.append(
            SlidePlan(
                position=n + 1, sample=samples[n], centre_um=(x, y), size_um=(1e4, 1e4), places=tuple(places[:fields])
            )
        )
    return About(
        night="2026-11-24 U1510", began_utc=began_utc, slides=tuple(slides), frame_um=(60.4, 60.4),
        polarizations=POLARIZATIONS, planes=planes, step_um=0.5, weights_sha256="5c" * 32,
        calibrations=("camera-20261123-1802", "polarization-20261123-1815"), version="0.1.0",
        named_by="7e" * 32,
        taxa={taxon.identifier: taxon.name for taxon in read_taxonomy(CONFIGS / "taxonomy.csv").taxa},
        dataset=where_kept(Path("runs/tonight"), None, "microscope"),
    )  # fmt: skip


class _Where(TypedDict):
    """Which field, and when and where it was taken."""

    slide: int
    field: int
    utc: float
    x_um: float
    y_um: float


class PlayedNight:
    """Tells a night field by field, and its counters as often as nights do, so that it is heard however slow a test is.

    Parameters
    ----------
    began_utc
        when it is said to have begun.
    fields
        of each mini-slide.
    frame_px, planes
        of its pictures.
    before
        what an earlier process told of it.
    control
        endpoint that it names for orders.
    """

    def __init__(
        self,
        began_utc: float,
        fields: int,
        frame_px: int = 512,
        planes: int = 7,
        control: str | None = None,
        samples: tuple[str, ...] = SAMPLES,
        before: tuple[FieldDone, ...] = (),
        places: int = 2,
    ) -> None:
        self.about = about(began_utc, fields, planes, samples)
        self.done = list(before)
        self.seconds = 17.5
        self.utc = began_utc + self.seconds * len(before)
        self._fields, self._frame_px, self._planes, self._places = fields, frame_px, planes, places
        self._state = (NightState.STARTING, "")
        self._broadcaster = Broadcaster(Watch(), self.about, control, before)
        self.endpoint = self._broadcaster.snapshot_endpoint
        self._ended = threading.Event()
        self._beat = threading.Thread(target=self._tell_counters, name="beat")

    def __enter__(self) -> Self:
        self._broadcaster.start()
        self.state(NightState.SCANNING)
        self._beat.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beat.join()
        self._broadcaster.close()

    def _tell_counters(self) -> None:
        while not self._ended.wait(BEAT_S):
            self.counters()

    @property
    def slide(self) -> int:
        """Mini-slide of the next field; of the last one where there is none."""
        return min(len(self.done) // self._fields, 7) + 1

    def state(self, state: NightState, reason: str = "") -> None:
        self._state = (state, reason)
        self._broadcaster.publish(State(state=state, reason=reason))
        self.counters()

    def tell(self, level: str, name: EventName, message: str) -> None:
        self._broadcaster.publish(EventNotice(utc=self.utc, level=level, name=name, message=message))

    def fault(self, level: str, fault: str, message: str, slide: int, field: int) -> None:
        told = EventNotice(
            utc=self.utc, level=level, name=EventName.FAULT, message=message, slide=slide, field=field, fault=fault
        )
        self._broadcaster.publish(told)

    def play(self, fields: int, *, pictures: bool = True, light: float = 1.0) -> None:
        """Tell the next fields, with so much of the lamp's light; without pictures only the last one has any."""
        for n in range(fields):
            self._field(pictures=pictures or n == fields - 1, light=light)
        self.counters()

    def skip(self, reason: str) -> None:
        """Tell that the next field was skipped."""
        self._tell_done(FieldDone(**self._where(), reason=reason))

    def counters(self) -> None:
        secured = sum(one.reason is None for one in self.done)
        done, planned = len(self.done), 8 * self._fields
        wave = 0.5 + 0.5 * math.sin(done / 7)
        self._broadcaster.publish(
            Counters(
                planned=planned, secured=secured, skipped=done - secured, objects=sum(o.objects for o in self.done),
                fields_per_s=1 / self.seconds, seconds_left=(planned - done) * self.seconds if done else None,
                slide=self.slide, spool_bytes=int(2.2e9 * wave), spool_limit_bytes=20_000_000_000,
                acknowledged=max(0, done - 3), backlog=min(done, 3), ring_used=1 + done % 2, ring_stacks=3,
                disk_free_bytes=412_000_000_000, disk_hours=31.4 if done else None,
            )
        )  # fmt: skip
        state, reason = self._state
        everything = SlideFacts(self.slide, self.about.slides[self.slide - 1].sample, planned, secured, done - secured)
        skipped = [one for one in self.done if one.reason is not None]
        facts = NightFacts(
            state, reason, alive=True, closed=done == planned, slides=(everything,), slide=self.slide,
            skipped=tuple(SkippedFields(one.slide, ReasonCode.FAULT, 1, one.reason or "") for one in skipped),
        )  # fmt: skip
        self._broadcaster.publish(judge(facts))

    def _field(self, *, pictures: bool, light: float) -> None:
        where = self._where()
        slide, field = where["slide"], where["field"]
        rng = np.random.default_rng([slide, field])
        finds = []
        rates = {"coccolith": 9 * (1 + 0.6 * math.sin(slide)), "diatom": 2.5, "silicoflagellate": 0.5}
        for name, rate in rates.items():
            median, spread, mass = TYPICAL[name]
            for length in median * np.exp(spread * rng.standard_normal(rng.poisson(rate))):
                weight = None if mass is None else float(mass * (length / 4) ** 3 * np.exp(0.3 * rng.standard_normal()))
                taxon = None if name != "coccolith" else SHORT if length <= SHORT_UM else LONG
                finds.append(Find(class_name=name, length_um=float(length), mass_pg=weight, taxon=taxon))
        drift = len(self.done) / (8 * self._fields)
        x, y = where["x_um"] / 1000, where["y_um"] / 1000
        tilt = 2.2 * math.cos(slide) * (x % 25 - 15) + 1.6 * math.sin(slide) * (y % 30 - 20)
        lamp = light * (1 - 0.03 * drift + 0.002 * rng.standard_normal())
        done = FieldDone(
            **where,
            objects=len(finds),
            focus_z_um=-14.0 + 3 * slide + tilt + 1.8 * drift + 0.1 * rng.standard_normal(),
            seconds=12.6 + float(rng.gamma(2, 0.25)),
            backgrounds_dn=(160.0 * lamp, 28_400.0 * lamp),
            finds=tuple(finds),
        )
        if pictures:
            self._tell_pictures(slide, field)
        self._tell_done(done)
        told = Hardware(
            x_um=where["x_um"], y_um=where["y_um"], z_um=done.focus_z_um, light=True,
            microscope="ready: DemoCamera, XY and Z stage answer", analysis="slim on the processor, 2.1 s a field",
            recorder="here, 3 records behind",
        )  # fmt: skip
        self._broadcaster.publish(told)

    def _where(self) -> _Where:
        slide, field = self.slide, len(self.done) % self._fields + 1
        x, y = self.about.slides[slide - 1].places[field - 1]
        return _Where(slide=slide, field=field, utc=self.utc, x_um=x, y_um=y)

    def _tell_done(self, done: FieldDone) -> None:
        self.done.append(replace(done, finds=()) if done.reason else done)
        self.utc += self.seconds
        self._broadcaster.publish(done)

    def _tell_pictures(self, slide: int, field: int) -> None:
        shown = rendered(1, field % self._places, self._frame_px, self._planes)
        sample = self.about.slides[slide - 1].sample
        overview = Overview(
            slide=slide, field=field, sample=sample, frame_px=(self._frame_px, self._frame_px),
            views=("fused", *POLARIZATIONS), objects=shown.objects,
        )  # fmt: skip
        self._broadcaster.publish(overview, *shown.views)
        if not (some := sorted(shown.specimens, key=lambda one: one[0].class_name == "coccolith")[-8:]):
            return
        specimens = Specimens(
            slide=slide, field=field, sample=sample, polarizations=POLARIZATIONS, planes=self._planes, step_um=0.5,
            specimens=tuple(specimen for specimen, _ in some),
        )  # fmt: skip
        self._broadcaster.publish(specimens, *(strip for _, strip in some))


class Steward(threading.Thread):
    """A socket that takes orders and says what it took."""

    def __init__(self) -> None:
        super().__init__(name="steward")
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.linger = 0
        self._router.bind("tcp://127.0.0.1:*")
        self._ending = threading.Event()
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.orders: list[Order] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.join()
        self._context.destroy(linger=0)

    def run(self) -> None:
        while not self._ending.is_set():
            if not self._router.poll(20):
                continue
            *sender, frame = self._router.recv_multipart()
            try:
                order = decode_order(frame)
            except ProtocolViolation:
                continue
            self.orders.append(order)
            answer = Answer(
                id=order.id, accepted=True, message=f"{order.name} at the next field, as {order.who} says",
                state=NightState.SCANNING, reason="", slide=1, secured=1, skipped=0, planned=8, refused=0,
            )  # fmt: skip
            self._router.send_multipart([*sender, encode(answer)])
