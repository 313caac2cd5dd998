"""What may differ between two scenes, how it is drawn, and the record of what was drawn.

Domain randomisation: a network pretrained on these scenes meets the real world as one more draw, so every range is
wider than what one would call typical.
"""

from typing import Literal

from pydantic import Field

from undercast.config import Settings


class Relief(Settings):
    """Shape of the ground and its drainage."""

    slope: float = Field(default=0.01, ge=0, le=1, description="root mean square slope, rise over run")
    wavelength: float = Field(default=200.0, gt=0, description="size of the largest hills, pixels")
    exponent: float = Field(default=3.2, description="fall of spectral power with frequency; 2 rough, 4 smooth")
    tilt: float = Field(default=0.0, description="slope of the whole scene towards its outlet, rise over run")
    tilt_azimuth: float = Field(default=0.0, description="direction of the fall, radians clockwise from north")
    base: float = Field(default=100.0, description="lowest ground, metres above sea level")
    valley_floor: float = Field(default=3.0, ge=0, description="height below which valleys are filled flat, metres")


class Cover(Settings):
    """What grows and stands on the ground."""

    natural: tuple[float, float, float, float, float, float] = Field(
        default=(0.05, 0.05, 0.3, 0.3, 0.3, 0.0),
        description="weights of sand, rock, grass, shrub, forest, salt off the farms",
    )
    patch: float = Field(default=60.0, gt=0, description="size of natural patches, pixels")
    blend: float = Field(
        default=0.2, ge=0, description="how gradually patches pass into one another; 0 is a sharp border"
    )
    farmed: float = Field(default=0.5, ge=0, le=1, description="share of gentle ground that is farmed")
    crops: tuple[float, float, float, float, float, float, float] = Field(
        default=(1, 1, 1, 1, 0.5, 0.2, 1),
        description="weights of leafy crop, cereal, ploughed, smooth soil, orchard, paddy, grass among parcels",
    )
    parcel_width: float = Field(default=8.0, gt=1, description="width of a parcel, pixels")
    parcel_length: float = Field(default=16.0, gt=1, description="length of a parcel, pixels")
    orientation: float = Field(default=0.0, description="direction of the parcels' long side, radians")
    bend: float = Field(default=10.0, ge=0, description="how far parcel lines wander from straight, pixels")
    hedges: float = Field(default=0.2, ge=0, le=1, description="share of parcels edged by a hedge, bank or ditch")
    contrast: float = Field(default=1.0, ge=0, description="differences between parcels of one crop, relative")
    towns: float = Field(default=0.03, ge=0, le=1, description="share of town")
    villages: float = Field(default=0.04, ge=0, le=1, description="share of scattered houses")
    industry: float = Field(
        default=0.1, ge=0, le=1, description="share of town blocks that are halls of metal and concrete"
    )
    roads: int = Field(default=3, ge=0, description="roads across the scene")
    runway: bool = Field(default=False, description="whether there is an airport")
    wetland: float = Field(default=0.1, ge=0, le=1, description="share of low ground that is marsh")


class Water(Settings):
    """Permanent water in its shapes, the flood over it, and what a label calls water."""

    channel_cells: float = Field(
        default=300.0, gt=0, description="nodes of the coarse grid that a stream drains at its head"
    )
    channel_width: float = Field(default=3.0, gt=0, description="width of a stream that drains the whole scene, pixels")
    rivers: int = Field(default=1, ge=0, description="meandering rivers that cross the scene")
    river_width: float = Field(default=6.0, gt=0, description="their width, pixels")
    meander: float = Field(default=70.0, gt=0, description="meander wavelength, pixels")
    sinuosity: float = Field(
        default=1.0, ge=0, le=2.2, description="largest angle of a meander off the valley, radians"
    )
    oxbows: int = Field(default=0, ge=0, description="cut-off meanders beside each river")
    braid: float = Field(
        default=0.0, ge=0, le=1, description="share of the braid belt that is channel; 0 is a single thread"
    )
    lakes: float = Field(default=0.0, ge=0, le=1, description="share of lakes")
    lake_size: float = Field(default=120.0, gt=0, description="size of lakes, pixels")
    ponds: float = Field(default=0.005, ge=0, le=1, description="share of ponds")
    pond_size: float = Field(default=8.0, gt=0, description="size of ponds, pixels")
    reservoir: float = Field(
        default=0.0, ge=0, le=1, description="share drowned by a reservoir that follows the relief"
    )
    coast: float = Field(default=0.0, ge=0, le=1, description="share of sea")
    basins: float = Field(
        default=0.0, ge=0, le=1, description="share of parcels that are fish ponds, salt pans or flooded paddies"
    )
    flood: float = Field(
        default=0.2, ge=0, le=1, description="share of dry ground that the flood would cover if it may rise"
    )
    rise: float = Field(default=6.0, ge=0, description="highest water over the drainage, metres")
    roughness: float = Field(default=0.5, ge=0, description="small-scale relief of the plain, metres")
    roughness_size: float = Field(default=40.0, gt=0, description="size of small-scale relief, pixels")
    terrace: float = Field(default=0.3, ge=0, description="differences of level between parcels, metres")
    bank: float = Field(default=0.5, ge=0, description="height of roads, hedges and bunds, metres")
    debris: float = Field(
        default=0.05, ge=0, le=1, description="vegetation that breaks the open flood surface, share of signal"
    )
    label_closure: float = Field(
        default=0.5, ge=0, le=1, description="canopy closure below which flooded vegetation is labelled water"
    )


class Radar(Settings):
    """One pass of Sentinel-1."""

    incidence: float = Field(default=38.0, ge=20, le=50, description="incidence angle at the centre, degrees")
    ascending: bool = Field(default=True, description="pass direction; the antenna looks right")
    looks: float = Field(default=4.6, gt=0.5, description="equivalent number of looks of a pixel")
    grain_rows: float = Field(
        default=0.85, gt=0, le=1.2, description="correlation of speckle down the rows, sigma in pixels"
    )
    grain_columns: float = Field(default=0.85, gt=0, le=1.2, description="the same along the columns")
    sharpness: float = Field(default=0.75, gt=0, le=1.2, description="point spread of the instrument, sigma in pixels")
    noise: tuple[float, float] = Field(default=(-28.0, -29.0), description="noise removed from VV and VH, dB")
    noise_left: float = Field(default=0.0, ge=0, le=1, description="share of that noise which the product still holds")
    calibration: Literal["sigma0", "gamma0", "flattened"] = Field(
        default="sigma0", description="what the numbers are; flattened: gamma nought without the relief's gain"
    )
    filtered: int = Field(default=0, ge=0, description="window of a Lee filter over the product, pixels; 0 is none")
    offset: tuple[float, float] = Field(default=(0.0, 0.0), description="calibration and season, dB on VV and VH")
    floor: float = Field(default=-48.5, description="value of a pixel whose noise exceeded its signal, dB")
    wind: float = Field(default=3.0, ge=0, le=20, description="wind speed over water, metres a second")
    cross_wind: float = Field(default=1.0, ge=0, description="how strongly VH of water answers to wind, relative")
    gust: float = Field(default=0.3, ge=0, description="variation of the wind within the scene, relative")
    moisture: float = Field(default=0.0, description="soil moisture off the season's mean, standard deviations")
    step: float = Field(default=0.0, description="step between two sub-swaths, dB")
    scallop: float = Field(default=0.0, ge=0, description="scalloping in azimuth, dB")
    texture: float = Field(default=1.0, ge=0, description="variation inside a class, relative to the signature table")
    class_shift: tuple[tuple[float, float], ...] = Field(
        default=(), description="dB on VV and VH of each class of the signature table, in its order; empty is none"
    )
    border: tuple[float, float] | None = Field(
        default=None,
        description="edge of the swath: its normal's angle in radians, and the share of the scene beyond it",
    )


class Optics(Settings):
    """One overpass of Sentinel-2 and the air it looks through."""

    sun_elevation: float = Field(default=45.0, gt=5, le=90, description="degrees")
    sun_azimuth: float = Field(default=160.0, description="degrees clockwise from north")
    haze: float = Field(default=0.1, ge=0, description="aerosol optical thickness at 550 nm")
    vapour: float = Field(default=1.5, ge=0, description="water vapour, grams a square centimetre")
    turbidity: float = Field(default=0.5, ge=0, le=1, description="sediment in open water: 0 clear and dark, 1 mud")
    vigour: float = Field(default=0.0, description="greenness of vegetation off the table, -1 to 1")
    snow: float = Field(default=0.0, ge=0, le=1, description="share of open ground under snow, high ground first")
    snow_white: float = Field(default=1.0, gt=0, description="brightness of snow off the table; old snow is grey")
    glint: float = Field(default=0.0, ge=0, description="what open water mirrors of the sun, reflectance")
    corrected: float = Field(default=0.0, ge=0, le=1, description="share of the air that was corrected away")
    noise: float = Field(default=0.002, ge=0, description="sensor noise, reflectance")
    class_shift: tuple[float, ...] = Field(default=(), description="relative brightness of each class; empty is none")
    border: tuple[float, float] | None = Field(default=None, description="edge of the swath, as for the radar")


class Sky(Settings):
    """Clouds over the scene at the optical overpass."""

    cover: float = Field(default=0.3, ge=0, le=1, description="share of cloud")
    size: float = Field(default=120.0, gt=0, description="size of the largest clouds, pixels")
    exponent: float = Field(default=3.2, description="fall of the cloud field's spectral power; small is ragged")
    thickness: float = Field(default=8.0, ge=0, description="optical thickness one standard deviation into a cloud")
    height: float = Field(default=1500.0, ge=0, description="height above the ground, metres")
    white: float = Field(default=1.0, gt=0, description="brightness of thick cloud off the table, relative")
    slope: float = Field(default=0.0, description="exponent of wavelength its colour is off by; below 0 it is bluer")
    relief: float = Field(default=0.0, ge=0, description="light and shade on its tops, relative standard deviation")
    cirrus: float = Field(default=0.05, ge=0, description="mean optical thickness of cirrus")


class Slides(Settings):
    """Landslides between the two radar passes, and what may be taken for them."""

    density: float = Field(default=6.0, ge=0, description="slides of the event a square kilometre; 0 is none")
    old_density: float = Field(default=1.0, ge=0, description="slides of years ago a square kilometre, in both passes")
    size: float = Field(default=1.0, gt=0, description="areas relative to those of [Malamud 2004]")
    smallest: float = Field(default=300.0, gt=0, description="least area of a slide, square metres")
    largest: float = Field(default=1e5, gt=0, description="greatest area of a slide, square metres")
    aspect: float = Field(default=3.0, gt=0, description="length of a slide over its width")
    steeper_than: float = Field(default=15.0, ge=0, lt=90, description="slope a slide needs to begin, degrees")
    stops_below: float = Field(default=0.12, ge=0, description="slope on which it comes to rest, rise over run")
    cluster: float = Field(default=0.8, ge=0, description="how unevenly slides lie, standard deviations of a logarithm")
    scar: int = Field(default=7, ge=1, le=17, description="class of ground laid bare above (see Ground)")
    debris: int = Field(default=6, ge=1, le=17, description="class of ground left below")
    cleared: float = Field(default=0.0, ge=0, le=1, description="share of forest parcels cut between the passes")
    cleared_before: float = Field(default=0.05, ge=0, le=1, description="share of forest parcels cut before both")


class Place(Settings):
    """Where the scene lies."""

    landscape: str = Field(default="plain", description="the archetype whose ranges were drawn from")
    epsg: int = Field(default=32631, description="UTM zone")
    easting: float = Field(default=500000.0, description="left edge, metres, a multiple of 10")
    northing: float = Field(default=5000000.0, description="upper edge, metres, a multiple of 10")


class SceneParameters(Settings):
    """Everything that was drawn for a scene: with the seed and the size, it is the scene."""

    place: Place = Place()
    relief: Relief = Relief()
    cover: Cover = Cover()
    water: Water = Water()
    radar: Radar = Radar()
    radar_pre: Radar = Radar()
    optics: Optics = Optics()
    sky: Sky = Sky()
    slides: Slides | None = Field(default=None, description="only where the task is landslide")
