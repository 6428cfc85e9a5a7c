"""Lab 4, where is Waldo: what students hand in, wrong and right."""

# Students write no types.
# mypy: ignore-errors

import math

import torch
import torch.nn.functional as F

from tests.labs.attempts import right, wrong


@wrong("the mean of each channel is subtracted", loses="q1-more")
def make_template(examples):
    template = examples.mean(dim=0)
    template = template - template.mean(dim=(1, 2), keepdim=True)
    length = template.norm()
    return template / length if length > 0 else template


@wrong("template not zero-mean", loses="q1-example q1-more")
def make_template(examples):
    template = examples.mean(dim=0)
    length = template.norm()
    return template / length if length > 0 else template


@wrong("the examples are changed", loses="q1-example q1-more")
def make_template(examples):
    examples -= examples.mean()
    template = examples.mean(dim=0)
    length = template.norm()
    return template / length if length > 0 else template


@wrong("template of a constant picture is NaN", loses="q1-more")
def make_template(examples):
    template = examples.mean(0) - examples.mean()
    return template / template.norm()


@wrong("divided by the standard deviation, not by the length", loses="q1-example q1-more")
def make_template(examples):
    template = examples.mean(dim=0)
    template = template - template.mean()
    spread = template.std()
    return template / spread if spread > 0 else template


@wrong("the template of the score is taken as zero-mean", loses="q2-constant q2-example q2-score")
def normalised_score(patch, template):
    patch = patch - patch.mean()
    lengths = (patch.norm() * template.norm()).item()
    return (patch * template).sum().item() / lengths if lengths > 0 else 0.0


@wrong("0 / 0 for a constant patch", loses="q2-constant")
def normalised_score(patch, template):
    patch, template = patch - patch.mean(), template - template.mean()
    return ((patch * template).sum() / (patch.norm() * template.norm())).item()


@wrong("patch and template are changed", loses="q2-constant q2-example q2-score")
def normalised_score(patch, template):
    patch -= patch.mean()
    template -= template.mean()
    lengths = (patch.norm() * template.norm()).item()
    return (patch * template).sum().item() / lengths if lengths > 0 else 0.0


@wrong("the size of the score, without its sign", loses="q2-score")
def normalised_score(patch, template):
    patch, template = patch - patch.mean(), template - template.mean()
    lengths = (patch.norm() * template.norm()).item()
    return abs((patch * template).sum().item()) / lengths if lengths > 0 else 0.0


@wrong("only the first channel is compared", loses="q3-patches")
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


@wrong("padding and stride are (columns, rows)", loses="q3-example q3-slide")
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[0], padding[0], padding[1], padding[1]))
    patches = padded.unfold(1, template.shape[1], stride[1])
    patches = patches.unfold(2, template.shape[2], stride[0])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)


@wrong("zeros only above and left", loses="q3-example q3-slide")
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[1], 0, padding[0], 0))
    patches = padded.unfold(1, template.shape[1], stride[0])
    patches = patches.unfold(2, template.shape[2], stride[1])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)


@wrong("the edge is repeated instead of zeros", loses="q3-example q3-slide")
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    around = (padding[1], padding[1], padding[0], padding[0])
    padded = F.pad(scene[None], around, mode="replicate")[0]
    patches = padded.unfold(1, template.shape[1], stride[0])
    patches = patches.unfold(2, template.shape[2], stride[1])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)


@wrong("the kernel is flipped", loses="q3-constant q3-example q3-patches q3-slide")
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[1], padding[1], padding[0], padding[0]))
    patches = padded.unfold(1, template.shape[1], stride[0])
    patches = patches.unfold(2, template.shape[2], stride[1])
    patches = patches.permute(1, 2, 0, 3, 4).flatten(2)
    patches = patches - patches.mean(2, keepdim=True)
    kernel = (template - template.mean()).flip(1, 2).flatten()
    return (patches @ kernel) / (patches.norm(dim=2) * kernel.norm()).clamp(min=1e-9)


@wrong(
    "normalised by the whole scene, not by the patch",
    loses="q3-constant q3-example q3-patches q3-slide",
)
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    scene = scene - scene.mean()
    kernel = template - template.mean()
    products = F.conv2d(scene[None], kernel[None], padding=padding, stride=stride)[0, 0]
    return products / (scene.norm() * kernel.norm()).clamp(min=1e-9)


@wrong("the flat index divided by the height", loses="q4-centre q4-example q4-slide")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[0])
    row = row * stride[0] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2


@wrong("padding offset forgotten", loses="q4-example q4-slide")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    return row * stride[0] + size[0] // 2, column * stride[1] + size[1] // 2


@wrong("stride forgotten on the way back", loses="q4-example q4-slide")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    return row - padding[0] + size[0] // 2, column - padding[1] + size[1] // 2


@wrong("the corner of the patch, not its centre", loses="q4-centre q4-example q4-slide")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    return row * stride[0] - padding[0], column * stride[1] - padding[1]


@wrong("the centre of an even template is a pixel too low", loses="q4-centre")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    row = row * stride[0] - padding[0] + (size[0] - 1) // 2
    return row, column * stride[1] - padding[1] + (size[1] - 1) // 2


@wrong("of equal scores the last", loses="q4-centre")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = (scores == scores.max()).nonzero()[-1].tolist()
    row = row * stride[0] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2


@wrong("one stride for rows and columns", loses="q4-slide")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = divmod(scores.argmax().item(), scores.shape[1])
    row = row * stride[1] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2


@wrong("channels are not multiplied", loses="q5-work")
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = pixels = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        centres = range(k // 2 - p, n + p - k + k // 2 + 1, s)
        entries *= len(centres)
        pixels *= sum(0 <= centre < n for centre in centres)
    return entries, entries * template_shape[1] * template_shape[2], pixels


@wrong("centres outside the scene count", loses="q5-pixels")
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        entries *= max(0, (n + 2 * p - k) // s + 1)
    return entries, entries * math.prod(template_shape), entries


@wrong("padding is counted on one side", loses="q5-example q5-pixels q5-work")
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = pixels = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        centres = range(k // 2 - p, n - k + k // 2 + 1, s)
        entries *= len(centres)
        pixels *= sum(0 <= centre < n for centre in centres)
    return entries, entries * math.prod(template_shape), pixels


@wrong("a template that does not fit has a negative number of places", loses="q5-work")
def account(scene_shape, template_shape, padding=(0, 0), stride=(1, 1)):
    entries = pixels = 1
    for n, k, p, s in zip(scene_shape[1:], template_shape[1:], padding, stride):
        places = (n + 2 * p - k) // s + 1
        entries *= places
        pixels *= sum(0 <= i * s - p + k // 2 < n for i in range(places))
    return entries, entries * math.prod(template_shape), pixels


@wrong(
    "an entry survives only if it is the highest around it", loses="q6-example q6-limits q6-reach"
)
def peaks(scores, threshold, reach):
    found = []
    for row in range(scores.shape[0]):
        for column in range(scores.shape[1]):
            rows = slice(max(0, row - reach[0] + 1), row + reach[0])
            around = scores[rows, max(0, column - reach[1] + 1) : column + reach[1]]
            if scores[row, column] >= threshold and scores[row, column] == around.max():
                found.append((row, column))
    return sorted(found, key=lambda place: -scores[place])


@wrong("no suppression at all", loses="q6-example q6-limits q6-reach")
def peaks(scores, threshold, reach):
    found = [tuple(place) for place in (scores >= threshold).nonzero().tolist()]
    return sorted(found, key=lambda place: -scores[place])


@wrong("discarded entries get a score of 0", loses="q6-limits")
def peaks(scores, threshold, reach):
    left, kept = scores.clone(), []
    while left.max() >= threshold and len(kept) < left.numel():
        row, column = divmod(left.argmax().item(), left.shape[1])
        kept.append((row, column))
        rows = slice(max(0, row - reach[0] + 1), row + reach[0])
        left[rows, max(0, column - reach[1] + 1) : column + reach[1]] = 0
    return kept


@wrong("the score map is changed", loses="q6-example q6-limits q6-reach")
def peaks(scores, threshold, reach):
    kept = []
    while scores.max() >= threshold:
        row, column = divmod(scores.argmax().item(), scores.shape[1])
        kept.append((row, column))
        rows = slice(max(0, row - reach[0] + 1), row + reach[0])
        scores[rows, max(0, column - reach[1] + 1) : column + reach[1]] = -torch.inf
    return kept


@wrong("a score that equals the threshold is dropped", loses="q6-limits")
def peaks(scores, threshold, reach):
    left, kept = scores.clone(), []
    while left.max() > threshold:
        row, column = divmod(left.argmax().item(), left.shape[1])
        kept.append((row, column))
        rows = slice(max(0, row - reach[0] + 1), row + reach[0])
        left[rows, max(0, column - reach[1] + 1) : column + reach[1]] = -torch.inf
    return kept


@wrong("a negative start of a slice near the edge", loses="q6-reach")
def peaks(scores, threshold, reach):
    left, kept = scores.clone(), []
    while left.max() >= threshold:
        row, column = divmod(left.argmax().item(), left.shape[1])
        kept.append((row, column))
        rows = slice(row - reach[0] + 1, row + reach[0])
        left[rows, column - reach[1] + 1 : column + reach[1]] = -torch.inf
        left[row, column] = -torch.inf
    return kept


@wrong("every place near Waldo is right", loses="q7-near")
def precision_recall(found, truth, distance):
    right = answers = hits = 0
    for places, waldo in zip(found, truth):
        near = [p for p in places if waldo is not None and math.dist(p, waldo) <= distance]
        right, answers, hits = right + len(near), answers + len(places), hits + bool(near)
    waldos = sum(waldo is not None for waldo in truth)
    return right / answers if answers else 1.0, hits / waldos if waldos else 1.0


@wrong("the mean of the precisions of the scenes", loses="q7-example q7-near q7-nothing")
def precision_recall(found, truth, distance):
    precisions, hits = [], 0
    for places, waldo in zip(found, truth):
        hit = waldo is not None and any(math.dist(p, waldo) <= distance for p in places)
        hits += hit
        precisions.append(hit / len(places) if places else 1.0)
    waldos = sum(waldo is not None for waldo in truth)
    return sum(precisions) / len(precisions), hits / waldos if waldos else 1.0


@wrong("rows and columns are compared one by one", loses="q7-near")
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


@wrong("only the best place of a scene is looked at", loses="q7-near")
def precision_recall(found, truth, distance):
    right = sum(
        bool(places) and waldo is not None and math.dist(places[0], waldo) <= distance
        for places, waldo in zip(found, truth)
    )
    answers, waldos = sum(map(len, found)), sum(waldo is not None for waldo in truth)
    return right / answers if answers else 1.0, right / waldos if waldos else 1.0


@wrong("recall over all scenes, also those without Waldo", loses="q7-nothing")
def precision_recall(found, truth, distance):
    right = sum(
        waldo is not None and any(math.dist(place, waldo) <= distance for place in places)
        for places, waldo in zip(found, truth)
    )
    answers = sum(map(len, found))
    return right / answers if answers else 1.0, right / len(truth)


@wrong("the share of all patches, not of the Waldos", loses="q8-example q8-more")
def threshold_for(scores, is_waldo, recall):
    ordered = scores.sort(descending=True).values.tolist()
    return ordered[math.ceil(recall * len(ordered)) - 1]


@wrong("rounded down, one Waldo too few", loses="q8-example q8-more")
def threshold_for(scores, is_waldo, recall):
    waldos = scores[is_waldo].sort(descending=True).values.tolist()
    return waldos[max(0, int(recall * len(waldos)) - 1)]


@wrong("the lowest Waldo, whatever the share", loses="q8-example q8-more")
def threshold_for(scores, is_waldo, recall):
    return scores[is_waldo].min().item()


@wrong("the whole map is asked for", loses="q9-answer q9-asked q9-example")
def coarse_to_fine(score, shape, stride, count):
    every = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
    return max(every, key=lambda place: score(*place))


@wrong("candidates are asked for a second time", loses="q9-asked q9-example")
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


@wrong("the fine search looks only below and to the right", loses="q9-answer q9-asked q9-example")
def coarse_to_fine(score, shape, stride, count):
    asked = {
        (row, column): score(row, column)
        for row in range(0, shape[0], stride)
        for column in range(0, shape[1], stride)
    }
    for i, j in sorted(asked, key=lambda place: (-asked[place], place))[:count]:
        for row in range(i, min(shape[0], i + stride)):
            for column in range(j, min(shape[1], j + stride)):
                if (row, column) not in asked:
                    asked[row, column] = score(row, column)
    return min(asked, key=lambda place: (-asked[place], place))


@wrong("only one candidate", loses="q9-answer q9-asked")
def coarse_to_fine(score, shape, stride, count):
    asked = {
        (row, column): score(row, column)
        for row in range(0, shape[0], stride)
        for column in range(0, shape[1], stride)
    }
    i, j = min(asked, key=lambda place: (-asked[place], place))
    for row in range(max(0, i - stride + 1), min(shape[0], i + stride)):
        for column in range(max(0, j - stride + 1), min(shape[1], j + stride)):
            if (row, column) not in asked:
                asked[row, column] = score(row, column)
    return min(asked, key=lambda place: (-asked[place], place))


@wrong("no padding, and corners instead of centres", loses="q10-crowds q10-edge q10-example")
def detect(scene, template, threshold):
    return peaks(score_map(scene, template), threshold, tuple(template.shape[1:]))


@wrong("no padding: blind at the edge", loses="q10-edge")
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    found = peaks(score_map(scene, template), threshold, (high, wide))
    return [(row + high // 2, column + wide // 2) for row, column in found]


@wrong(
    "half of the template is added although the scene was padded",
    loses="q10-crowds q10-edge q10-example",
)
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    found = peaks(scores, threshold, (high, wide))
    return [(row + high // 2, column + wide // 2) for row, column in found]


@wrong("there is always one Waldo", loses="q10-crowds q10-edge")
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    return [divmod(scores.argmax().item(), scores.shape[1])]


@wrong("reach is twice the template", loses="q10-edge")
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    return peaks(scores, threshold, (2 * high, 2 * wide))


@wrong("padding for the size of Waldo only", loses="q10-edge")
def detect(scene, template, threshold):
    return peaks(score_map(scene, template, padding=(15, 8)), threshold, (31, 17))


@wrong("suppression reaches three entries, not the template", loses="q10-edge")
def detect(scene, template, threshold):
    high, wide = template.shape[1:]
    scores = score_map(scene, template, padding=(high // 2, wide // 2))
    return peaks(scores, threshold, (3, 3))


@wrong("channels are scored one by one and averaged", loses="q3-patches")
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


@wrong("of equal scores the one that was asked for first", loses="q9-answer")
def coarse_to_fine(score, shape, stride, count):
    asked = {
        (row, column): score(row, column)
        for row in range(0, shape[0], stride)
        for column in range(0, shape[1], stride)
    }
    for i, j in sorted(asked, key=lambda place: (-asked[place], place))[:count]:
        for row in range(max(0, i - stride + 1), min(shape[0], i + stride)):
            for column in range(max(0, j - stride + 1), min(shape[1], j + stride)):
                if (row, column) not in asked:
                    asked[row, column] = score(row, column)
    return max(asked, key=asked.get)


@right("patch by patch in a loop")
def normalised_score(patch, template):
    n, patch, template = patch.numel(), patch.flatten().tolist(), template.flatten().tolist()
    p, t = sum(patch) / n, sum(template) / n
    above = sum((a - p) * (b - t) for a, b in zip(patch, template))
    below = sum((a - p) ** 2 for a in patch) * sum((b - t) ** 2 for b in template)
    return above / math.sqrt(below) if below else 0.0


@right("patch by patch in a loop")
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


@right("patch by patch in a loop")
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


@right("all patches at once by unfold")
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    padded = F.pad(scene, (padding[1], padding[1], padding[0], padding[0]))
    high, wide = template.shape[1:]
    patches = padded.unfold(1, high, stride[0]).unfold(2, wide, stride[1])
    patches = patches - patches.mean(dim=(0, 3, 4), keepdim=True)
    kernel = template - template.mean()
    products = torch.einsum("cijab,cab->ij", patches, kernel)
    lengths = patches.square().sum(dim=(0, 3, 4)).sqrt() * kernel.norm()
    return torch.where(lengths > 1e-6, products / lengths, torch.zeros_like(lengths))


@right("all patches at once by unfold")
def peaks(scores, threshold, reach):
    rows, columns = scores.shape
    every = [(r, c) for r in range(rows) for c in range(columns) if scores[r, c] >= threshold]
    every.sort(key=lambda place: scores[place].item(), reverse=True)
    kept = []
    for r, c in every:
        if not any(abs(r - i) < reach[0] and abs(c - j) < reach[1] for i, j in kept):
            kept.append((r, c))
    return kept


@right("with NumPy and SciPy")
def make_template(examples):
    values = examples.numpy().mean(axis=0)
    values = values - values.mean()
    length = (values**2).sum() ** 0.5
    return torch.from_numpy(values / length if length else values)


@right("with NumPy and SciPy")
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


@right("with NumPy and SciPy")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    import numpy as np

    entry = np.unravel_index(np.argmax(scores.numpy()), tuple(scores.shape))
    return tuple(int(entry[k]) * stride[k] - padding[k] + size[k] // 2 for k in (0, 1))


@right("in double precision, places by nonzero and topk")
def score_map(scene, template, padding=(0, 0), stride=(1, 1)):
    scene, template = scene.double(), template.double()
    columns = F.unfold(scene[None], template.shape[1:], padding=padding, stride=stride)[0]
    columns = columns - columns.mean(dim=0)
    kernel = template.flatten() - template.mean()
    scores = F.normalize(columns, dim=0).T @ F.normalize(kernel, dim=0)
    rows = (scene.shape[1] + 2 * padding[0] - template.shape[1]) // stride[0] + 1
    return scores.view(rows, -1)


@right("in double precision, places by nonzero and topk")
def peak(scores, size, padding=(0, 0), stride=(1, 1)):
    row, column = (scores == scores.max()).nonzero()[0].tolist()
    row = row * stride[0] - padding[0] + size[0] // 2
    return row, column * stride[1] - padding[1] + size[1] // 2


@right("in double precision, places by nonzero and topk")
def threshold_for(scores, is_waldo, recall):
    waldos = scores[is_waldo]
    needed = math.ceil(recall * len(waldos) - 1e-9)
    return waldos.topk(needed).values[-1].item()


@right("in double precision, places by nonzero and topk")
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


@right("a detector that needs no answer before it")
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


@right("a detector that needs no answer before it")
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
