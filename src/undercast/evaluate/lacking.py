"""A model asked without some of its images: what it still knows where a sensor saw nothing."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from undercast.predict import Predictor
from undercast.signature import Signature


class Lacking:
    """A predictor that is never shown the images of ``roles``; a Predictor. Which pixels count stays as it was."""

    def __init__(self, predictor: Predictor, roles: tuple[str, ...]) -> None:
        self.predictor, self.roles = predictor, roles

    @property
    def signature(self) -> Signature:
        """What it takes and answers."""
        return self.predictor.signature

    def predict(self, images: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Probabilities of the images ``[B, C, H, W]`` with those of ``roles`` blank, as :meth:`Predictor.predict`."""
        blank = {role: np.full_like(images[role], np.nan) for role in self.roles if role in images}
        return self.predictor.predict({**images, **blank})


def lacking(predictor: Predictor) -> dict[str, Predictor]:
    """The predictor without each set of images that it can do without, by the name that says so."""
    signature = predictor.signature
    sets = [lost for many in range(1, len(signature.inputs)) for lost in combinations(signature.optional, many)]
    return {f"{signature.name} without {' and '.join(lost)}": Lacking(predictor, lost) for lost in sets}
