"""How fast networks of several sizes train and map, a core: to choose a student by.

    python benchmarks/network_speed.py [NAME...]

Processor time on one thread, so that other work on the machine does little harm; the best of several turns. Training:
chips of 256×256×2, 8 a step, forward, backward and fused AdamW, bfloat16 autocast, channels_last, allocator tuned.
Mapping: OpenVINO, 512×512×2; "net" is what remains when tiles of 1024 give their margin away.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import openvino
import torch

from undercast.bands import S1
from undercast.chip import Chip
from undercast.engine.allocator import tune_allocator
from undercast.export import describe, export_onnx, quantise_int8
from undercast.losses.segmentation import cross_entropy
from undercast.nets import SegmenterConfig, UNetConfig
from undercast.task import FLOOD

NETWORKS = {
    "plain 8x4": UNetConfig(base=8, stages=4),
    "plain 16x4": UNetConfig(base=16, stages=4),
    "plain 16x4 bilinear": UNetConfig(base=16, stages=4, up="bilinear"),
    "plain 16x4 transposed": UNetConfig(base=16, stages=4, up="transposed"),
    "separable 16x4": UNetConfig(base=16, stages=4, block="separable"),
    "separable 16x5": UNetConfig(base=16, stages=5, block="separable"),
    "separable 32x4": UNetConfig(base=32, stages=4, block="separable"),
    "separable 32x5": UNetConfig(base=32, stages=5, block="separable"),
    "plain 16x4 add": UNetConfig(base=16, stages=4, join="add"),
    "separable 16x4 add": UNetConfig(base=16, stages=4, block="separable", join="add"),
    "separable 32x4 add": UNetConfig(base=32, stages=4, block="separable", join="add"),
    "plain 16x5 add": UNetConfig(base=16, stages=5, join="add"),
    "plain 16x5 cap 128 add": UNetConfig(base=16, stages=5, max_channels=128, join="add"),
    "plain 16x5": UNetConfig(base=16, stages=5),
    "plain 16x5 cap 128": UNetConfig(base=16, stages=5, max_channels=128),
    "plain 24x5": UNetConfig(base=24, stages=5),
    "plain 32x4": UNetConfig(base=32, stages=4),
    "plain 32x5": UNetConfig(base=32, stages=5),
}
CHIPS, SIZE, TILE, MAP_TILE = 8, 256, 512, 1024


def best(work: Callable[[], object], turns: int = 5) -> float:
    """Processor seconds of the quickest turn, after one to warm up."""
    times = []
    for _ in range(turns + 1):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times[1:])


def training_rate(config: UNetConfig) -> float:
    """Chips a second and core."""
    network = SegmenterConfig(body=config).build({"s1": S1}, FLOOD).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), fused=True)
    images = {"s1": (torch.randn(CHIPS, 2, SIZE, SIZE) * 5 - 12).to(memory_format=torch.channels_last)}
    target = (images["s1"][:, 1] < -18).long()

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images)
        cross_entropy(logits, target).mean().backward()
        optimiser.step()

    return CHIPS / best(step)


def mapping_rate(path: Path, precision: str) -> float:
    """Megapixels a second and core."""
    model = openvino.Core().read_model(path)
    model.reshape({"s1": [1, 2, TILE, TILE]})
    options = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": "1", "NUM_STREAMS": "1"}
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    image = np.random.default_rng(0).normal(-12, 5, (1, 2, TILE, TILE)).astype(np.float32)
    return TILE**2 / 1e6 / best(lambda: request.infer({"s1": image}, share_inputs=True))


def main() -> None:
    tune_allocator()
    torch.set_num_threads(1)
    chips = [Chip("a", {"s1": np.random.default_rng(1).normal(-12, 5, (2, 256, 256)).astype(np.float32)})]
    print(f"{'network':24}{'params':>9}{'margin':>7}{'chips/s':>9}{'fp32':>7}{'bf16':>7}{'int8':>7}{'net':>6}  MP/s")
    for name in sys.argv[1:] or NETWORKS:
        config = NETWORKS[name]
        network = SegmenterConfig(body=config).build({"s1": S1}, FLOOD)
        signature = describe(network, "speed")
        kept = ((MAP_TILE - 2 * -(-signature.margin // signature.stride) * signature.stride) / MAP_TILE) ** 2
        with TemporaryDirectory() as folder:
            graph, integers = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
            export_onnx(network, signature, graph)
            quantise_int8(graph, integers, signature, chips)
            fp32, bf16 = mapping_rate(graph, "f32"), mapping_rate(graph, "bf16")
            int8 = mapping_rate(integers, "f32")
        count = sum(parameter.numel() for parameter in network.parameters())
        rates = f"{training_rate(config):9.1f}{fp32:7.2f}{bf16:7.2f}{int8:7.2f}{kept:6.2f}"
        print(f"{name:24}{count / 1e3:8.0f}k{signature.margin:7}{rates}", flush=True)


if __name__ == "__main__":
    main()
