"""Put files of JavaScript packages into the built pages, so that they load from no other host."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / "build" / "npm"


@dataclass(frozen=True)
class Package:
    """A package of npm: its name, its version, and the SHA-512 of its archive in base 64."""

    name: str
    version: str
    sha512: str


REVEAL = Package(
    "reveal.js",
    "5.2.1",
    "r7//6mIM5p34hFiDMvYfXgyjXqGRta+/psd9YtytsgRlrpRzFv4RbH76TXd2qD+7ZPZEbpBDhdRhJaFgfQ7zNQ==",
)


def unpack(package: Package, files: Sequence[str], folder: Path) -> None:
    """Put some files of a package into a folder; npm loads the package the first time.

    Args:
        package: Which one.
        files: Paths of files, and of folders with all that is in them, in the package.
        folder: Where to; the paths below it are those in the package.

    Raises:
        SystemExit: npm is missing or cannot load the package, the archive is another one than
            the one that was chosen, or it lacks one of the files.
    """
    missing = set(files)
    with tarfile.open(_archive(package)) as archive:
        for member in archive:
            path = member.name.removeprefix("package/")
            wanted = {file for file in files if path == file or path.startswith(f"{file}/")}
            content = archive.extractfile(member)
            if wanted and content is not None:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
                missing -= wanted
    if missing:
        raise SystemExit(f"{package.name} {package.version} has no {', '.join(sorted(missing))}")


def _archive(package: Package) -> Path:
    """Return the package's archive, checked, from the cache or else from npm."""
    kept = CACHE / f"{package.name}-{package.version}.tgz"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise SystemExit("The pages need npm, which is not there: install Node.js.")
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            what = f"{package.name}@{package.version}"
            command = [npm, "pack", "--silent", "--pack-destination", folder, what]
            result = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
            loaded = Path(folder, kept.name)
            if result.returncode != 0 or not loaded.exists():
                raise SystemExit(
                    f"npm could not load {what}: see that the network works, then try again.\n"
                    f"{result.stderr.strip()}"
                )
            _check(package, loaded)
            os.replace(loaded, kept)
    _check(package, kept)
    return kept


def _check(package: Package, archive: Path) -> None:
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != package.sha512:
        raise SystemExit(
            f"{archive.name} is not the archive that was chosen: expected the SHA-512 "
            f"{package.sha512}, got {found}. Delete {archive.parent} and try again."
        )
