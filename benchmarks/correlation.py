"""Compare `corr2d`, `corr2d_unfold` and PyTorch's `F.conv2d` in one run, as ratios.

512 x 512 pixels, a 5 x 5 kernel, float32. Asked for: `corr2d_unfold` at least 100 times faster than
the loop, and within 10 times of `F.conv2d`.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlib.convolution import corr2d, corr2d_unfold


def seconds(function: Callable[[], Tensor]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Time the three in turn, so that a slow spell of the machine meets all, and print ratios."""
    torch.manual_seed(0)
    X, K = torch.rand(512, 512), torch.rand(5, 5)
    ways: dict[str, tuple[Callable[[], Tensor], int]] = {
        "corr2d, the loop": (lambda: corr2d(X, K), 1),
        "corr2d_unfold": (lambda: corr2d_unfold(X, K), 20),
        "F.conv2d": (lambda: F.conv2d(X[None, None], K[None, None])[0, 0], 20),
    }
    results = [function() for function, _ in ways.values()]
    assert all(torch.allclose(results[0], result, atol=1e-4) for result in results)

    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(3):
        for name, (function, repeats) in ways.items():
            times[name] += [seconds(function) for _ in range(repeats)]
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, value in median.items():
        print(f"{name:17} {1000 * value:8.1f} ms, {value / median['F.conv2d']:6.1f} × F.conv2d")
    ratio = median["corr2d, the loop"] / median["corr2d_unfold"]
    print(f"the loop takes {ratio:.0f} × as long as corr2d_unfold")


if __name__ == "__main__":
    main()
