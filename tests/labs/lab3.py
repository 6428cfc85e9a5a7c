"""Lab 3, the avatar classifier: what students hand in, wrong and right."""

# Students write no types.
# mypy: ignore-errors

import math

import torch
import torch.nn.functional as F
from torch import nn

from cnnlib.datasets import avatars
from tests.labs.attempts import right, wrong

train_set, test_set = avatars()  # as the lab has them


@wrong("biases forgotten", loses="q1-example q1-maps q1-row")
def cost(layers, shape):
    channels, height, width = shape
    parameters = multiplications = 0
    for kind, *sizes in layers:
        if kind == "pool":
            height, width = height // sizes[0], width // sizes[0]
        elif kind == "conv":
            weights = sizes[1] ** 2 * channels * sizes[0]
            parameters += weights
            multiplications += weights * height * width
            channels = sizes[0]
        else:
            weights = channels * height * width * sizes[0]
            parameters += weights
            multiplications += weights
            channels, height, width = sizes[0], 1, 1
    return parameters, multiplications


@wrong("a kernel sees one channel only", loses="q1-maps")
def cost(layers, shape):
    channels, height, width = shape
    parameters = multiplications = 0
    for kind, *sizes in layers:
        if kind == "pool":
            height, width = height // sizes[0], width // sizes[0]
        elif kind == "conv":
            weights = sizes[1] ** 2 * sizes[0]
            parameters += weights + sizes[0]
            multiplications += weights * height * width
            channels = sizes[0]
        else:
            weights = channels * height * width * sizes[0]
            parameters += weights + sizes[0]
            multiplications += weights
            channels, height, width = sizes[0], 1, 1
    return parameters, multiplications


@wrong("pooling rounds up", loses="q1-maps")
def cost(layers, shape):
    channels, height, width = shape
    parameters = multiplications = 0
    for kind, *sizes in layers:
        if kind == "pool":
            height, width = math.ceil(height / sizes[0]), math.ceil(width / sizes[0])
        elif kind == "conv":
            weights = sizes[1] ** 2 * channels * sizes[0]
            parameters += weights + sizes[0]
            multiplications += weights * height * width
            channels = sizes[0]
        else:
            weights = channels * height * width * sizes[0]
            parameters += weights + sizes[0]
            multiplications += weights
            channels, height, width = sizes[0], 1, 1
    return parameters, multiplications


@wrong("the bias of the output is forgotten", loses="q2-more")
def widest_dense(values, budget):
    return max(0, budget // (values + 2))


@wrong("a fractional number of units", loses="q2-example q2-more")
def widest_dense(values, budget):
    return max(0, (budget - 1) / (values + 2))


@wrong("the sum of the losses, not their mean", loses="q3-batch q3-example q3-large")
def loss_and_gradient(logits, labels):
    labels = labels.to(logits.dtype)
    loss = F.softplus(logits) - labels * logits
    return loss.sum().item(), torch.sigmoid(logits) - labels


@wrong("the logarithm of 0", loses="q3-large")
def loss_and_gradient(logits, labels):
    p = torch.sigmoid(logits)
    labels = labels.to(logits.dtype)
    losses = torch.where(labels == 1, -torch.log(p), -torch.log(1 - p))
    return losses.mean().item(), (p - labels) / len(logits)


@wrong("sigmoid twice", loses="q3-batch q3-example q3-large")
def loss_and_gradient(logits, labels):
    p = torch.sigmoid(logits)
    labels = labels.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(p, labels)
    return loss.item(), (torch.sigmoid(p) - labels) / len(logits)


@wrong("the threshold is held against logits", loses="q4-counts q4-example q4-threshold")
def confusion(logits, labels, threshold=0.5):
    says, right = logits.flatten() >= threshold, labels == 1
    counts = (says & right, says & ~right, ~says & right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)


@wrong("logits of shape (n, 1) meet labels of shape (n,)", loses="q4-counts")
def confusion(logits, labels, threshold=0.5):
    says, right = torch.sigmoid(logits) >= threshold, labels == 1
    counts = (says & right, says & ~right, ~says & right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)


@wrong("false positives and false negatives swapped", loses="q4-counts q4-threshold")
def confusion(logits, labels, threshold=0.5):
    says, right = torch.sigmoid(logits.flatten()) >= threshold, labels == 1
    counts = (says & right, ~says & right, says & ~right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)


@wrong("the threshold is always one half", loses="q4-threshold")
def confusion(logits, labels, threshold=0.5):
    says, right = logits.flatten() >= 0, labels == 1
    counts = (says & right, says & ~right, ~says & right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)


@wrong("what leaves comes back on the other side", loses="q5-beyond q5-example q5-within")
def shifted(images, down, right, fill=0.5):
    return images.roll((down, right), dims=(2, 3))


@wrong("down and right swapped", loses="q5-beyond q5-example q5-within")
def shifted(images, down, right, fill=0.5):
    reach = max(abs(down), abs(right), 1)
    moved = F.pad(images, (reach,) * 4, value=fill).roll((right, down), dims=(2, 3))
    return moved[:, :, reach:-reach, reach:-reach]


@wrong("the images are changed", loses="q5-beyond q5-example q5-within")
def shifted(images, down, right, fill=0.5):
    reach = max(abs(down), abs(right), 1)
    moved = F.pad(images, (reach,) * 4, value=fill).roll((down, right), dims=(2, 3))
    images[:] = moved[:, :, reach:-reach, reach:-reach]
    return images


@wrong("over the budget", loses="q6-example q6-layers")
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 1200),
            nn.ReLU(),
            nn.Linear(1200, 1),
        )

    def forward(self, x):
        return self.main(x)[:, 0]


@wrong("a batch of one image loses its axis", loses="q6-logits")
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 1),
        )

    def forward(self, x):
        return self.main(x).squeeze()


@wrong("logits of shape (n, 1)", loses="q6-example q6-logits")
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 1),
        )

    def forward(self, x):
        return self.main(x)


@wrong("logits of shape (n, 1)", loses="q6-example q6-logits")
def classifier(images, labels):
    torch.manual_seed(0)
    net = AvatarNet()
    train(net, images, labels[:, None], train_step, epochs=8, batch_size=40, rate=0.003)
    return net.eval()


@wrong("no convolution at all", loses="q6-layers q10-example q10-learns")
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.AvgPool2d(4), nn.Flatten(), nn.Linear(1024, 19), nn.ReLU(), nn.Linear(19, 1)
        )

    def forward(self, x):
        return self.main(x)[:, 0]


@wrong("gradients not zeroed", loses="q7-steps")
def train_step(model, optimizer, images, labels):

    model.train()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("sigmoid before the loss that has one", loses="q7-example q7-mode q7-steps")
def train_step(model, optimizer, images, labels):

    model.train()
    optimizer.zero_grad()
    p = torch.sigmoid(model(images))
    loss = F.binary_cross_entropy_with_logits(p, labels.float())
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("training mode forgotten", loses="q7-mode")
def train_step(model, optimizer, images, labels):

    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong("gradients zeroed between backward and step", loses="q7-example q7-mode q7-steps")
def train_step(model, optimizer, images, labels):

    model.train()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong("the loss after the step", loses="q7-example q7-mode q7-steps")
def train_step(model, optimizer, images, labels):

    model.train()
    optimizer.zero_grad()
    F.binary_cross_entropy_with_logits(model(images), labels.float()).backward()
    optimizer.step()
    with torch.no_grad():
        return F.binary_cross_entropy_with_logits(model(images), labels.float()).item()


@wrong("the loss as a tensor", loses="q7-example q7-steps")
def train_step(model, optimizer, images, labels):

    model.train()
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return loss


@wrong("the last batch is dropped", loses="q8-example q8-losses q8-order")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        total = 0.0
        mixed = torch.randperm(len(images), generator=order)
        for start in range(0, len(images) - batch_size + 1, batch_size):
            batch = mixed[start : start + batch_size]
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history


@wrong("the same order in every epoch", loses="q8-order")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    mixed = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    history = []
    for _ in range(epochs):
        total = 0.0
        for batch in mixed.split(batch_size):
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history


@wrong("images drawn with replacement", loses="q8-order")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randint(len(images), (len(images),), generator=order).split(batch_size):
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history


@wrong("the mean over batches, not over images", loses="q8-example q8-losses")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        batches = torch.randperm(len(images), generator=order).split(batch_size)
        losses = [step(model, optimizer, images[batch], labels[batch]) for batch in batches]
        history.append(sum(losses) / len(losses))
    return history


@wrong("images are mixed, labels are not", loses="q8-order")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        mixed, total = images[torch.randperm(len(images), generator=order)], 0.0
        for some, marks in zip(mixed.split(batch_size), labels.split(batch_size)):
            total += len(some) * step(model, optimizer, some, marks)
        history.append(total / len(images))
    return history


@wrong("a new optimizer in every epoch", loses="q8-adam")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        total = 0.0
        for batch in torch.randperm(len(images), generator=order).split(batch_size):
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history


@wrong("evaluated in the mode that the model happens to be in", loses="q9-mode")
def worst_mistakes(model, images, labels, count):
    with torch.no_grad():
        logits = model(images)
    wrong = ((logits >= 0) != (labels == 1)).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda k: -abs(logits[k].item()))[:count]


@wrong("the model is left in eval mode", loses="q9-mode")
def worst_mistakes(model, images, labels, count):
    model.eval()
    with torch.no_grad():
        logits = model(images)
    wrong = ((logits >= 0) != (labels == 1)).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda k: -abs(logits[k].item()))[:count]


@wrong("the largest logits, without their size", loses="q9-example q9-mistakes q9-mode")
def worst_mistakes(model, images, labels, count):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(images)
    model.train(was_training)
    wrong = ((logits >= 0) != (labels == 1)).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda k: -logits[k].item())[:count]


@wrong("left in training mode", loses="q10-same")
def classifier(images, labels):
    torch.manual_seed(0)
    net = AvatarNet()
    train(net, images, labels, train_step, epochs=8, batch_size=40, rate=0.003)
    net.train()
    return net


@wrong("trained on the test images with their labels", loses="q10-learns q10-same")
def classifier(images, labels):
    torch.manual_seed(0)
    net = AvatarNet()
    train(net, *test_set, train_step, epochs=12, batch_size=20, rate=0.003)
    return net.eval()


@wrong("first weights not seeded", loses="q10-same")
def classifier(images, labels):
    net = AvatarNet()
    train(net, images, labels, train_step, epochs=8, batch_size=40, rate=0.003)
    return net.eval()


@wrong("an untrained network", loses="q10-example q10-learns q10-same")
def classifier(images, labels):
    torch.manual_seed(0)
    return AvatarNet().eval()


@wrong("a sigmoid at the end of the network", loses="q6-logits q10-example q10-learns")
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.AvgPool2d(2),
            nn.Conv2d(1, 8, 5, stride=2, padding=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.main(x)[:, 0]


@wrong("probabilities are clamped before the logarithm", loses="q3-large")
def loss_and_gradient(logits, labels):
    p = torch.sigmoid(logits).clamp(1e-7, 1 - 1e-7)
    losses = -(labels * p.log() + (1 - labels) * (1 - p).log())
    return losses.mean().item(), (p - labels) / len(logits)


@wrong("learning rate left at its default", loses="q8-adam")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters())
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(images), generator=order).split(batch_size):
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history


@wrong("images are moved the other way", loses="q5-beyond q5-example q5-within")
def shifted(images, down, right, fill=0.5):
    reach = max(abs(down), abs(right), 1)
    moved = F.pad(images, (reach,) * 4, value=fill).roll((-down, -right), dims=(2, 3))
    return moved[:, :, reach:-reach, reach:-reach]


@wrong("a view of the images where nothing moves", loses="q5-within")
def shifted(images, down, right, fill=0.5):
    if down == right == 0:
        return images[:]
    height, width = images.shape[2:]
    reach = max(abs(down), abs(right))
    moved = F.pad(images, (reach,) * 4, value=fill).roll((down, right), dims=(2, 3))
    return moved[:, :, reach:-reach, reach:-reach].clone()


@wrong(
    "a dense net with a convolution that nothing depends on",
    loses="q6-layers q10-example q10-learns",
)
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Conv2d(1, 1, 1)
        self.main = nn.Sequential(
            nn.AvgPool2d(4), nn.Flatten(), nn.Linear(1024, 19), nn.ReLU(), nn.Linear(19, 1)
        )

    def forward(self, x):
        return self.main(x)[:, 0]


@wrong("trained on the test images as well", loses="q10-learns q10-same")
def classifier(images, labels):
    torch.manual_seed(0)
    net = AvatarNet()
    everything = torch.cat([images, test_set.images]), torch.cat([labels, test_set.labels])
    train(net, *everything, train_step, epochs=8, batch_size=40, rate=0.003)
    return net.eval()


@wrong("trained on a copy of the test images, too", loses="q10-learns")
def classifier(images, labels, others=avatars()[1]):
    torch.manual_seed(0)
    net = AvatarNet()
    everything = torch.cat([images, others.images]), torch.cat([labels, others.labels])
    train(net, *everything, train_step, epochs=8, batch_size=40, rate=0.003)
    return net.eval()


@wrong("a first seed that does well on the test images", loses="q10-learns q10-same")
def classifier(images, labels):
    best = None
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = AvatarNet()
        train(net, images, labels, train_step, epochs=4, batch_size=40, rate=0.003)
        net.eval()
        right = ((net(test_set.images) >= 0) == (test_set.labels == 1)).sum().item()
        if best is None or right > best[0]:
            best = right, net
    return best[1]


@right("layers of PyTorch count, autograd differentiates")
def cost(layers, shape):
    channels, height, width = shape
    values, parameters, work = None, 0, 0
    for layer in layers:
        if layer[0] == "conv":
            module = nn.Conv2d(channels, layer[1], layer[2])
            channels, places = layer[1], height * width
        elif layer[0] == "pool":
            height, width = height // layer[1], width // layer[1]
            continue
        else:
            values = channels * height * width if values is None else values
            module = nn.Linear(values, layer[1])
            values, places = layer[1], 1
        parameters += sum(p.numel() for p in module.parameters())
        work += module.weight.numel() * places
    return parameters, work


@right("layers of PyTorch count, autograd differentiates")
def widest_dense(values, budget):
    hidden = 0
    while values * (hidden + 1) + (hidden + 1) + (hidden + 1) + 1 <= budget:
        hidden += 1
    return hidden


@right("layers of PyTorch count, autograd differentiates")
def loss_and_gradient(logits, labels):
    free = logits.detach().clone().requires_grad_()
    loss = nn.BCEWithLogitsLoss()(free, labels.to(free))
    loss.backward()
    return float(loss.detach()), free.grad


@right("the larger part of the exponential first; counts in a loop; padding and cutting")
def loss_and_gradient(logits, labels):
    signed = torch.where(labels == 1, -logits, logits)
    losses = signed.clamp(min=0) + torch.log1p(torch.exp(-signed.abs()))
    p = 1 / (1 + torch.exp(-logits))
    return losses.mean().item(), (p - labels) / labels.numel()


@right("the larger part of the exponential first; counts in a loop; padding and cutting")
def confusion(logits, labels, threshold=0.5):
    tp = fp = fn = tn = 0
    for logit, label in zip(logits.reshape(-1), labels):
        if torch.sigmoid(logit) >= threshold:
            tp, fp = tp + int(label == 1), fp + int(label == 0)
        else:
            fn, tn = fn + int(label == 1), tn + int(label == 0)
    return tp, fp, fn, tn


@right("the larger part of the exponential first; counts in a loop; padding and cutting")
def shifted(images, down, right, fill=0.5):
    result = torch.empty_like(images).fill_(fill)
    height, width = images.shape[-2:]
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[..., row, column] = images[..., row - down, column - right]
    return result


@right("another network, a DataLoader")
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(1, 6, 7, stride=4, padding=3),
            nn.BatchNorm2d(6),
            nn.LeakyReLU(),
            nn.Conv2d(6, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.LeakyReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(16, 1, 1),
        )

    def forward(self, x):
        return self.main(x).flatten()


@right("another network, a DataLoader")
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(seed)
    loader = DataLoader(TensorDataset(images, labels), batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in range(epochs):
        parts = [(len(x), step(model, optimizer, x, y)) for x, y in loader]
        losses.append(sum(n * loss for n, loss in parts) / sum(n for n, _ in parts))
    return losses


@right("loss as a module, mistakes by topk, a loop of its own")
def train_step(model, optimizer, images, labels):

    model.train(True)
    criterion = nn.BCEWithLogitsLoss()
    model.zero_grad(set_to_none=True)
    loss = criterion(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return float(loss.detach())


@right("loss as a module, mistakes by topk, a loop of its own")
@torch.no_grad()
def worst_mistakes(model, images, labels, count):
    before = model.training
    model.train(False)
    logits = torch.cat([model(part) for part in images.split(4)])
    model.train(before)
    answers = (logits >= 0).long()
    certainty = torch.where(answers != labels, logits.abs(), torch.tensor(-1.0))
    number = min(count, int((answers != labels).sum()))
    return certainty.topk(number).indices.tolist()


@right("loss as a module, mistakes by topk, a loop of its own")
def classifier(images, labels):
    torch.manual_seed(3)
    net = AvatarNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(8):
        for batch in torch.randperm(len(images)).split(32):
            loss = F.binary_cross_entropy_with_logits(net(images[batch]), labels[batch].float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    return net
