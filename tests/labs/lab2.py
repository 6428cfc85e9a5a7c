"""Solutions of lab 2, learning and looking."""

# Students write no types.
# mypy: ignore-errors

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.labs.attempts import right, wrong


@wrong("the gradient of a square is taken without its 2", loses="q1-input q1-kernel")
def on_paper():
    return {
        "output": [4, 4, -1],
        "loss": 3,
        "kernel_gradient": [-1, 3],
        "input_gradient": [2, -1, -3, -1],
        "new_kernel": [2.1, 0.7],
    }


@wrong("the step goes along the gradient, uphill", loses="q1-kernel")
def on_paper():
    return {
        "output": [4, 4, -1],
        "loss": 3,
        "kernel_gradient": [-2, 6],
        "input_gradient": [4, -2, -6, -2],
        "new_kernel": [1.8, 1.6],
    }


@wrong("the gradient of the kernel is flipped", loses="q2-example q2-plain q2-stride")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    dK = torch.zeros(size, dtype=X.dtype)
    for i in range(dY.shape[0]):
        for j in range(dY.shape[1]):
            top, left = i * stride[0], j * stride[1]
            dK += dY[i, j] * X[top : top + size[0], left : left + size[1]]
    return dK.flip(0, 1)


@wrong("the stride is forgotten in the gradient of the kernel", loses="q2-example q2-stride")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    dK = torch.zeros(size, dtype=X.dtype)
    for i in range(dY.shape[0]):
        for j in range(dY.shape[1]):
            dK += dY[i, j] * X[i : i + size[0], j : j + size[1]]
    return dK


@wrong("rows and columns of the stride are exchanged", loses="q2-example q2-stride")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    dK = torch.zeros(size, dtype=X.dtype)
    for i in range(dY.shape[0]):
        for j in range(dY.shape[1]):
            top, left = i * stride[1], j * stride[0]
            dK += dY[i, j] * X[top : top + size[0], left : left + size[1]]
    return dK


@wrong("the mean over all places and not the sum", loses="q2-example q2-plain q2-stride")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    K = torch.zeros(1, 1, *size, dtype=X.dtype, requires_grad=True)
    Y = F.conv2d(X[None, None], K, stride=stride)[0, 0]
    (Y * dY).mean().backward()
    return K.grad[0, 0]


@wrong("dY slides over X without room for what a stride leaves over", loses="q2-example q2-stride")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    dilated = F.conv2d(X[None, None], dY[None, None], dilation=stride)[0, 0]
    return dilated


@wrong("the kernel is flipped on its way back", loses="q3-example q3-plain q3-stride")
def input_gradient(dY, K, size, stride=(1, 1)):
    dX = torch.zeros(size, dtype=dY.dtype)
    for i in range(dY.shape[0]):
        for j in range(dY.shape[1]):
            top, left = i * stride[0], j * stride[1]
            dX[top : top + K.shape[0], left : left + K.shape[1]] += dY[i, j] * K.flip(0, 1)
    return dX


@wrong("the last place replaces what others left on a pixel", loses="q3-plain q3-stride")
def input_gradient(dY, K, size, stride=(1, 1)):
    dX = torch.zeros(size, dtype=dY.dtype)
    for i in range(dY.shape[0]):
        for j in range(dY.shape[1]):
            top, left = i * stride[0], j * stride[1]
            dX[top : top + K.shape[0], left : left + K.shape[1]] = dY[i, j] * K
    return dX


@wrong("pixels that were never read are missing", loses="q3-example q3-stride")
def input_gradient(dY, K, size, stride=(1, 1)):
    return F.conv_transpose2d(dY[None, None], K[None, None], stride=stride)[0, 0]


@wrong("dY is multiplied in place", loses="q3-example q3-plain q3-stride")
def input_gradient(dY, K, size, stride=(1, 1)):
    X = torch.zeros(1, 1, *size, dtype=dY.dtype, requires_grad=True)
    F.conv2d(X, K[None, None], stride=stride)[0, 0].backward(dY)
    dY *= 0
    return X.grad[0, 0]


@wrong("the sum of the squared errors and not their mean", loses="q4-example q4-learned q4-losses")
def learn(X, Y, size, steps, rate):
    kernel, bias = torch.zeros(1, 1, *size, dtype=X.dtype), torch.zeros(1, dtype=X.dtype)
    losses = []
    for _ in range(steps):
        kernel.requires_grad_(), bias.requires_grad_()
        loss = ((F.conv2d(X[None, None], kernel, bias)[0, 0] - Y) ** 2).sum()
        loss.backward()
        kernel = kernel.detach() - rate * kernel.grad
        bias = bias.detach() - rate * bias.grad
        losses.append(loss.item())
    return kernel[0, 0], bias, losses


@wrong("the gradients of all steps add up", loses="q4-learned q4-losses")
def learn(X, Y, size, steps, rate):
    layer = nn.Conv2d(1, 1, size).to(X.dtype)
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    losses = []
    for _ in range(steps):
        loss = ((layer(X[None, None])[0, 0] - Y) ** 2).mean()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            layer.weight -= rate * layer.weight.grad
            layer.bias -= rate * layer.bias.grad
    return layer.weight.detach()[0, 0], layer.bias.item(), losses


@wrong("the bias is not learned", loses="q4-example q4-learned q4-losses")
def learn(X, Y, size, steps, rate):
    kernel = torch.zeros(1, 1, *size, dtype=X.dtype)
    losses = []
    for _ in range(steps):
        kernel.requires_grad_()
        loss = ((F.conv2d(X[None, None], kernel)[0, 0] - Y) ** 2).mean()
        loss.backward()
        kernel = kernel.detach() - rate * kernel.grad
        losses.append(loss.item())
    return kernel[0, 0], 0.0, losses


@wrong(
    "the bias gets its gradient after the kernel has moved", loses="q4-example q4-learned q4-losses"
)
def learn(X, Y, size, steps, rate):
    kernel, bias, losses = torch.zeros(size, dtype=X.dtype), 0.0, []
    for _ in range(steps):
        errors = F.conv2d(X[None, None], kernel[None, None])[0, 0] + bias - Y
        losses.append((errors**2).mean().item())
        step = F.conv2d(X[None, None], errors[None, None])[0, 0] * 2 / errors.numel()
        kernel = kernel - rate * step
        errors = F.conv2d(X[None, None], kernel[None, None])[0, 0] + bias - Y
        bias = bias - rate * 2 * errors.mean().item()
    return kernel, bias, losses


@wrong("the losses are those after each step", loses="q4-example q4-losses")
def learn(X, Y, size, steps, rate):
    layer = nn.Conv2d(1, 1, size).to(X.dtype)
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    losses = []
    for _ in range(steps):
        layer.zero_grad()
        ((layer(X[None, None])[0, 0] - Y) ** 2).mean().backward()
        with torch.no_grad():
            layer.weight -= rate * layer.weight.grad
            layer.bias -= rate * layer.bias.grad
            losses.append(((layer(X[None, None])[0, 0] - Y) ** 2).mean().item())
    return layer.weight.detach()[0, 0], layer.bias.item(), losses


@wrong("the bias of a layer is counted even where there is none", loses="q5-example q5-layers")
def count_parameters(layers):
    total = 0
    for kind, *s in layers:
        if kind == "conv":
            if s[0] % s[3] or s[1] % s[3]:
                raise ValueError("groups")
            total += s[1] * (s[0] // s[3]) * s[2][0] * s[2][1] + s[1]
        if kind == "linear":
            total += s[0] * s[1] + s[1]
        if kind == "norm":
            total += 2 * s[0]
    return total


@wrong("groups divide the channels on both sides", loses="q5-example q5-groups")
def count_parameters(layers):
    total = 0
    for kind, *s in layers:
        if kind == "conv":
            if s[0] % s[3] or s[1] % s[3]:
                raise ValueError("groups")
            total += (s[1] // s[3]) * (s[0] // s[3]) * s[2][0] * s[2][1] + s[1] * s[4]
        if kind == "linear":
            total += s[0] * s[1] + s[1] * s[2]
        if kind == "norm":
            total += 2 * s[0]
    return total


@wrong("all kernels are taken for squares", loses="q5-example q5-groups q5-layers")
def count_parameters(layers):
    total = 0
    for kind, *s in layers:
        if kind == "conv":
            if s[0] % s[3] or s[1] % s[3]:
                raise ValueError("groups")
            total += s[1] * (s[0] // s[3]) * s[2][0] ** 2 + s[1] * s[4]
        if kind == "linear":
            total += s[0] * s[1] + s[1] * s[2]
        if kind == "norm":
            total += 2 * s[0]
    return total


@wrong("only the channels out must be split evenly", loses="q5-groups")
def count_parameters(layers):
    total = 0
    for kind, *s in layers:
        if kind == "conv":
            if s[1] % s[3]:
                raise ValueError("groups")
            total += s[1] * (s[0] // s[3]) * s[2][0] * s[2][1] + s[1] * s[4]
        if kind == "linear":
            total += s[0] * s[1] + s[1] * s[2]
        if kind == "norm":
            total += 2 * s[0]
    return total


@wrong(
    "everything from the first to the last pixel, holes included",
    loses="q6-example q6-holes q6-padding",
)
def pixels_read(n, layers, place):
    first = last = place
    for kernel, stride, padding, dilation in layers[::-1]:
        first = first * stride - padding
        last = last * stride - padding + dilation * (kernel - 1)
    return [i for i in range(first, last + 1) if 0 <= i < n]


@wrong("the zeros between the layers are taken for values", loses="q6-padding")
def pixels_read(n, layers, place):
    places = {place}
    for kernel, stride, padding, dilation in layers[::-1]:
        places = {i * stride - padding + a * dilation for i in places for a in range(kernel)}
    return sorted(i for i in places if 0 <= i < n)


@wrong("padding counts as pixels", loses="q6-example q6-padding")
def pixels_read(n, layers, place):
    places = {place}
    for kernel, stride, padding, dilation in layers[::-1]:
        places = {i * stride - padding + a * dilation for i in places for a in range(kernel)}
    return sorted(places)


@wrong("the layers are followed from the first to the last", loses="q6-example q6-holes q6-padding")
def pixels_read(n, layers, place):
    places = {place}
    for kernel, stride, padding, dilation in layers:
        places = {i * stride - padding + a * dilation for i in places for a in range(kernel)}
    return sorted(i for i in places if 0 <= i < n)


@wrong("the sign is taken away after the mean over the batch", loses="q7-map")
def attention(net, X, row, column):
    X = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(X)[:, :, row, column].sum(), X)
    return gradient.mean(dim=0).sum(dim=0).abs()


@wrong("the batch is added up", loses="q7-map")
def attention(net, X, row, column):
    X = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(X)[:, :, row, column].sum(), X)
    return gradient.abs().sum(dim=(0, 1))


@wrong("the gradient of the whole map and not of one place", loses="q7-example q7-kept q7-map")
def attention(net, X, row, column):
    X = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(X).sum(), X)
    return gradient.abs().sum(dim=1).mean(dim=0)


@wrong("the gradients of the parameters stay behind", loses="q7-example q7-kept")
def attention(net, X, row, column):
    X = X.clone().requires_grad_()
    net(X)[:, :, row, column].sum().backward()
    return X.grad.abs().sum(dim=1).mean(dim=0)


@wrong("only the first output channel", loses="q7-map")
def attention(net, X, row, column):
    X = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(X)[:, 0, row, column].sum(), X)
    return gradient.abs().sum(dim=1).mean(dim=0)


@wrong("the map is expected to move as far as the row", loses="q8-example q8-more")
def smallest_shift(f, x):
    for s in range(1, len(x) + 1):
        if torch.allclose(f(torch.roll(x, s)), torch.roll(f(x), s), atol=1e-6):
            return s, s % len(f(x))


@wrong("the row moves to the left", loses="q8-example q8-more")
def smallest_shift(f, x):
    y = f(x)
    for s in range(1, len(x) + 1):
        for t in range(len(y)):
            if torch.allclose(f(torch.roll(x, -s)), torch.roll(y, t), atol=1e-6):
                return s, t


@wrong("no answer if only the whole row is left", loses="q8-more")
def smallest_shift(f, x):
    y = f(x)
    for s in range(1, len(x)):
        for t in range(len(y)):
            if torch.allclose(f(torch.roll(x, s)), torch.roll(y, t), atol=1e-6):
                return s, t


@wrong("the ratio of the lengths is taken for the shift", loses="q8-more")
def smallest_shift(f, x):
    n, m = len(x), len(f(x))
    return max(n // m, 1), max(m // n, 1)


@wrong("a design with holes: every dilation is the same", loses="q10-more")
def design():
    layers = [nn.Conv2d(3, 8, 3, padding=5, dilation=5)]
    for _ in range(2):
        layers += [nn.ReLU(), nn.Conv2d(8, 8, 3, padding=5, dilation=5)]
    return nn.Sequential(*layers)


@wrong("a design that sees 29 pixels", loses="q10-more")
def design():
    layers = [nn.Conv2d(3, 8, 3, padding=1)]
    for d in [2, 4, 7]:
        layers += [nn.ReLU(), nn.Conv2d(8, 8, 3, padding=d, dilation=d)]
    return nn.Sequential(*layers)


@wrong("a design of fifteen plain layers", loses="q10-example q10-more")
def design():
    layers = [nn.Conv2d(3, 8, 3, padding=1)]
    for _ in range(14):
        layers += [nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)]
    return nn.Sequential(*layers)


@wrong("a design without activations", loses="q10-more")
def design():
    layers = [nn.Conv2d(3, 8, 3, padding=1)]
    for d in [2, 4, 8]:
        layers += [nn.Conv2d(8, 8, 3, padding=d, dilation=d)]
    return nn.Sequential(*layers)


@wrong("the kernel is made symmetric from all its numbers", loses="q11-example q11-maps")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size) / size)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def kernel(self):
        return (self.weight + self.weight.flip(3)) / 2

    def forward(self, X):
        return F.conv2d(X, self.kernel(), self.bias, padding=self.weight.shape[2] // 2)


@wrong("the kernel is mirrored top to bottom", loses="q11-example q11-learn q11-maps")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        shape = (out_channels, in_channels, (size + 1) // 2, size)
        self.weight = nn.Parameter(torch.randn(shape) / size)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def kernel(self):
        return torch.cat([self.weight, self.weight[:, :, :-1].flip(2)], dim=2)

    def forward(self, X):
        return F.conv2d(X, self.kernel(), self.bias, padding=self.weight.shape[3] // 2)


@wrong("the kernel is put together once, and does not learn", loses="q11-learn")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        shape = (out_channels, in_channels, size, (size + 1) // 2)
        self.weight = nn.Parameter(torch.randn(shape) / size)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.full = torch.cat([self.weight, self.weight[..., :-1].flip(3)], dim=3).detach()

    def kernel(self):
        return self.full

    def forward(self, X):
        return F.conv2d(X, self.kernel(), self.bias, padding=self.full.shape[2] // 2)


@wrong("works for kernels of 3 x 3 only", loses="q11-learn q11-maps")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        shape = (out_channels, in_channels, size, (size + 1) // 2)
        self.weight = nn.Parameter(torch.randn(shape) / size)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def kernel(self):
        side, middle = self.weight[..., :1], self.weight[..., 1:2]
        return torch.cat([side, middle, side], dim=3)

    def forward(self, X):
        return F.conv2d(X, self.kernel(), self.bias, padding=1)


@wrong("the bias is stored and not added", loses="q11-learn q11-maps")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        shape = (out_channels, in_channels, size, (size + 1) // 2)
        self.weight = nn.Parameter(torch.randn(shape) / size)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def kernel(self):
        return torch.cat([self.weight, self.weight[..., :-1].flip(3)], dim=3)

    def forward(self, X):
        return F.conv2d(X, self.kernel(), padding=self.weight.shape[2] // 2)


@wrong("the kernel is taken for a square", loses="q2-example q2-plain q2-stride")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    dK = torch.zeros(size[0], size[0], dtype=X.dtype)
    for i in range(dY.shape[0]):
        for j in range(dY.shape[1]):
            top, left = i * stride[0], j * stride[1]
            dK += dY[i, j] * X[top : top + size[0], left : left + size[0]]
    return dK


@wrong("the maps between the layers are taken to be as long as the row", loses="q6-padding")
def pixels_read(n, layers, place):
    places = {place}
    for kernel, stride, padding, dilation in layers[::-1]:
        places = {i * stride - padding + a * dilation for i in places for a in range(kernel)}
        places = {i for i in places if 0 <= i < n}
    return sorted(places)


@wrong("the sign is taken away after adding up the input channels", loses="q7-map")
def attention(net, X, row, column):
    X = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(X)[:, :, row, column].sum(), X)
    return gradient.sum(dim=1).abs().mean(dim=0)


@wrong("X asks for gradients afterwards", loses="q7-kept q7-map")
def attention(net, X, row, column):
    X.requires_grad_()
    (gradient,) = torch.autograd.grad(net(X)[:, :, row, column].sum(), X)
    return gradient.abs().sum(dim=1).mean(dim=0)


@wrong("a design with a field that is not square", loses="q10-more")
def design():
    layers = [nn.Conv2d(3, 8, (3, 1), padding=(1, 0))]
    for d in [2, 4, 8]:
        layers += [nn.ReLU(), nn.Conv2d(8, 8, 3, padding=d, dilation=d)]
    return nn.Sequential(*layers)


@wrong("the kernel is symmetric in both directions", loses="q11-learn")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        shape = (out_channels, in_channels, size, (size + 1) // 2)
        self.weight = nn.Parameter(torch.randn(shape) / size)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def kernel(self):
        full = torch.cat([self.weight, self.weight[..., :-1].flip(3)], dim=3)
        return (full + full.flip(2)) / 2

    def forward(self, X):
        return F.conv2d(X, self.kernel(), self.bias, padding=self.weight.shape[2] // 2)


@wrong("the same values in any order count as a shift", loses="q8-more")
def smallest_shift(f, x):
    y = f(x)
    for s in range(1, len(x) + 1):
        moved = f(torch.roll(x, s))
        if torch.allclose(moved.sort()[0], y.sort()[0], atol=1e-6):
            for t in range(len(y)):
                if torch.isclose(moved[t], y[0], atol=1e-6):
                    return s, t


@wrong("the picture asks for gradients afterwards", loses="q2-plain q2-stride")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    X.requires_grad_()
    K = torch.zeros(1, 1, *size, dtype=X.dtype, requires_grad=True)
    F.conv2d(X[None, None], K, stride=stride)[0, 0].backward(dY)
    return K.grad[0, 0]


@wrong("the network is left in eval mode", loses="q7-kept")
def attention(net, X, row, column):
    net.eval()
    X = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(X)[:, :, row, column].sum(), X)
    return gradient.abs().sum(dim=1).mean(dim=0)


@right("autograd wherever it can")
def on_paper():
    x = torch.tensor([1.0, 2.0, 0.0, -1.0], requires_grad=True)
    w = torch.tensor([2.0, 1.0], requires_grad=True)
    y = torch.stack([w[0] * x[i] + w[1] * x[i + 1] for i in range(3)])
    loss = ((y - torch.tensor([3.0, 5.0, 0.0])) ** 2).sum()
    loss.backward()
    return {
        "loss": loss.item(),
        "output": y.tolist(),
        "input_gradient": x.grad.tolist(),
        "kernel_gradient": w.grad.tolist(),
        "new_kernel": (w - 0.1 * w.grad).tolist(),
    }


@right("autograd wherever it can")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    K = torch.zeros(size, dtype=X.dtype).requires_grad_()
    F.conv2d(X[None, None], K[None, None], stride=stride)[0, 0].backward(dY)
    return K.grad


@right("autograd wherever it can")
def input_gradient(dY, K, size, stride=(1, 1)):
    X = torch.zeros(size, dtype=K.dtype).requires_grad_()
    Y = F.conv2d(X[None, None], K[None, None], stride=stride)[0, 0]
    return torch.autograd.grad((Y * dY).sum(), X)[0]


@right("autograd wherever it can")
def learn(X, Y, size, steps, rate):
    layer = nn.Conv2d(1, 1, kernel_size=size).to(X.dtype)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    optimizer, history = torch.optim.SGD(layer.parameters(), lr=rate), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.mse_loss(layer(X[None, None]), Y[None, None])
        loss.backward()
        optimizer.step()
        history.append(loss.detach())
    return layer.weight[0, 0], layer.bias, history


@right("autograd wherever it can")
def pixels_read(n, layers, place):
    x = torch.ones(1, 1, n, dtype=torch.float64, requires_grad=True)
    y = x
    for k, s, p, d in layers:
        y = F.conv1d(y, torch.ones(1, 1, k, dtype=torch.float64), stride=s, padding=p, dilation=d)
    y[0, 0, place].backward()
    return [i for i in range(n) if x.grad[0, 0, i] != 0]


@right("autograd wherever it can")
def attention(net, X, row, column):
    net = copy.deepcopy(net)
    maps = []
    for picture in X:
        picture = picture.clone()[None].requires_grad_(True)
        net(picture)[0, :, row, column].sum().backward()
        maps.append(picture.grad[0].abs().sum(0))
    return torch.stack(maps).mean(0)


@right("einsum and the functions of torch")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    windows = X.unfold(0, size[0], stride[0]).unfold(1, size[1], stride[1])
    return torch.einsum("ij,ijab->ab", dY, windows)


@right("einsum and the functions of torch")
def input_gradient(dY, K, size, stride=(1, 1)):
    return (
        torch.nn.grad.conv2d_input((1, 1, *size), K[None, None], dY[None, None], stride=stride)
        .squeeze(0)
        .squeeze(0)
    )


@right("einsum and the functions of torch")
def count_parameters(layers):
    modules = []
    for layer in layers:
        if layer[0] == "conv":
            _, i, o, k, g, b = layer
            modules.append(nn.Conv2d(i, o, k, groups=g, bias=b))
        elif layer[0] == "linear":
            modules.append(nn.Linear(layer[1], layer[2], bias=layer[3]))
        elif layer[0] == "norm":
            modules.append(nn.BatchNorm2d(layer[1]))
    return sum(p.numel() for m in modules for p in m.parameters())


@right("einsum and the functions of torch")
def attention(net, X, row, column):
    def value(pictures):
        return net(pictures)[:, :, row, column].sum()

    return torch.autograd.functional.jacobian(value, X).abs().sum(1).mean(0)


@right("einsum and the functions of torch")
def smallest_shift(f, x):
    rolled = torch.stack([torch.roll(f(x), t) for t in range(len(f(x)))])
    for s in range(1, len(x) + 1):
        hits = (rolled - f(torch.roll(x, s))).abs().amax(dim=1) < 1e-5
        if hits.any():
            return (s, int(hits.int().argmax()))


@right("einsum and the functions of torch")
def design():
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding="same", groups=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding="same", dilation=4, groups=8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding="same", dilation=4, groups=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding="same", groups=4),
        nn.ReLU(),
    )


@right("plain loops over single numbers")
def kernel_gradient(X, dY, size, stride=(1, 1)):
    out = np.zeros(size)
    for a in range(size[0]):
        for b in range(size[1]):
            for i in range(len(dY)):
                for j in range(len(dY[0])):
                    out[a, b] += float(dY[i, j]) * float(X[i * stride[0] + a, j * stride[1] + b])
    return torch.from_numpy(out)


@right("plain loops over single numbers")
def input_gradient(dY, K, size, stride=(1, 1)):
    rows = []
    for r in range(size[0]):
        row = []
        for c in range(size[1]):
            total = 0.0
            for i in range(dY.shape[0]):
                for j in range(dY.shape[1]):
                    a, b = r - i * stride[0], c - j * stride[1]
                    if 0 <= a < K.shape[0] and 0 <= b < K.shape[1]:
                        total += (dY[i, j] * K[a, b]).item()
            row.append(total)
        rows.append(row)
    return torch.tensor(rows)


@right("plain loops over single numbers")
def learn(X, Y, size, steps, rate):
    K, b, losses = torch.zeros(*size, dtype=X.dtype), torch.zeros((), dtype=X.dtype), []
    h, w = Y.shape
    for _ in range(steps):
        out = b + sum(
            K[i, j] * X[i : i + h, j : j + w] for i in range(size[0]) for j in range(size[1])
        )
        error = out - Y
        losses += [float((error * error).sum() / (h * w))]
        change = torch.zeros_like(K)
        for i in range(size[0]):
            for j in range(size[1]):
                change[i, j] = 2 * (error * X[i : i + h, j : j + w]).mean()
        K, b = K - rate * change, b - rate * 2 * error.mean()
    return K, b, losses


@right("plain loops over single numbers")
def pixels_read(n, layers, place):
    reads = [{i} for i in range(n)]
    for kernel, stride, padding, dilation in layers:
        padded = [set()] * padding + reads + [set()] * padding
        reads = []
        for start in range(0, len(padded) - dilation * (kernel - 1), stride):
            stop = start + dilation * (kernel - 1) + 1
            reads.append(set().union(*padded[start:stop:dilation]))
    return sorted(reads[place])


@right("plain loops over single numbers")
def smallest_shift(f, x):
    y = f(x.clone()).numpy()
    for s in range(1, x.numel() + 1):
        z = f(torch.cat([x[-s:], x[:-s]])).numpy()
        for t in range(y.size):
            if all(abs(z[i] - y[(i - t) % y.size]) < 1e-5 for i in range(y.size)):
                return s, t


@right("plain loops over single numbers")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        self.size = size
        numbers = out_channels * in_channels * size
        self.sides = nn.Parameter(torch.rand(numbers * (size // 2)) - 0.5)
        self.middle = nn.Parameter(torch.rand(numbers) - 0.5)
        self.bias = nn.Parameter(torch.rand(out_channels))
        self.shape = (out_channels, in_channels, size)

    def kernel(self):
        sides = self.sides.view(*self.shape, self.size // 2)
        middle = self.middle.view(*self.shape, 1)
        return torch.cat((sides, middle, torch.flip(sides, [-1])), -1)

    def forward(self, X):
        X = F.pad(X, [self.size // 2] * 4)
        windows = X.unfold(2, self.size, 1).unfold(3, self.size, 1)
        maps = torch.einsum("nchwab,ocab->nohw", windows, self.kernel())
        return maps + self.bias[:, None, None]


@right("a convolution inside, and a design of one channel after the other")
def attention(net, X, row, column):
    asked = X.detach().clone()
    asked.requires_grad = True
    net(asked)[:, :, row, column].sum().backward()
    net.zero_grad()
    return asked.grad.abs().sum(1).mean(0)


@right("a convolution inside, and a design of one channel after the other")
def design():
    class Wide(nn.Sequential):
        pass

    layers = [nn.Conv2d(3, 8, 1), nn.ReLU()]
    for _ in range(15):
        layers.append(nn.Conv2d(8, 8, 3, padding=1, groups=8))
        layers.append(nn.ReLU())
    return Wide(*layers)


@right("a convolution inside, and a design of one channel after the other")
class MirrorConv(nn.Module):
    def __init__(self, in_channels, out_channels, size):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, (size, size // 2 + 1))
        self.bias = self.conv.bias

    def kernel(self):
        columns = list(self.conv.weight.unbind(3))
        return torch.stack(columns + columns[-2::-1], 3)

    def forward(self, X):
        return F.conv2d(X, self.kernel(), self.bias, padding="same")
