"""The three errors a user can cause. Each says what, where, and what to do; none needs a traceback."""


class LbrError(Exception):
    """Base of the errors below; the command line prints its text alone and exits with 2."""


class ConfigError(LbrError):
    """A configuration that cannot be used: an unknown key, a value of the wrong kind, a missing file."""


class DataError(LbrError):
    """An input that cannot be used: a broken image, a model without points, a list with a wrong line."""


class StaleOutput(LbrError):
    """An output on disk was made with another configuration or from other inputs than are asked for now."""
