"""`lamelle demo`: an emulated night, judged against what truly lies on the virtual mini-slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from importlib.resources import files
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from daemon.config.loading import load
from daemon.config.model import NightConfig
from daemon.config.taxonomy import UNSURE, Taxonomy
from daemon.counts.taxa import taxonomy_of
from daemon.dataset.exclusions import standing_exclusions
from daemon.dataset.later_tables import Given, TableOrigin
from daemon.dataset.reader import Dataset
from daemon.figures.contact_sheet import draw_sheet
from daemon.night.scan import scan
from daemon.records.counting import ObjectCounts
from daemon.records.names import REPORT
from daemon.records.records import FieldSecured
from daemon.run_folder.folder import RunFolder
from daemon.system.errors import Exit, Refused
from daemon.verdict.afterwards import typed
from drivers.emulated.core import virtual_slide
from drivers.emulated.mechanics import sample_place, true_pixel_um
from drivers.profile_names import Profile
from drivers.settings import Emulation
from drivers.virtual_slide.slide import VirtualSlide
from drivers.virtual_slide.visibility import visible

MATCH_IOU = 0.5

Box = Sequence[float]


@dataclass(frozen=True)
class TruthTally:
    """What became of all that lies in some fields: found, missed, and detections of what is not there.

    Of what was found: how many have their right name and how many another one; the rest is unsure or not named.
    Each field is judged by itself: what lies where two of them overlap is judged in both.
    """

    found: int = 0
    missed: int = 0
    false: int = 0
    right: int = 0
    wrong: int = 0

    def __add__(self, other: TruthTally) -> TruthTally:
        return TruthTally(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class _JudgedSlide:
    """A row of the table."""

    fields: int
    objects: ObjectCounts
    tally: TruthTally

    def __add__(self, other: _JudgedSlide) -> _JudgedSlide:
        return _JudgedSlide(
            self.fields + other.fields,
            self.objects + other.objects,
            self.tally + other.tally,
        )

    def cells(self, named: bool) -> tuple[str, ...]:
        objects, judged = self.objects, astuple(self.tally)
        counts = (self.fields, objects.counted, objects.seen_again, *(judged if named else judged[:3]))
        return tuple(map(str, counts))


def demo_configuration(fields: int | None, seed: int | None, profile: Profile | None = None) -> NightConfig:
    """Make the configuration of the emulated instrument; fields, seed and what lies there are others if given."""
    config = load(Path(str(files("configs").joinpath("emulated.yaml"))))
    emulation = config.instrument.emulation or Emulation()
    wanted = {"seed": seed, "profile": profile}
    emulation = emulation.model_copy(update={name: value for name, value in wanted.items() if value is not None})
    instrument = config.instrument.model_copy(update={"emulation": emulation})
    plan = config.scan if fields is None else config.scan.model_copy(update={"fields": fields})
    return config.model_copy(update={"instrument": instrument, "scan": plan})


def demo(run: Path, fields: int | None, seed: int | None, profile: Profile | None, console: Console) -> Exit:
    """Run the night, then say what was found of what there was, and what it was called."""
    config = demo_configuration(fields, seed, profile)
    status = scan(config, run, resume=False, console=console)
    dataset = RunFolder(run).dataset
    if not dataset.exists():
        console.print("stopped before anything was recorded")
        return status
    sheet = run / "sheet.png"
    console.print(report(config, dataset))
    draw_sheet(dataset, sheet)
    page = dataset / REPORT
    lines = [f"dataset  {dataset}", f"sheet    {sheet}", *([f"report   {page}"] if page.exists() else [])]
    lines.append(f"look at what it found, in the browser:  lamelle view {typed(run)}")
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    return status


def report(config: NightConfig, dataset: Path) -> Table:
    """Tabulate a recorded emulated night against the truth, a mini-slide a row, and all of them.

    Raises
    ------
    Refused
        The stage stood elsewhere than it said, so that nobody knows what the fields show.
    """
    misalignment = (config.instrument.emulation or Emulation()).misalignment
    if any(misalignment.xy_backlash_um) or misalignment.xy_repeatability_um:
        raise Refused(
            f"instrument.emulation.misalignment has xy_backlash_um {misalignment.xy_backlash_um} and "
            f"xy_repeatability_um {misalignment.xy_repeatability_um:g}, so where a field truly lay is not known; set "
            "both to 0 to judge a night"
        )
    world = virtual_slide(config.instrument, config.scan.slides)
    caption = "again: seen in two fields, counted in one; what follows is of each field by itself"
    table = Table(title="The night against the truth", caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    named = config.classifier is not None
    verdicts = ("found", "missed", "false", *(("named", "misnamed") if named else ()))
    for column in ("slide", "sample", "fields", "objects", "again", *verdicts):
        table.add_column(column, justify="left" if column == "sample" else "right")
    whole = _JudgedSlide(0, ObjectCounts(), TruthTally())
    with Dataset.open(dataset) as recorded:
        taxonomy = taxonomy_of(recorded, TableOrigin(Given.NAMED))
        counts = standing_exclusions(recorded).counted
        for slide in config.scan.slides:
            fields = [one for one in recorded.fields(slide.position) if isinstance(one, FieldSecured)]
            judged = _JudgedSlide(
                len(fields),
                sum(
                    (ObjectCounts.of(one.objects, field_counted=counts(one.slide, one.field)) for one in fields),
                    ObjectCounts(),
                ),
                sum((judge(field, world, config, taxonomy) for field in fields), TruthTally()),
            )
            table.add_row(str(slide.position), Text(fields[0].sample if fields else ""), *judged.cells(named))
            whole += judged
    table.add_section()
    table.add_row("all", "", *whole.cells(named))
    return table


def judge(field: FieldSecured, world: VirtualSlide, config: NightConfig, taxonomy: Taxonomy) -> TruthTally:
    """Match a field's detections with its true objects of the detector's classes.

    Greatest overlap first, each at most once. What has not to be found is neither missed nor false when found. A name
    is right if it is that of the object, or of what that is part of, or of a part where no more is true of the object.
    """
    misalignment = (config.instrument.emulation or Emulation()).misalignment
    centre_um = next(slide.centre_um for slide in config.scan.slides if slide.position == field.slide)
    x_um, y_um = sample_place(misalignment, centre_um, (field.x_um, field.y_um))
    seen = visible(world.truth(field.slide, x_um, y_um), config.instrument.frame_px, true_pixel_um(config.instrument))
    truth = [one for one in seen if not one.true.junk and one.true.class_name in config.detector.classes]
    found = [row for row in field.objects if not row.below_threshold]
    boxes = [row.box for row in found]
    pairs = sorted(
        ((iou(box, one.box), b, t) for b, box in enumerate(boxes) for t, one in enumerate(truth)), reverse=True
    )
    matched: dict[int, int] = {}
    for overlap, b, t in pairs:
        if overlap >= MATCH_IOU and b not in matched and t not in matched.values():
            matched[b] = t
    left = [one for t, one in enumerate(truth) if t not in matched.values()]
    missed = sum(one.to_be_found for one in left)
    excused = [one.box for one in left if not one.to_be_found]
    false = sum(
        b not in matched and not any(iou(box, other) >= MATCH_IOU for other in excused) for b, box in enumerate(boxes)
    )
    named = [(taxon, truth[t].true.taxon) for b, t in matched.items() if (taxon := found[b].taxon or UNSURE) != UNSURE]
    right = sum(_fits(taxon, true, taxonomy) for taxon, true in named)
    return TruthTally(len(matched), missed, false, right, len(named) - right)


def _fits(named: str, true: str, taxonomy: Taxonomy) -> bool:
    """Whether a name is right, as far as the truth goes."""
    if taxonomy.of(named) is None or taxonomy.of(true) is None:
        return named == true
    lines = [[taxon.identifier for taxon in taxonomy.lineage(one)] for one in (named, true)]
    return named in lines[1] or true in lines[0]


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
