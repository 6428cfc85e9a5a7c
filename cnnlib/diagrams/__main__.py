"""Draws every picture in img/ that is not a photograph."""

from cnnlib._files import INSTALLED, PROJECT
from cnnlib.diagrams import draw_all

if INSTALLED:
    raise SystemExit("run this in the project's folder: an installed cnnlib has no img/ to draw")
draw_all(PROJECT / "img")
