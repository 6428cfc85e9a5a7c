"""Images and labels on their way into a network: checked, moved and in batches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader

from cnnlib._checks import numbers
from cnnlib._networks import check_model, device_of, mode
from cnnlib.parallel import process, processes

Data: TypeAlias = tuple[Tensor, Tensor] | DataLoader[Any]


class Batch(NamedTuple):
    """Images to take a step with, their labels, and what only tensors have.

    Attributes:
        images: On the device of the network.
        labels: Likewise, int64.
        places: Which of all images these are.
        weight: Makes the mean over processes the mean over all images of the batch, when the
            process has more or fewer of them than others. It is 0 for one that has none, and
            takes the step with an image of another.
    """

    images: Tensor
    labels: Tensor
    places: Tensor | None = None
    weight: float = 1.0


class Batches:
    """Images and labels in batches, on the device of the network."""

    def __init__(self, data: Data, name: str, model: nn.Module, size: int) -> None:
        """Check the data against the network, and move tensors to it once.

        Raises:
            TypeError: They are no tensors of the right kind, nor a DataLoader.
            ValueError: There are none, they do not fit the network, or a label is out of range.
        """
        self.name, self.size, self.device = name, size, device_of(model)
        self.loader = data if isinstance(data, DataLoader) else None
        self.count = 0  # a DataLoader does not tell
        if self.loader is None:
            images, labels = self._checked(data, model)
            self.images, self.labels = images.to(self.device), labels.to(self.device)
            self.count = len(images)
            # Of every image, the loss when it was last seen; what was not seen yet is hardest.
            self.losses = torch.full((self.count,), torch.inf, device=self.device)
            self.mine = torch.zeros(self.count, dtype=torch.bool, device=self.device)
            return
        if processes() > 1:
            raise ValueError(
                f"expected {name} as two tensors where several processes train together, got a "
                f"DataLoader: every process would get the same images from it"
            )
        if len(self.loader) == 0:
            raise ValueError(f"{name} is empty: its DataLoader yields no batch")
        with mode(model, training=False):  # a DataLoader that shuffles takes random numbers
            self._checked(next(iter(self.loader)), model)

    def steps(self, share: float = 1.0) -> int:
        """Return the number of batches in a share of the images."""
        if self.loader is not None:
            return len(self.loader)
        return math.ceil(math.ceil(share * self.count) / self.size)

    def in_order(self) -> Iterator[Batch]:
        """Yield all batches; of several processes, each gets other ones."""
        if self.loader is None:
            mine = slice(process(), None, processes())
            for start in range(0, len(self.images[mine]), self.size):
                part = slice(start, start + self.size)
                yield Batch(self.images[mine][part], self.labels[mine][part])
            return
        for data in self.loader:
            images, labels = self._checked(data)
            yield Batch(images.to(self.device), labels.to(self.device))

    def shuffled(self, seed: int, share: float) -> Iterator[Batch]:
        """Yield the share of the images whose losses were largest, in an order by the seed.

        Of several processes, each gets its part of every batch.
        """
        if self.loader is not None:
            yield from self.in_order()
            return
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(seed))
        if share < 1:
            hardest = self.losses.topk(math.ceil(share * self.count)).indices.cpu()
            order = order[torch.isin(order, hardest)]
        for chosen in torch.split(order, self.size):
            mine = chosen[process() :: processes()]
            weight = len(mine) * processes() / len(chosen)
            places = (mine if len(mine) else chosen[:1]).to(self.device)
            yield Batch(self.images[places], self.labels[places], places, weight)

    def remember(self, batch: Batch, losses: Tensor) -> None:
        """Take the loss of each image of a batch."""
        if batch.places is not None:
            self.losses[batch.places] = losses.to(self.losses.dtype)
            self.mine[batch.places] = True

    def exchange(self) -> None:
        """Let every process know the losses that another one saw since the last time."""
        if self.loader is None and processes() > 1:
            news = torch.where(self.mine, self.losses, -torch.inf)
            distributed.all_reduce(news, distributed.ReduceOp.MAX)
            self.losses = torch.where(news.isneginf(), self.losses, news)
            self.mine.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """Return what an epoch hands to the next."""
        return {} if self.loader is not None else {"losses": self.losses}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` returned."""
        if self.loader is None:
            self.losses = state["losses"].to(self.device)

    def _checked(self, data: Any, model: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        images, labels = _pair(data, self.name)
        check_images(images, f"the images of {self.name}")
        if model is not None:
            self.classes = classes_of(model, images)
        _check_labels(labels, len(images), self.classes, self.name)
        return images, labels.long()


def classes_of(model: nn.Module, images: Tensor) -> int:
    """Return how many classes a network tells apart, and see that it takes such images."""
    check_model(model)
    try:
        with torch.no_grad(), mode(model, training=False):
            logits = model(images[:1].to(device_of(model)))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"expected images that the network takes, got {images.dtype} of shape "
            f"{tuple(images.shape)}; where one goes through it, PyTorch says: {reason}"
        ) from error
    if not isinstance(logits, Tensor) or logits.ndim not in (1, 2) or len(logits) != 1:
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"expected a network that gives one row of logits for each image, got {came} for one "
            f"image: end it with nn.Flatten() and nn.Linear(..., classes)"
        )
    return max(2, logits.numel())


def check_images(images: Any, name: str) -> None:
    """Refuse images that are no finite floating-point numbers."""
    if not isinstance(images, Tensor):
        raise TypeError(
            f"expected {name} as a tensor, got {type(images).__name__}: an array becomes one with "
            f"torch.tensor(array)"
        )
    if not images.is_floating_point():
        raise TypeError(
            f"expected {name} as floating-point numbers, got {images.dtype}: bytes from 0 to 255 "
            f"become numbers from 0 to 1 with images.float() / 255"
        )
    # A sum needs no memory, and is finite if all are: only otherwise is it worth a closer look.
    if images.numel() == 0 or not torch.isfinite(images.detach().sum()):
        numbers(images, name)


def _pair(data: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        many = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise TypeError(
            f"expected {name} as two tensors (images, labels), or a DataLoader of such pairs, got "
            f"{type(data).__name__}{many}"
        )
    return data[0], data[1]


def _check_labels(labels: Any, count: int, classes: int, name: str) -> None:
    whole = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    if not isinstance(labels, Tensor):
        raise TypeError(
            f"expected the labels of {name} as a tensor, got {type(labels).__name__}: convert "
            f"them with torch.tensor(labels)"
        )
    if labels.shape != (count,):
        raise ValueError(
            f"expected one label for each of the {count} images of {name}, shape ({count},), got "
            f"shape {tuple(labels.shape)}: a row with a 1 for the class (one-hot) becomes a label "
            f"with labels.argmax(1)"
        )
    if labels.dtype not in whole:
        raise TypeError(
            f"expected the labels of {name} as whole numbers, got {labels.dtype}: convert them "
            f"with labels.long()"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"expected labels of {name} from 0 to {classes - 1}, as the network tells {classes} "
            f"classes apart, got {low if low < 0 else high}: count classes from 0, or give the "
            f"network more outputs"
        )
