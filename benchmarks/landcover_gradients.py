"""How hard each of CloudSeg's losses pulls: norms of their gradients on the streams that all of them share.

    python benchmarks/landcover_gradients.py --work /tmp/landcover-simulated

Of the arm ``cloudseg`` of the land-cover benchmark, seed 0, at its first step and after its last, over the same ten
batches: the mean of each loss as it is weighed, the mean norm of its gradient on the encoders and exchanges, and the
cosine between that and the gradient of cross-entropy.
"""

import argparse
from pathlib import Path

import torch

from landcover_simulated import Run, begin, pretrained, settings, trained
from undercast.engine.place import Place
from undercast.recipes import landcover
from undercast.recipes.stage import Plan

BATCHES = 10
SHARED = ("optical.", "radar.", "cross.", "exchanges.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the benchmark")
    work, place = parser.parse_args().work, Place(threads=1)
    place.launch()
    run = Run(0, work, place)
    plan = landcover.through_cloud(settings("cloudseg", 0, run.steps), run.chips(), trained("teacher", run))
    begin(plan.network, {role: pretrained(role, run) for role in ("s2_clear", "s1")})
    measure("first step", plan)
    plan.network.load_state_dict(trained("cloudseg", run).state_dict())
    measure("after the last", plan)


def measure(when: str, plan: Plan) -> None:
    """Print value, gradient norm and cosine with cross-entropy of every loss."""
    shared = [p for name, p in plan.network.body.named_parameters() if name.startswith(SHARED)]
    found: dict[str, list[list[float]]] = {}
    for step in range(BATCHES):
        batches = {name: feed.batch(step) for name, feed in plan.feeds.items()}
        terms = plan.objective.train()(batches).terms
        pulls = {}
        for name, term in terms.items():
            mean = term.weight * term.total.sum / term.total.count
            parts = torch.autograd.grad(mean, shared, retain_graph=True, allow_unused=True)
            whole = [torch.zeros_like(p) if g is None else g for p, g in zip(shared, parts, strict=True)]
            pulls[name] = float(mean.detach()), torch.cat([part.flatten() for part in whole])
        towards = pulls["cross_entropy"][1]
        for name, (mean, pull) in pulls.items():
            cosine = float(torch.nn.functional.cosine_similarity(pull, towards, dim=0))
            found.setdefault(name, []).append([mean, float(pull.norm()), cosine])
    for name, rows in found.items():
        mean, norm, cosine = torch.tensor(rows).mean(0).tolist()
        print(f"{when:15} {name:14} loss {mean:.3f}  gradient {norm:.3f}  cosine with cross-entropy {cosine:+.2f}")


if __name__ == "__main__":
    main()
