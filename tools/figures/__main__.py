"""Draws every picture in img/ that is not a photograph."""

from cnnlib._files import PROJECT
from tools.figures import MODULES

for module in MODULES:
    module.draw(PROJECT / "img")
