"""The small networks that lectures take apart, and a count of their multiplications.

Every network is an ordinary `torch.nn.Module`, with its layers in order in `main`. Shapes in the
docstrings leave out the batch, as `torchsummary.summary` wants them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cnnlib._checks import whole
from cnnlib._networks import check_model, mode


def multiplications(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Count the multiplications that a network makes for one input.

    Those of convolutional and linear layers are counted, one for every product of a weight and a
    value (zeros of the padding too). Biases, activations and pooling make none that count. The
    network runs once, on zeros, as it does after training (no dropout); nothing in it changes.

    First used in lecture 6.

    Args:
        model: Any network for one tensor, on any device.
        input_shape: The shape of one input without the batch: (channels, height, width) for
            images, (values,) for linear layers.

    Returns:
        Their number. PyTorch counts a multiplication and an addition as two; this is half of that.

    Raises:
        TypeError: model is no `torch.nn.Module`, or a size is no whole number.
        ValueError: input_shape is empty, or a size is less than 1.

    Source: `torch.utils.flop_counter` of PyTorch does the counting.
    """
    check_model(model)
    if isinstance(input_shape, int) or len(input_shape) == 0:
        raise ValueError(
            f"expected input_shape as a tuple such as (channels, height, width), without the "
            f"batch, got {input_shape!r}"
        )
    shape = [whole(size, "every size in input_shape", 1) for size in input_shape]
    first = next(model.parameters(), torch.empty(0))
    zeros = torch.zeros(1, *shape, dtype=first.dtype, device=first.device)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), mode(model, training=False), counter:
        model(zeros)
    return int(counter.get_total_flops()) // 2


class _Network(nn.Module):
    """Layers in a row, called `main`."""

    main: nn.Sequential

    def forward(self, x: Tensor) -> Tensor:
        """Return what comes out of the last layer, with the batch as first axis."""
        out: Tensor = self.main(x)
        return out


class TwoConvCNN(_Network):
    """Two convolutional layers and a head, without pooling: almost all parameters are in the head.

    Input: (1, 100, 100). Output: (1,). Parameters: 30 + 56 + 20,001 = 20,087.

    Written out in lecture 6.

    Source: Introduction to Convolutional Neural Networks (lecture 6), ingredient 2, flattening.
    """

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(in_channels=1, out_channels=3, kernel_size=(3, 3), padding=1),
            nn.ReLU(),
            nn.Conv2d(in_channels=3, out_channels=2, kernel_size=(3, 3), padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(20000, 1),
        )


class PooledCNN(_Network):
    """The same two layers, each followed by max pooling: the head is 16 times smaller.

    Input: (1, 100, 100). Output: (1,). Parameters: 30 + 56 + 1,251 = 1,337.

    First used in lecture 6.

    Source: Introduction to Convolutional Neural Networks (lecture 6), ingredient 3, pooling.
    """

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(in_channels=1, out_channels=3, kernel_size=(3, 3), padding=1),
            nn.ReLU(),
            nn.MaxPool2d((2, 2)),
            nn.Conv2d(in_channels=3, out_channels=2, kernel_size=(3, 3), padding=1),
            nn.ReLU(),
            nn.MaxPool2d((2, 2)),
            nn.Flatten(),
            nn.Linear(1250, 1),
        )


def linear_block(input_size: int, output_size: int) -> nn.Sequential:
    """Return a linear layer and a ReLU.

    Args:
        input_size: Number of values that come in.
        output_size: Number of values that go out.

    Returns:
        The two layers; input_size × output_size weights and output_size biases.
    """
    return nn.Sequential(nn.Linear(input_size, output_size), nn.ReLU())


def conv_block(input_channels: int, output_channels: int) -> nn.Sequential:
    """Return a convolutional layer of 3 × 3 kernels, which keeps height and width, and a ReLU.

    Args:
        input_channels: Number of channels that come in.
        output_channels: Number of channels that go out.

    Returns:
        The two layers; 9 × input_channels × output_channels weights and output_channels biases.
    """
    return nn.Sequential(nn.Conv2d(input_channels, output_channels, (3, 3), padding=1), nn.ReLU())


class FCNN(_Network):
    """A fully connected network for an image that was made one long row.

    Input: (input_size,). Output: (1,). Parameters: 256 × input_size + 44,033, which is 4,238,337
    for the 128 × 128 pixels of one channel.

    Written out in lecture 9.

    Args:
        input_size: Number of values in an image, all channels together.

    Source: Introduction to Convolutional Neural Networks (lecture 6), "CNN vs FCNN".
    """

    def __init__(self, input_size: int = 128 * 128) -> None:
        super().__init__()
        self.main = nn.Sequential(
            linear_block(input_size, 256),
            linear_block(256, 128),
            linear_block(128, 64),
            linear_block(64, 32),
            nn.Linear(32, 16),
            nn.Linear(16, 1),
        )


class CNN(_Network):
    """A convolutional network for the same images: five layers of three kernels, and a head.

    Input: (input_channels, 128, 128). Output: (1,). Parameters: 27 × input_channels + 3 in the
    first layer, 84 in each of the other four, 49,153 in the head; 49,519 for one channel.

    Written out in lecture 9.

    Args:
        input_channels: Channels of an image: 1 if it is grey, 3 if it is in colour.

    Source: Introduction to Convolutional Neural Networks (lecture 6), "CNN vs FCNN".
    """

    def __init__(self, input_channels: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(
            conv_block(input_channels, 3),
            conv_block(3, 3),
            conv_block(3, 3),
            conv_block(3, 3),
            conv_block(3, 3),
            nn.Flatten(),
            nn.Linear(49152, 1),
        )


class DigitsCNN(_Network):
    """A network for handwritten digits (MNIST): two rounds of convolution and pooling, and a head.

    Input: (1, 28, 28). Output: (10,), one score (logit) for each digit.
    Parameters: 320 + 18,496 + 200,768 + 650 = 220,234.

    As in the source there is no activation between the two linear layers; without dropout they
    are together one linear map.

    First used in lecture 9.

    Args:
        pool_first: Whether pooling stands before the ReLU. The maximum of what a ReLU passes on is
            what it passes on of the maximum, so the network is the same, and the ReLU has four
            times less to do.

    Source: Convolutions and Deep Networks, where it is built with Keras; its `padding='same'` is
    the same as here.
    """

    def __init__(self, *, pool_first: bool = False) -> None:
        super().__init__()
        kinds = (lambda: nn.MaxPool2d((2, 2)), nn.ReLU)
        first, second = kinds if pool_first else kinds[::-1]
        self.main = nn.Sequential(
            nn.Conv2d(1, 32, (3, 3), padding="same"),
            first(),
            second(),
            nn.Conv2d(32, 64, (3, 3), padding="same"),
            first(),
            second(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 64),
            nn.Dropout(0.5),
            nn.Linear(64, 10),
        )


class LeNet5(_Network):
    """The network for digits of 1998, in the form in which it is usually built today.

    Input: (1, 32, 32). Output: (10,), one score (logit) for each digit.
    Parameters: 156 + 2,416 + 48,120 + 10,164 + 850 = 61,706.

    Tanh and average pooling are close to the paper. What differs from it: there, each of the 16
    kernels of the second convolution (C3) reads 3, 4 or 6 of the 6 channels, 1,516 parameters
    instead of 2,416; every pooled channel has a weight and a bias of its own (12 and 32
    parameters) and a tanh; the tanh is stretched, 1.7159 tanh(2a / 3); and the last layer measures
    distances to ten fixed patterns and has nothing to train. That makes 60,000 parameters.

    First used in lecture 9.

    Source: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, Gradient-based learning applied to
    document recognition, Proceedings of the IEEE 86 (1998), section II.B.
    """

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, 6, (5, 5)),
            nn.Tanh(),
            nn.AvgPool2d((2, 2)),
            nn.Conv2d(6, 16, (5, 5)),
            nn.Tanh(),
            nn.AvgPool2d((2, 2)),
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.Tanh(),
            nn.Linear(120, 84),
            nn.Tanh(),
            nn.Linear(84, 10),
        )
