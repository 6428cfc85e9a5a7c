"""The pictures of the course with controls, for your own images, kernels and models.

Each explorer is made in one line, as the last of a cell: `KernelExplorer(image)`. In JupyterLab it
answers to the mouse and to the keyboard; elsewhere it is a still picture.
"""

from cnnlib.explorers.arithmetic import ArithmeticExplorer
from cnnlib.explorers.fields import ReceptiveFieldExplorer
from cnnlib.explorers.kernels import KernelExplorer
from cnnlib.explorers.layers import LayerExplorer
from cnnlib.explorers.training import TrainingExplorer

__all__ = [
    "ArithmeticExplorer",
    "KernelExplorer",
    "LayerExplorer",
    "ReceptiveFieldExplorer",
    "TrainingExplorer",
]
