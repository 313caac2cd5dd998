"""What can go wrong that a user can mend.

UndercastError          one line: what is wrong, where, and what to do
├── InputError          a raster, folder or chip cannot be used as given
├── ConfigError         a setting is unknown, of the wrong type or out of range
├── ModelError          a model folder is missing, incomplete or does not fit the input
├── ProductError        a product cannot be written, or is not what it claims to be
└── TrainingError       a training run cannot start or go on

The command line prints these as one line and exits with 1; anything else is a bug and keeps its traceback.
"""


class UndercastError(Exception):
    """Root of every error that the user can mend; the message is a single line that says how."""


class InputError(UndercastError):
    """A raster, folder, band or chip cannot be used as given."""


class ConfigError(UndercastError):
    """A setting is unknown, of the wrong type or out of range; the message names the key."""


class ModelError(UndercastError):
    """A model folder is missing, incomplete, or does not fit the images it was asked about."""


class ProductError(UndercastError):
    """A product cannot be written, or does not hold what it claims."""


class TrainingError(UndercastError):
    """A training run cannot start or go on."""
