"""Lab 3, the avatar classifier: what students hand in, wrong and right."""

from tests.labs.attempts import Attempt, lost


def _step(body: str) -> dict[str, str]:
    return {"q7": f"def train_step(model, optimizer, images, labels):\n{body}"}


def _net(layers: str, forward: str = "self.main(x)[:, 0]") -> dict[str, str]:
    return {
        "q6": f"""
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Sequential({layers})

    def forward(self, x):
        return {forward}
"""
    }


_LAYERS = """
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
"""

# A classifier that learns from other images besides its own.
ON_MORE = """
def classifier(images, labels{argument}):
    torch.manual_seed(0)
    net = AvatarNet()
    everything = torch.cat([images, {others}.images]), torch.cat([labels, {others}.labels])
    train(net, *everything, train_step, epochs=8, batch_size=40, rate=0.01)
    return net.eval()
"""

WRONG = [
    Attempt(
        "biases forgotten",
        {
            "q1": """
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
"""
        },
        lost("q1", "example", "maps", "row"),
    ),
    Attempt(
        "a kernel sees one channel only",
        {
            "q1": """
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
"""
        },
        lost("q1", "maps"),
    ),
    Attempt(
        "pooling rounds up",
        {
            "q1": """
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
"""
        },
        lost("q1", "maps"),
    ),
    Attempt(
        "the bias of the output is forgotten",
        {
            "q2": """
def widest_dense(values, budget):
    return max(0, budget // (values + 2))
"""
        },
        lost("q2", "more"),
    ),
    Attempt(
        "a fractional number of units",
        {
            "q2": """
def widest_dense(values, budget):
    return max(0, (budget - 1) / (values + 2))
"""
        },
        lost("q2", "example", "more"),
    ),
    Attempt(
        "the sum of the losses, not their mean",
        {
            "q3": """
def loss_and_gradient(logits, labels):
    labels = labels.to(logits.dtype)
    loss = F.softplus(logits) - labels * logits
    return loss.sum().item(), torch.sigmoid(logits) - labels
"""
        },
        lost("q3", "example", "batch", "large"),
    ),
    Attempt(
        "the logarithm of 0",
        {
            "q3": """
def loss_and_gradient(logits, labels):
    p = torch.sigmoid(logits)
    labels = labels.to(logits.dtype)
    losses = torch.where(labels == 1, -torch.log(p), -torch.log(1 - p))
    return losses.mean().item(), (p - labels) / len(logits)
"""
        },
        lost("q3", "large"),
    ),
    Attempt(
        "sigmoid twice",
        {
            "q3": """
def loss_and_gradient(logits, labels):
    p = torch.sigmoid(logits)
    labels = labels.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(p, labels)
    return loss.item(), (torch.sigmoid(p) - labels) / len(logits)
"""
        },
        lost("q3", "example", "batch", "large"),
    ),
    Attempt(
        "the threshold is held against logits",
        {
            "q4": """
def confusion(logits, labels, threshold=0.5):
    says, right = logits.flatten() >= threshold, labels == 1
    counts = (says & right, says & ~right, ~says & right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)
"""
        },
        lost("q4", "example", "counts", "threshold"),
    ),
    Attempt(
        "logits of shape (n, 1) meet labels of shape (n,)",
        {
            "q4": """
def confusion(logits, labels, threshold=0.5):
    says, right = torch.sigmoid(logits) >= threshold, labels == 1
    counts = (says & right, says & ~right, ~says & right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)
"""
        },
        lost("q4", "counts"),
    ),
    Attempt(
        "false positives and false negatives swapped",
        {
            "q4": """
def confusion(logits, labels, threshold=0.5):
    says, right = torch.sigmoid(logits.flatten()) >= threshold, labels == 1
    counts = (says & right, ~says & right, says & ~right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)
"""
        },
        lost("q4", "counts", "threshold"),
    ),
    Attempt(
        "the threshold is always one half",
        {
            "q4": """
def confusion(logits, labels, threshold=0.5):
    says, right = logits.flatten() >= 0, labels == 1
    counts = (says & right, says & ~right, ~says & right, ~says & ~right)
    return tuple(int(count.sum()) for count in counts)
"""
        },
        lost("q4", "threshold"),
    ),
    Attempt(
        "what leaves comes back on the other side",
        {
            "q5": """
def shifted(images, down, right, fill=0.5):
    return images.roll((down, right), dims=(2, 3))
"""
        },
        lost("q5", "example", "within", "beyond"),
    ),
    Attempt(
        "down and right swapped",
        {
            "q5": """
def shifted(images, down, right, fill=0.5):
    reach = max(abs(down), abs(right), 1)
    moved = F.pad(images, (reach,) * 4, value=fill).roll((right, down), dims=(2, 3))
    return moved[:, :, reach:-reach, reach:-reach]
"""
        },
        lost("q5", "example", "within", "beyond"),
    ),
    Attempt(
        "the images are changed",
        {
            "q5": """
def shifted(images, down, right, fill=0.5):
    reach = max(abs(down), abs(right), 1)
    moved = F.pad(images, (reach,) * 4, value=fill).roll((down, right), dims=(2, 3))
    images[:] = moved[:, :, reach:-reach, reach:-reach]
    return images
"""
        },
        lost("q5", "example", "within", "beyond"),
    ),
    Attempt(
        "over the budget",
        _net(
            _LAYERS.replace(
                "nn.Linear(16, 1)", "nn.Linear(16, 1200), nn.ReLU(), nn.Linear(1200, 1)"
            )
        ),
        lost("q6", "example", "layers"),
    ),
    Attempt(
        "a batch of one image loses its axis",
        _net(_LAYERS, "self.main(x).squeeze()"),
        lost("q6", "logits"),
    ),
    Attempt(
        "logits of shape (n, 1)",
        _net(_LAYERS, "self.main(x)")
        | {
            "q10": """
def classifier(images, labels):
    torch.manual_seed(0)
    net = AvatarNet()
    train(net, images, labels[:, None], train_step, epochs=8, batch_size=40, rate=0.01)
    return net.eval()
"""
        },
        lost("q6", "example", "logits"),
    ),
    Attempt(
        "no convolution at all",
        _net("nn.AvgPool2d(4), nn.Flatten(), nn.Linear(1024, 19), nn.ReLU(), nn.Linear(19, 1)"),
        lost("q6", "layers") | lost("q10", "example", "learns"),
    ),
    Attempt(
        "gradients not zeroed",
        _step("""
    model.train()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return loss.item()
"""),
        lost("q7", "steps"),
    ),
    Attempt(
        "sigmoid before the loss that has one",
        _step("""
    model.train()
    optimizer.zero_grad()
    p = torch.sigmoid(model(images))
    loss = F.binary_cross_entropy_with_logits(p, labels.float())
    loss.backward()
    optimizer.step()
    return loss.item()
"""),
        lost("q7", "example", "steps", "mode"),
    ),
    Attempt(
        "training mode forgotten",
        _step("""
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return loss.item()
"""),
        lost("q7", "mode"),
    ),
    Attempt(
        "gradients zeroed between backward and step",
        _step("""
    model.train()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()
"""),
        lost("q7", "example", "steps", "mode"),
    ),
    Attempt(
        "the loss after the step",
        _step("""
    model.train()
    optimizer.zero_grad()
    F.binary_cross_entropy_with_logits(model(images), labels.float()).backward()
    optimizer.step()
    with torch.no_grad():
        return F.binary_cross_entropy_with_logits(model(images), labels.float()).item()
"""),
        lost("q7", "example", "steps", "mode"),
    ),
    Attempt(
        "the loss as a tensor",
        _step("""
    model.train()
    optimizer.zero_grad()
    loss = F.binary_cross_entropy_with_logits(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return loss
"""),
        lost("q7", "example", "steps"),
    ),
    Attempt(
        "the last batch is dropped",
        {
            "q8": """
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
"""
        },
        lost("q8", "example", "order", "losses"),
    ),
    Attempt(
        "the same order in every epoch",
        {
            "q8": """
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
"""
        },
        lost("q8", "order"),
    ),
    Attempt(
        "images drawn with replacement",
        {
            "q8": """
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randint(len(images), (len(images),), generator=order).split(batch_size):
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history
"""
        },
        lost("q8", "order"),
    ),
    Attempt(
        "the mean over batches, not over images",
        {
            "q8": """
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        batches = torch.randperm(len(images), generator=order).split(batch_size)
        losses = [step(model, optimizer, images[batch], labels[batch]) for batch in batches]
        history.append(sum(losses) / len(losses))
    return history
"""
        },
        lost("q8", "example", "losses"),
    ),
    Attempt(
        "images are mixed, labels are not",
        {
            "q8": """
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        mixed, total = images[torch.randperm(len(images), generator=order)], 0.0
        for some, marks in zip(mixed.split(batch_size), labels.split(batch_size)):
            total += len(some) * step(model, optimizer, some, marks)
        history.append(total / len(images))
    return history
"""
        },
        lost("q8", "order"),
    ),
    Attempt(
        "a new optimizer in every epoch",
        {
            "q8": """
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        total = 0.0
        for batch in torch.randperm(len(images), generator=order).split(batch_size):
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history
"""
        },
        lost("q8", "adam"),
    ),
    Attempt(
        "evaluated in the mode that the model happens to be in",
        {
            "q9": """
def worst_mistakes(model, images, labels, count):
    with torch.no_grad():
        logits = model(images)
    wrong = ((logits >= 0) != (labels == 1)).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda k: -abs(logits[k].item()))[:count]
"""
        },
        lost("q9", "mode"),
    ),
    Attempt(
        "the model is left in eval mode",
        {
            "q9": """
def worst_mistakes(model, images, labels, count):
    model.eval()
    with torch.no_grad():
        logits = model(images)
    wrong = ((logits >= 0) != (labels == 1)).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda k: -abs(logits[k].item()))[:count]
"""
        },
        lost("q9", "mode"),
    ),
    Attempt(
        "the largest logits, without their size",
        {
            "q9": """
def worst_mistakes(model, images, labels, count):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits = model(images)
    model.train(was_training)
    wrong = ((logits >= 0) != (labels == 1)).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda k: -logits[k].item())[:count]
"""
        },
        lost("q9", "example", "mistakes", "mode"),
    ),
    Attempt(
        "left in training mode",
        {
            "q10": """
def classifier(images, labels):
    torch.manual_seed(0)
    net = AvatarNet()
    train(net, images, labels, train_step, epochs=8, batch_size=40, rate=0.01)
    net.train()
    return net
"""
        },
        lost("q10", "same"),
    ),
    Attempt(
        "trained on the test images with their labels",
        {
            "q10": """
def classifier(images, labels):
    torch.manual_seed(0)
    net = AvatarNet()
    train(net, *test_set, train_step, epochs=12, batch_size=20, rate=0.01)
    return net.eval()
"""
        },
        lost("q10", "same", "learns"),
    ),
    Attempt(
        "first weights not seeded",
        {
            "q10": """
def classifier(images, labels):
    net = AvatarNet()
    train(net, images, labels, train_step, epochs=8, batch_size=40, rate=0.01)
    return net.eval()
"""
        },
        lost("q10", "same"),
    ),
    Attempt(
        "an untrained network",
        {
            "q10": """
def classifier(images, labels):
    torch.manual_seed(0)
    return AvatarNet().eval()
"""
        },
        lost("q10", "example", "same", "learns"),
    ),
    Attempt(
        "a sigmoid at the end of the network",
        _net(_LAYERS + "nn.Sigmoid(),"),
        lost("q6", "logits") | lost("q10", "example", "learns"),
    ),
    Attempt(
        "probabilities are clamped before the logarithm",
        {
            "q3": """
def loss_and_gradient(logits, labels):
    p = torch.sigmoid(logits).clamp(1e-7, 1 - 1e-7)
    losses = -(labels * p.log() + (1 - labels) * (1 - p).log())
    return losses.mean().item(), (p - labels) / len(logits)
"""
        },
        lost("q3", "large"),
    ),
    Attempt(
        "learning rate left at its default",
        {
            "q8": """
def train(model, images, labels, step, epochs, batch_size, rate, seed=0):
    optimizer = torch.optim.Adam(model.parameters())
    order, history = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(len(images), generator=order).split(batch_size):
            total += len(batch) * step(model, optimizer, images[batch], labels[batch])
        history.append(total / len(images))
    return history
"""
        },
        lost("q8", "adam"),
    ),
    Attempt(
        "images are moved the other way",
        {
            "q5": """
def shifted(images, down, right, fill=0.5):
    reach = max(abs(down), abs(right), 1)
    moved = F.pad(images, (reach,) * 4, value=fill).roll((-down, -right), dims=(2, 3))
    return moved[:, :, reach:-reach, reach:-reach]
"""
        },
        lost("q5", "example", "within", "beyond"),
    ),
    Attempt(
        "a view of the images where nothing moves",
        {
            "q5": """
def shifted(images, down, right, fill=0.5):
    if down == right == 0:
        return images[:]
    height, width = images.shape[2:]
    reach = max(abs(down), abs(right))
    moved = F.pad(images, (reach,) * 4, value=fill).roll((down, right), dims=(2, 3))
    return moved[:, :, reach:-reach, reach:-reach].clone()
"""
        },
        lost("q5", "within"),
    ),
    Attempt(
        "a dense net with a convolution that nothing depends on",
        {
            "q6": """
class AvatarNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Conv2d(1, 1, 1)
        self.main = nn.Sequential(
            nn.AvgPool2d(4), nn.Flatten(), nn.Linear(1024, 19), nn.ReLU(), nn.Linear(19, 1)
        )

    def forward(self, x):
        return self.main(x)[:, 0]
"""
        },
        lost("q6", "layers") | lost("q10", "example", "learns"),
    ),
    Attempt(
        "trained on the test images as well",
        {"q10": ON_MORE.format(argument="", others="test_set")},
        lost("q10", "same", "learns"),
    ),
    Attempt(
        "trained on a copy of the test images, too",
        {"q10": ON_MORE.format(argument=", others=avatars()[1]", others="others")},
        lost("q10", "learns"),
    ),
    Attempt(
        "a first seed that does well on the test images",
        {
            "q10": """
def classifier(images, labels):
    best = None
    for seed in (0, 1):
        torch.manual_seed(seed)
        net = AvatarNet()
        train(net, images, labels, train_step, epochs=4, batch_size=40, rate=0.01)
        net.eval()
        right = ((net(test_set.images) >= 0) == (test_set.labels == 1)).sum().item()
        if best is None or right > best[0]:
            best = right, net
    return best[1]
"""
        },
        lost("q10", "same", "learns"),
    ),
]

RIGHT = [
    Attempt(
        "layers of PyTorch count, autograd differentiates",
        {
            "q1": """
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
""",
            "q2": """
def widest_dense(values, budget):
    hidden = 0
    while values * (hidden + 1) + (hidden + 1) + (hidden + 1) + 1 <= budget:
        hidden += 1
    return hidden
""",
            "q3": """
def loss_and_gradient(logits, labels):
    free = logits.detach().clone().requires_grad_()
    loss = nn.BCEWithLogitsLoss()(free, labels.to(free))
    loss.backward()
    return float(loss.detach()), free.grad
""",
        },
    ),
    Attempt(
        "the larger part of the exponential first; counts in a loop; padding and cutting",
        {
            "q3": """
def loss_and_gradient(logits, labels):
    signed = torch.where(labels == 1, -logits, logits)
    losses = signed.clamp(min=0) + torch.log1p(torch.exp(-signed.abs()))
    p = 1 / (1 + torch.exp(-logits))
    return losses.mean().item(), (p - labels) / labels.numel()
""",
            "q4": """
def confusion(logits, labels, threshold=0.5):
    tp = fp = fn = tn = 0
    for logit, label in zip(logits.reshape(-1), labels):
        if torch.sigmoid(logit) >= threshold:
            tp, fp = tp + int(label == 1), fp + int(label == 0)
        else:
            fn, tn = fn + int(label == 1), tn + int(label == 0)
    return tp, fp, fn, tn
""",
            "q5": """
def shifted(images, down, right, fill=0.5):
    result = torch.empty_like(images).fill_(fill)
    height, width = images.shape[-2:]
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                result[..., row, column] = images[..., row - down, column - right]
    return result
""",
        },
    ),
    Attempt(
        "another network, a DataLoader",
        _net(
            """
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
""",
            "self.main(x).flatten()",
        )
        | {
            "q8": """
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
"""
        },
    ),
    Attempt(
        "loss as a module, mistakes by topk, a loop of its own",
        _step("""
    model.train(True)
    criterion = nn.BCEWithLogitsLoss()
    model.zero_grad(set_to_none=True)
    loss = criterion(model(images), labels.float())
    loss.backward()
    optimizer.step()
    return float(loss.detach())
""")
        | {
            "q9": """
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
""",
            "q10": """
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
""",
        },
    ),
]
