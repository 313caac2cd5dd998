"""The model folder: what training leaves behind and every other verb needs, complete in itself.

``signature.json``       the contract (:class:`~undercast.signature.Signature`)
``model.onnx``           raw images → calibrated probabilities; what a map runs
``model.int8.onnx``      the same, quantised, where it was asked for
``weights.safetensors``  the weights, to train on from
``card.md``              what it is for, what it has seen, how it scores, where it fails
``journal.jsonl``        the training run; ``config.toml`` the settings it ran with
"""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from undercast.errors import ModelError
from undercast.signature import Signature

SIGNATURE = "signature.json"
ONNX = "model.onnx"
ONNX_INT8 = "model.int8.onnx"
WEIGHTS = "weights.safetensors"
CARD = "card.md"
JOURNAL = "journal.jsonl"
CONFIG = "config.toml"


@dataclass(frozen=True)
class ModelFolder:
    """A folder that holds a model, and the contract read from it."""

    path: Path
    signature: Signature

    @classmethod
    def open(cls, path: Path) -> "ModelFolder":
        """Read the folder at ``path``. Raises ModelError where it is no model folder or its signature is unsound."""
        if not path.is_dir():
            raise ModelError(f"{path}: no such model folder; 'undercast models' lists the installed ones")
        try:
            signature = Signature.model_validate_json((path / SIGNATURE).read_bytes())
        except FileNotFoundError:
            raise ModelError(f"{path}: holds no {SIGNATURE}, so it is not a model folder") from None
        except ValidationError as error:
            first = error.errors()[0]
            raise ModelError(f"{path / SIGNATURE}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return cls(path, signature)

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.signature.name

    def graph(self, precision: str = "fp32") -> Path:
        """The ONNX file of ``precision`` (``fp32`` or ``int8``). Raises ModelError where the folder has none."""
        path = self.path / {"fp32": ONNX, "int8": ONNX_INT8}[precision]
        if not path.is_file():
            raise ModelError(f"{self.path}: holds no {path.name}; run 'undercast export {self.path}' to make it")
        return path

    def digest(self, precision: str = "fp32") -> str:
        """sha256 of signature and graph together, hexadecimal: what a product records of the model that made it."""
        state = hashlib.sha256((self.path / SIGNATURE).read_bytes())
        state.update(self.graph(precision).read_bytes())
        return state.hexdigest()

    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


def installed() -> list[ModelFolder]:
    """The models that ship with the package, by name."""
    root = Path(str(files("undercast"))) / "models"
    if not root.is_dir():
        return []
    return [ModelFolder.open(path) for path in sorted(root.iterdir()) if (path / SIGNATURE).is_file()]


def resolve(name: str | Path) -> ModelFolder:
    """The model called ``name``: a folder that exists, else an installed model of that name. Raises ModelError."""
    path = Path(name)
    if (path / SIGNATURE).is_file():
        return ModelFolder.open(path)
    models = {model.path.name: model for model in installed()}
    if str(name) in models:
        return models[str(name)]
    if path.is_dir():
        return ModelFolder.open(path)
    raise ModelError(f"no model '{name}'; installed: {', '.join(models) or 'none'}; or give a model folder")


def write_signature(signature: Signature, folder: Path) -> None:
    """Write ``signature.json`` into ``folder``, the same bytes for the same signature."""
    text = json.dumps(signature.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / SIGNATURE).write_text(text + "\n", "utf-8")
