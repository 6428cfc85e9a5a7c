"""Train the network for handwritten digits with one command, in one process or in several.

    python -m cnnlib.train_digits --epochs 3
    torchrun --nproc-per-node 2 -m cnnlib.train_digits --epochs 3

Several processes share every batch; on a machine with CUDA devices each process has one of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from cnnlib.datasets import digits
from cnnlib.models import DigitsCNN
from cnnlib.parallel import by_one, joined, process, processes
from cnnlib.training import fit


def main(arguments: Sequence[str] | None = None) -> None:
    """Train DigitsCNN on `digits()`, and print how right it is after every epoch.

    Args:
        arguments: Those of the command line, without the name of the program.

    Raises:
        SystemExit: An argument is wrong, or the training failed; its message says why.
    """
    parser = argparse.ArgumentParser(
        prog="cnnlib.train_digits",
        description="Train a network for handwritten digits, alone or under torchrun.",
    )
    parser.add_argument("--epochs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=128, help="of all processes together")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--schedule", choices=["constant", "one-cycle"], default="constant")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", help="a file to write every epoch, and to go on from")
    options = parser.parse_args(arguments)
    with joined():
        try:
            train, test = by_one(digits)
            torch.manual_seed(options.seed)
            history = fit(DigitsCNN(), train, test=test, **vars(options))
        except (ValueError, OSError, FloatingPointError) as error:
            raise SystemExit(f"cnnlib.train_digits: {error}") from error
        if process() == 0:
            print(history.round(4).to_string())
            if len(history):
                right = history["test_accuracy"].iloc[-1]
                together = "one process" if processes() == 1 else f"{processes()} processes"
                print(f"{right:.2%} of the test images are classified right, by {together}.")


if __name__ == "__main__":
    main()
