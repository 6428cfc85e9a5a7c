"""Run a command in the project's environment, making or mending that environment first.

usage: python tools/environment.py [--with EXTRA,...] [--torch cpu|cuda] COMMAND [ARGUMENT ...]

The environment lies in .venv. It holds what a reader needs; an extra of pyproject.toml is added
when a command first asks for it. It counts as ready when the last step of a build wrote down what
was installed and all of that is still there; anything else (a build that was killed, a folder that
was moved, a package that was removed) is built anew.

On Linux, PyPI's build of PyTorch brings gigabytes of CUDA libraries. Where there is no NVIDIA GPU,
the build for the CPU comes from PyTorch's own index instead, if that answers. This file needs the
standard library alone, and starts on old Pythons too, so that it can say that they are too old.
"""

import contextlib
import glob
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading

OLDEST = (3, 11)
EXTRAS = {"labs": "labs", "site": "the book", "test": "tests"}  # what each of them is for
LINUX = sys.platform.startswith("linux")
# Measured, rounded up. PyPI's builds for other systems are as small as the one for the CPU.
GIGABYTES = {"cpu": 1.6, "cuda": 5.9}
NAMES = {"cpu": "the CPU", "cuda": "CUDA"}
CPU_INDEX = os.environ.get("TORCH_INDEX") or "https://download.pytorch.org/whl/cpu"
PATIENCE = 4  # seconds that this index may take to answer

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


def installed_torch():
    """Return which build of torch is in the environment: "cpu", "cuda", or None without one."""
    for name in installed():
        if name.startswith("torch-"):
            return "cuda" if LINUX and "+cpu" not in name else "cpu"
    return None


def note():
    """Return what the last step of a build wrote down, or {} where nothing can be read."""
    try:
        with io.open(READY, encoding="utf-8") as file:
            found = json.load(file)
        return found if set(found) == {"recipe", "extras", "installed"} else {}
    except (IOError, OSError, ValueError, TypeError):  # IOError: Python 2 has both
        return {}


def state(extras, torch):
    """Return "ready", "old" (another recipe, or an extra is missing) or "broken".

    Broken is what was half-built or moved, lacks a package, or has another build of torch than the
    one that was asked for, whose libraries would stay behind.
    """
    found = note()
    if not found or not os.path.exists(PYTHON) or set(found["installed"]) - set(installed()):
        return "broken"
    if found["recipe"]["folder"] != HERE or torch not in (None, installed_torch()):
        return "broken"
    whole = found["recipe"] == recipe() and not set(extras) - set(found["extras"])
    return "ready" if whole else "old"


def answers():
    """Return whether the index of builds for the CPU answers soon."""
    from urllib.request import urlopen

    heard = []

    def ask():
        with contextlib.suppress(OSError, ValueError):  # no network, no such page, no address
            heard.append(urlopen(CPU_INDEX + "/torch/", timeout=PATIENCE).read(1))

    thread = threading.Thread(target=ask)  # looking up a name knows no time-out
    thread.daemon = True
    thread.start()
    thread.join(PATIENCE)
    return bool(heard)


def choose(torch, fresh):
    """Return the build of torch to install, and why.

    Args:
        torch: "cpu" or "cuda" if somebody chose it, else None.
        fresh: Whether the environment is made anew; else it keeps the build that it has.
    """
    if torch == "cuda" and not LINUX:
        stop("PyPI has builds of PyTorch for CUDA for Linux alone: leave TORCH=cuda out.")
    if torch == "cpu" and LINUX and fresh and not answers():
        stop(
            "{} does not answer, so that PyTorch for the CPU cannot be had: see that the network "
            "works, name a mirror in TORCH_INDEX, or take the larger build with "
            "TORCH=cuda.".format(CPU_INDEX)
        )
    if torch:
        return torch, "as you chose"
    if not fresh:
        return installed_torch(), "as before"
    if not LINUX:
        return "cpu", "the usual one here"
    if os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi"):
        return "cuda", "there is an NVIDIA GPU; TORCH=cpu takes the smaller one"
    if answers():
        return "cpu", "there is no NVIDIA GPU; TORCH=cuda takes the other one"
    return "cuda", "the index of the smaller one does not answer"


def build(extras, torch):
    """Install into the environment; start it afresh unless it is whole and merely out of date."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < OLDEST:
        stop(
            "Python 3.11 or newer is needed, and this is {}: install a newer one, or name one "
            "that you have, for example `make lab PYTHON=python3.12`.".format(version)
        )
    fresh = state(extras, torch) == "broken"
    kept = set(note().get("extras", []))
    chosen, why = choose(torch, fresh)
    if fresh:
        print(
            "Setting up .venv with Python {} and PyTorch for {} ({}): a few minutes and {} "
            "GB.".format(version, NAMES[chosen], why, GIGABYTES[chosen])
        )
    elif set(extras) - kept:
        added = " and ".join(EXTRAS[name] for name in sorted(set(extras) - kept))
        print("Adding to .venv what is needed for {}; this is done once.".format(added))
    else:
        print("Bringing .venv up to date.")
    sys.stdout.flush()
    if os.path.exists(READY):
        os.remove(READY)  # from here to the end the environment counts as half-built
    if fresh and not run([sys.executable, "-m", "venv", "--clear", ENV]):
        stop(
            "Python could not create .venv (its words are above): on Debian and Ubuntu "
            "`sudo apt install python3-venv` brings the missing part."
        )
    extras = sorted(kept.union(extras))
    what = ".[{}]".format(",".join(extras)) if extras else "."
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    # Python compiles what it imports: a tenth of all, and half the time of this.
    command += ["--no-compile"]
    if chosen == "cpu" and LINUX and (fresh or answers()):
        command += ["--extra-index-url", CPU_INDEX]
    if not run(command + ["-c", "constraints.txt", "-e", what]):
        stop(
            "pip could not install the packages (its words are above): see that the network "
            "works, then type the same command again."
        )
    if torch not in (None, installed_torch()):
        stop("{} has no build of this version of PyTorch for this Python.".format(CPU_INDEX))
    write_note(extras)


def write_note(extras):
    """Write down that the environment is whole, and what that means."""
    with io.open(READY, "w", encoding="utf-8") as file:
        json.dump({"recipe": recipe(), "extras": extras, "installed": installed()}, file, indent=1)


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
            "the disk is full: the environment needs up to {} GB in {} and, while it is made, in "
            "{} (TMPDIR names another place).".format(
                GIGABYTES["cuda"], HERE, tempfile.gettempdir()
            )
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


def options(arguments):
    """Return extras, build of torch and command that were asked for."""
    extras, torch = [], None
    while arguments and arguments[0] in ("--with", "--torch"):
        name, value = (arguments + [""])[:2]
        arguments = arguments[2:]
        if name == "--with":
            extras = value.split(",")
        else:
            torch = value
    if not arguments:
        stop(__doc__.split("\n\n")[1])
    unknown = sorted(set(extras) - set(EXTRAS))
    if unknown:
        stop("there are the extras {}, not {}.".format(", ".join(sorted(EXTRAS)), unknown[0]))
    if torch not in (None, "cpu", "cuda"):
        stop("TORCH is cpu or cuda, not {}.".format(torch))
    return extras, torch, arguments


def main(arguments):
    """Run the command inside the environment and end with its exit status."""
    extras, torch, command = options(arguments)
    if state(extras, torch) != "ready":
        with io.open(ENV + ".lock", "w", encoding="utf-8") as file:
            if hasattr(os, "set_inheritable"):
                os.set_inheritable(file.fileno(), True)
            lock(file)
            if state(extras, torch) != "ready":  # another build may have ended meanwhile
                build(extras, torch)
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
