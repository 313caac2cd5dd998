"""How long the simulator takes: chips of 256 × 256 by what is asked of them, and whole scenes, on one core.

    OMP_NUM_THREADS=1 python benchmarks/simulator_speed.py [--large]

Processor time is printed beside wall time: on a busy machine the first is the one to compare.
"""

import argparse
import resource
import time
from collections.abc import Callable

from undercast.simulate import simulate_chip, simulate_scene

REQUESTS = {
    "s1+flood": ("s1", "flood"),
    "s1+s2+flood": ("s1", "s2", "flood"),
    "s1+s2+flood+flood_weak": ("s1", "s2", "flood", "flood_weak"),
    "everything": None,
}


def measure(name: str, work: Callable[[int], object], count: int) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    for seed in range(count):
        work(seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:34s} {1e3 * cpu / count:9.1f} ms of processor {1e3 * wall / count:9.1f} ms of wall time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=100)
    parser.add_argument("--large", action="store_true", help="also scenes of 1500 and 5000 pixels")
    arguments = parser.parse_args()
    simulate_chip(0)
    for name, only in REQUESTS.items():
        measure(f"256 x 256, {name}", lambda seed, only=only: simulate_chip(seed, only=only), arguments.chips)
    measure("1500 x 1500, everything", lambda seed: simulate_scene(1500, 1500, seed), 3)
    if arguments.large:
        measure("5000 x 5000, s1+flood", lambda seed: simulate_scene(5000, 5000, seed, only=("s1", "flood")), 1)
        measure("5000 x 5000, everything", lambda seed: simulate_scene(5000, 5000, seed), 1)
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
