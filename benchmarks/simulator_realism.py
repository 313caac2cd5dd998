"""How close simulated scenes are to real ones: backscatter and reflectance by class, and the grain of speckle.

    python benchmarks/simulator_realism.py [--scenes 300] [--shared ../shared/data]

For each chip (real or simulated) and class the median and quantiles of a band are one number each. Printed are
- ``distance``: mean difference of the quantiles 5, 25, 50, 75, 95 % over all chips together (dB, or reflectance);
- ``covered``: the share of real chips whose median lies within the middle 95 % of the simulated medians. Domain
  randomisation wants this at 1, while the distance may stay above 0: scenes are meant to be more various than the few
  real chips here;
- the autocorrelation of intensity at lags 1, 2, 3 and the equivalent number of looks in the most even windows.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
import rasterio
from numpy.typing import NDArray

from record import Result, record
from undercast.bands import S2_L1C
from undercast.simulate import simulate_scene

matplotlib.use("Agg")
from matplotlib import pyplot as plt

QUANTILES = (5, 25, 50, 75, 95)
ROOT = Path(__file__).parent
Values = NDArray[np.float32]


@dataclass
class Sample:
    """Quantiles ``[chips, 5]`` by (class, band), and speckle statistics, of one side."""

    quantiles: dict[tuple[str, str], list[Values]] = field(default_factory=dict)
    speckle: list[Values] = field(default_factory=list)

    def add(self, kind: str, bands: dict[str, Values], where: NDArray[np.bool_]) -> None:
        for name, band in bands.items():
            values = band[where & np.isfinite(band)]
            if values.size >= 400:
                self.quantiles.setdefault((kind, name), []).append(np.percentile(values, QUANTILES))

    def add_radar(self, image: Values, water: NDArray[np.bool_], dry: NDArray[np.bool_]) -> None:
        bands = {"VV": image[0], "VH": image[1], "VV-VH": image[0] - image[1]}
        self.add("water", bands, water)
        self.add("dry", bands, dry)
        grain = speckle(10 ** (image[0].astype(np.float64) / 10))
        if grain is not None:
            self.speckle.append(grain)


def speckle(power: NDArray[np.float64], size: int = 24) -> Values | None:
    """Looks, and autocorrelation along columns (lags 1-3) and rows (1-3), in the tenth of windows that is most even."""
    windows = []
    for row in range(0, power.shape[0] - size + 1, size // 2):
        for column in range(0, power.shape[1] - size + 1, size // 2):
            window = power[row : row + size, column : column + size]
            if np.isfinite(window).all():
                windows.append((float(window.std() / window.mean()), row, column))
    if len(windows) < 20:
        return None
    windows = sorted(windows)[: max(5, len(windows) // 10)]
    found = []
    for variation, row, column in windows:
        w = power[row : row + size, column : column + size]
        w = w / w.mean() - 1
        lags = [(w[:, :-k] * w[:, k:]).mean() for k in (1, 2, 3)] + [(w[:-k] * w[k:]).mean() for k in (1, 2, 3)]
        found.append([variation**-2, *np.array(lags) / (w * w).mean()])
    return np.mean(found, axis=0)


def read(path: Path) -> NDArray[np.float32]:
    with rasterio.open(path) as source:
        return source.read().astype(np.float32)


def real_radar(shared: Path) -> Iterator[tuple[str, Values, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Name, [VV, VH] in dB, water, dry of each chip that shows anything."""
    for path in sorted((shared / "sen1floods11").rglob("*_S1Hand.tif")):
        label = read(Path(str(path).replace("S1Hand", "LabelHand")))[0]
        image = read(path)
        if np.isfinite(image).any():
            yield path.stem, image, label == 1, label == 0
    ayt = shared / "scenes/ayt12"
    image = np.concatenate([read(ayt / "ayt12_vv.tif"), read(ayt / "ayt12_vh.tif")])
    image[image == 0] = np.nan
    nothing = np.zeros(image.shape[1:], bool)
    yield "ayt12", image, nothing, read(ayt / "ayt12_jrc_extent.tif")[0] != 1
    for path in sorted((shared / "landcover/terramesh/S1RTC").glob("*.tif")):
        classes = read(Path(str(path).replace("S1RTC", "LULC")))[0]
        yield f"terramesh {path.stem}", read(path), classes == 1, classes != 1


def real_optics(shared: Path) -> Iterator[tuple[str, Values, dict[str, NDArray[np.bool_]]]]:
    """Name, reflectance [13, H, W], masks by class."""
    hand = shared / "sen1floods11/v1.1/data/flood_events/HandLabeled"
    view = read(hand / "S2Hand/Spain_7370579_S2Hand.tif") * 1e-4
    label = read(hand / "LabelHand/Spain_7370579_LabelHand.tif")[0]
    yield "Spain_7370579", view, {"water": label == 1, "dry": label == 0}
    for path in sorted((shared / "landcover/terramesh/S2L1C").glob("*.tif")):
        view = read(path) * 1e-4
        if np.percentile(view, 0.1) > 0.09:  # baseline 04.00
            view -= 0.1
        classes = read(Path(str(path).replace("S2L1C", "LULC")))[0]
        bright = view[1] > 0.25
        yield path.stem, view, {"water": (classes == 1) & ~bright, "dry": (classes != 1) & ~bright}
    for path in sorted((shared / "landcover/sen12mscr/s2_cloudy").glob("*.tif")):
        view = read(path) * 1e-4
        yield path.stem, view, {"cloud": view[1] > 0.35}


def simulated(first: int, count: int, size: int) -> tuple[Sample, Sample]:
    radar, optics = Sample(), Sample()
    for seed in range(first, first + count):
        scene = simulate_scene(size, size, seed, only=("s1", "s2", "flood", "cloud"))
        label, cloud = scene.targets["flood"], scene.targets["cloud"]
        radar.add_radar(scene.images["s1"], label == 1, label == 0)
        view = scene.images["s2"]
        bands = dict(zip(S2_L1C.bands, view, strict=True))
        optics.add("water", bands, (label == 1) & (cloud == 0))
        optics.add("dry", bands, (label == 0) & (cloud == 0))
        optics.add("cloud", bands, view[1] > 0.35)
    return radar, optics


def compare(real: Sample, fake: Sample) -> list[tuple[str, str, float]]:
    rows = []
    for key in sorted(real.quantiles):
        a, b = np.array(real.quantiles[key]), np.array(fake.quantiles[key])
        low, high = np.percentile(b[:, 2], (2.5, 97.5))
        setting = " ".join(key)
        rows.append((setting, "distance", float(np.abs(a.mean(0) - b.mean(0)).mean())))
        rows.append((setting, "covered", float(np.mean((a[:, 2] >= low) & (a[:, 2] <= high)))))
        print(f"{setting:12s} real {np.round(a.mean(0), 3)}  simulated {np.round(b.mean(0), 3)}")
        print(f"{'':12s} distance {rows[-2][2]:.3f}, covered {rows[-1][2]:.2f} of {len(a)}, {low:.3f} to {high:.3f}")
    if real.speckle:
        a, b = np.array(real.speckle), np.array(fake.speckle)
        print("looks and autocorrelation (columns 1 2 3, rows 1 2 3):")
        print(f"  real {np.round(np.median(a, 0), 2)}\n  simulated {np.round(np.median(b, 0), 2)}")
        names = ("looks", *(f"lag {k} along {axis}" for axis in ("columns", "rows") for k in (1, 2, 3)))
        gaps = np.abs(np.median(a, 0) - np.median(b, 0))
        rows += [("speckle " + name, "distance", float(gap)) for name, gap in zip(names, gaps, strict=True)]
    return rows


def draw(radar: tuple[Sample, Sample], optics: tuple[Sample, Sample], path: Path) -> None:
    figure, axes = plt.subplots(2, 3, figsize=(14, 7.5), layout="constrained")
    for axis, band in zip(axes[0, :2], ("VV", "VH"), strict=True):
        for kind, color in (("water", "#1f6fd6"), ("dry", "#b9772c")):
            fake = np.array(radar[1].quantiles[kind, band])
            axis.hist(
                fake[:, 2], np.arange(-40, 2, 1), density=True, color=color, alpha=0.4, label=f"{kind}, simulated"
            )
            for row in radar[0].quantiles[kind, band]:
                axis.axvline(row[2], color=color, lw=1.2)
        axis.set(xlabel=f"median {band} of a chip, dB", yticks=[])
        axis.legend(title="lines: real chips", fontsize=8)
    lags = np.arange(1, 4)
    for sample, style, name in ((radar[0], "o-", "real"), (radar[1], "s--", "simulated")):
        values = np.array(sample.speckle)
        for start, color, along in ((1, "#444", "columns"), (4, "#c33", "rows")):
            low, middle, high = np.percentile(values[:, start : start + 3], (10, 50, 90), axis=0)
            shift = 0.04 if name == "real" else -0.04
            axes[0, 2].errorbar(
                lags + shift,
                middle,
                (middle - low, high - middle),
                fmt=style,
                color=color,
                capsize=2,
                label=f"{name}, {along}",
            )
    axes[0, 2].set(xlabel="lag, pixels", ylabel="autocorrelation of intensity", xticks=lags)
    axes[0, 2].legend(fontsize=8)
    for axis, kind in zip(axes[1], ("water", "dry", "cloud"), strict=True):
        fake = np.array(
            [np.percentile(np.array(optics[1].quantiles[kind, band])[:, 2], (5, 50, 95)) for band in S2_L1C.bands]
        )
        axis.fill_between(
            range(13), fake[:, 0], fake[:, 2], color="#1f6fd6", alpha=0.25, label="simulated, middle 90 %"
        )
        axis.plot(fake[:, 1], color="#1f6fd6")
        chips = np.array([[row[2] for row in optics[0].quantiles[kind, band]] for band in S2_L1C.bands])
        axis.plot(chips, color="k", lw=0.9)
        axis.set(xticks=range(13), title=f"{kind} (black: real chips)", ylabel="median reflectance")
        axis.set_xticklabels(S2_L1C.bands, rotation=90)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--first", type=int, default=100_000, help="first seed")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--shared", type=Path, default=ROOT.parents[1] / "shared/data")
    arguments = parser.parse_args()
    radar, optics = Sample(), Sample()
    for _, image, water, dry in real_radar(arguments.shared):
        radar.add_radar(image, water, dry)
    for _, view, masks in real_optics(arguments.shared):
        for kind, where in masks.items():
            optics.add(kind, dict(zip(S2_L1C.bands, view, strict=True)), where)
    fake_radar, fake_optics = simulated(arguments.first, arguments.scenes, arguments.size)
    rows = compare(radar, fake_radar) + compare(optics, fake_optics)
    draw((radar, fake_radar), (optics, fake_optics), ROOT / "figures/simulator-realism.png")
    record(
        "simulator-realism",
        (
            Result("simulator", setting, metric, round(value, 4), arguments.first, "all")
            for setting, metric, value in rows
        ),
    )


if __name__ == "__main__":
    main()
