"""``undercast show``: what a product or a model says, in the terminal."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def show(
    what: Annotated[str, typer.Argument(metavar="PRODUCT|MODEL", help="A product folder, or a model or its folder.")],
    json_out: Annotated[bool, typer.Option("--json", help="Write it to stdout as JSON.")] = False,
) -> None:
    """Summarise a product or a model."""
    from undercast.product.write import SUMMARY

    folder = Path(what)
    if (folder / SUMMARY).is_file():
        _show_product(folder, json_out)
    else:
        _show_model(what, json_out)


def _show_product(folder: Path, json_out: bool) -> None:
    from undercast.errors import ProductError
    from undercast.product.write import QUICKLOOK, SUMMARY

    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text("utf-8"))
        areas, pixels = summary["area_m2"], summary["pixels"]
    except (ValueError, KeyError):
        raise ProductError(f"{folder / SUMMARY}: is damaged; map the scene again") from None
    if json_out:
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from undercast.product.summary import percent, square_km

    console = Console()
    console.print(f"[bold]{escape(summary.get('sentence') or summary['task'])}[/bold]")
    table = Table("class", "area", "share of the scene", "pixels")
    for column in table.columns[1:]:
        column.justify = "right"
    for key, area in areas.items():
        if pixels[key]:
            share = percent(area / summary["scene_area_m2"])
            table.add_row(key.replace("_", " "), square_km(area), share, f"{pixels[key]:,}")
    console.print(table)
    near = percent(summary["near_unseen_share"])
    model = summary["model"]
    lines = [
        *_parts(summary),
        f"{near} of the answered pixels lie within the network's reach of ground that was not seen",
        f"taken {summary['acquired'] or 'on a date that is not known'}; mapped by {model['name']} {model['version']}",
        *(f"note: {note}" for note in summary["notes"]),
    ]
    for text in lines:
        console.print(escape(text), highlight=False)
    typer.echo(f"check it with: undercast verify {folder}")
    typer.echo(str(folder / QUICKLOOK))


def _parts(summary: dict[str, Any]) -> list[str]:
    """A line for each other part that a product has; those of earlier versions have fewer."""
    from undercast.product.summary import percent, square_km

    lines = []
    if expected := summary.get("expected_area_m2"):
        each = ", ".join(f"{name} {square_km(area)}" for name, area in expected.items())
        called = f"; called water {square_km(summary['water_area_m2'])}" if "water_area_m2" in summary else ""
        lines.append(f"expected from the probabilities: {each}{called}")
    for key, area in summary.get("overruled_area_m2", {}).items():
        lines.append(f"called before it was set to {key.replace('_', ' ')}: {square_km(area)}")
    if inputs := summary.get("inputs"):
        whole = sum(inputs["pixels"].values())
        each = ", ".join(
            f"{key.replace('_', ' ')} {percent(count / whole)}" for key, count in inputs["pixels"].items() if count
        )
        lines.append(f"images seen: {each}")
    if polygons := summary.get("polygons"):
        each = ", ".join(f"{count} {layer.replace('_', ' ')}" for layer, count in polygons["layers"].items())
        left = sum(polygons["left_out"].values())
        lines.append(f"polygons: {each}; {left} below {square_km(polygons['minimum_area_m2'])} left out")
    if areas := summary.get("areas"):
        lines.append(f"areas.csv: {areas['units']} units of {areas['file']}")
    if priority := summary.get("priority"):
        lines.append(f"priority.csv: {priority['cells']} cells of {priority['cell_m']:g} m, most landslide area first")
        for cell in priority["first"][:5]:
            bounds = [square_km(cell[key]) for key in ("low_m2", "high_m2") if cell[key] is not None]
            within = f" ({' to '.join(bounds)})" if bounds else ""
            place = f"{cell['latitude']:.4f}, {cell['longitude']:.4f}"
            lines.append(f"  {cell['rank']}. {place}: {square_km(cell['expected_m2'])} expected{within}")
    if domain := summary.get("domain"):
        why = f" ({domain['why']})" if "why" in domain else ""
        lines.append(f"training domain: {domain['verdict']}{why}")
    return lines


def _show_model(name: str, json_out: bool) -> None:
    from undercast.errors import ModelError
    from undercast.model import CARD, resolve

    try:
        folder = resolve(name)
    except ModelError as error:
        if Path(name).is_dir():
            raise ModelError(f"{name}: is neither a product nor a model folder") from None
        raise error from None
    if json_out:
        typer.echo(json.dumps(folder.signature.model_dump(mode="json"), indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markdown import Markdown

    card = folder.path / CARD
    signature = folder.signature
    console = Console()
    console.print(f"[bold]{signature.name} {signature.version}[/bold], task {signature.task.name}")
    for role, modality in signature.inputs.items():
        spared = ", or does without" if role in signature.optional else ""
        console.print(f"  takes {role}: {modality.instrument} {', '.join(modality.bands)} in {modality.unit}{spared}")
    console.print(f"  answers {', '.join(label.name for label in signature.task.classes)}")
    console.print(f"  {folder.size() / 1e6:.2f} MB in {folder.path}", highlight=False)
    if card.is_file():
        console.print(Markdown(card.read_text("utf-8")))
