"""A network that reads strings of digits (convolutions and an LSTM, trained with CTC), and what its units look at.

    python examples/crnn.py --out out/crnn

A string has three to five MNIST digits with gaps of 0 to 8 pixels. The network is convolutional and recurrent (Shi et
al. 2015, arXiv 1507.05717): three convolutions, a bidirectional LSTM over the columns of their maps, and a linear
layer. The CTC loss (Graves et al. 2006) knows the digits of a string, but not their positions.

Units of the convolutions are projected as usual. A deconvnet has no mirror for an LSTM, so its gates are linearised,
which every result lists in ``provenance.linearised``. A character, too, can thus be projected through the LSTM.

It prints the character error rate on strings of unseen digits. A second table, over strings that were read correctly,
says how far the pictures can be trusted: the part of a character's picture inside the columns of its digit (next to the
part of the ink there), how often the strongest column is inside, and the similarity to the picture of the second-best
character at the same step (1 means that the picture shows where the character is, but not which).

It writes ``crnn.png`` with a string that was read correctly and, if there is one, a misread string. Each is shown with
the projection of the strongest unit of the last convolution, and below it with one projection per character, through
the LSTM, at the step where the character's score was highest. Digits are outlined; a triangle marks the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies import Digits, keyed, load_digits, output_folder, positive, study_parser
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, ctc_loss
from tqdm import trange

import deconvviz as dv
from deconvviz.images import signed_as_rgb
from deconvviz.results.base import as_text

HEIGHT, WIDTH, STRIDE = 28, 144, 4  # height and width of a string, and the pixels per step
SHORTEST, LONGEST, WIDEST_GAP = 3, 5, 8
BLANK = 10  # CTC's blank; the classes before it are the digits
BATCH, RATE = 32, 3e-3  # strings per batch, and the highest learning rate
STYLES = ("deconvnet", "guided", "gradient")
JUDGED = 40  # strings in the table of trust


@dataclass(frozen=True)
class Strings:
    """Images (N, 1, HEIGHT, WIDTH) of strings. For each string: its digits, and the columns of each [start, stop)."""

    images: Tensor
    texts: list[list[int]]
    columns: list[list[tuple[int, int]]]


def cut_out(images: Tensor) -> list[Tensor]:
    """Cut the empty columns off each digit; returns images of shape (28, width)."""
    inked = images[:, 0].amax(1) > 0.1
    spans = (columns.nonzero().flatten()[[0, -1]].tolist() for columns in inked)
    return [image[0, :, first : last + 1] for image, (first, last) in zip(images, spans, strict=True)]


def write_strings(digits: Sequence[Tensor], labels: Tensor, count: int, draws: torch.Generator) -> Strings:
    """Draw `count` strings of random digits, each at a random position."""

    def draw(below: int, size: int = 1) -> list[int]:
        return torch.randint(below, (size,), generator=draws).tolist()

    images, texts, columns = torch.zeros(count, 1, HEIGHT, WIDTH), [], []
    for image in images[:, 0]:
        length = SHORTEST + draw(LONGEST - SHORTEST + 1)[0]
        chosen, gaps = draw(len(digits), length), [0, *draw(WIDEST_GAP + 1, length - 1)]
        widths = [digits[number].shape[1] for number in chosen]
        left, placed = draw(WIDTH - sum(widths) - sum(gaps) + 1)[0], []
        for number, gap, width in zip(chosen, gaps, widths, strict=True):
            left += gap
            image[:, left : left + width] = digits[number]
            placed.append((left, left + width))
            left += width
        texts.append(labels[chosen].tolist())
        columns.append(placed)
    return Strings(images, texts, columns)


class Reader(nn.Module):
    """Maps strings (N, 1, HEIGHT, WIDTH) to logits (N, steps, 11), one step per four columns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1, self.relu1 = nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU()
        self.conv2, self.norm2, self.relu2 = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()
        self.conv3, self.norm3, self.relu3 = nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU()
        self.halve, self.flatten = nn.MaxPool2d(2), nn.MaxPool2d((2, 1))
        self.lstm = nn.LSTM(48 * 3, 64, bidirectional=True, batch_first=True)
        self.read = nn.Linear(128, BLANK + 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.halve(self.relu1(self.norm1(self.conv1(images))))
        maps = self.halve(self.relu2(self.norm2(self.conv2(maps))))
        maps = self.flatten(self.relu3(self.norm3(self.conv3(maps))))
        columns = maps.permute(0, 3, 1, 2).flatten(2)
        return self.read(self.lstm(columns)[0])


def train_reader(digits: Digits, steps: int, seed: int) -> Reader:
    """Train a reader on `steps` batches of new strings."""
    torch.manual_seed(seed)
    draws = torch.Generator().manual_seed(seed)
    glyphs, model = cut_out(digits.images), Reader()
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.2)
    for _ in (bar := trange(steps, desc="training", unit="batch", disable=None)):
        strings = write_strings(glyphs, digits.labels, BATCH, draws)
        scores = model(strings.images).log_softmax(2).transpose(0, 1)
        lengths = torch.tensor([len(text) for text in strings.texts])
        targets = torch.tensor([digit for text in strings.texts for digit in text])
        loss = ctc_loss(scores, targets, torch.full((BATCH,), len(scores)), lengths, blank=BLANK)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
    return model.eval()


# Reading


def read(logits: Tensor) -> list[tuple[int, int]]:
    """Decode the logits (steps, 11) of one string into pairs (digit, step), with the step of the digit's highest logit.

    This is best-path decoding: the strongest class at each step, with repeats merged and blanks removed.

    >>> wins = torch.eye(11)[[10, 4, 4, 10, 4, 7]] * torch.tensor([1.0, 1, 2, 1, 1, 1])[:, None]
    >>> read(wins)
    [(4, 2), (4, 4), (7, 5)]
    """
    best, found = logits.argmax(1).tolist(), []
    for step, digit in enumerate(best):
        if digit != BLANK and (step == 0 or best[step - 1] != digit):
            found.append((digit, step))
        elif digit != BLANK and logits[step, digit] > logits[found[-1][1], digit]:
            found[-1] = (digit, step)
    return found


def mistakes(reading: Sequence[int], text: Sequence[int]) -> int:
    """The Levenshtein distance of two strings: how many digits must be changed, added or removed.

    >>> mistakes([1, 2, 3], [2, 3, 4])
    2
    """
    row = list(range(len(text) + 1))
    for n, digit in enumerate(reading, 1):
        before, row[0] = row[0], n
        for m, wanted in enumerate(text, 1):
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, before + (digit != wanted))
    return row[-1]


# Pictures


def characters(net: dv.DeconvNet, image: Tensor, units: Sequence[tuple[int, int]]) -> Tensor:
    """Project characters (class, step) through the LSTM, (units, HEIGHT, WIDTH). image: (1, H, W).

    The seed is one, because the score of a losing character can be negative, which would invert its picture.
    """
    wanted = [(0, character, (step,)) for character, step in units]
    return net.project_units(image[None], "read", wanted, seed="one").pixels[:, 0]


def from_convolution(net: dv.DeconvNet, image: Tensor, steps: Sequence[int]) -> Tensor:
    """Project the strongest unit of the last convolution at each of the steps. image: (1, H, W)."""
    trace = net.trace(image[None], "relu3")
    units = []
    for step in steps:
        column = trace.activations["relu3"][0, :, :, step]
        channel, row = divmod(int(column.argmax()), column.shape[1])
        units.append((0, channel, (row, step)))
    return net.project_units(trace, "relu3", units).pixels[:, 0]


def pictures(model: Reader, image: Tensor, found: Sequence[tuple[int, int]]) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Pictures of the decoded characters (characters, H, W), by kind, and those of their rivals, through the LSTM.

    A rival is the digit with the second-highest score at the same step.
    """
    steps = [step for _, step in found]
    scores = model(image[None])[0, steps, :BLANK].detach()
    rivals = list(zip(scores.topk(2).indices[:, 1].tolist(), steps, strict=True))
    made: dict[str, tuple[Tensor, Tensor | None]] = {
        "the string itself": (image.expand(len(found), -1, -1), None),
        "conv3, strongest unit at the step": (from_convolution(dv.DeconvNet(model), image, steps), None),
    }
    for style in STYLES:
        net = dv.DeconvNet(model, style)
        made[f"character, {style}"] = characters(net, image, found), characters(net, image, rivals)
    return made


def trust(model: Reader, strings: Strings, readings: Sequence[list[tuple[int, int]]], count: int) -> str:
    """The table of how far the pictures can be trusted, over the first `count` strings that were read correctly."""
    right = [n for n, found in enumerate(readings) if [digit for digit, _ in found] == strings.texts[n]][:count]
    inside: dict[str, list[float]] = {}
    hits: dict[str, list[float]] = {}
    likeness: dict[str, list[float]] = {}
    for n in right:
        for name, (shown, rivals) in pictures(model, strings.images[n], readings[n]).items():
            if rivals is not None:
                likeness.setdefault(name, []).extend(cosine_similarity(shown.flatten(1), rivals.flatten(1)).tolist())
            for across, (first, end) in zip(shown.abs().sum(1), strings.columns[n], strict=True):
                inside.setdefault(name, []).append(float(across[first:end].sum() / across.sum()))
                hits.setdefault(name, []).append(float(first <= int(across.argmax()) < end))
    if not right:
        return "no string was read without a mistake, so there is no picture to measure; train for more steps"
    rows: list[tuple[str, ...]] = [("picture", "in the digit's columns", "strongest column there", "like its rival's")]
    for name, shares in inside.items():
        alike = f"{mean(likeness[name]):.2f}" if name in likeness else ""
        rows.append((name, f"{mean(shares):.0%}", f"{mean(hits[name]):.0%}", alike))
    total = sum(len(readings[n]) for n in right)
    return f"{as_text(rows)}\n{total} characters of {len(right)} strings that were read without a mistake"


def draw(model: Reader, strings: Strings, readings: Sequence[list[tuple[int, int]]], chosen: Sequence[int]) -> Figure:
    """Draw a column per chosen string: the string, the strongest unit of conv3, and each decoded character."""
    net = dv.DeconvNet(model)
    rows = 2 + max(len(readings[n]) for n in chosen)
    figure, panels = keyed(6 * len(chosen), 1.3 * rows + 0.3)
    axes = panels.subplots(rows, len(chosen), squeeze=False)
    for column, n in zip(axes.T, chosen, strict=True):
        image, found = strings.images[n], readings[n]
        said, written = ("".join(map(str, text)) for text in ([digit for digit, _ in found], strings.texts[n]))
        show(column[0], 1 - image.expand(3, -1, -1).permute(1, 2, 0), f"{written}, read as {said}")
        projection = net.project(image[None], "relu3")
        strongest = max(range(len(projection.units)), key=lambda channel: projection.units[channel].activation)
        show(column[1], signed_as_rgb(projection.pixels[strongest]), f"conv3, channel {strongest}", image)
        projections = characters(net, image, found) if found else ()
        for panel, (digit, step), pixels in zip(column[2:], found, projections, strict=False):
            show(panel, signed_as_rgb(pixels[None]), f"character {digit} at step {step}", image)
            panel.plot((step + 0.5) * STRIDE, HEIGHT - 2, "k^", markersize=6)
        for panel in column[len(found) + 2 :]:
            panel.axis("off")
    return figure


def show(panel: Axes, picture: Tensor, title: str, outlined: Tensor | None = None) -> None:
    """Show a picture (H, W, 3), with the outlines of a string (1, H, W) if one is given."""
    panel.imshow(picture.numpy(), interpolation="nearest")
    if outlined is not None:
        panel.contour(outlined[0].numpy(), levels=[0.5], colors="0.5", linewidths=0.6)
    panel.set_title(title, fontsize=10)
    panel.set_xticks([])
    panel.set_yticks([])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = study_parser(__doc__, "out/crnn", images=7000)
    parser.add_argument(
        "--steps", type=positive, default=600, help=f"batches of {BATCH} strings to train on (%(default)s)"
    )
    parser.add_argument("--tests", type=positive, default=500, help="strings to test on (%(default)s)")
    given = parser.parse_args(arguments)
    digits, out = load_digits(parser, given), output_folder(given)

    model = train_reader(digits, given.steps, given.seed)
    draws = torch.Generator().manual_seed(given.seed + 1)
    strings = write_strings(cut_out(digits.test_images), digits.test_labels, given.tests, draws)
    with torch.no_grad():
        readings = [read(logits) for logits in model(strings.images)]
    wrong = [mistakes([digit for digit, _ in found], text) for found, text in zip(readings, strings.texts, strict=True)]
    written = sum(map(len, strings.texts))
    print(f"character error rate {sum(wrong) / written:.2%} on {given.tests:,} strings with {written:,} digits")
    print(f"{wrong.count(0) / given.tests:.1%} of the strings were read without a mistake")
    print(trust(model, strings, readings, JUDGED))

    longest = [n for n, found in enumerate(readings) if wrong[n] == 0 and len(found) == LONGEST]
    misread = [n for n, count in enumerate(wrong) if count and readings[n]]
    draw(model, strings, readings, [*longest[:1], *misread[:1]] or [0]).savefig(out / "crnn.png", dpi=110)
    print("linearised:", ", ".join(dv.DeconvNet(model).trace(strings.images[:1]).linearised))
    print(out / "crnn.png")


if __name__ == "__main__":
    main()
