"""Time explorers in JupyterLab in Chromium: from a key on a slider to the new picture on the page.

Asked for: 100 ms at the median for a picture of 100 x 100 pixels, 200 ms for 512 x 512.
"""

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Locator, sync_playwright

from tests.browser.lab import Lab, slider
from tools.browser import launch

MOVES = 40
IMPORTS = """
import torch
from torch import nn
from cnnlib import models
from cnnlib.convolution import corr2d
from cnnlib.explorers import *
from cnnlib.images import load_image
cat = load_image("img/cat.png", grey=True)
large = nn.functional.interpolate(cat[None, None], (512, 512))[0, 0]
stripe = torch.ones(6, 8)
stripe[:, 2:6] = 0
torch.manual_seed(0)
"""
# What is moved (a slider's label, or "" for the picture that can be pointed at), the goal in
# milliseconds, and the cell.
MOVED = {
    "kernel, 100 x 100": ("value", 100, "KernelExplorer(cat)"),
    "kernel, 512 x 512": ("value", 200, "KernelExplorer(large)"),
    "kernel, 3 x 512 x 512": ("value", 200, "KernelExplorer(large.expand(3, -1, -1))"),
    "arithmetic": ("stride", 100, "ArithmeticExplorer()"),
    "receptive field": ("", 100, "ReceptiveFieldExplorer(models.CNN(), cat)"),
    "layers": ("example", 100, "LayerExplorer(models.DigitsCNN(), torch.rand(40, 1, 28, 28))"),
    "training": ("learning rate", 100, "TrainingExplorer(stripe, corr2d(stripe, [[1.0, -1.0]]))"),
}
# Press an arrow key, and wait until a picture has changed and is drawn.
PRESS = """async (handle, key) => {
    const explorer = handle.closest(".cnnlib-explorer");
    const start = performance.now();
    const image = await new Promise((resolve) => {
        const watcher = new MutationObserver((changes) => {
            const shown = changes.map((change) => change.target)
                .find((target) => target.matches?.("img, .overlay"));
            if (shown) { watcher.disconnect(); resolve(shown) }
        });
        watcher.observe(explorer, { subtree: true, childList: true, attributeFilter: ["src"] });
        handle.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    });
    if (image.decode) await image.decode();
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def milliseconds(output: Locator, label: str) -> list[float]:
    """Move a slider to and fro, one step at a time, and return how long each step takes."""
    output.locator(".cnnlib-picture .stage").first.wait_for()
    handle = slider(output, label) if label else output.locator(".pointable").first
    keys = ["ArrowRight", "ArrowLeft"] * (MOVES // 2)
    return [handle.evaluate(PRESS, key) for key in keys]


def main() -> None:
    """Open all explorers in one notebook, time each, and print medians against their goals."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        lab = Lab(Path(folder))
        try:
            lab.wait()
            browser = launch(playwright)
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            cells = [IMPORTS, *(cell for _, _, cell in MOVED.values())]
            notebook = lab.open(page, lab.write("explorers", cells))
            notebook.run_all()
            for number, (name, (label, goal, _)) in enumerate(MOVED.items(), start=1):
                times = milliseconds(notebook.output(number), label)
                median = statistics.median(times)
                print(f"{name:24} {median:6.1f} ms, {median / goal:4.2f} of the goal of {goal} ms")
            browser.close()
        finally:
            lab.stop()


if __name__ == "__main__":
    main()
