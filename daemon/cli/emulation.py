"""Commands of the virtual slide: `emulate export`, `emulate specimens`, `emulate gallery`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from daemon.cli.arguments import ConfigFile, VirtualProfile, interruptible

app = typer.Typer()
emulate_app = typer.Typer(help="The virtual slide of the emulated microscope.", no_args_is_help=True)
app.add_typer(emulate_app, name="emulate", rich_help_panel="Emulation")
console = Console()

Seed = Annotated[int | None, typer.Option(help="seed of the virtual slide")]
Density = Annotated[float | None, typer.Option(min=0.01, help="factor on the number of objects")]
Settling = Annotated[
    Literal["poisson", "clustered"] | None, typer.Option(help="how objects are spread on the mini-slides")
]
Collection = Annotated[int | None, typer.Option(min=0, help="which individuals its specimens are")]
TurnedOver = Annotated[bool | None, typer.Option("--turned-over", help="specimens lie on their other face")]
Medium = Annotated[float | None, typer.Option(min=1.3, max=1.8, help="refractive index of the mounting medium")]
CondenserNa = Annotated[
    float | None, typer.Option(min=0.1, max=1.2, help="aperture of the illumination; a small one gives contrast")
]


@emulate_app.command("export")
def emulate_export(
    config: ConfigFile,
    into: Annotated[Path, typer.Option(help="folder for stacks and what is true of them")],
    slides: Annotated[list[int], typer.Option("--slide", help="mini-slide; may be repeated")],
    fields: Annotated[int, typer.Option(min=1, help="fields per mini-slide")] = 10,
    seed: Seed = None,
    density: Density = None,
    profile: VirtualProfile = None,
    settling: Settling = None,
    collection: Collection = None,
    medium: Medium = None,
    condenser_na: CondenserNa = None,
    thickness: Annotated[bool, typer.Option("--thickness", help="also write maps of the thickness of calcite")] = False,
) -> None:
    """Write annotated emulated fields: stacks, and their truth as COCO, CVAT and tables.

    An option that is left out is as in CONFIG.
    """
    from daemon.config.loading import load
    from daemon.emulation.export import export, override

    mounting = {"medium_index": medium, "condenser_na": condenser_na}
    world = {"seed": seed, "density": density, "profile": profile, "settling": settling, "collection": collection}
    export(override(load(config), mounting, **world), into, slides, fields, thickness, console)


@emulate_app.command("specimens")
def emulate_specimens(
    config: ConfigFile,
    into: Annotated[Path, typer.Option(help="folder for stacks and their index")],
    slides: Annotated[list[int], typer.Option("--slide", help="mini-slide; may be repeated")],
    each: Annotated[int, typer.Option(min=0, help="specimens of each taxon on each mini-slide")] = 20,
    natural: Annotated[
        bool, typer.Option("--natural", help="as many of each taxon as there are, not equally many")
    ] = False,
    junk: Annotated[int, typer.Option(min=0, help="pieces of junk on each mini-slide")] = 0,
    taxa: Annotated[list[str] | None, typer.Option("--taxon", help="only this taxon; may be repeated")] = None,
    most_px: Annotated[int, typer.Option(min=64, help="longest side of a stack; larger ones get coarser pixels")] = 512,
    seed: Seed = None,
    density: Density = None,
    profile: VirtualProfile = None,
    settling: Settling = None,
    collection: Collection = None,
    turned_over: TurnedOver = None,
    medium: Medium = None,
    condenser_na: CondenserNa = None,
) -> None:
    """Write stacks of single emulated specimens and an index of what they truly are, to learn names from.

    An option that is left out is as in CONFIG. The same command goes on after an interruption.
    """
    from daemon.config.loading import load
    from daemon.emulation.export import override
    from daemon.emulation.specimens import Wish, export_specimens

    mounting = {"medium_index": medium, "condenser_na": condenser_na}
    world = {"seed": seed, "density": density, "profile": profile, "settling": settling, "collection": collection}
    world |= {"turned_over": turned_over}
    changed = override(load(config), mounting, **world)
    with interruptible():
        export_specimens(changed, into, slides, Wish(each, natural, junk, tuple(taxa or ()), most_px), console)


@emulate_app.command("gallery")
def emulate_gallery(
    into: Annotated[Path, typer.Option(help="folder for the pictures")],
    collection: Collection = None,
    medium: Medium = None,
    condenser_na: CondenserNa = None,
) -> None:
    """Draw every kind of object through focus, in both polarizations, and a sheet of all of them."""
    from daemon.emulation.gallery import draw_gallery
    from drivers.settings import Emulation

    given = {"medium_index": medium, "condenser_na": condenser_na}
    mounting = Emulation().mounting.model_copy(update={k: v for k, v in given.items() if v is not None})
    emulation = Emulation(mounting=mounting, collection=1 if collection is None else collection)
    console.print(f"{draw_gallery(into, emulation, console)} pictures in {into}", markup=False, highlight=False)
