"""The errors that a user may cause and therefore reads."""


class InputError(ValueError):
    """One clear sentence about input that cannot be used: what was wrong, the value, what was expected."""


class SceneError(InputError):
    """A scene, map or list file that cannot be read; the message starts with its path."""


class ImageError(InputError):
    """An image that cannot be read; the message starts with its path."""


class WeightsError(InputError):
    """A weight file that does not fit; the message starts with its path."""
