"""Draws every picture in img/ that is not a photograph."""

from cnnlib._files import PROJECT
from tools.figures import draw_all

draw_all(PROJECT / "img")
