"""Pin the newest versions that work together, for every system and Python, in constraints.txt."""

import re
import subprocess

from cnnlib._files import PROJECT

# torch and torchvision go together; a newer pair is chosen by hand, here.
CHOSEN = ["torch==2.14.1", "torchvision==0.29.1"]
# torch pins the CUDA libraries itself, and another build of torch needs other ones.
CUDA = re.compile(r"nvidia-|cuda-|triton")
HEAD = """\
# The versions that were tested together, on every system. Made by `make constraints`; edited by
# no one. `make lab` and `make test` install exactly these.
"""


def main() -> None:
    """Resolve pyproject.toml with uv and write the pins."""
    command = "uv pip compile pyproject.toml --extra labs --extra site --extra test --universal"
    command += " --python-version 3.11 --fork-strategy fewest --no-header --no-annotate --quiet"
    command += " --constraints -"
    resolved = subprocess.run(
        command.split(),
        cwd=PROJECT,
        input="\n".join(CHOSEN),
        check=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
    )
    pins = [line for line in resolved.stdout.splitlines() if not CUDA.match(line)]
    (PROJECT / "constraints.txt").write_text(HEAD + "\n".join(pins) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
