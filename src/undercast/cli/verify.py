"""``undercast verify``: whether a product is what it claims to be."""

import json
from pathlib import Path
from typing import Annotated

import typer


def verify(
    product: Annotated[Path, typer.Argument(metavar="PRODUCT", help="A product folder.")],
    json_out: Annotated[bool, typer.Option("--json", help="Write it to stdout as JSON.")] = False,
) -> None:
    """Check the files of a product against their checksums, and its numbers against its pixels."""
    from undercast.product.verify import verify_product

    findings = verify_product(product)
    if json_out:
        body = {"product": str(product), "sound": findings.sound}
        typer.echo(json.dumps(body | {"checked": findings.checked, "problems": findings.problems}, indent=2))
    else:
        for problem in findings.problems:
            typer.secho(problem, fg="red")
        verdict = "sound" if findings.sound else f"{len(findings.problems)} problems"
        typer.echo(f"{product}: {verdict} (checked: {', '.join(findings.checked)})")
    if not findings.sound:
        raise typer.Exit(1)
