"""Many scenes, one product folder each; a scene that cannot be mapped never stops the others.

What a folder holds: every folder in it with rasters is a scene, all of its rasters together; rasters that lie in it
directly are one scene for each name, when the words for bands and roles are taken out of it (``a_VV.tif``, ``a_VH.tif``
and ``a_dem.tif`` are the scene ``a``; ``B02.tif`` and ``B03.tif`` are one that is called as the folder is). A raster
whose name holds the word of a role that the model does not need (``dem``, ``occurrence``, ``reference``, ``s1_pre``)
is that role. Names that begin with a dot are passed over.

A collection of STAC items, a file or the answer of a search, is as many scenes (:mod:`undercast.raster.item`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from undercast.errors import InputError, UndercastError
from undercast.mapping.job import roles_of
from undercast.product.write import RECORD
from undercast.raster.inputs import names_of
from undercast.raster.item import is_collection, is_item, read_items
from undercast.signature import Signature

RASTER_ENDINGS = (".tif", ".tiff", ".vrt", ".jp2", ".img", ".nc")


@dataclass(frozen=True)
class FoundScene:
    """A scene of a batch: its name, which its product takes too, and its inputs as they would be typed."""

    name: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class SceneState:
    """What became of a scene; ``error`` is one line where it failed, ``summary`` that of its product elsewhere."""

    scene: str
    state: Literal["done", "complete already", "failed"]
    product: str | None = None
    error: str | None = None
    summary: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The state without what it has no value for."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def holds_scenes(place: str) -> bool:
    """Whether ``place`` is a batch: a folder that is no SAFE, a STAC search, or a file of several items.

    Raises:
        InputError: ``place`` is called as STAC items are and holds none.
    """
    if Path(place).is_dir():
        return not (Path(place) / "manifest.safe").exists()
    return is_item(place) and "#" not in place and "=" not in place.partition("?")[0] and is_collection(place)


def find_scenes(places: Sequence[str | Path], signature: Signature) -> list[FoundScene]:
    """The scenes of folders and of collections of STAC items, by the rule above, in order of name.

    Raises:
        InputError: there is no scene in a place, or two scenes would have one name.
    """
    found: dict[str, tuple[str, ...]] = {}
    for place in places:
        items = is_item(str(place))
        scenes = _in_items(str(place)) if items else _in_folder(Path(place), signature)
        if not scenes:
            need = (
                "search for more" if items else f"give a folder of rasters ({', '.join(RASTER_ENDINGS)}) or of folders"
            )
            raise InputError(f"{place}: holds no scene; {need}")
        for name, inputs in scenes.items():
            if name in found:
                raise InputError(f"{place}: two scenes are called {name}, and so would be their products; rename one")
            found[name] = inputs
    return [FoundScene(name, inputs) for name, inputs in sorted(found.items())]


def map_scenes(
    scenes: Iterable[FoundScene],
    out: Path,
    map_one: Callable[[FoundScene, Path], dict[str, Any]],
    told: Callable[[SceneState], None] | None = None,
) -> list[SceneState]:
    """Map each scene into a folder of its name under ``out``, and say what became of each; ``told`` hears it at once.

    ``map_one`` maps a scene into a folder and answers its summary; a product that it leaves as it was is "complete
    already".
    """
    states = []
    for scene in scenes:
        target = out / scene.name
        before = _stamp(target)
        try:
            summary = map_one(scene, target)
            state: Literal["done", "complete already"] = "complete already" if before == _stamp(target) else "done"
            states.append(SceneState(scene.name, state, str(target), None, summary))
        except UndercastError as error:
            states.append(SceneState(scene.name, "failed", error=str(error)))
        except Exception as error:
            # a bug met by one scene in a hundred must not cost the other ninety-nine
            states.append(SceneState(scene.name, "failed", error=f"{type(error).__name__}: {error}; this is a bug"))
        if told:
            told(states[-1])
    return states


def _stamp(product: Path) -> tuple[int, int] | None:
    """What is new where a product was replaced."""
    try:
        found = (product / RECORD).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _in_items(place: str) -> dict[str, tuple[str, ...]]:
    """The items of a collection, each by its id, in characters that a folder may be called by."""
    scenes: dict[str, tuple[str, ...]] = {}
    for item in read_items(place):
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", item.name)
        if name in scenes:
            raise InputError(f"{place}: two items would be called {name}, and so would be their products; rename one")
        scenes[name] = (f"{place}#{item.name}",)
    return scenes


def _in_folder(folder: Path, signature: Signature) -> dict[str, tuple[str, ...]]:
    # Where a model takes one image, a raster that does not say otherwise is that one.
    one = len(signature.inputs) == 1
    optional = [role for role in roles_of(signature) if not one or role not in signature.inputs]
    bands = [name for modality in signature.inputs.values() for names in names_of(modality).values() for name in names]
    scenes: dict[str, list[Path]] = {}
    inside: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and (rasters := _rasters(path)):
            inside[path.name] = rasters
    for path in _rasters(folder):
        scenes.setdefault(_scene_name(path, optional, bands), []).append(path)
    if twice := sorted(scenes.keys() & inside.keys()):
        raise InputError(f"{folder}: holds both a folder {twice[0]} and rasters of that name; move the rasters into it")
    return {name: tuple(_input(path, optional) for path in paths) for name, paths in (scenes | inside).items()}


def _rasters(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in RASTER_ENDINGS and not path.name.startswith(".")
    )


def _input(path: Path, optional: Sequence[str]) -> str:
    role = _role(path.stem, optional)
    return f"{role}={path}" if role else str(path)


def _role(stem: str, optional: Sequence[str]) -> str | None:
    words = f"_{_words(stem)}_"
    return next((role for role in sorted(optional, key=len, reverse=True) if f"_{role}_" in words), None)


def _scene_name(path: Path, optional: Sequence[str], bands: Sequence[str]) -> str:
    """The name of ``path`` less the words for a band and for a role; its folder's where nothing else is left."""
    role = _role(path.stem, optional)
    words = [*bands, *([role.replace("_", "[-_. ]")] if role else [])]
    rest = path.stem
    for word in words:
        rest = re.sub(rf"(?i)(^|[-_. ]){word}(?=$|[-_. ])", "", rest)
    return rest.strip("-_. ") or path.resolve().parent.name or path.stem


def _words(stem: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
