"""What nbgrader's own commands and formgrader need to know when they are started in this folder."""

from pathlib import Path

from traitlets.config import get_config

c = get_config()
c.CourseDirectory.course_id = "cnnlib"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
