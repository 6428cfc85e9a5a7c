"""Where the files of the course lie: pictures that lectures load, and small sets of data."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# In the project's folder, img/ and data/ lie beside the package; a wheel carries them inside it.
INSTALLED = (_PACKAGE / "img").is_dir()
PROJECT = _PACKAGE if INSTALLED else _PACKAGE.parent
