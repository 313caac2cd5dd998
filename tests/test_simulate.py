"""Scenes: one seed, any size, and a truth that holds together."""

import numpy as np
import pytest

from undercast.errors import ConfigError
from undercast.simulate import (
    MODALITIES,
    SceneParameters,
    SimulatedScene,
    draw_parameters,
    simulate_chip,
    simulate_scene,
)
from undercast.simulate.ground import LANDCOVER_OF, Ground
from undercast.simulate.scene import TARGETS, beyond
from undercast.task import LANDCOVER, NODATA, TASKS

SIZES = [(1, 1), (1, 40), (37, 2), (33, 50), (96, 96)]
SEEDS = range(24)


@pytest.fixture(scope="module")
def scenes() -> list[SimulatedScene]:
    return [simulate_scene(72, 90, seed) for seed in SEEDS]


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_every_layer(size: tuple[int, int]) -> None:
    scene = simulate_scene(*size, seed=5)
    assert set(scene.images) == set(MODALITIES) - {"s1_post"}
    assert set(scene.targets) == set(TARGETS)
    for role, image in scene.images.items():
        assert image.shape == (len(MODALITIES[role].bands), *size)
        assert image.dtype == np.float32
    for layer in (*scene.targets.values(), *scene.truth.values()):
        assert layer.shape == size


def test_one_seed_determines_every_bit() -> None:
    first, second, other = (simulate_scene(50, 41, seed) for seed in (11, 11, 12))
    for role in first.images:
        np.testing.assert_array_equal(first.images[role], second.images[role])
        if role != "occurrence":
            assert not np.array_equal(first.images[role], other.images[role], equal_nan=True)
    for name in first.targets:
        np.testing.assert_array_equal(first.targets[name], second.targets[name])
    assert first.parameters == second.parameters != other.parameters


@pytest.mark.parametrize("only", [("s1",), ("s2", "flood"), ("s2_clear",), ("flood_weak",), ("s1", "cloud", "dem")])
def test_a_part_is_the_same_alone(only: tuple[str, ...]) -> None:
    whole, part = simulate_scene(40, 60, 7), simulate_scene(40, 60, 7, only=only)
    assert set(part.images) | set(part.targets) == set(only)
    for name in only:
        kind = "images" if name in part.images else "targets"
        np.testing.assert_array_equal(getattr(part, kind)[name], getattr(whole, kind)[name])


def test_parameters_are_recorded_and_make_the_scene_again() -> None:
    scene = simulate_scene(40, 40, 21)
    read = SceneParameters.model_validate_json(scene.parameters.model_dump_json())
    again = simulate_scene(40, 40, 21, parameters=read, only=("s1",))
    np.testing.assert_array_equal(scene.images["s1"], again.images["s1"])


def test_values_are_sound_and_nodata_is_only_where_declared(scenes: list[SimulatedScene]) -> None:
    for scene in scenes:
        settings = scene.parameters
        borders = {
            "s1": settings.radar,
            "s1_pre": settings.radar_pre,
            "s2": settings.optics,
            "s2_clear": settings.optics,
        }
        for role, image in scene.images.items():
            border = borders[role].border if role in borders else None
            declared = beyond(image.shape[1:], border) if border else np.zeros(image.shape[1:], bool)
            for band in image:
                np.testing.assert_array_equal(np.isnan(band), declared)
            seen = image[:, ~declared]
            low, high = {"dB": (-51, 30), "reflectance": (0, 1.7), "percent": (0, 100)}.get(
                MODALITIES[role].unit, (-430, 9000)
            )
            assert seen.size == 0 or (seen.min() >= low and seen.max() <= high), role


def test_truth_holds_together(scenes: list[SimulatedScene]) -> None:
    for scene in scenes:
        truth, event, label = scene.truth, scene.targets["flood_event"], scene.targets["flood"]
        permanent = truth["permanent"] == 1
        assert not (permanent & (event == 1)).any()
        assert (truth["depth"][(event == 1) | permanent] > 0).all()
        assert (truth["depth"][(event == 0) & ~permanent] == 0).all()
        assert (event[truth["flooded_vegetation"] == 1] == 1).all()
        assert (label[permanent] == 1).all()
        assert (label[(event == 0) & ~permanent] == 0).all()
        open_flood = (event == 1) & (truth["flooded_vegetation"] == 0)
        assert (label[open_flood] == 1).all()
        assert (scene.images["occurrence"][0][permanent] > 50).all()
        assert (truth["hand"][permanent] == 0).all()
        if scene.parameters.water.flood == 0:
            assert event.sum() == 0


def test_flood_covers_no_more_than_was_drawn(scenes: list[SimulatedScene]) -> None:
    for scene in scenes:
        assert scene.targets["flood_event"].mean() <= scene.parameters.water.flood + 0.02


def test_scenes_are_of_every_kind() -> None:
    share = np.array([simulate_scene(64, 64, seed, only=("flood",)).targets["flood"].mean() for seed in range(120)])
    assert (share == 0).sum() >= 4
    assert (share > 0.5).sum() >= 5
    assert 0.1 < share.mean() < 0.45
    assert len({draw_parameters(seed).place.landscape for seed in range(120)}) >= 9


def test_chip_has_its_own_event() -> None:
    chip = simulate_chip(3, 32, only=("s1", "flood"))
    assert chip.shape == (32, 32)
    assert chip.event != simulate_chip(4, 32, only=("s1", "flood")).event


@pytest.mark.parametrize("arguments", [{"height": 0}, {"width": -1}, {"only": ("s3",)}])
def test_bad_requests_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"at least 1|s3"):
        simulate_scene(**{"height": 8, "width": 8, "seed": 0, **arguments})  # type: ignore[arg-type]


def test_unknown_task_is_named() -> None:
    with pytest.raises(ConfigError, match="volcano"):
        draw_parameters(0, "volcano")


@pytest.mark.parametrize("task", ["clouds", "landcover"])
def test_other_tasks_are_the_same_ground(task: str) -> None:
    flood, other = draw_parameters(5), draw_parameters(5, task)
    same = {name: getattr(flood, name) for name in ("sky", "optics", "water", "radar", "radar_pre")}
    assert other.model_copy(update=same) == flood
    assert other.water.model_copy(update={"flood": flood.water.flood}) == flood.water
    assert other.water.flood == (0 if task == "landcover" else flood.water.flood)
    chip = simulate_chip(5, 48, task, only=("s2", "cloud", "cover", task))
    assert set(np.unique(chip.targets[task])) <= {label.value for label in TASKS[task].classes} | {NODATA}


def test_clouds_span_from_clear_to_overcast() -> None:
    chips = [simulate_chip(seed, 48, "clouds", only=("clouds", "cloud")) for seed in range(60)]
    assert all(((chip.targets["cloud"] != 1) | (chip.targets["clouds"] == 1)).all() for chip in chips)
    assert any((chip.targets["clouds"] == 1).sum() > (chip.targets["cloud"] == 1).sum() for chip in chips)
    cover = np.array([(chip.targets["clouds"] == 1).mean() for chip in chips])
    assert (cover == 0).sum() >= 4
    assert (cover > 0.9).sum() >= 4
    assert ((cover > 0.1) & (cover < 0.9)).sum() >= 20
    assert sum((chip.targets["clouds"] == 2).any() for chip in chips) >= 15


def test_landcover_is_the_cover_in_six_classes() -> None:
    chip = simulate_chip(8, 64, "landcover", only=("cover", "landcover"))
    for ground in np.unique(chip.targets["cover"]):
        here = np.unique(chip.targets["landcover"][chip.targets["cover"] == ground])
        name = LANDCOVER_OF.get(Ground(ground))
        assert list(here) == [NODATA if name is None else LANDCOVER.value_of(name)]


def test_ground_under_snow_has_no_land_cover() -> None:
    bare = draw_parameters(4, "landcover")
    white = bare.model_copy(update={"optics": bare.optics.model_copy(update={"snow": 0.6})})
    without, under = (
        simulate_scene(64, 64, 4, parameters=given, only=("cover", "landcover")) for given in (bare, white)
    )
    hidden = (under.targets["landcover"] == NODATA) & (without.targets["landcover"] != NODATA)
    assert 0.2 < hidden.mean() < 0.6
    assert (under.targets["landcover"] == without.targets["landcover"])[~hidden].all()
    assert not (hidden & (without.targets["cover"] == Ground.WATER)).any()


def test_the_sky_changes_what_is_seen_and_not_the_ground() -> None:
    layers = ("s1", "s2", "s2_clear", "landcover", "cloud", "opacity")
    clear, grey = (simulate_chip(11, 64, "landcover", only=layers, cloud=cover) for cover in (0.0, 1.0))
    assert np.array_equal(clear.images["s1"], grey.images["s1"], equal_nan=True)
    assert np.array_equal(clear.images["s2_clear"], grey.images["s2_clear"], equal_nan=True)
    assert np.array_equal(clear.targets["landcover"], grey.targets["landcover"])
    assert (grey.targets["opacity"].mean(), (grey.targets["cloud"] == 1).mean()) > (50, 0.8)
    hidden = grey.targets["opacity"] > 60
    changed = np.abs(grey.images["s2"] - grey.images["s2_clear"]).mean(0)
    assert np.nanmean(changed[hidden]) > 0.1
    # What takes no light away changes nothing beyond the noise of the sensor.
    untouched = clear.targets["opacity"] == 0
    assert not untouched.any() or np.nanmax(np.abs(clear.images["s2"] - clear.images["s2_clear"])[:, untouched]) < 0.05


def test_snow_is_bright_to_the_eye_and_dark_in_the_short_wave_infrared() -> None:
    bare = draw_parameters(4)
    clear = bare.model_copy(update={"sky": bare.sky.model_copy(update={"cover": 0.0, "cirrus": 0.0})})
    views = [
        simulate_scene(64, 64, 4, parameters=clear.model_copy(
            update={"optics": clear.optics.model_copy(update={"snow": snow, "border": None})}
        ), only=("s2",)).images["s2"]
        for snow in (0.0, 0.5)
    ]  # fmt: skip
    changed = np.abs(views[1] - views[0])[3] > 0.02
    assert 0.3 < changed.mean() < 0.6
    assert (views[1] - views[0])[2][changed].mean() > 0.2
    assert views[1][11][changed].mean() < views[0][11][changed].mean()
