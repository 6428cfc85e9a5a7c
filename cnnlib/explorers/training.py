"""Learn a kernel of two weights, and watch the optimiser go down the surface of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as widgets
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from cnnlib._checks import matrix, numbers
from cnnlib.explorers.explorer import Explorer
from cnnlib.explorers.picture import Picture, grid
from cnnlib.explorers.surface import (
    CELLS,
    DECADES,
    LEFT,
    PIXELS,
    SIDE,
    SIZE,
    TOP,
    Surface,
    end_mark,
    plot_way,
    power_of_ten,
    short,
    text,
)
from cnnlib.style import FOCUS, KERNEL, NOTE, TINTS

SEED = 125274  # of all that is random: the one that the lecture on convolutional layers uses
MOMENTUM = 0.9
PLAIN, HEAVY, ADAM = "SGD", f"SGD, momentum {MOMENTUM}", "Adam"
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    PLAIN: torch.optim.SGD,
    HEAVY: partial(torch.optim.SGD, momentum=MOMENTUM),
    ADAM: torch.optim.Adam,
}
CURVE = 240  # height of the curve of the loss
CELL = 84, 38  # width and height of a weight


class TrainingExplorer(Explorer):
    """Learn a kernel of two weights, and watch the optimiser go down the surface of the loss.

    The loss is the sum of squared errors, as in the lecture on convolutional layers.

    First used in lecture 3.

    Args:
        X: The input, shape (height, width).
        Y: What the kernel should make of it, shape (height, width − 1) for a kernel of shape
            (1, 2), or (height − 1, width) for one of shape (2, 1).
        start: The weights to start with, two numbers; without them, the random ones that the
            lecture starts with.

    Raises:
        TypeError: There is something else than real numbers.
        ValueError: A shape does not fit, a value is NaN or infinite, or many kernels make Y from
            X equally well.
    """

    def __init__(self, X: Any, Y: Any, start: Any = None) -> None:
        self.X = matrix(X, "X").detach().cpu().float().clone()
        self.Y = matrix(Y, "Y").detach().cpu().float().clone()
        self.kernel_size = _kernel_size(self.X, self.Y)
        self._given = _random_kernel(self.kernel_size) if start is None else _two(start)
        # A row for each place of the kernel: the two pixels below it.
        self._pixels = F.unfold(self.X[None, None], self.kernel_size)[0].T.contiguous()
        self.surface = Surface(self._pixels, self.Y.flatten(), self._given)
        self.weights = self.losses = torch.empty(0)
        self._trained: Any = None
        stable = 2 / float(self.surface.curvatures[1])
        rates = _rates_around(stable)
        self.rate = widgets.SelectionSlider(
            options=[(short(rate), rate) for rate in rates],
            value=max(rate for rate in rates if rate < 0.95 * stable),
            description="learning rate",
        )
        self.optimiser = widgets.Dropdown(options=[*OPTIMISERS], description="optimiser")
        self.batch = widgets.IntSlider(self.Y.numel(), 1, self.Y.numel(), description="batch")
        self.steps = widgets.IntSlider(14, 1, 100, description="steps")
        self.step = widgets.IntSlider(14, 0, 14, description="show step")
        self.play = widgets.Play(
            value=14, min=0, max=14, interval=250, show_repeat=False, tooltip="Play the steps"
        )
        self._link = widgets.jslink((self.play, "value"), (self.step, "value"))
        self.steps.observe(self._steps_changed, "value")
        controls = [self.optimiser, self.rate, self.batch, self.steps, self.step]
        for control in controls:
            control.layout.width, control.style.description_width = "400px", "96px"
        self._given_at = [0, *self.surface.place(self._given)]
        picture = Picture(size=SIZE, width="440px", at=self._given_at)
        picture.grids = [grid(CELLS, CELLS, LEFT, TOP, PIXELS, PIXELS)]
        self.curve = Picture(size=SIZE, width="440px")
        super().__init__(
            "Training explorer",
            "An optimiser looks for a kernel of two weights. On the left, the loss of all such "
            "kernels, and the way from step to step: point somewhere to start there. On the "
            "right, the loss after each step, and the kernel.",
            picture,
            controls,
            [
                [self.optimiser, self.rate],
                [self.batch, self.steps],
                [self.step, self.play],
                [picture, self.curve],
            ],
        )

    @property
    def start(self) -> Tensor:
        """The weights before the first step, shape (2,): those given, or the place pointed at."""
        if self.picture.at in ([], self._given_at):
            return self._given
        _, row, column = self.picture.at
        return self.surface.weights(row, column).float()

    @property
    def limit(self) -> float | None:
        """The learning rate above which the weights run away; None where no such rule is known.

        It is 2/λ for plain SGD and 2 (1 + m)/λ with momentum m, where each step sees all of Y;
        λ is the largest curvature of the loss.
        """
        if self.optimiser.value == ADAM or self.batch.value < self.Y.numel():
            return None
        momentum = MOMENTUM if self.optimiser.value == HEAVY else 0.0
        return 2 * (1 + momentum) / float(self.surface.curvatures[1])

    def update(self) -> str:
        """Train, unless only the step has changed, and draw the way up to that step."""
        settings = [
            self.optimiser.value, self.rate.value, self.batch.value, self.steps.value,
            self.start.tolist(),
        ]  # fmt: skip
        if settings != self._trained:
            self.weights = self._train()
            self.losses = self.surface.loss(self.weights)
            self._trained = settings
        finite = int(self.weights.isfinite().all(1).long().cumprod(0).sum())
        shown = min(self.step.value, finite - 1)
        way, now = self.weights[: shown + 1], _point(self.weights[shown])
        with self.picture.hold_sync(), self.curve.hold_sync():
            self.picture.overlay = self.surface.draw(way)
            self.curve.overlay = self._draw_curve(shown) + self._draw_kernels(shown)
            self.picture.alt = (
                f"The loss over the weights w1 and w2, lowest at {_point(self.surface.minimum)}, "
                f"and a way on it from {_point(way[0])}, in the frame, to {now}."
            )
            self.curve.alt = (
                f"The loss after steps 0 to {shown}, from {short(self.losses[0])} to "
                f"{short(self.losses[shown])}, and the kernel {now}."
            )
        done = f"After {self.step.value} of {self.steps.value} steps"
        if shown < self.step.value:
            return f"{done}: w is too large for the computer since step {finite}. {self._rule()}"
        return f"{done}: w = {now}, loss {short(self.losses[shown])}. {self._rule()}"

    def still(self) -> Figure:
        """Return the surface with the way on it, and the loss after each step."""
        finite = self.weights.isfinite().all(1)
        return plot_way(self.surface, self.weights[finite], self.losses[finite])

    def reset(self) -> None:
        """Set all controls back to their start, and stop playing."""
        self.play.playing = False
        super().reset()

    def _train(self) -> Tensor:
        """Return the weights after 0, 1, ... steps, shape (steps + 1, 2)."""
        weights = self.start.clone().requires_grad_()
        optimiser = OPTIMISERS[self.optimiser.value]([weights], lr=self.rate.value)
        values, generator = self.Y.flatten(), torch.Generator().manual_seed(SEED)
        way = [weights.detach().clone()]
        seen: Any = slice(None)  # all of them
        for _ in range(self.steps.value):
            if self.batch.value < len(values):
                seen = torch.randperm(len(values), generator=generator)[: self.batch.value]
            optimiser.zero_grad()
            # A product of matrices: nn.Conv2d does the same, but takes longer over so little.
            loss = ((self._pixels[seen] @ weights - values[seen]) ** 2).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            way.append(weights.detach().clone())
        return torch.stack(way)

    def _rule(self) -> str:
        """Say what is known of this learning rate, or else of the batch."""
        grown = not self.losses[-1] <= self.losses[0]
        if self.limit is None:
            if grown:
                return "The loss has grown: try a smaller learning rate."
            if self.batch.value < self.Y.numel():
                return f"Each step sees {self.batch.value} of the {self.Y.numel()} values of Y."
            return "Adam's first steps are as long as the learning rate, whatever the slope."
        name = "2/λ" if self.optimiser.value == PLAIN else f"{2 * (1 + MOMENTUM):g}/λ"
        rule = f"{name} = {short(self.limit)}"
        if self.rate.value <= self.limit:
            return f"{rule}: with a larger learning rate, w runs away."
        end = "w runs away." if grown else "later, w runs away, unless it starts in the valley."
        return f"The learning rate {short(self.rate.value)} is above {rule}: {end}"

    def _draw_curve(self, shown: int) -> str:
        """Return the loss after each step up to the one that is shown, as SVG."""
        top = self.surface.top
        decade, step = CURVE / DECADES, SIDE / self.steps.value
        parts = []
        for power in range(top, top - DECADES - 1, -1):
            y = TOP + (top - power) * decade
            parts.append(f'<path d="M{LEFT} {y} h{SIDE}" stroke="#DDDDDD"/>')
            parts.append(text(LEFT - 8, y + 5, power_of_ten(power), "end"))
        for number in sorted({0, round(self.steps.value / 2), self.steps.value}):
            parts.append(text(LEFT + number * step, TOP + CURVE + 20, str(number)))
        parts.append(text(LEFT + SIDE / 2, TOP + CURVE + 41, "step"))
        parts.append(text(LEFT + SIDE, TOP + 19, "loss after each step", "end"))
        heights = ((top - self.losses[: shown + 1].clamp_min(1e-300).log10()) * decade).tolist()
        points = [(k * step, min(max(height, 0.0), CURVE)) for k, height in enumerate(heights)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
        return (
            f'{"".join(parts)}<g transform="translate({LEFT} {TOP})">'
            f'<path d="M0 0 v{CURVE} h{SIDE}" fill="none" stroke="{NOTE}"/>'
            f'<polyline points="{line}" fill="none" stroke="{FOCUS}" stroke-width="2.5"/>'
            f'<g fill="{FOCUS}" stroke="white">{dots}</g>'
            f"{end_mark(shown * step, heights[-1], CURVE)}</g>"
        )

    def _draw_kernels(self, shown: int) -> str:
        """Return the kernel after the step that is shown, and the best one, as SVG."""
        parts, (width, height) = [], CELL
        right, down = (width, 0) if self.kernel_size == (1, 2) else (0, height)
        for left, name, kernel in (
            (LEFT, f"after step {shown}", self.weights[shown]),
            (LEFT + SIDE / 2 + 10, "minimum", self.surface.minimum),
        ):
            top = TOP + CURVE + 66
            parts.append(text(left, top, name, "start"))
            for k, weight in enumerate(kernel.tolist()):
                x, y = left + k * right, top + 9 + k * down
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{width}" height="{height}" '
                    f'fill="{TINTS[KERNEL]}" stroke="{KERNEL}" stroke-width="2"/>'
                    f"{text(x + width / 2, y + height / 2 + 5, short(weight))}"
                )
        return "".join(parts)

    def _steps_changed(self, change: Any) -> None:
        with self.together():
            self.step.max = self.play.max = change["new"]
            self.step.value = change["new"]


def _kernel_size(X: Tensor, Y: Tensor) -> tuple[int, int]:
    """Return the shape of the kernel of two weights that makes Y from X."""
    height, width = X.shape
    sizes = {(height, width - 1): (1, 2), (height - 1, width): (2, 1)}
    size = sizes.get((Y.shape[0], Y.shape[1]))
    if size is None:
        raise ValueError(
            f"expected Y of shape {(height, width - 1)} or {(height - 1, width)} for X of shape "
            f"{(height, width)}, got {tuple(Y.shape)}: make it with corr2d and a kernel of shape "
            f"(1, 2) or (2, 1)"
        )
    return size


def _rates_around(stable: float) -> list[float]:
    """Return learning rates to choose from, a hundredth to a hundred times what is stable."""
    middle = math.floor(math.log10(stable))
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9)
    return [float(f"{n}e{k}") for k in range(middle - 2, middle + 2) for n in steps]


def _random_kernel(size: tuple[int, int]) -> Tensor:
    """Return the weights that a new layer gets from the seed; the seed of others stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = nn.Conv2d(1, 1, size, bias=False)
    return layer.weight.detach().flatten()


def _two(weights: Any) -> Tensor:
    """Return two checked weights as a tensor of shape (2,)."""
    two = numbers(weights, "start").detach().cpu().float().flatten()
    if len(two) != 2:
        raise ValueError(f"expected two weights to start with, got {len(two)}: for example [0, 0]")
    return two


def _point(weights: Tensor) -> str:
    """Write a pair of weights."""
    return f"({', '.join(short(round(w, 6)) for w in weights.tolist())})"
