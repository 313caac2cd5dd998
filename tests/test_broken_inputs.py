"""Kinds of broken input, each with its message: one line that names the culprit, and nothing left behind."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from conftest import UTM, backscatter
from undercast.errors import InputError
from undercast.mapping import map_scene
from undercast.raster import write_raster

AFFINE = rasterio.Affine(*UTM[1])
FAR = (UTM[0], (10.0, 0.0, 900000.0, 0.0, -10.0, 4900000.0))
ENGINEERING = (
    'ENGCRS["site",EDATUM["d"],CS[Cartesian,2],AXIS["e",east],AXIS["n",north],LENGTHUNIT["metre",1]]'
)  # fmt: skip
MOON = (
    'GEOGCRS["Moon",DATUM["M",ELLIPSOID["Moon",1737400,0]],CS[ellipsoidal,2],AXIS["lon",east],AXIS["lat",north],'
    'ANGLEUNIT["degree",0.0174532925199433]]'
)


class Maker:
    """Makes the files of a case in a folder; each method returns what the user would type."""

    def __init__(self, folder):
        self.folder = folder

    def scene(self, name="scene.tif", image=None, grid=UTM, bands=("VV", "VH")):
        image = backscatter(40, 40) if image is None else image
        fill = np.nan if image.dtype.kind == "f" else None
        write_raster(self.folder / name, image, grid, nodata=fill, descriptions=bands)
        return str(self.folder / name)

    def raw(self, name="raw.tif", scale=None, **profile):
        """A file as GDAL writes it, with ``profile`` instead of what a sound one has."""
        profile = {"driver": "GTiff", "count": 2, "dtype": "float32", "crs": UTM[0], "transform": AFFINE} | profile
        with rasterio.open(self.folder / name, "w", width=40, height=40, **profile) as target:
            target.write(backscatter(40, 40)[: profile["count"]].astype(profile["dtype"]))
            if profile["count"] == 2:
                target.descriptions = ("VV", "VH")
            if scale is not None:
                target.scales = (scale,) * profile["count"]
        return str(self.folder / name)

    def single(self, name, **profile):
        return self.raw(name, count=1, **profile)

    def bytes(self, name, change):
        path = Path(self.scene(name, backscatter(600, 600)))
        path.write_bytes(change(bytearray(path.read_bytes())))
        return str(path)

    def text(self, name, content):
        (self.folder / name).write_text(content)
        return str(self.folder / name)

    def vrt(self, source):
        bands = "".join(
            f'<VRTRasterBand dataType="Float32" band="{number}"><Description>{name}</Description><SimpleSource>'
            f'<SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>{number}</SourceBand>'
            "</SimpleSource></VRTRasterBand>"
            for number, name in ((1, "VV"), (2, "VH"))
        )
        return self.text(
            "mosaic.vrt",
            '<VRTDataset rasterXSize="40" rasterYSize="40"><SRS>EPSG:32631</SRS>'
            f"<GeoTransform>500000,10,0,4900000,0,-10</GeoTransform>{bands}</VRTDataset>",
        )

    def zip(self, keep=None):
        path = self.folder / "scenes.zip"
        with zipfile.ZipFile(path, "w") as target:
            target.write(self.scene(), "scene.tif")
        path.write_bytes(path.read_bytes()[:keep])
        return str(path)

    def picture(self):
        with rasterio.open(
            self.folder / "quicklook.png", "w", driver="PNG", count=3, width=40, height=40, dtype="uint8"
        ) as target:
            target.write(np.full((3, 40, 40), 9, np.uint8))
        return str(self.folder / "quicklook.png")


def flipped(content):
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(byte ^ 0x5A for byte in content[middle : middle + 4000])
    return content


DECIBEL = backscatter(40, 40)
POWER = (10 ** (DECIBEL / 10)).astype(np.float32)
PLANE = np.zeros((1, 40, 40), np.float32)

KINDS = {
    "no input": (lambda _: [], "no image for role s1"),
    "an empty path": (lambda _: [""], "an input is empty"),
    "no such file": (lambda at: [f"{at.folder}/gone.tif"], "gone.tif: no such file"),
    "a folder": (lambda at: [str(at.folder)], "is a folder; give the raster files in it"),
    "a dangling link": (lambda at: [link(at.folder)], "link.tif: no such file"),
    "an empty file": (lambda at: [at.text("empty.tif", "")], "empty.tif: is no raster"),
    "a text": (lambda at: [at.text("notes.tif", "no raster\n")], "notes.tif: is no raster"),
    "half a STAC item": (
        lambda at: [at.text("item.json", '{"type": "Feature"}')],
        "item.json: holds something that is no",
    ),
    "a zip itself": (lambda at: [at.zip()], "scenes.zip: is no raster"),
    "a member that a zip has not": (lambda at: [f"/vsizip/{at.zip()}/gone.tif"], "gone.tif: is no raster"),
    "a zip cut off": (lambda at: [f"/vsizip/{at.zip(keep=400)}/scene.tif"], "scene.tif: is no raster"),
    "a server that does not answer": (lambda _: ["http://127.0.0.1:9/s1.tif"], "s1.tif: is no raster"),
    "cut off in the header": (lambda at: [at.bytes("cut.tif", lambda b: b[:90])], "cut.tif: is no raster"),
    "cut off in the pixels": (lambda at: [at.bytes("cut.tif", lambda b: b[: len(b) // 2])], "cut.tif: "),
    "damaged in the middle": (lambda at: [at.bytes("bad.tif", flipped)], "bad.tif: cannot be read near row"),
    "a mosaic of nothing": (lambda at: [at.vrt("/gone.tif")], "mosaic.vrt: cannot be read near row 0"),
    "a mosaic cut off": (lambda at: [at.text("m.vrt", "<VRTDataset rasterXSize")], "m.vrt: is no raster"),
    "no CRS": (lambda at: [at.raw(crs=None)], "raw.tif: has no CRS"),
    "no transform": (lambda at: [at.raw(transform=rasterio.Affine.identity())], "has no geotransform"),
    "ground control points": (lambda at: [at.raw(transform=None, gcps=points(), crs="EPSG:4326")], "terrain-correct"),
    "pixels without height": (
        lambda at: [at.raw(transform=rasterio.Affine(10, 0, 0, 0, 0, 0))],
        "pixels cover no ground",
    ),
    "a transform of no numbers": (
        lambda at: [at.raw(transform=rasterio.Affine(np.nan, 0, 0, 0, -10, 0))],
        "pixels cover no ground",
    ),
    "a site's own CRS": (
        lambda at: [at.raw(crs=rasterio.CRS.from_wkt(ENGINEERING))],
        "the CRS 'site' has no ellipsoid",
    ),
    "a geocentric CRS": (lambda at: [at.raw(crs="EPSG:4978")], "neither geographic nor projected"),
    "latitudes beyond the pole": (
        lambda at: [at.raw(crs="EPSG:4326", transform=rasterio.Affine(1, 0, 0, 0, -1, 300))],
        "reaches beyond the globe",
    ),
    "eastings beyond the globe": (
        lambda at: [at.raw(transform=rasterio.Affine(10, 0, 9e9, 0, -10, 9e9))],
        "reaches beyond the globe",
    ),
    "complex numbers": (lambda at: [at.raw(dtype="complex64")], "holds complex numbers"),
    "one band of two": (lambda at: [at.scene("s1_VV.tif", DECIBEL[:1], bands=())], "band VH of s1 is missing"),
    "another polarisation": (lambda at: [at.scene("s1_HH.tif", DECIBEL[:1], bands=())], "holds HH"),
    "bands of other names": (lambda at: [at.scene(bands=("HH", "HV"))], "its bands are HH, HV"),
    "two bands of one name": (lambda at: [at.scene(bands=("VV", "VV"))], "band VV of s1 is given twice"),
    "a picture of the scene": (lambda at: [at.picture()], "has 3 unnamed bands and s1 needs 2"),
    "a band of unknown name": (lambda at: [at.scene("image.tif", PLANE, bands=())], "cannot tell which band"),
    "one file twice": (lambda at: [at.scene(), at.scene()], "band VV of s1 is given twice"),
    "an unknown role": (lambda at: [f"radar={at.scene()}"], "unknown role"),
    "an unknown band": (lambda at: [f"s1:VX={at.scene()}@1"], "no band VX"),
    "a band number too high": (lambda at: [f"s1:VV={at.scene()}@3"], "has no band 3"),
    "a band number of zero": (lambda at: [f"{at.scene()}@0"], "scene.tif@0: no such file"),
    "a band not said": (lambda at: [f"s1:VV={at.scene()}"], "has 2 bands; say which"),
    "digital numbers": (
        lambda at: [at.scene(image=(DECIBEL * 10 + 400).astype(np.uint16))],
        "holds raw digital numbers",
    ),
    "dB stretched to bytes": (
        lambda at: [at.scene(image=(DECIBEL * 8 + 255).clip(1, 254).astype(np.uint8))],
        "holds raw digital numbers",
    ),
    "dB times a hundred": (
        lambda at: [at.scene(image=(DECIBEL * 100).astype(np.int16))],
        "say so by a scale of 0.01",
    ),
    "bands in two units": (lambda at: [at.scene(image=np.stack([DECIBEL[0], POWER[1]]))], "in one unit"),
    "a unit that cannot be told": (
        lambda at: [at.scene(image=np.full((2, 40, 40), 8, np.float32))],
        "say it with --unit db or --unit power",
    ),
    "a scale of zero": (lambda at: [at.raw(dtype="int16", scale=0.0)], "declares a scale of 0 for band VV"),
    "a scale that is no number": (lambda at: [at.raw(dtype="int16", scale=np.nan)], "a scale of nan"),
    "bands of two places": (
        lambda at: [
            at.scene("a_VV.tif", DECIBEL[:1], bands=()),
            at.scene("a_VH.tif", DECIBEL[1:], grid=FAR, bands=()),
        ],
        "a_VH.tif: does not overlap the scene",
    ),
    "an elevation of elsewhere": (
        lambda at: [at.scene(), f"dem={at.scene('dem.tif', PLANE, FAR, ())}"],
        "dem.tif: does not overlap the scene",
    ),
    "an elevation of the Moon": (
        lambda at: [at.scene(), f"dem={at.single('moon.tif', crs=rasterio.CRS.from_wkt(MOON))}"],
        "moon.tif: cannot be brought into the CRS of the scene",
    ),
    "an elevation of two bands": (lambda at: [at.scene(), f"dem={at.scene()}"], "none of them is elevation"),
    "a reference without CRS": (
        lambda at: [at.scene(), f"reference={at.single('mask.tif', crs=None)}"],
        "mask.tif: has no CRS",
    ),
    "half an image from before": (
        lambda at: [at.scene(), f"s1_pre={at.scene('pre_VV.tif', DECIBEL[:1], bands=())}"],
        "band VH of s1_pre is missing",
    ),
}


def link(folder):
    (folder / "link.tif").symlink_to("/gone")
    return str(folder / "link.tif")


def points():
    return [
        rasterio.control.GroundControlPoint(row, col, col * 1e-4, -row * 1e-4) for row in (0, 40) for col in (0, 40)
    ]


def test_the_kinds_are_many():
    assert len(KINDS) >= 30


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_broken_input_is_refused_in_a_line_that_says_why(tmp_path, tiny_model, kind):
    make, message = KINDS[kind]
    (tmp_path / "inputs").mkdir()
    (tmp_path / "products").mkdir()
    with pytest.raises(InputError) as caught:
        map_scene(make(Maker(tmp_path / "inputs")), tiny_model, tmp_path / "products/out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "products").iterdir()) == []
