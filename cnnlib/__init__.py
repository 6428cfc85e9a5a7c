"""The small package behind a course on convolutional networks.

`convolution` is the operation itself, `kernels` names some kernels, `images` reads pictures,
`datasets` holds data for the lectures, `plotting` draws it all. `diagrams` (imported on its own)
draws the animations in img/.
"""

from cnnlib import convolution, datasets, images, kernels, plotting

__all__ = ["convolution", "datasets", "images", "kernels", "plotting"]
