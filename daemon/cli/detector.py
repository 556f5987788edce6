"""Commands of the detector: `detect`, `train`, `evaluate`, `export`, `engine`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer
from rich.console import Console

from daemon.cli.arguments import Classes, States, Workers, ends_in, interruptible
from daemon.system.errors import Refused

if TYPE_CHECKING:
    from inference.annotations.stacks import Annotated as AnnotatedStacks
    from inference.settings import DetectorSettings

app = typer.Typer()
engine_app = typer.Typer(help="Engines of TensorRT for RTX, or of TensorRT.", no_args_is_help=True)
app.add_typer(engine_app, name="engine", rich_help_panel="The detector")
PROBLEMS_TOLD = 20
console = Console()
PANEL = "The detector"

AnnotatedData = Annotated[
    list[Path], typer.Argument(metavar="DATA...", help="folders, zips or files of annotations, COCO or CVAT for images")
]
OneClass = Annotated[bool, typer.Option("--one-class", help="take every label as the only class")]
OnlyAnnotated = Annotated[
    bool, typer.Option("--only-annotated", help="leave out pictures without a box, instead of taking them for empty")
]
Stacks = Annotated[
    list[Path] | None,
    typer.Option(
        "--stacks",
        help="night that kept fields raw or fused, what detect made of an archive, or export of the virtual slide, of "
        "which the annotated pictures are views; may be repeated",
    ),
]
StackImages = Annotated[
    list[Path] | None,
    typer.Option("--images", help="folder of the archive that a dataset of --stacks was made of; may be repeated"),
]
WeightsFile = Annotated[
    str, typer.Argument(metavar="[WEIGHTS]", help="weights (safetensors), or slim for the shipped ones")
]
NetworkName = Annotated[Literal["slim", "resnet50"], typer.Option("--architecture", help="network")]
ViewSize = Annotated[
    str, typer.Option("--size", help="size of the views in px, such as 512, or 480x640 for height and width")
]
ViewBatch = Annotated[int, typer.Option("--batch", min=1, max=64, help="how many views at once")]

PixelSize = Annotated[
    float | None, typer.Option("--pixel-um", min=1e-3, max=1e3, help="size of a pixel in um, where files do not say")
]
StepSize = Annotated[
    float | None,
    typer.Option("--step-um", min=1e-3, max=1e3, help="distance between planes in um, where files do not say"),
]
FileNames = Annotated[
    str | None, typer.Option("--planes", help="names of plane files, such as '{field}_z{z}_{polarization}.tif'")
]


@app.command(rich_help_panel=PANEL)
def detect(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="folders of images, or images")],
    into: Annotated[Path, typer.Option(help="folder of the dataset; the same command continues what it began")],
    weights: Annotated[Path | None, typer.Option(help="weights; the shipped ones if left out")] = None,
    architecture: Annotated[Literal["slim", "resnet50"], typer.Option(help="network")] = "slim",
    classes: Classes = None,
    mode: Annotated[Literal["fused", "planes"], typer.Option(help="what the detector looks at")] = "fused",
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="lowest score that counts as found")] = None,
    runtime: Annotated[Literal["auto", "onnxruntime", "torch"], typer.Option(help="what runs the network")] = "auto",
    pixel_um: PixelSize = None,
    step_um: StepSize = None,
    planes: FileNames = None,
    polarization: States = None,
    classifier: Annotated[
        str | None,
        typer.Option(help="classifier that names the objects, or species for the shipped one; no names if left out"),
    ] = None,
    rule: Annotated[
        Literal["plain", "even"] | None,
        typer.Option(help="taxa as common as in the library (plain, if left out), or all equally common (even)"),
    ] = None,
    taxonomy: Annotated[
        Path | None, typer.Option(help="table of the taxa whose identifiers the classifier says; its own if left out")
    ] = None,
    workers: Workers = None,
) -> None:
    """Find and cut out what is in an archive of images: the detector of a night without the night.

    Exit status: 0 complete, 1 stopped by a fault, 2 refused, 3 with skipped images, 130 interrupted.
    """
    from daemon.config.taxonomy_sheet import read_taxonomy
    from daemon.dataset.summary import show, summarise
    from daemon.reprocessing.archive import ArchiveSettings
    from daemon.reprocessing.detect import detect as run_detect
    from inference.settings import ClassifierSettings, DetectorSettings

    if classifier is None and (rule is not None or taxonomy is not None):
        option = "--taxonomy" if rule is None else "--rule"
        raise Refused(f"{option} is of no use without a classifier; name one with --classifier, or leave it out")
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
        classifier=None
        if classifier is None
        else ClassifierSettings.model_validate({"weights": classifier, "rule": rule or "plain"}),
        pixel_um=pixel_um,
        step_um=step_um,
        planes=planes,
        polarizations=tuple(polarization or ()),
    )
    taxa = None if taxonomy is None else read_taxonomy(taxonomy, settings.detector.classes)
    with interruptible():
        status = run_detect(images, into, settings, workers, console, taxa)
        show(summarise(into), console)
    raise typer.Exit(status)


@app.command(rich_help_panel=PANEL)
def look(
    places: Annotated[list[Path], typer.Argument(metavar="FILE|FOLDER...", help="folders of images, or images")],
    pixel_um: PixelSize = None,
    step_um: StepSize = None,
    planes: FileNames = None,
    polarization: States = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show what the reader of images sees, before anything is run: axes, pixel, step, states, bits, what is left out.

    Exit status: 0 everything can be read, 2 refused, 3 something is left out or damaged.
    """
    from daemon.reprocessing.archive import ArchiveSettings
    from daemon.reprocessing.look import look as run_look

    settings = ArchiveSettings(
        pixel_um=pixel_um, step_um=step_um, planes=planes, polarizations=tuple(polarization or ())
    )
    with interruptible():
        status = run_look(places, settings, console, as_json=as_json)
    raise typer.Exit(status)


@app.command(rich_help_panel=PANEL)
def train(
    data: AnnotatedData,
    into: Annotated[
        Path,
        typer.Option(
            help="weights to write (.safetensors); card, split and a page of the training are written beside them",
            callback=ends_in(".safetensors"),
        ),
    ],
    architecture: Annotated[Literal["slim", "resnet50"], typer.Option(help="network")] = "slim",
    classes: Classes = None,
    one_class: OneClass = False,
    only_annotated: OnlyAnnotated = False,
    stacks: Stacks = None,
    images: StackImages = None,
    steps: Annotated[int, typer.Option(min=1, help="steps of the optimiser")] = 3000,
    batch: Annotated[int, typer.Option(min=1, help="crops per step")] = 2,
    crop_px: Annotated[int, typer.Option(min=64, help="side of the training crops, px of the views")] = 448,
    rate: Annotated[float, typer.Option(help="highest learning rate")] = 1e-3,
    judgements: Annotated[int, typer.Option(min=1, help="how often the weights are judged on held-out slides")] = 10,
    patience: Annotated[int, typer.Option(min=1, help="stop after so many judgements without better weights")] = 6,
    seed: Annotated[int, typer.Option(help="seed")] = 1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="threads of the processor; one per core if left out")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="weights to go on from, for these or other classes; 'slim' for the shipped ones; 'coco', or a .pth "
            "file, for those of torchvision"
        ),
    ] = None,
    fit_anchors: Annotated[
        bool, typer.Option("--fit-anchors", help="fit the network's anchor boxes to the annotated ones")
    ] = False,
    judge_by: Annotated[
        list[Path] | None,
        typer.Option(help="annotations to judge by, instead of a subset 'valid' or what is held out; may be repeated"),
    ] = None,
) -> None:
    """Train a detector on annotated stacks or images; the same command goes on after an interruption."""
    from daemon.system.progress import StageDisplay
    from daemon.training.train import train as learn
    from inference.settings import DetectorSettings, FocusSettings
    from inference.training.settings import TrainingSettings

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
        start=_start(start),
    )
    command = shlex.join(["lamelle", *sys.argv[1:]])
    annotated = _annotated(data, settings.classes, one_class, only_annotated, stacks, images)
    judges = _annotated(judge_by, settings.classes, one_class, only_annotated, stacks, images) if judge_by else None
    with StageDisplay(console) as display:
        learn(annotated, into, settings, FocusSettings(), command, display.show, judges, display.print_line)
    console.print(f"weights in {into}, their card in {into.with_suffix('.md')}", markup=False, highlight=False)


@app.command(rich_help_panel=PANEL)
def evaluate(
    data: AnnotatedData,
    weights: Annotated[Path | None, typer.Option(help="weights; the shipped ones if left out")] = None,
    architecture: Annotated[Literal["slim", "resnet50"], typer.Option(help="network")] = "slim",
    classes: Classes = None,
    one_class: OneClass = False,
    only_annotated: OnlyAnnotated = False,
    stacks: Stacks = None,
    images: StackImages = None,
    mode: Annotated[Literal["fused", "planes"], typer.Option(help="what the detector looks at")] = "fused",
    page: Annotated[
        Path | None,
        typer.Option(help="HTML file to write, with pictures of the worst mistakes", callback=ends_in(".html")),
    ] = None,
    only_unseen: Annotated[
        bool, typer.Option("--unseen", help="leave out what the weights were trained on, instead of refusing it")
    ] = False,
) -> None:
    """Judge a detector on annotated stacks or images."""
    from daemon.system.progress import StageDisplay
    from daemon.training.evaluation_page import write_page
    from daemon.training.train import evaluate as judge
    from daemon.training.train import unseen
    from inference.network.weights_file import find_weights
    from inference.settings import DetectorSettings, FocusSettings

    known = tuple(classes or DetectorSettings().classes)
    detector = DetectorSettings(architecture=architecture, weights=weights or "slim", classes=known, mode=mode)
    annotated, focus = _annotated(data, known, one_class, only_annotated, stacks, images), FocusSettings()
    with StageDisplay(Console(stderr=True)) as display:
        judging = unseen(annotated, find_weights(detector.weights).path, display.show, only=only_unseen)
        judgement = judge(judging.stacks, detector, focus, display.show, one_class)
    _print_told(judging.told)
    if page is not None:
        write_page(page, judgement, detector, focus, (*judging.told, *annotated.problems))
    console.print_json(msgspec.json.encode(judgement.evaluation.figures).decode())


@app.command(rich_help_panel=PANEL)
def export(
    into: Annotated[Path, typer.Option(help="ONNX file to write", callback=ends_in(".onnx"))],
    weights: WeightsFile = "slim",
    size: ViewSize = "512",
    batch: ViewBatch = 1,
    precision: Annotated[Literal["fp32", "fp16"], typer.Option(help="of convolutions and products")] = "fp32",
    architecture: NetworkName = "slim",
    classes: Classes = None,
) -> None:
    """Write a detector as an ONNX file: one graph of fixed shapes, for onnxruntime, TensorRT and others."""
    from daemon.training.export import export as write
    from daemon.training.export import form_of

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
    from daemon.training.export import build_engine, form_of

    form = form_of(size, batch, precision)
    told = build_engine(_detector(weights, architecture, classes), form)
    console.print(told, markup=False, highlight=False, soft_wrap=True)


@engine_app.command("list")
def engine_list() -> None:
    """Show the engines that are kept."""
    from daemon.training.export import list_engines

    console.print(list_engines(), markup=False, highlight=False, soft_wrap=True)


def _detector(
    weights: str, architecture: Literal["slim", "resnet50"], classes: Sequence[str] | None
) -> DetectorSettings:
    from inference.settings import DetectorSettings

    known = tuple(classes or DetectorSettings().classes)
    named: Path | Literal["slim"] = "slim" if weights == "slim" else Path(weights)
    return DetectorSettings(architecture=architecture, weights=named, classes=known)


def _start(named: str | None) -> Path | Literal["coco"] | None:
    from inference.network.weights_file import find_weights

    if named is None:
        return None
    if named == "coco":
        return "coco"
    return find_weights("slim").path if named == "slim" else Path(named)


def _annotated(
    data: Sequence[Path],
    classes: Sequence[str],
    one_class: bool,
    only_annotated: bool,
    stacks: Sequence[Path] | None,
    images: Sequence[Path] | None,
) -> AnnotatedStacks:
    """Read annotations; tell what in them could not be taken as it stands."""
    from daemon.exchange.kept_stacks import find_known_stacks
    from inference.annotations.stacks import find_stacks

    annotated = find_stacks(data, classes, one_class, only_annotated, find_known_stacks(stacks or (), images or ()))
    _print_told(annotated.problems)
    return annotated


def _print_told(sentences: Sequence[str]) -> None:
    told = Console(stderr=True)
    for sentence in sentences[:PROBLEMS_TOLD]:
        told.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if len(sentences) > PROBLEMS_TOLD:
        told.print(f"and {len(sentences) - PROBLEMS_TOLD} more like these", highlight=False)
