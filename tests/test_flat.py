"""Ground that cannot slide: level, and with no slope within reach; nothing is ruled out where the relief is unknown."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from undercast.raster import Window, cut
from undercast.raster.flat import FlatConfig, FlatMask
from undercast.simulate import simulate_chip

GRID = GeoBox((90, 130), Affine(10, 0, 500000, 0, -10, 4900000), "EPSG:32631")


def reader(elevation):
    """Any window of ``elevation``, NaN beyond it."""

    def read(window: Window):
        around = np.full((window.height, window.width), np.nan, np.float32)
        inside = window.clip(elevation.shape)
        around[inside.slices((window.row, window.col))] = elevation[inside.slices()]
        return around

    return read


def ramp(degrees: float):
    """Level in the west, rising to the east from column 70 on."""
    rise = np.maximum(np.arange(130) - 70, 0) * 10 * np.tan(np.radians(degrees))
    return np.tile(rise, (90, 1)).astype(np.float32)


def flat_of(elevation, config=None, size=(90, 130)):
    mask = FlatMask(GRID, reader(elevation), config)
    found = np.zeros(elevation.shape, bool)
    for window in cut(elevation.shape, size):
        exclusion = mask.of(window)
        assert not exclusion.hidden.any()
        found[window.slices()] = exclusion.terrain
    return found


@pytest.mark.parametrize(("degrees", "slides"), [(3.0, False), (20.0, True)])
def test_level_ground_is_ruled_out_up_to_the_reach_of_a_slope(degrees, slides):
    found = flat_of(ramp(degrees))
    inner = found[12:-12, 12:-12]
    if slides:
        # the slope begins between columns 70 and 71 and reaches 100 m, ten pixels, to the west
        assert inner[:, : 58 - 12].all()
        assert not inner[:, 61 - 12 :].any()
    else:
        assert inner.all()
    assert not found[:10].any()  # what lies beyond the edge is not known
    assert not found[:, :10].any()


@pytest.mark.parametrize(("rows", "cols", "within"), [(37, 53, 100.0), (90, 11, 0.0), (7, 140, 250.0)])
def test_windows_do_not_matter(rows, cols, within):
    elevation = ramp(8) + np.random.default_rng(0).normal(0, 0.3, (90, 130)).astype(np.float32)
    config = FlatConfig(within=within)
    assert np.array_equal(flat_of(elevation, config), flat_of(elevation, config, (rows, cols)))


def test_nothing_is_ruled_out_near_ground_of_unknown_relief():
    elevation = ramp(0)
    elevation[40:45, 60:65] = np.nan
    found = flat_of(elevation)
    assert not found[30:55, 50:75].any()
    assert found[15:25, 15:115].all()


@pytest.mark.parametrize("region", ["hills", "ranges"])
def test_hardly_a_simulated_scar_is_ruled_out(region):
    excluded = scars = 0
    for seed in range(40, 46):
        chip = simulate_chip(seed, 128, "landslide", only=("dem", "landslide"), region=region)
        grid = GeoBox((128, 128), Affine(10, 0, 500000, 0, -10, 4900000), "EPSG:32631")
        found = FlatMask(grid, reader(chip.images["dem"][0])).of(Window(0, 0, 128, 128)).terrain
        truth = chip.targets["landslide"] == 1
        excluded += int((found & truth).sum())
        scars += int(truth.sum())
    assert scars > 100
    assert excluded <= 0.01 * scars
