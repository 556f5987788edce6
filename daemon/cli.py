"""The command line of lamelle."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer
from rich.console import Console

from daemon.cli_guard import add_commands as add_guard_commands
from daemon.cli_steering import app as steering_app
from daemon.errors import LamelleError, Refused
from drivers.errors import DriverError
from inference.errors import InferenceError

if TYPE_CHECKING:
    from inference.annotated import Annotated as AnnotatedStacks
    from inference.settings import DetectorSettings

app = typer.Typer(
    name="lamelle",
    help="Scan mini-slides through the night, find every microfossil in every focus stack, record it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
emulate_app = typer.Typer(help="The virtual slide of the emulated microscope.", no_args_is_help=True)
app.add_typer(emulate_app, name="emulate")
engine_app = typer.Typer(help="Engines of TensorRT for RTX, or of TensorRT.", no_args_is_help=True)
app.add_typer(engine_app, name="engine")
add_guard_commands(app)
app.add_typer(steering_app)
console = Console()
PROBLEMS_TOLD = 20

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="configuration of the night (YAML)")]
Collection = Annotated[int | None, typer.Option(min=0, help="which individuals its specimens are")]
Medium = Annotated[float | None, typer.Option(min=1.3, max=1.8, help="refractive index of the mounting medium")]
CondenserNa = Annotated[
    float | None, typer.Option(min=0.1, max=1.2, help="aperture of the illumination; a small one gives contrast")
]
AnnotatedData = Annotated[
    list[Path], typer.Argument(metavar="DATA...", help="folders, zips or files of annotations, COCO or CVAT for images")
]
Classes = Annotated[list[str] | None, typer.Option("--class", help="a class to tell apart; say it for each of them")]
OneClass = Annotated[bool, typer.Option("--one-class", help="take every label as the only class")]
WeightsFile = Annotated[
    str, typer.Argument(metavar="[WEIGHTS]", help="weights (safetensors), or slim for the shipped ones")
]
NetworkName = Annotated[Literal["slim", "resnet50"], typer.Option("--architecture", help="network")]
ViewSize = Annotated[str, typer.Option("--size", help="px of the views, as 512, or 480x640 for height and width")]
ViewBatch = Annotated[int, typer.Option("--batch", min=1, max=64, help="views at once")]
Workers = Annotated[int | None, typer.Option(min=1, help="processes side by side; one for each core if left out")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="run folder or dataset")]


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit status 2."""
    try:
        app()
    except (LamelleError, DriverError, InferenceError) as error:
        Console(stderr=True).print(f"lamelle: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)


@app.command()
def demo(
    run: Annotated[Path | None, typer.Option(help="run folder; a new one below ./runs if left out")] = None,
    fields: Annotated[int | None, typer.Option(min=1, help="fields a mini-slide")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the virtual slides")] = None,
) -> None:
    """Run an emulated night, end to end, in minutes on a laptop."""
    from daemon.demo import demo as run_demo

    folder = run or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    raise typer.Exit(run_demo(folder, fields, seed, console))


@app.command()
def check(config: ConfigFile) -> None:
    """Validate a configuration; print fields, frames, bytes, duration; touches nothing."""
    from daemon.check import check as look
    from daemon.loading import load
    from daemon.outlook import render

    console.print(render(look(load(config), None)), markup=False, highlight=False, soft_wrap=True)


@app.command()
def scan(
    config: ConfigFile,
    run: Annotated[Path, typer.Option(help="run folder of this night")],
    resume: Annotated[bool, typer.Option("--resume", help="go on with the night of this run folder")] = False,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="begin, or go on after a crash or restart; an ended night stays so")
    ] = False,
) -> None:
    """Run the night.

    Exit status: 0 complete, 1 stopped by a fault, 2 refused, 3 with skipped fields, 130 interrupted.
    """
    from daemon.inspection import show, summarise
    from daemon.loading import load
    from daemon.runfolder import RunFolder
    from daemon.scan import scan as run_scan
    from daemon.unattended import why_not

    night = load(config)
    if unattended:
        if (reason := why_not(run)) is not None:
            console.print(reason, markup=False, highlight=False, soft_wrap=True)
            return
        resume = RunFolder(run).journal.exists()
    status = run_scan(night, run, resume=resume, console=console)
    if night.recorder.endpoint is None:
        show(summarise(run), console)
    raise typer.Exit(status)


@app.command()
def calibrate(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="routine, such as dark, camera, flat")] = None,
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG", help="configuration of the night (YAML)")] = None,
    slide: Annotated[int | None, typer.Option(help="mini-slide it is carried out on; the first if left out")] = None,
    keep_frames: Annotated[bool, typer.Option("--keep-frames", help="keep the raw frames beside the record")] = False,
    list_records: Annotated[
        bool, typer.Option("--list", help="show the records of CONFIG instead, or without it all routines")
    ] = False,
) -> None:
    """Calibrate the instrument, and keep a record that nights use: `calibrate NAME CONFIG`, `calibrate --list CONFIG`.

    Exit status: 0 usable, 1 not usable, 2 refused, 130 interrupted.
    """
    from daemon.loading import load

    if list_records:
        from daemon.calibration_list import render, routines

        if name is None:
            told = routines()
        else:
            told = render(load(Path(name)), None) if config is None else render(load(config), name)
        console.print(told, markup=False, highlight=False, soft_wrap=True)
        return
    from daemon.calibrating import calibrate as run_calibration

    if name is None or config is None:
        raise Refused("NAME or CONFIG is missing; say `lamelle calibrate NAME CONFIG`, --list tells the names")
    with _interruptible():
        status = run_calibration(load(config), name, slide, keep_frames=keep_frames, console=console)
    raise typer.Exit(status)


@app.command()
def record(
    listen: Annotated[str, typer.Option(help="endpoint, such as tcp://127.0.0.1:5990")],
    into: Annotated[Path, typer.Option(help="folder of the dataset")],
    keys: Annotated[Path | None, typer.Option(help="YAML file that names the keys: public, secret, clients")] = None,
) -> None:
    """Record a night that runs elsewhere, until interrupted."""
    from daemon.loading import load_keys
    from daemon.recording import record as run_recorder

    with _interruptible():
        run_recorder(listen, into, None if keys is None else load_keys(keys), console)


@app.command()
def monitor(
    connect: Annotated[
        str, typer.Option(metavar="PLACE", help="run folder of the night, or its endpoint for snapshots")
    ],
    http: Annotated[str, typer.Option(metavar="HOST:PORT", help="where the page is served")] = "127.0.0.1:8642",
    token_file: Annotated[Path | None, typer.Option(help="file with the token that the page asks for")] = None,
    keys: Annotated[Path | None, typer.Option(help="YAML file that names the keys: public, secret, server")] = None,
    control: Annotated[bool, typer.Option("--control", help="let the page pause, resume, skip and stop")] = False,
) -> None:
    """Serve a page that shows a night in the browser, until interrupted."""
    from daemon.monitor.command import monitor as serve

    with _interruptible():
        serve(connect, http, token_file, keys, control=control, console=console)


@app.command("keys")
def make_keys(folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="folder for the two files")]) -> None:
    """Make this computer's CURVE keys, which an endpoint beyond loopback needs."""
    from daemon.keys import make_keys as make

    public, secret = make(folder)
    console.print(
        f"public key, for other computers to know: {public}\nsecret key, to stay here: {secret}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def inspect(
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    sheet: Annotated[Path | None, typer.Option(help="also draw a contact sheet (PNG)")] = None,
) -> None:
    """Say what a dataset holds: slides, fields, objects, gaps, duplicates."""
    from daemon.inspection import show, summarise

    summary = summarise(folder)
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        show(summary, console)
    if sheet is not None:
        from daemon.sheet import draw_sheet

        draw_sheet(folder, sheet)


@app.command()
def extract(
    folder: Folder,
    into: Annotated[Path, typer.Option(help="folder for the files")],
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="tiff, png or gif; may be repeated; tiff if left out")
    ] = None,
    slide: Annotated[list[int] | None, typer.Option(help="mini-slide; may be repeated")] = None,
    class_name: Annotated[list[str] | None, typer.Option("--class", help="class; may be repeated")] = None,
    sample: Annotated[list[str] | None, typer.Option(help="sample id; may be repeated")] = None,
    score: Annotated[float, typer.Option(help="least score")] = 0.0,
    limit: Annotated[int | None, typer.Option(min=1, help="at most so many objects")] = None,
) -> None:
    """Write objects as single OME-TIFF stacks, PNG or animated GIF."""
    from daemon.extract import FORMATS
    from daemon.extract import extract as write
    from daemon.selection import Selection

    selection = Selection(
        slides=frozenset(slide) if slide else None,
        samples=frozenset(sample) if sample else None,
        classes=frozenset(class_name) if class_name else None,
        min_score=score,
    )
    asked = formats or ["tiff"]
    if unknown := set(asked) - set(FORMATS):
        raise Refused(f"--format {unknown.pop()!r} is unknown; choose from {', '.join(FORMATS)}")
    count = write(folder, into, selection, [one for one in FORMATS if one in asked], limit, console)
    console.print(f"{count} objects in {into}", highlight=False)


@emulate_app.command("export")
def emulate_export(
    config: ConfigFile,
    into: Annotated[Path, typer.Option(help="folder for stacks and what is true of them")],
    slides: Annotated[list[int], typer.Option("--slide", help="mini-slide; may be repeated")],
    fields: Annotated[int, typer.Option(min=1, help="fields a mini-slide")] = 10,
    seed: Annotated[int | None, typer.Option(help="seed of the virtual slide")] = None,
    density: Annotated[float | None, typer.Option(min=0.01, help="factor on the number of objects")] = None,
    profile: Annotated[
        Literal["easy", "trap", "coccolith", "reference", "mixed", "blank"] | None,
        typer.Option(help="what lies on the mini-slides"),
    ] = None,
    settling: Annotated[Literal["poisson", "clustered"] | None, typer.Option(help="how it lies there")] = None,
    collection: Collection = None,
    medium: Medium = None,
    condenser_na: CondenserNa = None,
    thickness: Annotated[bool, typer.Option("--thickness", help="also write maps of the thickness of calcite")] = False,
) -> None:
    """Write annotated emulated fields: stacks, and their truth as COCO, CVAT and tables.

    What is left out is as in CONFIG.
    """
    from daemon.emulate import export, override
    from daemon.loading import load

    mounting = {"medium_index": medium, "condenser_na": condenser_na}
    world = {"seed": seed, "density": density, "profile": profile, "settling": settling, "collection": collection}
    export(override(load(config), mounting, **world), into, slides, fields, thickness, console)


@emulate_app.command("gallery")
def emulate_gallery(
    into: Annotated[Path, typer.Option(help="folder for the pictures")],
    collection: Collection = None,
    medium: Medium = None,
    condenser_na: CondenserNa = None,
) -> None:
    """Draw every kind of object through focus, in both polarizations, and a sheet of all of them."""
    from daemon.gallery import draw_gallery
    from drivers.settings import Emulation

    given = {"medium_index": medium, "condenser_na": condenser_na}
    mounting = Emulation().mounting.model_copy(update={k: v for k, v in given.items() if v is not None})
    emulation = Emulation(mounting=mounting, collection=1 if collection is None else collection)
    console.print(f"{draw_gallery(into, emulation, console)} pictures in {into}", highlight=False)


@app.command()
def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="folders of images, or images")],
    into: Annotated[Path, typer.Option(help="folder of the dataset; the same command goes on with one it began")],
    weights: Annotated[Path | None, typer.Option(help="weights; the shipped ones if left out")] = None,
    architecture: Annotated[Literal["slim", "resnet50"], typer.Option(help="network")] = "slim",
    classes: Classes = None,
    mode: Annotated[Literal["fused", "planes"], typer.Option(help="what the detector looks at")] = "fused",
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="least score of what counts as found")] = None,
    runtime: Annotated[Literal["auto", "onnxruntime", "torch"], typer.Option(help="what runs the network")] = "auto",
    pixel_um: Annotated[
        float | None, typer.Option(min=1e-3, max=1e3, help="size of a pixel, where files do not say")
    ] = None,
    step_um: Annotated[
        float | None, typer.Option(min=1e-3, max=1e3, help="distance of planes, where files do not say")
    ] = None,
    planes: Annotated[
        str | None, typer.Option(help="names of plane files, such as '{field}_z{z}_{polarization}.tif'")
    ] = None,
    polarization: Annotated[
        list[str] | None,
        typer.Option(help="states along C: crossed, or crossed=LR where names say LR; may be repeated"),
    ] = None,
    workers: Workers = None,
) -> None:
    """Find and cut out what is in an archive of images: the detector of a night without the night.

    Exit status: 0 complete, 1 stopped by a fault, 2 refused, 3 with skipped images, 130 interrupted.
    """
    from daemon.archive import ArchiveSettings
    from daemon.detecting import detect as run_detect
    from daemon.inspection import show, summarise
    from inference.settings import DetectorSettings

    usual = DetectorSettings()
    least = usual.threshold if threshold is None else threshold
    settings = ArchiveSettings(
        detector=DetectorSettings(
            architecture=architecture,
            weights=weights or usual.weights,
            classes=tuple(classes or usual.classes),
            mode=mode,
            threshold=least,
            keep_above=min(least, usual.keep_above),
            runtime=runtime,
        ),
        pixel_um=pixel_um,
        step_um=step_um,
        planes=planes,
        polarizations=tuple(polarization or ()),
    )
    with _interruptible():
        status = run_detect(images, into, settings, workers, console)
        show(summarise(into), console)
    raise typer.Exit(status)


@app.command()
def analyse(
    folder: Folder,
    into: Annotated[Path | None, typer.Option(help="another dataset, for all raw stacks analysed anew")] = None,
    weights: Annotated[Path | None, typer.Option(help="weights; those of the night if left out")] = None,
    architecture: Annotated[Literal["slim", "resnet50"] | None, typer.Option(help="network; needs --into")] = None,
    classes: Classes = None,
    mode: Annotated[Literal["fused", "planes"] | None, typer.Option(help="what it looks at; needs --into")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="least score found; needs --into")] = None,
    workers: Workers = None,
) -> None:
    """Find the objects in raw stacks that were kept because a night had lost its detector.

    With --into: analyse all raw stacks that were kept, with other weights or settings, into another dataset.
    """
    from daemon.catching_up import analyse_anew, catch_up
    from daemon.inspection import show, summarise

    given: dict[str, Any] = {"architecture": architecture, "classes": classes, "mode": mode, "threshold": threshold}
    changed = {name: value for name, value in given.items() if value is not None}
    if into is None and changed:
        raise Refused(f"another {next(iter(changed))} makes another dataset; name a folder for it with --into")
    with _interruptible():
        if into is None:
            status = catch_up(folder, weights, workers, console)
        else:
            changed |= {} if weights is None else {"weights": weights}
            status = analyse_anew(folder, into, changed, workers, console)
        show(summarise(into or folder), console)
    raise typer.Exit(status)


@app.command()
def measure(
    folder: Folder,
    calibrations: Annotated[
        Path | None,
        typer.Option(help="folder whose newest valid calibrations count; those that the night names if left out"),
    ] = None,
) -> None:
    """Measure the objects of a recorded night again, from their crops, into new tables beside the old ones."""
    from daemon.measuring_again import measure_again

    with _interruptible():
        again = measure_again(folder, console, calibrations)
    console.print(f"{again.objects} objects in slide-*/measured-{again.number:03d}.parquet", highlight=False)


@app.command()
def plot(
    folder: Folder,
    into: Annotated[
        Path | None, typer.Option(help="folder for the pictures; plots beside the catalog if left out")
    ] = None,
    measured: Annotated[
        int | None, typer.Option(min=0, help="number of a measurement; 0: the night's own; the newest if left out")
    ] = None,
) -> None:
    """Draw lengths, masses, focus, places, scores and thickness of a dataset as PNG files."""
    from daemon.plots import plot as draw

    pictures = draw(folder, into, measured, console)
    console.print(f"{len(pictures)} pictures in {pictures[0].parent}", highlight=False, soft_wrap=True)


@app.command()
def report(
    folder: Folder,
    into: Annotated[
        Path | None, typer.Option(help="HTML or PDF file, the other beside it; report.html in the dataset if left out")
    ] = None,
) -> None:
    """Report a night, complete or not, as an HTML page and a PDF: what was done and found, what needs a person."""
    from daemon.report import report as write

    written = write(folder, into, console)
    console.print(f"{written.page}\n{written.paper}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def propose(
    folder: Folder,
    into: Annotated[Path, typer.Option(help="annotations to write: .xml for CVAT, .json for COCO")],
    score: Annotated[float, typer.Option(min=0, max=1, help="least score")] = 0.5,
) -> None:
    """Write what a detector found as annotations that nobody has validated, for a person to correct."""
    from daemon.proposals import propose as write

    proposed = write(folder, into, score)
    console.print(f"{proposed.boxes} boxes on {proposed.pictures} pictures in {into}", highlight=False)
    if proposed.left_out:
        why = "not analysed yet, or of no single image and without a raw stack"
        console.print(f"{proposed.left_out} fields left out: {why}", highlight=False)


@app.command()
def train(
    data: AnnotatedData,
    into: Annotated[Path, typer.Option(help="weights to write (safetensors); its card goes beside it")],
    architecture: Annotated[Literal["slim", "resnet50"], typer.Option(help="network")] = "slim",
    classes: Classes = None,
    one_class: OneClass = False,
    steps: Annotated[int, typer.Option(min=1, help="steps of the optimiser")] = 3000,
    batch: Annotated[int, typer.Option(min=1, help="crops a step")] = 2,
    crop_px: Annotated[int, typer.Option(min=64, help="side of the training crops, px of the views")] = 448,
    rate: Annotated[float, typer.Option(help="greatest learning rate")] = 1e-3,
    judgements: Annotated[int, typer.Option(min=1, help="times the weights are judged on held-out slides")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="stop after so many judgements without better weights")] = 6,
    seed: Annotated[int, typer.Option(help="seed")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="of the processor; one a core if left out")] = None,
    start: Annotated[
        str | None, typer.Option(help="weights to go on from; 'coco', or a .pth file, for those of torchvision")
    ] = None,
    fit_anchors: Annotated[
        bool, typer.Option("--fit-anchors", help="fit the network's boxes of reference to those annotated")
    ] = False,
    judge_by: Annotated[
        list[Path] | None, typer.Option(help="annotations to judge by, instead of slides held out; may be repeated")
    ] = None,
) -> None:
    """Train a detector on annotated stacks or images; the same command goes on after an interruption."""
    from daemon.learn import train as learn
    from daemon.progress import StageDisplay
    from inference.settings import DetectorSettings, FocusSettings
    from inference.training import TrainingSettings

    settings = TrainingSettings(
        architecture=architecture,
        classes=tuple(classes or DetectorSettings().classes),
        steps=steps,
        batch=batch,
        crop_px=crop_px,
        rate=rate,
        judgements=judgements,
        patience=patience,
        seed=seed,
        threads=threads or os.cpu_count() or 1,
        fit_anchors=fit_anchors,
        start="coco" if start == "coco" else None if start is None else Path(start),
    )
    command = shlex.join(["lamelle", *sys.argv[1:]])
    annotated = _annotated(data, settings.classes, one_class)
    judges = _annotated(judge_by, settings.classes, one_class) if judge_by else None
    with StageDisplay(console) as display:
        learn(annotated, into, settings, FocusSettings(), command, display.show, judges, display.tell)


@app.command()
def evaluate(
    data: AnnotatedData,
    weights: Annotated[Path | None, typer.Option(help="weights; the shipped ones if left out")] = None,
    architecture: Annotated[Literal["slim", "resnet50"], typer.Option(help="network")] = "slim",
    classes: Classes = None,
    one_class: OneClass = False,
    mode: Annotated[Literal["fused", "planes"], typer.Option(help="what the detector looks at")] = "fused",
    page: Annotated[Path | None, typer.Option(help="HTML file to write, with pictures of the worst mistakes")] = None,
    only_unseen: Annotated[
        bool, typer.Option("--unseen", help="leave out what the weights were trained on, instead of refusing it")
    ] = False,
) -> None:
    """Judge a detector on annotated stacks or images."""
    from daemon.evaluation_page import write_page
    from daemon.learn import evaluate as judge
    from daemon.learn import unseen
    from daemon.progress import StageDisplay
    from inference.settings import DetectorSettings, FocusSettings
    from inference.weights_file import find_weights

    known = tuple(classes or DetectorSettings().classes)
    detector = DetectorSettings(architecture=architecture, weights=weights or "slim", classes=known, mode=mode)
    annotated, focus = _annotated(data, known, one_class), FocusSettings()
    with StageDisplay(Console(stderr=True)) as display:
        stacks = unseen(annotated, find_weights(detector.weights).path, display.show, only=only_unseen)
        judgement = judge(stacks, detector, focus, display.show, one_class)
    if page is not None:
        write_page(page, judgement, detector, focus, annotated.problems)
    console.print_json(msgspec.json.encode(judgement.evaluation.figures).decode())


@app.command()
def export(
    into: Annotated[Path, typer.Option(help="ONNX file to write")],
    weights: WeightsFile = "slim",
    size: ViewSize = "512",
    batch: ViewBatch = 1,
    precision: Annotated[Literal["fp32", "fp16"], typer.Option(help="of convolutions and products")] = "fp32",
    architecture: NetworkName = "slim",
    classes: Classes = None,
) -> None:
    """Write a detector as an ONNX file: one graph of fixed shapes, for onnxruntime, TensorRT and others."""
    from daemon.exporting import export as write
    from daemon.exporting import form_of

    form = form_of(size, batch, precision)
    line = write(_detector(weights, architecture, classes), form, into)
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@engine_app.command("build")
def engine_build(
    weights: WeightsFile = "slim",
    size: ViewSize = "512",
    batch: ViewBatch = 1,
    precision: Annotated[Literal["fp32", "fp16"], typer.Option(help="of convolutions and products")] = "fp16",
    architecture: NetworkName = "slim",
    classes: Classes = None,
) -> None:
    """Build a detector's engine ahead of time, and keep it where a night looks for it; needs no graphics card with RTX.

    A night takes batch 1 and fp16.
    """
    from daemon.exporting import build_engine, form_of

    form = form_of(size, batch, precision)
    told = build_engine(_detector(weights, architecture, classes), form)
    console.print(told, markup=False, highlight=False, soft_wrap=True)


@engine_app.command("list")
def engine_list() -> None:
    """Show the engines that are kept."""
    from daemon.exporting import list_engines

    console.print(list_engines(), markup=False, highlight=False, soft_wrap=True)


def _detector(
    weights: str, architecture: Literal["slim", "resnet50"], classes: Sequence[str] | None
) -> DetectorSettings:
    from inference.settings import DetectorSettings

    known = tuple(classes or DetectorSettings().classes)
    named: Path | Literal["slim"] = "slim" if weights == "slim" else Path(weights)
    return DetectorSettings(architecture=architecture, weights=named, classes=known)


def _annotated(data: Sequence[Path], classes: Sequence[str], one_class: bool) -> AnnotatedStacks:
    """Read annotations; tell what in them could not be taken as it stands."""
    from inference.annotated import find_stacks

    annotated = find_stacks(data, classes, one_class)
    told = Console(stderr=True)
    for problem in annotated.problems[:PROBLEMS_TOLD]:
        told.print(problem, markup=False, highlight=False, soft_wrap=True)
    if len(annotated.problems) > PROBLEMS_TOLD:
        told.print(f"and {len(annotated.problems) - PROBLEMS_TOLD} more like these", highlight=False)
    return annotated
