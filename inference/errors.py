"""What can go wrong between a stack and its objects."""


class InferenceError(Exception):
    """Base of every error raised by `inference`; the message names the thing, its value and the remedy."""


class WeightsRefused(InferenceError):
    """Weights that do not fit the detector they are meant for."""


class RuntimeRefused(InferenceError):
    """A runtime that cannot run the detector, or does not find what it must."""


class AnnotationError(InferenceError):
    """An annotation file that cannot be read as what it claims to be."""


class SpecimenRefused(InferenceError):
    """A specimen that a classifier cannot look at, or must not."""
