"""Clouds over real ground: exact truth, the same each time, and nothing changed where the sky is clear."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undercast.bands import PLANET, S1, S2_L1C, S2_L2A, Modality
from undercast.chip import Chip, ChipInfo
from undercast.datasets import Clouded, CloudedConfig, open_dataset
from undercast.datasets.clouded import clouds_of, overlay
from undercast.errors import InputError
from undercast.simulate.sky import Clouds
from undercast.task import LANDCOVER, NODATA

SHARED = Path(__file__).parents[2] / "shared" / "data" / "landcover"


class Clear:
    """Two chips of ground with a pattern, seen by one instrument under a clear sky."""

    task = LANDCOVER

    def __init__(self, modality: Modality = S2_L1C, role: str = "s2", size: int = 96) -> None:
        self.modalities = {role: modality, "s1": S1}
        self.index = [ChipInfo(name, name, name) for name in ("one", "two")]
        self.role, self.size = role, size

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> Chip:
        random = np.random.default_rng(7)
        bands = len(self.modalities[self.role].bands)
        ground = random.uniform(0.03, 0.35, (bands, self.size, self.size)).astype(np.float32)
        ground[:, :4] = np.nan
        s1 = np.full((2, self.size, self.size), -12, np.float32)
        target = np.ones((self.size, self.size), np.uint8)
        return Chip(self.index[number].key, {self.role: ground, "s1": s1}, {"landcover": target}, "e", "p")


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), low=st.floats(0, 0.9))
def test_what_is_clear_is_left_as_it_is_and_the_truth_tells_where(seed, low):
    config = CloudedConfig(seed=seed, cover=(low, min(low + 0.1, 1.0)))
    source = Clear(PLANET)
    chip = Clouded(source, config)[0]
    clear, cloudy = chip.images["s2_clear"], chip.images["s2"]
    np.testing.assert_array_equal(clear, source[0].images["s2"])
    np.testing.assert_array_equal(chip.images["s1"], source[0].images["s1"])
    np.testing.assert_array_equal(chip.targets["landcover"], source[0].targets["landcover"])
    np.testing.assert_array_equal(np.isnan(cloudy), np.isnan(clear))
    np.testing.assert_array_equal(chip.targets["cloud"][:4], NODATA)
    np.testing.assert_array_equal(chip.targets["transmission"][:4], NODATA)
    np.testing.assert_array_equal(chip.targets["opacity"][:4], NODATA)
    assert (chip.targets["opacity"][4:] >= 99 - chip.targets["transmission"][4:].astype(int)).all()
    clouds = clouds_of("one", chip.shape, config)
    untouched = (clouds.transmission == 1) & (clouds.sunlight == 1)
    untouched[:4] = False
    np.testing.assert_allclose(cloudy[:, untouched], clear[:, untouched], rtol=1e-5)
    thick = (chip.targets["cloud"] == 1) & (chip.targets["transmission"] < 50)
    assert (cloudy[:, thick] > clear[:, thick]).mean() >= 0.98 if thick.any() else True
    shadow = (chip.targets["cloud"] == 2) & (clouds.transmission == 1)
    assert (cloudy[:, shadow] <= clear[:, shadow] + 1e-6).all()


def test_the_same_key_and_seed_give_the_same_clouds_whatever_else():
    one, again = Clouded(Clear(PLANET)), Clouded(Clear(PLANET))
    np.testing.assert_array_equal(one[0].images["s2"], again[0].images["s2"])
    assert not np.array_equal(one[0].targets["cloud"], one[1].targets["cloud"])
    other = Clouded(Clear(PLANET), CloudedConfig(seed=1))
    assert not np.array_equal(one[0].targets["transmission"], other[0].targets["transmission"])


def test_cover_is_what_was_asked():
    covers = []
    for seed in range(12):
        none = Clouded(Clear(PLANET, size=160), CloudedConfig(seed=seed, cover=(0, 0)))[0]
        full = Clouded(Clear(PLANET, size=160), CloudedConfig(seed=seed, cover=(1, 1)))[0]
        seen = none.targets["cloud"] != NODATA
        assert none.targets["transmission"][seen].min() > 70  # cirrus at most
        assert full.targets["transmission"][seen].max() < 100
        half = Clouded(Clear(PLANET, size=160), CloudedConfig(seed=seed, cover=(0.5, 0.5)))[0]
        covers.append(float((half.targets["transmission"][seen] < 97).mean()))
    assert 0.35 < np.mean(covers) < 0.75


def test_a_finer_grid_sees_larger_clouds_of_more_pixels():
    def edges(pixel: float) -> float:
        config = CloudedConfig(cover=(0.5, 0.5), pixel_size=pixel)
        fields = [clouds_of(f"k{seed}", (128, 128), config).transmission for seed in range(8)]
        return float(np.mean([np.abs(np.diff(field)).mean() for field in fields]))

    assert edges(3.0) < 0.8 * edges(10.0)


def test_bands_see_a_cloud_as_coarse_as_the_ground_and_by_their_names():
    transmission = np.ones((12, 12), np.float32)
    transmission[:, 6:] = 0.0
    none = np.zeros((12, 12), np.float32)
    clouds = Clouds(none, none, transmission, none + 1)
    clear = np.full((13, 12, 12), 0.1, np.float32)
    s2 = overlay(clear, clouds, S2_L1C)
    index = S2_L1C.bands.index
    assert s2[index("B02"), 0, 5] == pytest.approx(0.1)
    assert s2[index("B02"), 0, 6] == pytest.approx(0.8)
    assert s2[index("B10")].max() == pytest.approx(0.1)  # vapour hides low cloud
    assert len(np.unique(overlay(clear, clouds, S2_L1C)[index("B01")])) == 2  # 60 m: the edge falls between two of them
    shifted = Clouds(clouds.thickness, clouds.cirrus, np.roll(transmission, 1, axis=1), clouds.sunlight)
    assert 0.2 < overlay(clear, shifted, S2_L1C)[index("B01"), 0, 0] < 0.75
    l2a = overlay(clear[:12], clouds, S2_L2A)
    np.testing.assert_allclose(l2a[S2_L2A.bands.index("B12")], s2[index("B12")])
    planet = overlay(clear[:4], clouds, PLANET)
    np.testing.assert_allclose(planet[3], s2[index("B08")])


def test_what_no_cloud_is_known_for_is_refused():
    with pytest.raises(InputError, match=r"no role 's2' to lay clouds over"):
        Clouded(Clear(PLANET, role="optical"))
    with pytest.raises(InputError, match="no cloud is known in this band"):
        Clouded(Clear(Modality(instrument="Thermal", bands=("TIR",), unit="reflectance", valid_range=(0, 1))))
    with pytest.raises(InputError, match="is in dB"):
        Clouded(Clear(), over="s1")


def test_real_ground_under_simulated_cloud():
    if not SHARED.is_dir():
        pytest.skip("shared data absent")
    source = Clouded(open_dataset(SHARED / "terramesh"), CloudedConfig(cover=(0.4, 0.6)))
    chip = source[0]
    assert set(chip.images) == {"s2", "s2_clear", "s1", "s2_l2a", "dem"}
    assert set(chip.targets) == {"landcover", "cloud", "transmission", "opacity"}
    cloudy = chip.targets["cloud"] == 1
    assert 0.1 < cloudy.mean() < 0.9
    blue = S2_L1C.bands.index("B02")
    assert chip.images["s2"][blue, cloudy].mean() > chip.images["s2_clear"][blue, cloudy].mean() + 0.1
    again = open_dataset(f"clouded@7:{SHARED / 'terramesh'}")
    assert isinstance(again, Clouded)
    assert again.config.seed == 7
    over_clear = Clouded(open_dataset(SHARED / "sen12mscr"))
    assert over_clear.over == "s2_clear"
    assert np.isnan(over_clear[0].images["s2"]).all()
