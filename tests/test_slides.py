"""Landslides: areas as published, on slopes, between the passes; and nothing else of a scene changes."""

import numpy as np
import pytest

from undercast.datasets import SimulatedChips, open_dataset
from undercast.errors import ConfigError, InputError
from undercast.simulate import draw_parameters, simulate_chip, simulate_scene
from undercast.simulate.fields import generator
from undercast.simulate.parameters import Slides
from undercast.simulate.regions import REGIONS
from undercast.simulate.slides import TAIL, draw_areas

LAYERS = ("s1_pre", "s1_post", "landslide")


def test_areas_fall_off_as_published() -> None:
    areas = draw_areas(generator(0, "areas"), 200_000, Slides(smallest=10.0, largest=1e9))
    # Far in the tail the share above an area falls as area ** -ρ; the mode lies near 400 m² [Malamud 2004].
    above = [(areas > bound).mean() for bound in (2e4, 2e5)]
    assert np.log10(above[0] / above[1]) == pytest.approx(TAIL, abs=0.1)
    density, edges = np.histogram(areas, np.arange(0, 3000, 50.0))
    assert 300 < edges[density.argmax()] < 500
    assert areas.mean() == pytest.approx(3.07e3, rel=0.1)


@pytest.mark.parametrize("size", [0.5, 4.0])
def test_areas_keep_their_bounds_and_scale(size: float) -> None:
    areas = draw_areas(generator(1, "areas"), 5000, Slides(size=size, smallest=300, largest=1e5))
    assert areas.min() >= 300
    assert areas.max() <= 1e5
    assert (np.median(areas) > 1000) == (size > 1)


@pytest.mark.parametrize("region", REGIONS)
def test_half_of_the_chips_are_free_and_slides_lie_on_slopes(region: str) -> None:
    with_slides, on, off = [], [], []
    for seed in range(60):
        scene = simulate_scene(
            64, 64, seed, parameters=draw_parameters(seed, "landslide", region), only=("landslide", "dem")
        )
        moved = scene.targets["landslide"] == 1
        assert scene.parameters.slides is not None
        assert moved.any() <= (scene.parameters.slides.density > 0)
        with_slides.append(moved.any())
        if moved.any():
            steepness = np.hypot(*np.gradient(scene.images["dem"][0], 10.0))
            on.append(steepness[moved].mean())
            off.append(steepness[~moved].mean())
            assert 0 < moved.mean() < 0.6
    assert 0.3 < np.mean(with_slides) < 0.65
    assert np.mean(on) > 1.15 * np.mean(off)


def test_the_image_changes_where_ground_moved() -> None:
    changes = []
    for seed in range(40):
        chip = simulate_chip(seed, 64, "landslide", LAYERS)
        moved = chip.targets["landslide"] == 1
        if moved.sum() > 40:
            change = np.abs(chip.images["s1_post"] - chip.images["s1_pre"])
            changes.append(change[:, moved].mean(axis=1) - change[:, ~moved].mean(axis=1))
    assert len(changes) > 5
    assert (np.mean(changes, axis=0) > 0.2).all()


def test_a_scene_with_slides_is_a_function_of_its_seed_and_has_every_layer() -> None:
    parameters = draw_parameters(3, "landslide", "hills")
    whole = simulate_scene(40, 50, 3, parameters=parameters)
    part = simulate_scene(40, 50, 3, parameters=parameters, only=LAYERS)
    for role in ("s1_pre", "s1_post"):
        np.testing.assert_array_equal(whole.images[role], part.images[role])
    np.testing.assert_array_equal(whole.images["s1"], whole.images["s1_post"])
    np.testing.assert_array_equal(whole.targets["landslide"], part.targets["landslide"])
    assert set(part.targets) == {"landslide"}


def test_floods_are_not_touched_by_slides() -> None:
    for seed in range(3):
        scene = simulate_scene(30, 40, seed)
        assert scene.parameters.slides is None
        again = simulate_scene(30, 40, seed, only=("s1", "s1_post", "landslide"))
        np.testing.assert_array_equal(scene.images["s1"], again.images["s1_post"])
        assert not again.targets["landslide"].any()


def test_a_slope_without_density_does_not_slide() -> None:
    parameters = draw_parameters(0, "landslide", "ranges")
    assert parameters.slides is not None
    still = parameters.model_copy(update={"slides": parameters.slides.model_copy(update={"density": 0.0})})
    assert not simulate_scene(64, 64, 0, parameters=still, only=("landslide",)).targets["landslide"].any()


def test_regions_differ_and_are_asked_for_by_name() -> None:
    hills, ranges = (open_dataset(f"simulated:landslide/{name}:5+30@32") for name in ("hills", "ranges"))
    assert isinstance(hills, SimulatedChips)
    assert (hills.region, hills.task.name, hills.roles, hills.targets) == (
        "hills", "landslide", ("s1_pre", "s1_post"), ("landslide",),
    )  # fmt: skip
    means = [np.mean([source[n].images["s1_pre"].mean() for n in range(20)]) for source in (hills, ranges)]
    assert abs(means[0] - means[1]) > 0.5
    either = {draw_parameters(seed, "landslide").place.landscape for seed in range(12)}
    assert either == set(REGIONS)
    with pytest.raises(ConfigError, match="region 'alps' cannot be simulated; known: hills, ranges"):
        draw_parameters(0, "landslide", "alps")
    with pytest.raises(ConfigError, match="only landslides"):
        draw_parameters(0, "flood", "hills")
    with pytest.raises(InputError, match="simulated:landslide/hills"):
        open_dataset("simulated:landslide/:3+1")
