"""Data that lectures look at and train on, one module for each kind."""

from cnnlib.datasets.cartoons import avatars
from cnnlib.datasets.mnist import digits
from cnnlib.datasets.scenes import crowd
from cnnlib.datasets.templates import letters

__all__ = ["avatars", "crowd", "digits", "letters"]
