"""The pictures of the course with controls, for your own images, kernels and models.

Each explorer is made in one line, as the last of a cell: `KernelExplorer(image)`. In JupyterLab it
answers to the mouse and to the keyboard; elsewhere it is a still picture.
"""

from cnnlib.explorers.kernels import KernelExplorer

__all__ = ["KernelExplorer"]
