"""Build the book from what the notebooks have stored: `make site` writes build/site.

The book that was built before stays until the new one is complete.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from sphinx.cmd.build import build_main

from book.staging import LABS, LECTURES, stage
from cnnlib._files import PROJECT, whole_folder

BUILD = PROJECT / "build"
SITE = BUILD / "site"
# Other tools put these beside the book; a lecture's page links what there is when it is built.
BESIDE = ("slides", "pdf")
# Of use to nobody who reads the book: notes of the tools, and what scripts were made from.
LEFTOVERS = (".buildinfo", "*.map", "webpack-macros.html")


def build(target: Path) -> int:
    """Build the book.

    Args:
        target: The folder to write, which is replaced.

    Returns:
        How many pages it has.

    Raises:
        SystemExit: Sphinx had something to complain about, or the book needs a program that is
            not there. What was there before stays.
    """
    with whole_folder(target) as html, tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        stage(PROJECT, source)
        for name in BESIDE:
            if (BUILD / name).is_dir():
                shutil.copytree(BUILD / name, html / name)
        for folder, pattern in ((PROJECT, LECTURES), (source, LABS)):
            for notebook in folder.glob(pattern):
                copy = html / notebook.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(notebook, copy)
        options = ["-b", "html", "-c", str(Path(__file__).parent), "-d", f"{scratch}/doctrees"]
        strict = ["--fail-on-warning", "--quiet"]
        if build_main([*options, *strict, str(source), str(html)]) != 0:
            raise SystemExit("Sphinx's words above say what to repair; every warning counts.")
        (html / ".nojekyll").touch()  # GitHub Pages leaves out _static without it
        for pattern in LEFTOVERS:
            for leftover in html.rglob(pattern):
                leftover.unlink()
    return len(list(target.rglob("*.html")))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit("usage: python -m book.build")
    pages = build(SITE)
    print(f"{SITE.relative_to(PROJECT) / 'index.html'}: {pages} pages")
