"""Settings: a TOML file and ``--set key=value``, read into a pydantic model; nothing else.

Every tunable is a field of a model beside its owner. An unknown key or a wrong type is an error that names the key.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from undercast.errors import ConfigError


class Settings(BaseModel):
    """Root of every configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


S = TypeVar("S", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError where it is missing or does not parse; the message names it."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give a recipe like recipes/flood/simulated.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: is not a TOML file ({error})") from None


def override(tables: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """``tables`` with each ``key.sub=value`` of ``assignments`` put in; a value is read as TOML, else as plain text.

    Raises:
        ConfigError: an assignment has no ``=`` or walks through a value that is no table.
    """
    result = _copy(tables)
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"--set {assignment}: write it as key=value, for example --set fit.steps=100")
        *parents, leaf = key.strip().split(".")
        table = result
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {assignment}: '{parent}' is a value, not a table")
        table[leaf] = _read_value(text.strip())
    return result


def validate(tables: dict[str, Any], kind: type[S], source: str) -> S:
    """``tables`` as a ``kind``. Raises ConfigError that names ``source`` and the first offending key."""
    try:
        return kind.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(top)"
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{source}: unknown key '{key}'{_known(kind, first['loc'])}") from None
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{source}: key '{key}': {first['msg']}{more}") from None


def load(path: Path, kind: type[S], assignments: Sequence[str] = ()) -> S:
    """The configuration in ``path`` with ``assignments`` over it, as a ``kind``. Raises ConfigError."""
    return validate(override(read_toml(path), assignments), kind, str(path))


def dump_toml(settings: BaseModel) -> str:
    """``settings`` as TOML that :func:`load` reads back to an equal object; values of None are left out."""
    lines: list[str] = []
    _write_table(settings.model_dump(mode="json", exclude_none=True), (), lines)
    return "\n".join(lines).strip() + "\n"


def _copy(table: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in table.items()}


def _read_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _known(kind: type[BaseModel], location: tuple[int | str, ...]) -> str:
    for part in location[:-1]:
        field = kind.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return ""
        kind = field.annotation
    return f"; known here: {', '.join(kind.model_fields)}"


def _write_table(table: dict[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    if path:
        lines += ["", f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{_key(key)} = {_literal(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            _write_table(value, (*path, key), lines)


def _key(text: str) -> str:
    return text if text and all((c.isalnum() and c.isascii()) or c in "-_" for c in text) else _literal(text)


def _literal(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
        case list():
            return "[" + ", ".join(_literal(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{_key(k)} = {_literal(v)}" for k, v in value.items()) + "}"
    raise TypeError(f"cannot write {type(value).__name__} as TOML")
