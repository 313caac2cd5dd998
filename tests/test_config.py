"""Settings: a round trip through TOML, overrides, and errors that name the key (law 9)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from undercast.config import Settings, dump_toml, load, override, validate
from undercast.errors import ConfigError

text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20)


class Inner(Settings):
    rate: float = 1e-3
    steps: int = Field(default=10, ge=1)


class Outer(Settings):
    name: str = "a"
    on: bool = True
    sizes: tuple[int, ...] = (1, 2)
    table: dict[str, str] = Field(default_factory=dict)
    maybe: int | None = None
    inner: Inner = Inner()


outers = st.builds(
    Outer,
    name=text,
    on=st.booleans(),
    sizes=st.lists(st.integers(-(2**40), 2**40), max_size=4).map(tuple),
    table=st.dictionaries(text, text, max_size=3),
    maybe=st.none() | st.integers(0, 9),
    inner=st.builds(Inner, rate=st.floats(allow_nan=False, allow_infinity=False), steps=st.integers(1, 10**9)),
)


@given(outers)
def test_a_configuration_round_trips(settings: Outer) -> None:
    import tomllib

    assert validate(tomllib.loads(dump_toml(settings)), Outer, "text") == settings


@pytest.mark.parametrize(
    ("assignment", "key"),
    [
        ("inner.stepz=3", "inner.stepz"),
        ("nam=3", "nam"),
        ("inner.steps=many", "inner.steps"),
        ("inner.steps=0", "inner.steps"),
        ("name=3", "name"),
        ("sizes=x", "sizes"),
    ],
)
def test_a_wrong_key_or_type_is_named(tmp_path: Path, assignment: str, key: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("name = 'b'\n")
    with pytest.raises(ConfigError, match=f"'{key}'"):
        load(path, Outer, [assignment])


def test_an_unknown_key_is_told_what_is_known() -> None:
    with pytest.raises(ConfigError, match=r"known here: rate, steps"):
        validate({"inner": {"lr": 1}}, Outer, "text")


def test_overrides_reach_into_tables_and_leave_the_source_alone() -> None:
    tables = {"inner": {"steps": 3}}
    assert override(tables, ["inner.rate=0.5", "name=b c", 'table.x="1"', "sizes=[4, 5]"]) == {
        "inner": {"steps": 3, "rate": 0.5}, "name": "b c", "table": {"x": "1"}, "sizes": [4, 5],
    }  # fmt: skip
    assert tables == {"inner": {"steps": 3}}


@pytest.mark.parametrize("assignment", ["name", "=3", "name.sub=3"])
def test_an_assignment_that_cannot_be_read_is_quoted(assignment: str) -> None:
    with pytest.raises(ConfigError, match=assignment):
        override({"name": "a"}, [assignment])


@pytest.mark.parametrize("content", [None, "a = = b", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str | bytes | None) -> None:
    path = tmp_path / "recipe.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        load(path, Outer)
