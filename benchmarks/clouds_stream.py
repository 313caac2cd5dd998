"""A push-broom strip through ``undercast stream``: memory, speed, and how often a frame is decided wrongly.

Raw lines are piped into the verb, so what is measured is the whole of it: reading, inferring, deciding. The strip is a
simulated scene played forwards and backwards. Speed is by processor seconds, which depend less on what else runs.
Decisions are held against frames of held-out simulated seeds, and against pieces of the two labelled images of
ukis-csmask; truth is *drop* above 70 % cloud. A false positive is a frame worth sending that is dropped. ``drop_above``
of the setting ``chosen`` is the lowest at which at most 1.2 % of other simulated frames are, and is then used once.

    python benchmarks/clouds_stream.py --model clouds-s2 --work DIR [--real DATA/clouds/ukis-csmask]
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from record import Result, record
from undercast.chip import Chip
from undercast.datasets import SimulatedChips, UkisCsmask
from undercast.model import ModelFolder, resolve
from undercast.predict import OpenVinoPredictor, answer
from undercast.task import NODATA

WIDTH, LENGTHS, FRAME = 512, (10_000, 100_000), 256
VALID, TEST, FRAMES = 9_600_000, 9_700_000, 300
CLOUDY, ALLOWED = 0.7, 0.012


def play(scene: Path, count: int) -> None:
    """Write ``count`` lines of the scene to stdout, back and forth."""
    lines = np.load(scene)
    both = np.concatenate([lines, lines[::-1]])
    for first in range(0, count, len(both)):
        sys.stdout.buffer.write(both[: min(len(both), count - first)].tobytes())


def make_scene(work: Path, bands: tuple[str, ...]) -> Path:
    """Lines ``[n, C, W]`` of counts of a simulated scene."""
    file = work / f"lines-{len(bands)}.npy"
    if not file.is_file():
        chips = SimulatedChips(TEST - 10, 1, WIDTH, "clouds", roles=("s2",), targets=("clouds",))
        image = chips[0].images["s2"][chips.modalities["s2"].index(bands)]
        counts = np.where(np.isnan(image), 0, np.rint(image * 10000)).astype("<u2")
        np.save(file, np.ascontiguousarray(counts.transpose(1, 0, 2)))
    return file


def run(model: str, precision: str, scene: Path, count: int) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak memory in MB of the verb over ``count`` lines, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    player = subprocess.Popen([sys.executable, __file__, "--play", str(scene), str(count)], stdout=subprocess.PIPE)
    verb = [sys.executable, "-m", "undercast", "stream", "-", "--model", model, "--precision", precision, "--json"]
    verb += ["--width", str(WIDTH), "--optical", "counts", "--lines", str(FRAME)]
    started = time.perf_counter()
    process = subprocess.Popen(verb, stdin=player.stdout, stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status or player.wait():
        raise SystemExit(f"the verb failed with {status}")
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def shares(predictor: OpenVinoPredictor, chips: Iterable[Chip]) -> NDArray[np.float64]:
    """Cloud share of each frame, true and answered, ``[N, 2]``; frames without a labelled and seen pixel left out."""
    found = []
    for chip in chips:
        answered = answer(predictor, {"s2": chip.images["s2"]}).argmax(axis=0)
        truth = chip.targets["clouds"]
        valid = chip.valid("s2") & (truth != NODATA)
        if valid.any():
            found.append(((truth[valid] == 1).mean(), (answered[valid] == 1).mean()))
    return np.array(found)


def frames(first: int, bands: tuple[str, ...], work: Path) -> Iterable[Chip]:
    source = SimulatedChips(first, FRAMES, FRAME, "clouds", roles=("s2",), targets=("clouds",), cache=work / "chips")
    chosen = source.modalities["s2"].index(bands)
    for chip in source:
        yield Chip(chip.key, {"s2": chip.images["s2"][chosen]}, chip.targets)


def pieces(data: Path, bands: tuple[str, ...], side: int = 128) -> Iterable[Chip]:
    source = UkisCsmask(data)
    chosen = source.modalities["s2"].index(bands)
    for chip in source:
        for row in range(0, chip.shape[0], side):
            for col in range(0, chip.shape[1], side):
                part = (slice(row, row + side), slice(col, col + side))
                image = np.ascontiguousarray(chip.images["s2"][chosen][:, *part])
                yield Chip(f"{chip.key}-{row}-{col}", {"s2": image}, {"clouds": chip.targets["clouds"][part]})


def decided(found: NDArray[np.float64], above: float) -> dict[str, float]:
    """How decisions at ``above`` compare with the truth."""
    cloudy, dropped = found[:, 0] > CLOUDY, found[:, 1] > above
    return {
        "accuracy": float((cloudy == dropped).mean()),
        "false_positives": float(dropped[~cloudy].mean()),
        "false_positives_of_all": float((dropped & ~cloudy).mean()),
        "dropped_of_cloudy": float(dropped[cloudy].mean()),
        "drop_above": above,
        "frames": float(len(found)),
        "cloudy_frames": float(cloudy.sum()),
    }


def choose(found: NDArray[np.float64]) -> float:
    """The lowest share above which at most the allowed share of frames worth sending is dropped."""
    candidates = np.arange(CLOUDY, 1.0, 0.01)
    return float(next((a for a in candidates if decided(found, a)["false_positives"] <= ALLOWED), 1.0))


def told(arm: str, setting: str, split: str, values: dict[str, float]) -> list[Result]:
    print(arm, setting, split, {key: round(value, 4) for key, value in values.items()}, flush=True)
    return [Result(arm, setting, key, value, "", split) for key, value in values.items()]


def main() -> None:
    if sys.argv[1:2] == ["--play"]:
        return play(Path(sys.argv[2]), int(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="clouds-s2")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--real", type=Path, help="folder of ukis-csmask's images")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--only", choices=("memory", "decisions"))
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    folder: ModelFolder = resolve(chosen.model)
    bands = folder.signature.inputs["s2"].bands
    for precision in chosen.precisions:
        results: list[Any] = told(folder.name, precision, "", {"bytes": float(folder.graph(precision).stat().st_size)})
        if chosen.only != "decisions":
            scene = make_scene(chosen.work, bands)
            busy = {}
            for count in LENGTHS:
                seconds, busy[count], peak = run(chosen.model, precision, scene, count)
                values = {"peak_mb": peak, "seconds": seconds, "processor_seconds": busy[count]}
                results += told(folder.name, f"{precision}, {count} lines", "", values)
            # of the lines that the longer strip has more, so that the start counts in neither
            more = (LENGTHS[1] - LENGTHS[0]) * WIDTH / 1e6
            rate = {"mpx_per_processor_second": more / (busy[LENGTHS[1]] - busy[LENGTHS[0]])}
            results += told(folder.name, precision, "", rate)
        if chosen.only != "memory":
            predictor = OpenVinoPredictor(folder, precision, threads=1)
            above = choose(shares(predictor, frames(VALID, bands, chosen.work)))
            sets = {"simulated": shares(predictor, frames(TEST, bands, chosen.work))}
            if chosen.real:
                learned = any("ukis-csmask" in text for text in folder.signature.training_data)
                sets["ukis-csmask, learned from" if learned else "ukis-csmask"] = shares(
                    predictor, pieces(chosen.real, bands)
                )
            for split, found in sets.items():
                results += told(folder.name, f"{precision}, 0.7", split, decided(found, CLOUDY))
                results += told(folder.name, f"{precision}, chosen", split, decided(found, above))
        record("clouds-stream", results)
    return None


if __name__ == "__main__":
    main()
