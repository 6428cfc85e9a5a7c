"""Lab 4, where is Waldo: what students hand in, wrong and right."""

from tests.labs.attempts import Attempt, lost

# The first half of question 9, right.
COARSE = """
def coarse_to_fine(score, shape, stride, count):
    asked = {
        (row, column): score(row, column)
        for row in range(0, shape[0], stride)
        for column in range(0, shape[1], stride)
    }"""

WRONG = [
    Attempt(
        "the mean of each channel is subtracted",
        {
            "q1": """
def make_template(examples):
    template = examples.mean(dim=0)
    template = template - template.mean(dim=(1, 2), keepdim=True)
    length = template.norm()
    return template / length if length > 0 else template
"""
        },
        lost("q1", "more"),
    ),
    Attempt(
        "template not zero-mean",
        {
            "q1": """
def make_template(examples):
    template = examples.mean(dim=0)
    length = template.norm()
    return template / length if length > 0 else template
"""
        },
        lost("q1", "example", "more"),
    ),
    Attempt(
        "the examples are changed",
        {
            "q1": """
def make_template(examples):
    examples -= examples.mean()
    template = examples.mean(dim=0)
    length = template.norm()
    return template / length if length > 0 else template
"""
        },
        lost("q1", "example", "more"),
    ),
    Attempt(
        "template of a constant picture is NaN",
        {
            "q1": """
def make_template(examples):
    template = examples.mean(0) - examples.mean()
    return template / template.norm()
"""
        },
        lost("q1", "more"),
    ),
    Attempt(
        "divided by the standard deviation, not by the length",
        {
            "q1": """
def make_template(examples):
    template = examples.mean(dim=0)
    template = template - template.mean()
    spread = template.std()
    return template / spread if spread > 0 else template
"""
        },
        lost("q1", "example", "more"),
    ),
    Attempt(
        "the template of the score is taken as zero-mean",
        {
            "q2": """
def normalised_score(patch, template):
    patch = patch - patch.mean()
    lengths = (patch.norm() * template.norm()).item()
    return (patch * template).sum().item() / lengths if lengths > 0 else 0.0
"""
        },
        lost("q2", "example", "score", "constant"),
    ),
    Attempt(
        "0 / 0 for a constant patch",
        {
            "q2": """
def normalised_score(patch, template):
    patch, template = patch - patch.mean(), template - template.mean()
    return ((patch * template).sum() / (patch.norm() * template.norm())).item()
"""
        },
        lost("q2", "constant"),
    ),
    Attempt(
        "patch and template are changed",
        {
            "q2": """
def normalised_score(patch, template):
    patch -= patch.mean()
    template -= template.mean()
    lengths = (patch.norm() * template.norm()).item()
    return (patch * template).sum().item() / lengths if lengths > 0 else 0.0
"""
        },
        lost("q2", "example", "score", "constant"),
    ),
    Attempt(
        "the size of the score, without its sign",
        {
            "q2": """
def normalised_score(patch, template):
    patch, template = patch - patch.mean(), template - template.mean()
    lengths = (patch.norm() * template.norm()).item()
    return abs((patch * template).sum().item()) / lengths if lengths > 0 else 0.0
"""
        },
        lost("q2", "score"),
    ),
    Attempt(
        "only the first channel is compared",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    (high, wide), (down, right) = template.shape[1:], stride
    scene = F.pad(scene, (padding[1], padding[1], padding[0], padding[0]))
    kernel = template[0] - template[0].mean()
    rows = range(0, scene.shape[1] - high + 1, down)
    columns = range(0, scene.shape[2] - wide + 1, right)
    scores = torch.zeros(len(rows), len(columns))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            patch = scene[0, row : row + high, column : column + wide]
            patch = patch - patch.mean()
            lengths = patch.norm() * kernel.norm()
            scores[i, j] = (patch * kernel).sum() / lengths if lengths > 1e-6 else 0
    return scores
"""
        },
        lost("q3", "patches"),
    ),
    Attempt(
        "padding and stride are (columns, rows)",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[0], padding[0], padding[1], padding[1]))
    patches = padded.unfold(1, template.shape[1], stride[1])
    patches = patches.unfold(2, template.shape[2], stride[0])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)
"""
        },
        lost("q3", "example", "slide"),
    ),
    Attempt(
        "zeros only above and left",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[1], 0, padding[0], 0))
    patches = padded.unfold(1, template.shape[1], stride[0])
    patches = patches.unfold(2, template.shape[2], stride[1])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)
"""
        },
        lost("q3", "example", "slide"),
    ),
    Attempt(
        "the edge is repeated instead of zeros",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    around = (padding[1], padding[1], padding[0], padding[0])
    padded = F.pad(scene[None], around, mode="replicate")[0]
    patches = padded.unfold(1, template.shape[1], stride[0])
    patches = patches.unfold(2, template.shape[2], stride[1])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)
"""
        },
        lost("q3", "example", "slide"),
    ),
    Attempt(
        "the kernel is flipped",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[1], padding[1], padding[0], padding[0]))
    patches = padded.unfold(1, template.shape[1], stride[0])
    patches = patches.unfold(2, template.shape[2], stride[1])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flip(1, 2).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)
"""
        },
        lost("q3", "example", "patches", "slide", "constant"),
    ),
    Attempt(
        "normalised by the whole scene, not by the patch",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    scene = scene - scene.mean()
    kernel = template - template.mean()
    products = F.conv2d(scene[None], kernel[None], padding=padding, stride=stride)[0, 0]
    return products / (scene.norm() * kernel.norm()).clamp(min=1e-9)
"""
        },
        lost("q3", "example", "patches", "slide", "constant"),
    ),
    Attempt(
        "the flat index divided by the height",
        {
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[0])
    row = row * stride[0] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2
"""
        },
        lost("q4", "example", "centre", "slide"),
    ),
    Attempt(
        "padding offset forgotten",
        {
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    return row * stride[0] + size[0] // 2, column * stride[1] + size[1] // 2
"""
        },
        lost("q4", "example", "slide"),
    ),
    Attempt(
        "stride forgotten on the way back",
        {
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    return row - padding[0] + size[0] // 2, column - padding[1] + size[1] // 2
"""
        },
        lost("q4", "example", "slide"),
    ),
    Attempt(
        "the corner of the patch, not its centre",
        {
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    return row * stride[0] - padding[0], column * stride[1] - padding[1]
"""
        },
        lost("q4", "example", "centre", "slide"),
    ),
    Attempt(
        "the centre of an even template is a pixel too low",
        {
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    row = row * stride[0] - padding[0] + (size[0] - 1) // 2
    return row, column * stride[1] - padding[1] + (size[1] - 1) // 2
"""
        },
        lost("q4", "centre"),
    ),
    Attempt(
        "of equal scores the last",
        {
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = (scores == scores.max()).nonzero()[-1].tolist()
    row = row * stride[0] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2
"""
        },
        lost("q4", "centre"),
    ),
    Attempt(
        "one stride for rows and columns",
        {
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    row = row * stride[1] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2
"""
        },
        lost("q4", "slide"),
    ),
    Attempt(
        "channels are not multiplied",
        {
            "q5": """
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = pixels = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        centres = range(k // 2 - p, n + p - k + k // 2 + 1, s)
        entries *= len(centres)
        pixels *= sum(0 <= centre < n for centre in centres)
    return entries, entries * template_shape[1] * template_shape[2], pixels
"""
        },
        lost("q5", "work"),
    ),
    Attempt(
        "centres outside the scene count",
        {
            "q5": """
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        entries *= max(0, (n + 2 * p - k) // s + 1)
    return entries, entries * math.prod(template_shape), entries
"""
        },
        lost("q5", "pixels"),
    ),
    Attempt(
        "padding is counted on one side",
        {
            "q5": """
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = pixels = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        centres = range(k // 2 - p, n - k + k // 2 + 1, s)
        entries *= len(centres)
        pixels *= sum(0 <= centre < n for centre in centres)
    return entries, entries * math.prod(template_shape), pixels
"""
        },
        lost("q5", "example", "work", "pixels"),
    ),
    Attempt(
        "a template that does not fit has a negative number of places",
        {
            "q5": """
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = pixels = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        places = (n + 2 * p - k) // s + 1
        entries *= places
        pixels *= sum(0 <= i * s - p + k // 2 < n for i in range(places))
    return entries, entries * math.prod(template_shape), pixels
"""
        },
        lost("q5", "work"),
    ),
    Attempt(
        "an entry survives only if it is the highest around it",
        {
            "q6": """
def peaks(scores, threshold, reach):
    found = []
    for row in range(scores.shape[0]):
        for column in range(scores.shape[1]):
            rows = slice(max(0, row - reach[0] + 1), row + reach[0])
            around = scores[rows, max(0, column - reach[1] + 1) : column + reach[1]]
            if scores[row, column] >= threshold and scores[row, column] == around.max():
                found.append((row, column))
    return sorted(found, key=lambda place: -scores[place])
"""
        },
        lost("q6", "example", "reach", "limits"),
    ),
    Attempt(
        "no suppression at all",
        {
            "q6": """
def peaks(scores, threshold, reach):
    found = [tuple(place) for place in (scores >= threshold).nonzero().tolist()]
    return sorted(found, key=lambda place: -scores[place])
"""
        },
        lost("q6", "example", "reach", "limits"),
    ),
    Attempt(
        "discarded entries get a score of 0",
        {
            "q6": """
def peaks(scores, threshold, reach):
    left, kept = scores.clone(), []
    while left.max() >= threshold and len(kept) < left.numel():
        row, column = divmod(left.argmax().item(), left.shape[1])
        kept.append((row, column))
        rows = slice(max(0, row - reach[0] + 1), row + reach[0])
        left[rows, max(0, column - reach[1] + 1) : column + reach[1]] = 0
    return kept
"""
        },
        lost("q6", "limits"),
    ),
    Attempt(
        "the score map is changed",
        {
            "q6": """
def peaks(scores, threshold, reach):
    kept = []
    while scores.max() >= threshold:
        row, column = divmod(scores.argmax().item(), scores.shape[1])
        kept.append((row, column))
        rows = slice(max(0, row - reach[0] + 1), row + reach[0])
        scores[rows, max(0, column - reach[1] + 1) : column + reach[1]] = -torch.inf
    return kept
"""
        },
        lost("q6", "example", "reach", "limits"),
    ),
    Attempt(
        "a score that equals the threshold is dropped",
        {
            "q6": """
def peaks(scores, threshold, reach):
    left, kept = scores.clone(), []
    while left.max() > threshold:
        row, column = divmod(left.argmax().item(), left.shape[1])
        kept.append((row, column))
        rows = slice(max(0, row - reach[0] + 1), row + reach[0])
        left[rows, max(0, column - reach[1] + 1) : column + reach[1]] = -torch.inf
    return kept
"""
        },
        lost("q6", "limits"),
    ),
    Attempt(
        "a negative start of a slice near the edge",
        {
            "q6": """
def peaks(scores, threshold, reach):
    left, kept = scores.clone(), []
    while left.max() >= threshold:
        row, column = divmod(left.argmax().item(), left.shape[1])
        kept.append((row, column))
        rows = slice(row - reach[0] + 1, row + reach[0])
        left[rows, column - reach[1] + 1 : column + reach[1]] = -torch.inf
        left[row, column] = -torch.inf
    return kept
"""
        },
        lost("q6", "reach"),
    ),
    Attempt(
        "every place near Waldo is right",
        {
            "q7": """
def precision_recall(found, truth, distance):
    right = answers = hits = 0
    for places, waldo in zip(found, truth):
        near = [p for p in places if waldo is not None and math.dist(p, waldo) <= distance]
        right, answers, hits = right + len(near), answers + len(places), hits + bool(near)
    waldos = sum(waldo is not None for waldo in truth)
    return right / answers if answers else 1.0, hits / waldos if waldos else 1.0
"""
        },
        lost("q7", "near"),
    ),
    Attempt(
        "the mean of the precisions of the scenes",
        {
            "q7": """
def precision_recall(found, truth, distance):
    precisions, hits = [], 0
    for places, waldo in zip(found, truth):
        hit = waldo is not None and any(math.dist(p, waldo) <= distance for p in places)
        hits += hit
        precisions.append(hit / len(places) if places else 1.0)
    waldos = sum(waldo is not None for waldo in truth)
    return sum(precisions) / len(precisions), hits / waldos if waldos else 1.0
"""
        },
        lost("q7", "example", "near", "nothing"),
    ),
    Attempt(
        "rows and columns are compared one by one",
        {
            "q7": """
def precision_recall(found, truth, distance):
    right = 0
    for places, waldo in zip(found, truth):
        if waldo is not None:
            right += any(
                abs(p[0] - waldo[0]) <= distance and abs(p[1] - waldo[1]) <= distance
                for p in places
            )
    answers, waldos = sum(map(len, found)), sum(waldo is not None for waldo in truth)
    return right / answers if answers else 1.0, right / waldos if waldos else 1.0
"""
        },
        lost("q7", "near"),
    ),
    Attempt(
        "only the best place of a scene is looked at",
        {
            "q7": """
def precision_recall(found, truth, distance):
    right = sum(
        bool(places) and waldo is not None and math.dist(places[0], waldo) <= distance
        for places, waldo in zip(found, truth)
    )
    answers, waldos = sum(map(len, found)), sum(waldo is not None for waldo in truth)
    return right / answers if answers else 1.0, right / waldos if waldos else 1.0
"""
        },
        lost("q7", "near"),
    ),
    Attempt(
        "recall over all scenes, also those without Waldo",
        {
            "q7": """
def precision_recall(found, truth, distance):
    right = sum(
        waldo is not None and any(math.dist(place, waldo) <= distance for place in places)
        for places, waldo in zip(found, truth)
    )
    answers = sum(map(len, found))
    return right / answers if answers else 1.0, right / len(truth)
"""
        },
        lost("q7", "nothing"),
    ),
    Attempt(
        "the share of all patches, not of the Waldos",
        {
            "q8": """
def threshold_for(scores, is_waldo, recall):
    ordered = scores.sort(descending=True).values.tolist()
    return ordered[math.ceil(recall * len(ordered)) - 1]
"""
        },
        lost("q8", "example", "more"),
    ),
    Attempt(
        "rounded down, one Waldo too few",
        {
            "q8": """
def threshold_for(scores, is_waldo, recall):
    waldos = scores[is_waldo].sort(descending=True).values.tolist()
    return waldos[max(0, int(recall * len(waldos)) - 1)]
"""
        },
        lost("q8", "example", "more"),
    ),
    Attempt(
        "the lowest Waldo, whatever the share",
        {
            "q8": """
def threshold_for(scores, is_waldo, recall):
    return scores[is_waldo].min().item()
"""
        },
        lost("q8", "example", "more"),
    ),
    Attempt(
        "the whole map is asked for",
        {
            "q9": """
def coarse_to_fine(score, shape, stride, count):
    every = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
    return max(every, key=lambda place: score(*place))
"""
        },
        lost("q9", "example", "asked", "answer"),
    ),
    Attempt(
        "candidates are asked for a second time",
        {
            "q9": """
def coarse_to_fine(score, shape, stride, count):
    coarse = {
        (row, column): score(row, column)
        for row in range(0, shape[0], stride)
        for column in range(0, shape[1], stride)
    }
    near = set()
    for i, j in sorted(coarse, key=lambda place: (-coarse[place], place))[:count]:
        for row in range(max(0, i - stride + 1), min(shape[0], i + stride)):
            for column in range(max(0, j - stride + 1), min(shape[1], j + stride)):
                near.add((row, column))
    fine = {place: score(*place) for place in near}
    return min(fine, key=lambda place: (-fine[place], place))
"""
        },
        lost("q9", "example", "asked"),
    ),
    Attempt(
        "the fine search looks only below and to the right",
        {
            "q9": f"""{COARSE}
    for i, j in sorted(asked, key=lambda place: (-asked[place], place))[:count]:
        for row in range(i, min(shape[0], i + stride)):
            for column in range(j, min(shape[1], j + stride)):
                if (row, column) not in asked:
                    asked[row, column] = score(row, column)
    return min(asked, key=lambda place: (-asked[place], place))
"""
        },
        lost("q9", "example", "asked", "answer"),
    ),
    Attempt(
        "only one candidate",
        {
            "q9": f"""{COARSE}
    i, j = min(asked, key=lambda place: (-asked[place], place))
    for row in range(max(0, i - stride + 1), min(shape[0], i + stride)):
        for column in range(max(0, j - stride + 1), min(shape[1], j + stride)):
            if (row, column) not in asked:
                asked[row, column] = score(row, column)
    return min(asked, key=lambda place: (-asked[place], place))
"""
        },
        lost("q9", "asked", "answer"),
    ),
    Attempt(
        "no padding, and corners instead of centres",
        {
            "q10": """
def detect(scene, template, threshold):
    return peaks(score_map(scene, template), threshold, tuple(template.shape[1:]))
"""
        },
        lost("q10", "example", "crowds", "edge"),
    ),
    Attempt(
        "no padding: blind at the edge",
        {
            "q10": """
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    found = peaks(score_map(scene, template), threshold, (high, wide))
    return [(row + high // 2, column + wide // 2) for row, column in found]
"""
        },
        lost("q10", "edge"),
    ),
    Attempt(
        "half of the template is added although the scene was padded",
        {
            "q10": """
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    found = peaks(scores, threshold, (high, wide))
    return [(row + high // 2, column + wide // 2) for row, column in found]
"""
        },
        lost("q10", "example", "crowds", "edge"),
    ),
    Attempt(
        "there is always one Waldo",
        {
            "q10": """
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    return [divmod(scores.argmax().item(), scores.shape[1])]
"""
        },
        lost("q10", "crowds", "edge"),
    ),
    Attempt(
        "reach is twice the template",
        {
            "q10": """
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    return peaks(scores, threshold, (2 * high, 2 * wide))
"""
        },
        lost("q10", "edge"),
    ),
    Attempt(
        "padding for the size of Waldo only",
        {
            "q10": """
def detect(scene, template, threshold):
    return peaks(score_map(scene, template, padding=(15, 8)), threshold, (31, 17))
"""
        },
        lost("q10", "edge"),
    ),
    Attempt(
        "suppression reaches three entries, not the template",
        {
            "q10": """
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    return peaks(scores, threshold, (3, 3))
"""
        },
        lost("q10", "edge"),
    ),
    Attempt(
        "channels are scored one by one and averaged",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    maps = []
    for values, kernel in zip(scene, template):
        padded = F.pad(values, (padding[1], padding[1], padding[0], padding[0]))
        patches = padded.unfold(0, kernel.shape[0], stride[0])
        patches = patches.unfold(1, kernel.shape[1], stride[1]).flatten(2)
        patches = patches - patches.mean(2, keepdim=True)
        kernel = (kernel - kernel.mean()).flatten()
        maps.append((patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9))
    return torch.stack(maps).mean(0)
"""
        },
        lost("q3", "patches"),
    ),
    Attempt(
        "of equal scores the one that was asked for first",
        {
            "q9": f"""{COARSE}
    for i, j in sorted(asked, key=lambda place: (-asked[place], place))[:count]:
        for row in range(max(0, i - stride + 1), min(shape[0], i + stride)):
            for column in range(max(0, j - stride + 1), min(shape[1], j + stride)):
                if (row, column) not in asked:
                    asked[row, column] = score(row, column)
    return max(asked, key=asked.get)
"""
        },
        lost("q9", "answer"),
    ),
]

RIGHT = [
    Attempt(
        "patch by patch in a loop",
        {
            "q2": """
def normalised_score(patch, template):
    n, patch, template = patch.numel(), patch.flatten().tolist(), template.flatten().tolist()
    p, t = sum(patch) / n, sum(template) / n
    above = sum((a - p) * (b - t) for a, b in zip(patch, template))
    below = sum((a - p) ** 2 for a in patch) * sum((b - t) ** 2 for b in template)
    return above / math.sqrt(below) if below else 0.0
""",
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    channels, height, width = scene.shape
    _, high, wide = template.shape
    padded = torch.zeros(
        channels, height + 2 * padding[0], width + 2 * padding[1], dtype=scene.dtype
    )
    padded[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width] = scene
    scores = []
    for row in range(0, padded.shape[1] - high + 1, stride[0]):
        scores.append([])
        for column in range(0, padded.shape[2] - wide + 1, stride[1]):
            patch = padded[:, row : row + high, column : column + wide]
            scores[-1].append(normalised_score(patch, template))
    return torch.tensor(scores)
""",
            "q5": """
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    channels, high, wide = template_shape
    entries = pixels = 0
    for top in range(-padding[0], scene_shape[1] + padding[0] - high + 1, stride[0]):
        for left in range(-padding[1], scene_shape[2] + padding[1] - wide + 1, stride[1]):
            entries += 1
            row, column = top + high // 2, left + wide // 2
            if 0 <= row < scene_shape[1] and 0 <= column < scene_shape[2]:
                pixels += 1
    return entries, entries * channels * high * wide, pixels
""",
        },
    ),
    Attempt(
        "all patches at once by unfold",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[1], padding[1], padding[0], padding[0]))
    high, wide = template.shape[1:]
    patches = padded.unfold(1, high, stride[0]).unfold(2, wide, stride[1])
    patches = patches - patches.mean(dim=(0, 3, 4), keepdim=True)
    kernel = template - template.mean()
    products = torch.einsum("cijab,cab->ij", patches, kernel)
    lengths = patches.square().sum(dim=(0, 3, 4)).sqrt() * kernel.norm()
    return torch.where(lengths > 1e-6, products / lengths, torch.zeros_like(lengths))
""",
            "q6": """
def peaks(scores, threshold, reach):
    rows, columns = scores.shape
    every = [(r, c) for r in range(rows) for c in range(columns) if scores[r, c] >= threshold]
    every.sort(key=lambda place: scores[place].item(), reverse=True)
    kept = []
    for r, c in every:
        if not any(abs(r - i) < reach[0] and abs(c - j) < reach[1] for i, j in kept):
            kept.append((r, c))
    return kept
""",
        },
    ),
    Attempt(
        "with NumPy and SciPy",
        {
            "q1": """
def make_template(examples):
    values = examples.numpy().mean(axis=0)
    values = values - values.mean()
    length = (values**2).sum() ** 0.5
    return torch.from_numpy(values / length if length else values)
""",
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    import numpy as np
    from scipy.signal import correlate

    kernel = template.double().numpy()
    kernel = kernel - kernel.mean()
    around = ((0, 0), (padding[0],) * 2, (padding[1],) * 2)
    padded = np.pad(scene.double().numpy(), around)

    def slide(values, weights):
        full = correlate(values, weights, mode="valid", method="direct")[0]
        return full[:: stride[0], :: stride[1]]

    if any(a < b for a, b in zip(padded.shape, kernel.shape)):
        return torch.zeros(0, 0)
    ones = np.ones_like(kernel)
    spread = slide(padded**2, ones) - slide(padded, ones) ** 2 / kernel.size
    below = np.sqrt(spread.clip(0)) * np.linalg.norm(kernel)
    scores = np.zeros_like(below)
    np.divide(slide(padded, kernel), below, out=scores, where=below > 1e-6)
    return torch.from_numpy(scores)
""",
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    import numpy as np

    entry = np.unravel_index(np.argmax(scores.numpy()), tuple(scores.shape))
    return tuple(int(entry[k]) * stride[k] - padding[k] + size[k] // 2 for k in (0, 1))
""",
        },
    ),
    Attempt(
        "in double precision, places by nonzero and topk",
        {
            "q3": """
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    scene, template = scene.double(), template.double()
    columns = F.unfold(scene[None], template.shape[1:], padding=padding, stride=stride)[0]
    columns = columns - columns.mean(dim=0)
    kernel = template.flatten() - template.mean()
    scores = F.normalize(columns, dim=0).T @ F.normalize(kernel, dim=0)
    rows = (scene.shape[1] + 2 * padding[0] - template.shape[1]) // stride[0] + 1
    return scores.view(rows, -1)
""",
            "q4": """
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = (scores == scores.max()).nonzero()[0].tolist()
    row = row * stride[0] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2
""",
            "q8": """
def threshold_for(scores, is_waldo, recall):
    waldos = scores[is_waldo]
    needed = math.ceil(recall * len(waldos) - 1e-9)
    return waldos.topk(needed).values[-1].item()
""",
            "q9": """
def coarse_to_fine(score, shape, stride, count):
    known = torch.full(shape, -torch.inf, dtype=torch.float64)
    look = torch.zeros(shape, dtype=torch.bool)
    look[::stride, ::stride] = True

    def ask():
        for row, column in (look & known.isinf()).nonzero().tolist():
            known[row, column] = score(row, column)

    ask()
    order = known.flatten().sort(descending=True, stable=True).indices
    found = order[: min(count, int(look.sum()))].tolist()
    for entry in found:
        i, j = divmod(entry, shape[1])
        look[max(0, i - stride + 1) : i + stride, max(0, j - stride + 1) : j + stride] = True
    ask()
    return divmod(known.argmax().item(), shape[1])
""",
        },
    ),
    Attempt(
        "a detector that needs no answer before it",
        {
            "q7": """
def precision_recall(found, truth, distance):
    true = false = missed = 0
    for places, waldo in zip(found, truth):
        near = 0
        if waldo is not None:
            for row, column in places:
                near += (row - waldo[0]) ** 2 + (column - waldo[1]) ** 2 <= distance**2
            missed += near == 0
        true += near > 0
        false += len(places) - (near > 0)
    precision = 1.0 if true + false == 0 else true / (true + false)
    recall = 1.0 if true + missed == 0 else true / (true + missed)
    return precision, recall
""",
            "q10": """
def detect(scene, template, threshold):
    height, width = scene.shape[1:]
    high, wide = template.shape[1:]
    padded = F.pad(scene, (wide // 2, wide // 2, high // 2, high // 2))
    columns = F.unfold(padded[None], (high, wide))[0]
    columns = columns - columns.mean(dim=0)
    kernel = (template - template.mean()).flatten()
    scores = (kernel @ columns) / (columns.norm(dim=0) * kernel.norm() + 1e-9)
    found = []
    for entry in scores.argsort(descending=True).tolist():
        if scores[entry] < threshold:
            break
        row, column = entry // width, entry % width
        if all(abs(row - i) >= high or abs(column - j) >= wide for i, j in found):
            found.append((row, column))
    return found
""",
        },
    ),
]
