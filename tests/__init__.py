"""The tests: one file for each module, and more for the notebooks and tools around them."""

import matplotlib
from hypothesis import settings

# No test depends on a clock, and every run tries the same cases.
settings.register_profile("course", deadline=None, derandomize=True)
settings.load_profile("course")
# No test opens a window.
matplotlib.use("agg")
