"""A trained network made to see fewer bands: where a model for a poorer image begins."""

from collections.abc import Mapping

from undercast.bands import Modality
from undercast.errors import ConfigError
from undercast.nets.segmenter import Segmenter


def narrowed(network: Segmenter, modalities: Mapping[str, Modality]) -> Segmenter:
    """``network`` with the bands of ``modalities`` (role → some of its bands) alone, in their order.

    What its first layer took from the other bands is dropped, as if they were always the middle of their range, so it
    wants training on.

    Raises:
        InputError: a band that the network never saw.
        ConfigError: a role is missing.
    """
    kept, first = [], 0
    for (role, modality), planes in zip(network.modalities.items(), network.planes, strict=True):
        if role not in modalities:
            raise ConfigError(f"role '{role}': the network sees {network.roles}, the data has {tuple(modalities)}")
        bands = modality.index(modalities[role].bands)
        kept += [first + band for band in [*bands, *range(len(modality.bands), planes)]]
        first += planes
    narrow = network.config.build(modalities, network.task)
    state = narrow.state_dict()
    for name, value in network.state_dict().items():
        if not name.startswith("normalise."):  # ranges are those of the bands that are left
            state[name] = value if value.shape == state[name].shape else value[:, kept]
    narrow.load_state_dict(state)
    return narrow
