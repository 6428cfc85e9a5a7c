"""Data that lectures look at and train on, one module for each kind."""

from cnnlib.datasets.scenes import crowd
from cnnlib.datasets.templates import letters

__all__ = ["crowd", "letters"]
