"""The parts of the simulator, each against what it claims."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.simulate import Ground, simulate_scene
from undercast.simulate.draw import draw_parameters
from undercast.simulate.fields import (
    blur,
    coarse_shape,
    fractal,
    generator,
    level,
    spectral,
    uniform_of,
    upsample,
    white,
)
from undercast.simulate.ground import SIGNATURES, SPECTRA
from undercast.simulate.optics import weak_label
from undercast.simulate.parameters import Cover, Optics, Radar, Relief, SceneParameters, Sky, Water
from undercast.simulate.radar import lee, look_at, receive
from undercast.simulate.sky import make_clouds, shadow_shift, transmit
from undercast.simulate.terrain import PIXEL, drain, make_terrain


def even(decibel: float, radar: Radar, band: int = 0, size: int = 320) -> np.ndarray:
    """What a pass receives from ground of one backscatter, dB."""
    return receive(generator(1, "test"), np.full((size, size), 10 ** (decibel / 10), np.float32), radar, band)


# Fields


@given(st.integers(1, 300), st.integers(1, 40), st.sampled_from([1, 2, 4, 8]))
@settings(max_examples=40)
def test_upsampling_keeps_planes(height: int, width: int, spacing: int) -> None:
    grid = coarse_shape((height, width), spacing)
    rows, columns = np.mgrid[: grid[0], : grid[1]].astype(np.float32)
    plane = 2 * (rows - 1) * spacing - 3 * (columns - 1) * spacing + 5
    want = 2 * np.arange(height)[:, None] - 3 * np.arange(width)[None, :] + 5
    for smooth in (True, False):
        np.testing.assert_allclose(upsample(plane, (height, width), spacing, smooth=smooth), want, atol=0.02)


@pytest.mark.parametrize("exponent", [2.4, 3.2, 4.0])
def test_fields_have_unit_variance(exponent: float) -> None:
    rng = generator(3, "variance")
    found = np.mean([np.square(spectral(rng, (200, 200), 12, exponent)).mean() for _ in range(20)])
    assert found == pytest.approx(1, abs=0.12)
    assert white(rng, (300, 300), 0.8, 0.9).var() == pytest.approx(1, abs=0.05)


def test_blur_keeps_power_and_cuts_its_reach() -> None:
    image = np.random.default_rng(0).random((40, 50), np.float32)
    assert blur(image, 0.8, 0.9).shape == (34, 44)
    np.testing.assert_allclose(blur(np.full((20, 20), 3.0, np.float32), 1.1, 0.3), 3, rtol=1e-5)


@given(st.floats(0.02, 0.98))
def test_level_cuts_off_its_share(share: float) -> None:
    field = fractal(generator(4, "level"), (150, 150), 30.0)
    assert (field < level(field, share)).mean() == pytest.approx(share, abs=0.03)


def test_parcel_draws_are_even_and_independent() -> None:
    number = np.arange(50_000, dtype=np.int32)
    first, second = uniform_of(number, 1), uniform_of(number, 2)
    np.testing.assert_allclose(np.histogram(first, 10, (0, 1))[0], 5000, rtol=0.06)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.02


# Terrain


@pytest.mark.parametrize("seed", range(4))
def test_drainage_leads_every_node_out(seed: int) -> None:
    rng = generator(seed, "drain")
    height = spectral(rng, (40, 31), 12, 3.2)
    parent, area, above = drain(rng, height, 30)
    ends = parent < 0
    border = np.zeros((40, 31), bool)
    border[[0, -1]] = border[:, [0, -1]] = True
    assert border.ravel()[ends].all()
    assert area[ends].sum() == height.size
    node = np.arange(height.size)
    for _ in range(height.size):
        node = np.where(parent[node] >= 0, parent[node], node)
    assert ends[node].all()
    assert (above >= 0).all()
    assert (above.ravel()[area >= 30] == 0).all()


@pytest.mark.parametrize("slope", [0.002, 0.05, 0.4])
def test_relief_is_as_steep_as_drawn(slope: float) -> None:
    terrain = make_terrain(generator(5, "t"), (300, 300), Relief(slope=slope, base=50.0), 200)
    south, east = np.gradient(terrain.elevation, PIXEL)
    assert np.sqrt((south**2 + east**2).mean()) == pytest.approx(slope, rel=0.4)
    assert 45 < terrain.elevation.min() < 50 + slope * 1000


# Radar


@pytest.mark.parametrize("looks", [4.0, 5.5])
@pytest.mark.parametrize("grain", [0.7, 0.9])
def test_speckle_has_its_looks_and_its_grain(looks: float, grain: float) -> None:
    radar = Radar(looks=looks, grain_rows=grain, grain_columns=grain, noise=(-60, -60))
    power = 10 ** (even(-10.0, radar).astype(np.float64) / 10)
    assert power.mean() == pytest.approx(0.1, rel=0.03)
    assert (power.mean() / power.std()) ** 2 == pytest.approx(looks, rel=0.08)
    w = power / power.mean() - 1
    found = [(w[:, :-k] * w[:, k:]).mean() / w.var() for k in (1, 2, 5)]
    wanted = [np.exp(-(k**2) / (4 * grain**2)) for k in (1, 2, 5)]
    np.testing.assert_allclose(found, wanted, atol=0.06)


def test_noise_removal_leaves_dark_water_ragged_and_bright_land_alone() -> None:
    radar = Radar(noise=(-27, -27), floor=-48.5)
    dark, bright = even(-30, radar), even(-10, radar)
    assert np.percentile(dark, 1) < -40 < np.median(dark) < -25
    assert dark.min() >= -48.6
    assert np.ptp(np.percentile(bright, (1, 99))) < 15


def test_noise_that_is_left_in_is_the_least_that_water_sends_back() -> None:
    removed, left = (even(-40, Radar(noise=(-24, -24), noise_left=share)) for share in (0.0, 1.0))
    assert np.percentile(removed, 5) < -40
    assert np.percentile(left, 5) > -30
    assert 10 * np.log10(np.mean(10 ** (left.astype(np.float64) / 10))) == pytest.approx(-23.9, abs=0.2)


def test_a_filter_evens_speckle_and_keeps_an_edge() -> None:
    raw, smooth = (even(-10, Radar(looks=4, noise=(-60, -60), filtered=window)) for window in (0, 7))
    powers = [10 ** (image.astype(np.float64) / 10) for image in (raw, smooth)]
    assert powers[1].mean() == pytest.approx(powers[0].mean(), rel=0.02)
    assert powers[1].std() < 0.6 * powers[0].std()
    step = np.where(np.arange(40) < 20, 0.001, 0.1).astype(np.float32)[None].repeat(40, axis=0)
    np.testing.assert_allclose(lee(step, 5, looks=100), step, rtol=0.3, atol=2e-3)


@pytest.mark.parametrize(("calibration", "more"), [("gamma0", 1.03), ("flattened", 1.03)])
def test_gamma_nought_is_brighter_and_flattened_ground_has_no_slopes(calibration: str, more: float) -> None:
    images = {}
    for kind in ("sigma0", calibration):
        parameters = plain(flood=0.0)
        relief = parameters.relief.model_copy(update={"slope": 0.15})
        radar = parameters.radar.model_copy(update={"calibration": kind, "noise": (-60.0, -60.0)})
        scene = simulate_scene(128, 128, 3, parameters=parameters.model_copy(
            update={"relief": relief, "radar": radar}), only=("s1", "flood"))  # fmt: skip
        images[kind] = scene.images["s1"][1][scene.targets["flood"] == 0]
    brighter = images[calibration] - images["sigma0"]
    assert np.median(brighter) == pytest.approx(more, abs=0.5)
    spread = images[calibration].std() / images["sigma0"].std()
    assert spread < 0.95 if calibration == "flattened" else spread == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("ascending", [True, False])
def test_a_ridge_shines_towards_the_radar_and_shades_behind(ascending: bool) -> None:
    column = np.arange(200, dtype=np.float32)
    height = np.maximum(0, 900 - 15 * np.abs(column - 100))  # 56 degrees on both sides
    seen = look_at(np.tile(height, (8, 1)).astype(np.float32), Radar(incidence=38, ascending=ascending))
    toward, away = (slice(45, 95), slice(110, 150)) if ascending else (slice(105, 155), slice(50, 90))
    assert seen.layover[:, toward].mean() > 0.8
    assert seen.shadow[:, away].mean() > 0.8
    assert not seen.shadow[:, toward].any()
    assert seen.gain[:, toward].mean() > 5 > -1.5 > seen.gain[:, away].mean()


def test_level_ground_has_no_gain_layover_or_shadow() -> None:
    seen = look_at(np.zeros((5, 60), np.float32), Radar(incidence=35))
    assert not seen.layover.any()
    assert not seen.shadow.any()
    np.testing.assert_allclose(seen.gain, 0, atol=1e-4)
    np.testing.assert_allclose(seen.incidence, 35, atol=0.1)


def plain(**water: float) -> SceneParameters:
    """Level grassland with a river and no randomness of class."""
    base = SceneParameters()
    return base.model_copy(
        update={
            "relief": Relief(slope=0.001),
            "cover": Cover(natural=(0, 0, 1, 0, 0, 0), farmed=0, towns=0, villages=0, roads=0, wetland=0, industry=0),
            "water": Water(river_width=40, ponds=0, **water),  # type: ignore[arg-type]
            "sky": Sky(cover=0, cirrus=0),
        }
    )


def test_wind_brightens_water() -> None:
    means = []
    for wind in (0.5, 4.0, 10.0):
        parameters = plain(flood=0.0)
        parameters = parameters.model_copy(update={"radar": parameters.radar.model_copy(update={"wind": wind})})
        scene = simulate_scene(160, 160, 2, parameters=parameters, only=("s1", "flood"))
        water = scene.targets["flood"] == 1
        assert water.mean() > 0.05
        means.append(scene.images["s1"][0][water].mean())
    assert means[0] < means[1] - 2 < means[2] - 4


def test_the_flood_shows_only_after_it() -> None:
    scene = simulate_scene(200, 200, 4, parameters=plain(flood=0.5, rise=9.0, debris=0.0))
    after, before = scene.images["s1"], scene.images["s1_pre"]
    open_flood = (scene.targets["flood_event"] == 1) & (scene.truth["flooded_vegetation"] == 0)
    assert open_flood.mean() > 0.05
    assert after[1][open_flood].mean() < before[1][open_flood].mean() - 3
    dry = (scene.targets["flood_event"] == 0) & (scene.truth["permanent"] == 0)
    assert abs(after[1][dry].mean() - before[1][dry].mean()) < 1.5


# Sky and optics


@given(st.floats(0, 100), st.floats(0.01, 50))
def test_thicker_cloud_passes_less(thickness: float, more: float) -> None:
    thin, thick = transmit(np.array([thickness, thickness + more], np.float32))
    assert 0 < thick < thin <= 1


@given(st.floats(300, 4000), st.floats(20, 80), st.floats(0, 360))
def test_shadow_falls_away_from_the_sun(height: float, elevation: float, azimuth: float) -> None:
    down, across = shadow_shift(Sky(height=height), Optics(sun_elevation=elevation, sun_azimuth=azimuth))
    reach = height / np.tan(np.deg2rad(elevation)) / PIXEL
    assert np.hypot(down, across) == pytest.approx(reach, abs=1)
    # The sun stands at (-cos, sin) of its azimuth in rows and columns.
    sun = -np.cos(np.deg2rad(azimuth)), np.sin(np.deg2rad(azimuth))
    assert down * sun[0] + across * sun[1] == pytest.approx(-reach, abs=1)


@pytest.mark.parametrize("azimuth", [30.0, 165.0, 250.0])
def test_shadow_is_the_cloud_moved(azimuth: float) -> None:
    sky, optics = Sky(cover=0.4, height=400, cirrus=0), Optics(sun_elevation=50, sun_azimuth=azimuth)
    clouds = make_clouds(generator(1, "sky"), (120, 140), sky, optics)
    down, across = shadow_shift(sky, optics)
    cloud = clouds.thickness[max(0, -down) : 120 - max(0, down), max(0, -across) : 140 - max(0, across)]
    shadow = clouds.sunlight[max(0, down) : 120 + min(0, down), max(0, across) : 140 + min(0, across)]
    np.testing.assert_allclose(transmit(cloud), shadow, rtol=1e-5)
    assert 0.1 < (clouds.thickness > 0).mean() < 0.8


def test_clear_sky_shows_the_clear_view() -> None:
    scene = simulate_scene(60, 60, 3, parameters=plain())
    np.testing.assert_allclose(scene.images["s2"], scene.images["s2_clear"], atol=0.03)
    assert not scene.targets["cloud"].any()


def test_cloud_whitens_and_shadow_darkens() -> None:
    parameters = plain().model_copy(update={"sky": Sky(cover=0.4, thickness=30, height=600, cirrus=0)})
    scene = simulate_scene(200, 200, 6, parameters=parameters)
    red, clear = scene.images["s2"][3], scene.images["s2_clear"][3]
    cloud = scene.targets["cloud"]
    assert (red - clear)[cloud == 1].mean() > 0.2
    assert (red - clear)[cloud == 2].mean() < -0.005
    assert (scene.truth["transmission"][cloud == 1] < 0.76).all()


def test_clouds_have_colours_and_lit_tops() -> None:
    sky = Sky(cover=0.9, thickness=60, height=600, cirrus=0)

    def tops(**of_the_sky: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        parameters = plain().model_copy(update={"sky": sky.model_copy(update=of_the_sky)})
        scene = simulate_scene(96, 96, 6, parameters=parameters)
        return scene.images["s2"][:, scene.truth["transmission"] < 0.2]

    table, blue, lit = tops(), tops(slope=-0.5), tops(relief=0.15)
    assert blue[1].mean() > table[1].mean()
    assert blue[7].mean() < table[7].mean()
    assert blue[12].mean() < 0.7 * table[12].mean()
    assert lit[3].std() > 2 * table[3].std()
    assert lit[3].mean() == pytest.approx(table[3].mean(), rel=0.05)


def test_correction_takes_the_air_out_again() -> None:
    views = [
        simulate_scene(40, 40, 3, parameters=plain().model_copy(update={"optics": optics})).images["s2_clear"]
        for optics in (Optics(), Optics(haze=0.6), Optics(corrected=1.0), Optics(haze=0.6, corrected=1.0))
    ]
    blue, hazy, clean, cleaned = (view[1].mean() for view in views)
    assert clean < blue - 0.04
    assert hazy > blue + 0.02
    assert cleaned == pytest.approx(clean, abs=0.005)


def test_glint_brightens_open_water_alone_in_every_band() -> None:
    views = [
        simulate_scene(80, 80, 3, parameters=plain(flood=0.0).model_copy(update={"optics": Optics(glint=glint)}))
        for glint in (0.0, 0.1)
    ]
    water = views[0].truth["permanent"] == 1
    assert water.any()
    more = (views[1].images["s2_clear"] - views[0].images["s2_clear"])[[1, 3, 7]]
    assert (more[:, water] > 0.05).all()
    assert np.abs(more[:, ~water]).max() < 0.03


def test_weak_label_finds_clear_water_and_gives_none_under_cloud() -> None:
    parameters = plain(flood=0.4)
    clear = simulate_scene(200, 200, 8, parameters=parameters)
    weak, truth = clear.targets["flood_weak"], clear.targets["flood"]
    assert (weak[weak != 255] == truth[weak != 255]).mean() > 0.8
    covered = simulate_scene(
        200, 200, 8, parameters=parameters.model_copy(update={"sky": Sky(cover=1.0, thickness=200)})
    )
    assert (covered.targets["flood_weak"] == 255).mean() > 0.5
    assert (weak_label(np.full((13, 4, 4), np.nan, np.float32)) == 255).all()


# Tables and draws


def test_every_class_has_its_signatures() -> None:
    assert set(SIGNATURES) == set(SPECTRA) == set(Ground)
    for ground in Ground:
        assert -35 < SIGNATURES[ground].vh < SIGNATURES[ground].vv < 5
        assert len(SPECTRA[ground]) == 13
        assert all(0 <= value < 0.7 for value in SPECTRA[ground])


@given(st.integers(0, 2**31))
@settings(max_examples=60)
def test_any_seed_draws_sound_parameters(seed: int) -> None:
    drawn = draw_parameters(seed)
    assert drawn == draw_parameters(seed)
    assert drawn.place.easting % 10 == 0
    assert 32601 <= drawn.place.epsg <= 32760
    assert len(drawn.radar.class_shift) == len(Ground)
    assert drawn.radar_pre.calibration == drawn.radar.calibration
