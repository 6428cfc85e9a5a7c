"""The small package behind a course on convolutional networks.

`convolution` is the operation itself, `kernels` names some kernels, `images` reads pictures,
`datasets` holds data for the lectures, `models` the networks that they count and train,
`receptive_field` says what a value of a network sees. `training` trains, `parallel` does so in
several processes, `train_digits` is a program for that. `plotting` draws it all in one `style`,
`results` draws what came out of a training, `explorers` are pictures with controls.

A module is loaded when it is first used, and so are the functions that the package offers itself:
`from cnnlib import corr2d, conv2d, output_size, plot_conv, plot_convs, load_image`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnlib import (
        convolution,
        datasets,
        explorers,
        images,
        kernels,
        models,
        parallel,
        plotting,
        receptive_field,
        results,
        style,
        train_digits,
        training,
    )
    from cnnlib.convolution import conv2d, corr2d, output_size
    from cnnlib.images import load_image
    from cnnlib.plotting import plot_conv, plot_convs

__all__ = [
    "conv2d",
    "convolution",
    "corr2d",
    "datasets",
    "explorers",
    "images",
    "kernels",
    "load_image",
    "models",
    "output_size",
    "parallel",
    "plot_conv",
    "plot_convs",
    "plotting",
    "receptive_field",
    "results",
    "style",
    "train_digits",
    "training",
]

_FROM = {  # the modules of the functions; what else is in __all__ is a module itself
    "conv2d": "convolution",
    "corr2d": "convolution",
    "load_image": "images",
    "output_size": "convolution",
    "plot_conv": "plotting",
    "plot_convs": "plotting",
}

if not TYPE_CHECKING:  # to a type checker, this function would allow every name

    def __getattr__(name: str) -> Any:
        """Load what is asked for, the first time that it is."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_FROM.get(name, name)}")
        return getattr(module, name) if name in _FROM else module


def __dir__() -> list[str]:
    """Return what there is, loaded or not: for completion as one types."""
    return sorted({*globals(), *__all__})
