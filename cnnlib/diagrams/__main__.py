"""Draws every picture in img/ that is not a photograph."""

from cnnlib.diagrams import draw_all
from cnnlib.images import PROJECT

draw_all(PROJECT / "img")
