"""Run a command in the project's environment, making or mending that environment first.

usage: python tools/environment.py COMMAND [ARGUMENT ...]

The environment lies in .venv. It counts as ready when the last step of a build wrote down what was
installed and all of that is still there; anything else (a build that was killed, a folder that was
moved, a package that was removed) is built anew. This file needs the standard library alone, and
starts on old Pythons too, so that it can say that they are too old.
"""

import glob
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile

OLDEST = (3, 11)
# Measured: torch for Linux brings 5 GB of CUDA libraries along, its other builds do not.
GIGABYTES = 7 if sys.platform == "linux" else 2

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENV = os.path.join(HERE, ".venv")
READY = os.path.join(ENV, "ready.json")
BIN = os.path.join(ENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(BIN, "python.exe" if os.name == "nt" else "python")


def stop(sentence):
    """End with one sentence that says what is wrong and what to do."""
    sys.exit("\ncnnlib: " + sentence)


def recipe():
    """Return the folder and a digest of the texts that decide what is installed."""
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        with open(os.path.join(HERE, name), "rb") as file:
            # Line ends and the settings of tools ([tool. ...]) change nothing that is installed.
            digest.update(file.read().replace(b"\r", b"").split(b"[tool.")[0])
    return {"folder": HERE, "digest": digest.hexdigest()}


def installed():
    """Return the distributions in the environment, as `name-version.dist-info`."""
    return sorted(
        os.path.basename(path)
        for library in (os.path.join("lib", "python*"), "Lib")
        for path in glob.glob(os.path.join(ENV, library, "site-packages", "*.dist-info"))
    )


def state():
    """Return "ready", "old" (made from another recipe) or "broken" (half-built, moved, missing)."""
    try:
        with io.open(READY, encoding="utf-8") as file:
            note = json.load(file)
        intact = os.path.exists(PYTHON) and set(note["installed"]) <= set(installed())
        if not intact or note["recipe"]["folder"] != HERE:
            return "broken"
        return "ready" if note["recipe"] == recipe() else "old"
    except (IOError, OSError, ValueError, KeyError, TypeError):  # IOError: Python 2 has both
        return "broken"


def build():
    """Install into the environment; start it afresh unless it is whole and merely out of date."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST:
        stop(
            "Python 3.11 or newer is needed, and this is {}: install a newer one, or name one "
            "that you have, for example `make lab PYTHON=python3.12`.".format(version)
        )
    fresh = state() == "broken"
    if os.path.exists(READY):
        os.remove(READY)  # from here to the end the environment counts as half-built
    print("Setting up .venv with Python {}: a few minutes and {} GB.".format(version, GIGABYTES))
    sys.stdout.flush()
    if fresh and not run([sys.executable, "-m", "venv", "--clear", ENV]):
        stop(
            "Python could not create .venv (its words are above): on Debian and Ubuntu "
            "`sudo apt install python3-venv` brings the missing part."
        )
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    if not run(pip + ["-c", "constraints.txt", "-e", ".[labs,site,test]"]):
        stop(
            "pip could not install the packages (its words are above): see that the network "
            "works, then type the same command again."
        )
    note_ready()


def note_ready():
    """Write down that the environment is whole, and what that means."""
    with io.open(READY, "w", encoding="utf-8") as file:
        json.dump({"recipe": recipe(), "installed": installed()}, file, indent=1)


def run(command):
    """Run a step of the build in sight, and say whether it worked; stop if the disk is full."""
    # close_fds=False hands the lock down: if this process is killed, the next one waits for pip.
    process = subprocess.Popen(command, cwd=HERE, stderr=subprocess.PIPE, close_fds=False)
    words = b""
    for line in process.stderr:
        os.write(2, line)
        words += line
    if process.wait() == 0:
        return True
    full = b"No space left on device" in words or b"not enough space on the disk" in words
    if full or shutil.disk_usage(HERE).free < 50e6:  # ensurepip keeps its words to itself
        shutil.rmtree(ENV, ignore_errors=True)  # half of it is of no use, and the disk is full
        stop(
            "the disk is full: the environment needs {} GB in {} and, while it is made, in {} "
            "(TMPDIR names another place).".format(GIGABYTES, HERE, tempfile.gettempdir())
        )
    return False


def lock(file):
    """Wait until no other build holds the file; the system lets go of it when this process ends."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def main(command):
    """Run the command inside the environment and end with its exit status."""
    if not command:
        stop(__doc__.split("\n\n")[1])
    if state() != "ready":
        with io.open(ENV + ".lock", "w", encoding="utf-8") as file:
            if hasattr(os, "set_inheritable"):
                os.set_inheritable(file.fileno(), True)
            lock(file)
            if state() != "ready":  # another build may have ended meanwhile
                build()
    environment = dict(os.environ, VIRTUAL_ENV=ENV)
    environment["PATH"] = os.pathsep.join([BIN, os.environ.get("PATH", "")])
    environment.pop("PYTHONHOME", None)
    program = shutil.which(command[0], path=environment["PATH"])
    if program is None:
        stop("there is no command {!r} in .venv.".format(command[0]))
    os.chdir(HERE)
    if os.name == "nt":  # execve on Windows would not wait for the command
        sys.exit(subprocess.call([program] + command[1:], env=environment))
    sys.stdout.flush()
    os.execve(program, [program] + command[1:], environment)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        stop("interrupted; the same command goes on where it must.")
