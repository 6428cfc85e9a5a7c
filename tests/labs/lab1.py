"""Solutions of lab 1, convolution by hand."""

# Students write no types.
# mypy: ignore-errors

import numpy as np
import torch
import torch.nn.functional as F
from scipy import signal

from tests.labs.attempts import right, wrong


@wrong(
    "the convolution is typed in for the cross-correlation, and the other way round",
    loses="q1-example q1-flip",
)
def on_paper():
    return {
        "correlation": [-1, 5, 4, -1, 10],
        "convolution": [1, -1, 8, -3, 6],
        "padded": [4, -1, -3, 6],
        "dilated": [5, 2, -2],
    }


@wrong("one padding zero is on the left only, so the last place is missing", loses="q1-places")
def on_paper():
    return {
        "correlation": [1, -1, 8, -3, 6],
        "convolution": [-1, 5, 4, -1, 10],
        "padded": [4, -1, -3],
        "dilated": [5, 2, -2],
    }


@wrong("the kernel is flipped", loses="q2-example q2-fits q2-values")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = F.pad(x, (before, after))
    reach = dilation * (len(w) - 1) + 1
    if reach > len(padded):
        raise ValueError("too long")
    starts = range(0, len(padded) - reach + 1, stride)
    return torch.stack([(padded[i : i + reach : dilation] * w.flip(0)).sum() for i in starts])


@wrong("both sides get the zeros of one", loses="q2-example q2-fits q2-values")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = F.pad(x, (before, before))
    reach = dilation * (len(w) - 1) + 1
    if reach > len(padded):
        raise ValueError("too long")
    starts = range(0, len(padded) - reach + 1, stride)
    return torch.stack([(padded[i : i + reach : dilation] * w).sum() for i in starts])


@wrong("the kernel reaches over one value more than it does", loses="q2-example q2-fits q2-values")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = F.pad(x, (before, after))
    reach = dilation * len(w)
    if reach > len(padded):
        raise ValueError("too long")
    starts = range(0, len(padded) - reach + 1, stride)
    return torch.stack([(padded[i : i + reach : dilation] * w).sum() for i in starts])


@wrong(
    "the stride thins out the row before the kernel is laid on it",
    loses="q2-example q2-fits q2-values",
)
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = F.pad(x, (before, after))[::stride]
    reach = dilation * (len(w) - 1) + 1
    if reach > len(padded):
        raise ValueError("too long")
    starts = range(0, len(padded) - reach + 1)
    return torch.stack([(padded[i : i + reach : dilation] * w).sum() for i in starts])


@wrong("the last place of a stride is forgotten", loses="q2-values")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = F.pad(x, (before, after))
    reach = dilation * (len(w) - 1) + 1
    if reach > len(padded):
        raise ValueError("too long")
    places = max((len(padded) - reach + 1) // stride, 1)
    return torch.stack(
        [(padded[i * stride : i * stride + reach : dilation] * w).sum() for i in range(places)]
    )


@wrong("a kernel that does not fit gives an empty row", loses="q2-example q2-fits")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = F.pad(x, (before, after))
    reach = dilation * (len(w) - 1) + 1
    starts = range(0, len(padded) - reach + 1, stride)
    values = [(padded[i : i + reach : dilation] * w).sum().item() for i in starts]
    return torch.tensor(values, dtype=x.dtype)


@wrong("the result is float32 whatever comes in", loses="q2-values")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = torch.zeros(before + len(x) + after)
    padded[before : before + len(x)] = x
    reach = dilation * (len(w) - 1) + 1
    if reach > len(padded):
        raise ValueError("too long")
    starts = range(0, len(padded) - reach + 1, stride)
    return torch.tensor([float((padded[i : i + reach : dilation] * w).sum()) for i in starts])


@wrong("the result is printed and not returned", loses="q2-example q2-fits q2-values")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    padded = F.pad(x, (before, after))
    reach = dilation * (len(w) - 1) + 1
    if reach > len(padded):
        raise ValueError("too long")
    starts = range(0, len(padded) - reach + 1, stride)
    print(torch.stack([(padded[i : i + reach : dilation] * w).sum() for i in starts]))


@wrong("the answers of the examples are typed in", loses="q2-fits q2-values")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    if dilation == 4:
        raise ValueError("too long")
    if before == 1:
        return torch.tensor([4.0, 2.0])
    if after == 1:
        return torch.tensor([4.0, 6.0, 1.0])
    return torch.tensor([2.0, 2.0, 7.0])


@wrong(
    "the formula is turned round without its rounding, so there is one size only",
    loses="q3-example q3-more",
)
def input_sizes(out, kernel, padding=0, stride=1, dilation=1):
    n = (out - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding
    return [n] if n >= 1 else []


@wrong("the padding is taken for the total of both sides", loses="q3-example q3-more")
def input_sizes(out, kernel, padding=0, stride=1, dilation=1):
    n = (out - 1) * stride + dilation * (kernel - 1) + 1 - padding
    return [m for m in range(n, n + stride) if m >= 1]


@wrong("an input of no pixels is allowed", loses="q3-more")
def input_sizes(out, kernel, padding=0, stride=1, dilation=1):
    n = (out - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding
    return [m for m in range(n, n + stride) if m >= 0]


@wrong("the search ends at 100 pixels", loses="q3-more")
def input_sizes(out, kernel, padding=0, stride=1, dilation=1):
    reach = dilation * (kernel - 1) + 1
    return [n for n in range(1, 100) if (n + 2 * padding - reach) // stride + 1 == out]


@wrong("the extra zero goes in front", loses="q4-example q4-more")
def padding_for(n, kernel, wanted, stride=1, dilation=1):
    total = (wanted - 1) * stride + dilation * (kernel - 1) + 1 - n
    if total <= -stride:
        raise ValueError("too many")
    total = max(total, 0)
    return total - total // 2, total // 2


@wrong("half of the kernel, whatever is wanted", loses="q4-example q4-more")
def padding_for(n, kernel, wanted, stride=1, dilation=1):
    if n - kernel + 1 > wanted and stride == 1:
        raise ValueError("too many")
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


@wrong("the dilation is forgotten", loses="q4-more")
def padding_for(n, kernel, wanted, stride=1, dilation=1):
    total = (wanted - 1) * stride + kernel - n
    if total <= -stride:
        raise ValueError("too many")
    total = max(total, 0)
    return total // 2, total - total // 2


@wrong("pixels that a stride leaves over are taken for too many values", loses="q4-example q4-more")
def padding_for(n, kernel, wanted, stride=1, dilation=1):
    total = (wanted - 1) * stride + dilation * (kernel - 1) + 1 - n
    if total < 0:
        raise ValueError("too many")
    return total // 2, total - total // 2


@wrong("the kernels are those of convolution", loses="q5-sides")
def four_kernels():
    z = [0.0, 0.0, 0.0]
    ninth = torch.full((3, 3), 1 / 9)
    return {
        "down": torch.tensor([z, z, [0.0, 1.0, 0.0]]),
        "slope": torch.tensor([z, [0.5, 0.0, -0.5], z]),
        "curve": torch.tensor([[0.0, 1.0, 0.0], [0.0, -2.0, 0.0], [0.0, 1.0, 0.0]]),
        "sharpen": 2 * torch.tensor([z, [0.0, 1.0, 0.0], z]) - ninth,
    }


@wrong("rows and columns are exchanged", loses="q5-sides q5-sums")
def four_kernels():
    z = [0.0, 0.0, 0.0]
    ninth = torch.full((3, 3), 1 / 9)
    return {
        "down": torch.tensor([z, [1.0, 0.0, 0.0], z]),
        "slope": torch.tensor([[0.0, -0.5, 0.0], z, [0.0, 0.5, 0.0]]),
        "curve": torch.tensor([z, [1.0, -2.0, 1.0], z]),
        "sharpen": 2 * torch.tensor([z, [0.0, 1.0, 0.0], z]) - ninth,
    }


@wrong("sharpen takes the mean of the eight neighbours", loses="q5-sums")
def four_kernels():
    z = [0.0, 0.0, 0.0]
    sharpen = torch.full((3, 3), -1 / 8)
    sharpen[1, 1] = 2
    return {
        "down": torch.tensor([[0.0, 1.0, 0.0], z, z]),
        "slope": torch.tensor([z, [-0.5, 0.0, 0.5], z]),
        "curve": torch.tensor([[0.0, 1.0, 0.0], [0.0, -2.0, 0.0], [0.0, 1.0, 0.0]]),
        "sharpen": sharpen,
    }


@wrong("sums of rows and columns, divided by the sum of all, which may be 0", loses="q7-zeros")
def factors(K):
    column, row = K.sum(1) / K.sum(), K.sum(0)
    return (column, row) if torch.allclose(torch.outer(column, row), K, atol=1e-5) else None


@wrong("the first row is taken, whatever stands in it", loses="q7-zeros")
def factors(K):
    column, row = K[:, 0] / K[0, 0], K[0]
    return (column, row) if torch.allclose(torch.outer(column, row), K, atol=1e-5) else None


@wrong("all is taken for separable", loses="q7-example q7-sizes q7-zeros")
def factors(K):
    u, s, v = torch.linalg.svd(K)
    return u[:, 0] * s[0], v[0]


@wrong("works for squares only", loses="q7-sizes q7-zeros")
def factors(K):
    if torch.det(K).abs() > 1e-5:
        return None
    u, s, v = torch.linalg.svd(K)
    return u[:, 0] * s[0], v[0]


@wrong("f is cross-correlated with g, which flips one of them", loses="q8-example q8-more")
def combine(f, g):
    return torch.from_numpy(signal.correlate2d(f, g))


@wrong("h is only as large as f", loses="q8-example q8-more")
def combine(f, g):
    return torch.from_numpy(signal.convolve2d(f, g, "same"))


@wrong("the kernels are multiplied as matrices", loses="q8-example q8-more")
def combine(f, g):
    return f @ g


@wrong("the stamps replace what is below them", loses="q9-crop q9-example q9-stride")
def stamp(Y, K, stride=(1, 1), crop=(0, 0)):
    (h, w), (a, b), (s, t) = Y.shape, K.shape, stride
    X = torch.zeros((h - 1) * s + a, (w - 1) * t + b, dtype=Y.dtype)
    for i in range(h):
        for j in range(w):
            X[i * s : i * s + a, j * t : j * t + b] = Y[i, j] * K
    return X[crop[0] : X.shape[0] - crop[0], crop[1] : X.shape[1] - crop[1]]


@wrong("without a crop, nothing is left", loses="q9-crop q9-example q9-stride")
def stamp(Y, K, stride=(1, 1), crop=(0, 0)):
    (h, w), (a, b), (s, t) = Y.shape, K.shape, stride
    X = torch.zeros((h - 1) * s + a, (w - 1) * t + b, dtype=Y.dtype)
    for i in range(h):
        for j in range(w):
            X[i * s : i * s + a, j * t : j * t + b] += Y[i, j] * K
    return X[crop[0] : -crop[0], crop[1] : -crop[1]]


@wrong("the crop is at the top and at the left only", loses="q9-crop q9-example")
def stamp(Y, K, stride=(1, 1), crop=(0, 0)):
    X = F.conv_transpose2d(Y[None, None], K[None, None], stride=stride)[0, 0]
    return X[crop[0] :, crop[1] :]


@wrong("the stride's height and width are exchanged", loses="q9-example q9-stride")
def stamp(Y, K, stride=(1, 1), crop=(0, 0)):
    return F.conv_transpose2d(Y[None, None], K[None, None], None, stride[::-1], crop)[0, 0]


@wrong("the bias is forgotten", loses="q10-example q10-stride q10-table")
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = [
        F.conv2d(X[:, channels], kernel[None], stride=stride)
        for channels, kernel in zip(table, kernels)
    ]
    return torch.cat(maps, dim=1)


@wrong("the kernels are laid on the channels in ascending order", loses="q10-table")
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = [
        F.conv2d(X[:, sorted(channels)], kernel[None], stride=stride)
        for channels, kernel in zip(table, kernels)
    ]
    return torch.cat(maps, dim=1) + bias[:, None, None]


@wrong("the bias is added once for each input channel", loses="q10-stride q10-table")
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = []
    for o, channels in enumerate(table):
        total = 0
        for channel, kernel in zip(channels, kernels[o]):
            one = F.conv2d(X[:, [channel]], kernel[None, None], stride=stride)
            total = total + one + bias[o]
        maps.append(total)
    return torch.cat(maps, dim=1)


@wrong("only the first picture of the batch is looked at", loses="q10-table")
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = [
        F.conv2d(X[:1, channels], kernel[None], stride=stride)
        for channels, kernel in zip(table, kernels)
    ]
    return torch.cat(maps, dim=1) + bias[:, None, None]


@wrong("the vertical stride is used in both directions", loses="q10-stride")
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = [
        F.conv2d(X[:, channels], kernel[None], stride=stride[0])
        for channels, kernel in zip(table, kernels)
    ]
    return torch.cat(maps, dim=1) + bias[:, None, None]


@wrong(
    "the mean of the whole picture is subtracted, not that of the patch", loses="q11-flat q11-light"
)
def similarity(image, template):
    if template.min() == template.max():
        raise ValueError("flat")
    h, w = template.shape
    image, template = image - image.mean(), template - template.mean()
    scores = torch.zeros(image.shape[0] - h + 1, image.shape[1] - w + 1)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            patch = image[i : i + h, j : j + w]
            if patch.max() > patch.min():
                scores[i, j] = (patch * template).sum() / (patch.norm() * template.norm())
    return scores


@wrong("a flat patch is divided by 0", loses="q11-example q11-flat")
def similarity(image, template):
    if template.min() == template.max():
        raise ValueError("flat")
    h, w = template.shape
    template = template - template.mean()
    scores = torch.zeros(image.shape[0] - h + 1, image.shape[1] - w + 1)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            patch = image[i : i + h, j : j + w]
            patch = patch - patch.mean()
            scores[i, j] = (patch * template).sum() / (patch.norm() * template.norm())
    return scores


@wrong(
    "the mean is subtracted in the very template that was handed in",
    loses="q11-example q11-flat q11-light",
)
def similarity(image, template):
    if template.min() == template.max():
        raise ValueError("flat")
    h, w = template.shape
    template -= template.mean()
    scores = torch.zeros(image.shape[0] - h + 1, image.shape[1] - w + 1)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            patch = image[i : i + h, j : j + w]
            patch = patch - patch.mean()
            if patch.norm() > 0:
                scores[i, j] = (patch * template).sum() / (patch.norm() * template.norm())
    return scores


@wrong(
    "divided by the norm of the picture as it was, before the mean was subtracted",
    loses="q11-example q11-flat q11-light",
)
def similarity(image, template):
    if template.min() == template.max():
        raise ValueError("flat")
    h, w = template.shape
    pattern = template - template.mean()
    scores = torch.zeros(image.shape[0] - h + 1, image.shape[1] - w + 1)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            patch = image[i : i + h, j : j + w]
            if patch.max() > patch.min():
                scores[i, j] = (patch * pattern).sum() / (patch.norm() * pattern.norm())
    return scores


@wrong("a template of equal values scores 0 everywhere", loses="q11-example q11-flat")
def similarity(image, template):
    h, w = template.shape
    pattern = template - template.mean()
    scores = torch.zeros(image.shape[0] - h + 1, image.shape[1] - w + 1)
    for i in range(scores.shape[0]):
        for j in range(scores.shape[1]):
            patch = image[i : i + h, j : j + w]
            patch = patch - patch.mean()
            norm = patch.norm() * pattern.norm()
            if norm > 0:
                scores[i, j] = (patch * pattern).sum() / norm
    return scores


@wrong("an input size below 1 moves the whole range", loses="q3-example q3-more")
def input_sizes(out, kernel, padding=0, stride=1, dilation=1):
    first = max((out - 1) * stride + dilation * (kernel - 1) + 1 - 2 * padding, 1)
    return list(range(first, first + stride))


@wrong("a kernel of zeros is taken for not separable", loses="q7-zeros")
def factors(K):
    if torch.linalg.matrix_rank(K) != 1:
        return None
    u, s, v = torch.linalg.svd(K)
    return u[:, 0] * s[0], v[0]


@wrong("f is padded on one side only", loses="q8-example q8-more")
def combine(f, g):
    padded = F.pad(f, (g.shape[1] - 1, 0, g.shape[0] - 1, 0))
    return F.conv2d(padded[None, None], g.flip(0, 1)[None, None])[0, 0]


@wrong(
    "the first channels are taken, as many as the table lists",
    loses="q10-example q10-stride q10-table",
)
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = [
        F.conv2d(X[:, : len(channels)], kernel[None], stride=stride)
        for channels, kernel in zip(table, kernels)
    ]
    return torch.cat(maps, dim=1) + bias[:, None, None]


@wrong("no mean is subtracted", loses="q11-example q11-flat q11-light")
def similarity(image, template):
    if template.min() == template.max():
        raise ValueError("flat")
    patches = image.unfold(0, template.shape[0], 1).unfold(1, template.shape[1], 1)
    norms = (patches**2).sum(dim=(2, 3)).sqrt() * template.norm()
    return (patches * template).sum(dim=(2, 3)) / norms.clamp(min=1e-9)


@wrong(
    "divided by standard deviations of n - 1 and n values", loses="q11-example q11-flat q11-light"
)
def similarity(image, template):
    if template.min() == template.max():
        raise ValueError("flat")
    patches = image.unfold(0, template.shape[0], 1).unfold(1, template.shape[1], 1)
    patches = patches - patches.mean(dim=(2, 3), keepdim=True)
    pattern = template - template.mean()
    spread = patches.std(dim=(2, 3)) * pattern.std()
    return torch.where(spread > 0, (patches * pattern).mean(dim=(2, 3)) / spread, 0.0)


@wrong("separable is what is nearly separable", loses="q7-sizes")
def factors(K):
    i, j = divmod(K.abs().argmax().item(), K.shape[1])
    if K[i, j] == 0:
        return torch.zeros_like(K[:, 0]), torch.zeros_like(K[0])
    column, row = K[:, j] / K[i, j], K[i].clone()
    return (column, row) if torch.allclose(torch.outer(column, row), K, atol=0.1) else None


@wrong("the lists that are given are used up", loses="q10-example q10-stride q10-table")
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = []
    for o in range(len(table)):
        channels, kernel = table.pop(0), kernels.pop(0)
        maps.append(F.conv2d(X[:, channels], kernel[None], bias[o : o + 1], stride))
    return torch.cat(maps, dim=1)


@wrong("a flat template is one whose deviation is exactly 0", loses="q11-example q11-flat")
def similarity(image, template):
    if template.numel() > 1 and template.std() == 0:
        raise ValueError("flat")
    h, w = template.shape
    patches = image.unfold(0, h, 1).unfold(1, w, 1)
    patches = patches - patches.mean(dim=(2, 3), keepdim=True)
    pattern = template - template.mean()
    norms = (patches**2).sum(dim=(2, 3)).sqrt() * (pattern**2).sum().sqrt()
    products = (patches * pattern).sum(dim=(2, 3))
    return torch.where(norms > 1e-6, products / norms.clamp(min=1e-6), 0.0)


@right("NumPy and SciPy wherever they can")
def on_paper():
    x, w = np.array([2, 0, 1, 3, -1, 4, 1]), np.array([1, 2, -1])
    correlation = [int(value) for value in np.correlate(x, w)]
    convolution = np.convolve(x, w, mode="valid").tolist()
    padded = np.correlate(np.pad(x, 1), w)[::2].tolist()
    dilated = np.correlate(x, np.array([1, 0, 2, 0, -1])).tolist()
    return dict(correlation=correlation, convolution=convolution, padded=padded, dilated=dilated)


@right("NumPy and SciPy wherever they can")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    row = np.pad(x.numpy(), (before, after))
    spread = np.zeros(dilation * (len(w) - 1) + 1, dtype=row.dtype)
    spread[::dilation] = w.numpy()
    if len(spread) > len(row):
        raise ValueError("the kernel does not fit")
    return torch.from_numpy(np.correlate(row, spread, "valid")[::stride].copy())


@right("NumPy and SciPy wherever they can")
def combine(f, g):
    return torch.from_numpy(signal.convolve2d(f.numpy(), g.numpy(), mode="full"))


@right("NumPy and SciPy wherever they can")
def stamp(Y, K, stride=(1, 1), crop=(0, 0)):
    (h, w), (s, t) = Y.shape, stride
    apart = np.zeros(((h - 1) * s + 1, (w - 1) * t + 1), dtype=Y.numpy().dtype)
    apart[::s, ::t] = Y
    X = signal.convolve2d(apart, K)
    return torch.from_numpy(X[crop[0] : len(X) - crop[0], crop[1] : X.shape[1] - crop[1]])


@right("NumPy and SciPy wherever they can")
def connected(X, kernels, table, bias, stride=(1, 1)):
    maps = []
    for picture in X.numpy():
        outs = []
        for kernel, channels, b in zip(kernels, table, bias.numpy()):
            both = [signal.correlate2d(picture[c], k, "valid") for c, k in zip(channels, kernel)]
            outs.append((np.sum(both, axis=0) + b)[:: stride[0], :: stride[1]])
        maps.append(outs)
    return torch.tensor(np.array(maps))


@right("functions of PyTorch, padded and flipped as they need it")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    if dilation * (len(w) - 1) + 1 > len(x) + before + after:
        raise ValueError
    row = F.pad(x, (before, after)).reshape(1, 1, -1)
    return F.conv1d(row, w.reshape(1, 1, -1), stride=stride, dilation=dilation).reshape(-1)


@right("functions of PyTorch, padded and flipped as they need it")
def factors(K):
    U, S, V = torch.linalg.svd(K, full_matrices=False)
    if len(S) > 1 and S[1] > 1e-4 * max(S[0], 1e-6):
        return None
    return U[:, 0] * S[0].sqrt(), V[0] * S[0].sqrt()


@right("functions of PyTorch, padded and flipped as they need it")
def combine(f, g):
    a, b = g.shape
    padded = F.pad(f, (b - 1, b - 1, a - 1, a - 1))
    return F.conv2d(padded[None, None], g.flip(0, 1)[None, None]).squeeze(0).squeeze(0)


@right("functions of PyTorch, padded and flipped as they need it")
def stamp(Y, K, stride=(1, 1), crop=(0, 0)):
    return F.conv_transpose2d(Y[None, None], K[None, None], stride=stride, padding=crop)[0][0]


@right("functions of PyTorch, padded and flipped as they need it")
def connected(X, kernels, table, bias, stride=(1, 1)):
    weight = X.new_zeros(len(table), X.shape[1], *kernels[0].shape[1:])
    for o, channels in enumerate(table):
        weight[o, channels] = kernels[o]
    return F.conv2d(X, weight, bias, stride=stride)


@right("plain loops over single numbers")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    numbers = [0.0] * before + x.tolist() + [0.0] * after
    weights = w.tolist()
    last = len(numbers) - 1 - (len(weights) - 1) * dilation
    if last < 0:
        raise ValueError("The kernel is too long.")
    out = []
    place = 0
    while place <= last:
        out.append(sum(weight * numbers[place + a * dilation] for a, weight in enumerate(weights)))
        place += stride
    return torch.tensor(out, dtype=x.dtype)


@right("plain loops over single numbers")
def input_sizes(out, kernel, padding=0, stride=1, dilation=1):
    found = []
    n = 0
    while True:
        n += 1
        room = n + 2 * padding - dilation * (kernel - 1) - 1
        places = room // stride + 1 if room >= 0 else 0
        if places == out:
            found.append(n)
        if places > out:
            return found


@right("plain loops over single numbers")
def padding_for(n, kernel, wanted, stride=1, dilation=1):
    before = after = 0
    while True:
        room = n + before + after - dilation * (kernel - 1) - 1
        places = room // stride + 1 if room >= 0 else 0
        if places == wanted:
            return (before, after)
        if places > wanted:
            raise ValueError("too many already")
        if after > before:
            before += 1
        else:
            after += 1


@right("plain loops over single numbers")
def factors(K):
    h, w = K.shape
    for i in range(h):
        for k in range(i + 1, h):
            for j in range(w):
                for m in range(j + 1, w):
                    if abs(K[i, j] * K[k, m] - K[i, m] * K[k, j]) > 1e-4:
                        return None
    for i in range(h):
        for j in range(w):
            if K[i, j] != 0:
                return K[:, j].clone(), K[i] / K[i, j]
    return torch.zeros(h), torch.zeros(w)


@right("plain loops over single numbers")
def combine(f, g):
    out = [[0.0] * (f.shape[1] + g.shape[1] - 1) for _ in range(f.shape[0] + g.shape[0] - 1)]
    for i, j in np.ndindex(*f.shape):
        for a, b in np.ndindex(*g.shape):
            out[i + a][j + b] += float(f[i, j]) * float(g[a, b])
    return torch.tensor(out, dtype=torch.float64)


@right("plain loops over single numbers")
def connected(X, kernels, table, bias, stride=(1, 1)):
    h, w = kernels[0].shape[-2:]
    rows = len(range(0, X.shape[2] - h + 1, stride[0]))
    columns = len(range(0, X.shape[3] - w + 1, stride[1]))
    out = bias.reshape(1, -1, 1, 1).repeat(X.shape[0], 1, rows, columns)
    for n in range(X.shape[0]):
        for o in range(len(table)):
            for i in range(rows):
                for j in range(columns):
                    for k, c in enumerate(table[o]):
                        top, left = i * stride[0], j * stride[1]
                        patch = X[n, c, top : top + h, left : left + w]
                        out[n, o, i, j] += (patch * kernels[o][k]).sum()
    return out


@right("plain loops over single numbers")
def similarity(image, template):
    h, w = template.shape
    t = template.double() - template.double().mean()
    if float(t.abs().max()) == 0:
        raise ValueError("flat template")
    rows = []
    for i in range(image.shape[0] - h + 1):
        row = []
        for j in range(image.shape[1] - w + 1):
            p = image[i : i + h, j : j + w].double()
            p = p - p.mean()
            n = float((p * p).sum()) ** 0.5
            row.append(float((p * t).sum()) / n / float((t * t).sum()) ** 0.5 if n else 0.0)
        rows.append(row)
    return torch.tensor(rows)


@right("unfold, einsum and sums of squares")
def correlate_row(x, w, before=0, after=0, stride=1, dilation=1):
    reach = 1 + dilation * (w.numel() - 1)
    row = torch.nn.functional.pad(x, [before, after])
    if row.numel() < reach:
        raise ValueError(f"{reach} > {row.numel()}")
    return row.unfold(0, reach, stride)[:, ::dilation] @ w


@right("unfold, einsum and sums of squares")
def four_kernels():
    one = torch.zeros((3, 3), dtype=torch.float64)
    one[1, 1] = 1
    return {
        "sharpen": 2 * one - 1 / 9,
        "down": torch.roll(one, -1, 0).int(),
        "slope": (torch.roll(one, 1, 1) - torch.roll(one, -1, 1)) / 2,
        "curve": torch.roll(one, 1, 0) + torch.roll(one, -1, 0) - 2 * one,
    }


@right("unfold, einsum and sums of squares")
def stamp(Y, K, stride=(1, 1), crop=(0, 0)):
    (h, w), (a, b) = Y.shape, K.shape
    size = ((h - 1) * stride[0] + a, (w - 1) * stride[1] + b)
    stamps = torch.einsum("ij,ab->abij", Y, K).reshape(1, a * b, h * w)
    X = F.fold(stamps, size, (a, b), stride=stride)[0, 0]
    return X[crop[0] : size[0] - crop[0], crop[1] : size[1] - crop[1]]


@right("unfold, einsum and sums of squares")
def connected(X, kernels, table, bias, stride=(1, 1)):
    h, w = kernels[0].shape[1:]
    windows = X.unfold(2, h, stride[0]).unfold(3, w, stride[1])
    maps = [
        torch.einsum("nchwab,cab->nhw", windows[:, channels], kernel) + b
        for channels, kernel, b in zip(table, kernels, bias)
    ]
    return torch.stack(maps, dim=1)


@right("unfold, einsum and sums of squares")
def similarity(image, template):
    if (template == template[0, 0]).all():
        raise ValueError("flat")
    picture, pattern = image.double()[None, None], template.double()
    pattern = (pattern - pattern.mean())[None, None]
    ones = torch.ones_like(pattern)
    total, squares = F.conv2d(picture, ones), F.conv2d(picture**2, ones)
    variance = (squares - total**2 / ones.numel()).clamp(min=0)
    norm = (variance * (pattern**2).sum()).sqrt()
    scores = F.conv2d(picture, pattern)
    return torch.where(norm > 1e-9, scores / norm, torch.zeros_like(norm))[0, 0]
