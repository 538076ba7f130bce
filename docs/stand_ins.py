"""What the newcomer of `docs/newcomer.py` has not, and a reader has: photographs, networks, recordings, other machines.

For each document a function makes files in the current folder, under the names that its commands use. Nothing here is
needed to use deconvviz.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

RANDOM = np.random.default_rng(0)

# What a command asks for and a newcomer has not: (pattern, in its place, why).
INSTEAD = (
    (r" --pretrained", "", "random weights in place of downloaded ones"),
    (r" --download\b", "", "bundled digits in place of downloaded ones"),
    (r" --device cuda", " --device cpu", "no GPU"),
    (r"--nproc-per-node 4", "--nproc-per-node 2", "two processes"),
    (r"(atlas torchvision:vgg16 .*)", r"\1 --limit 2 --no-evidence", "two channels of each layer"),
    (r"hf:beans:validation", "photos", "a folder in place of a data set that is downloaded"),
)


def stood_in(command: str) -> tuple[str, list[str]]:
    """A command as it can be run here, and why it differs."""
    reasons = []
    for pattern, instead, reason in INSTEAD:
        changed = re.sub(pattern, instead, command)
        if changed != command:
            reasons.append(reason)
        command = changed
    return command, reasons


def photographs(folder: str = "photos", count: int = 9, size: tuple[int, int] = (96, 96)) -> None:
    """Noise of several strengths, with discs."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        photograph(f"{folder}/{number}.png", size, 20 + 10 * (number % 9))


def photograph(name: str, size: tuple[int, int] = (240, 200), strength: float = 60) -> None:
    picture = Image.effect_noise(size, strength).convert("RGB")
    left, top = (int(RANDOM.integers(0, side // 2)) for side in size)
    colour = tuple(RANDOM.integers(0, 256, 3).tolist())
    picture.paste(colour, (left, top, left + size[0] // 3, top + size[1] // 3))
    picture.save(name)


def floats(name: str, *shape: int) -> None:
    np.save(name, RANDOM.standard_normal(shape).astype(np.float32))


def code(name: str, *lines: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text("\n".join(["import torch", "from torch import nn", "import deconvviz as dv", *lines, ""]))


def digits(folder: str = "MNIST_FOLDER", count: int = 1000) -> None:
    """Some of the bundled test images as training images."""
    from deconvviz.data import mnist_test  # noqa: PLC0415  of the environment that is tried

    images, labels = mnist_test()
    pixels = (images[:count] * 255).byte().numpy()
    Path(folder).mkdir()
    for kind, values in (("images-idx3", pixels[:, 0]), ("labels-idx1", labels[:count].byte().numpy())):
        head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        Path(folder, f"train-{kind}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))


def own() -> None:
    """A network of one's own with its weights, and a folder of pictures, for the five commands in the README."""
    code(
        "net.py",
        "class Net(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.features = nn.Sequential(",
        "            nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5, padding=2)",
        "        )",
        "        self.classifier = nn.Linear(32, 10)",
        "    def forward(self, x):",
        "        return self.classifier(self.features(x).relu().mean((2, 3)))",
        "def network():",
        "    return Net()",
    )
    import torch  # noqa: PLC0415  of the environment that runs the script

    scope: dict[str, Callable[[], torch.nn.Module]] = {}
    exec(Path("net.py").read_text(), scope)
    torch.manual_seed(0)
    torch.save(scope["network"]().state_dict(), "net.pt")
    Path("pictures").mkdir()
    for number in range(100):
        photograph(f"pictures/{number:03d}.jpg", (120, 90), 20 + number % 60)


def first() -> None:
    photographs()
    digits()


def audio() -> None:
    code(
        "nets.py",
        "def net():",
        "    return nn.Sequential(nn.Conv1d(1, 8, 65, stride=4), nn.ReLU(), nn.MaxPool1d(4), nn.Conv1d(8, 6, 9))",
    )
    floats("chirp.npy", 1, 8000)
    floats("chirps.npy", 12, 1, 8000)


def checkpoints() -> None:
    photograph("photograph.jpg")
    code(
        "nets.py",
        "class Net(nn.Module):",
        "    def __init__(self, num_classes=1000):",
        "        super().__init__()",
        "        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())",
        "        self.fc = nn.Linear(8, num_classes)",
        "    def forward(self, x):",
        "        return self.fc(self.features(x).amax((2, 3)))",
    )


def datasets() -> None:
    photographs()
    Path("photos.csv").write_text("path,label\n" + "".join(f"photos/{n}.png,{'ab'[n % 2]}\n" for n in range(9)))
    for shard in range(10):
        with tarfile.open(f"shards-{shard:03d}.tar", "w") as tar:
            for number in range(2):
                content = io.BytesIO()
                Image.effect_noise((96, 96), 20 + 10 * number).convert("RGB").save(content, "PNG")
                member = tarfile.TarInfo(f"{shard}-{number}.png")
                member.size = content.tell()
                content.seek(0)
                tar.addfile(member, content)
    code("nets.py", "def lenet():", "    return dv.models.mnist_cnn()")
    code("data.py", "def photos():", "    return dv.data.mnist_test()[0][:50]")


def detection() -> None:
    photograph("street.jpg")
    photograph("square.jpg", (160, 160))


def medical() -> None:
    code(
        "nets.py",
        "import numpy as np",
        "def soft_tissue(image):",
        "    density = torch.from_numpy(np.asarray(image).astype(np.float32)) - 1024",
        "    return ((density + 160) / 400).clamp(0, 1)[None]",
        "def net():",
        "    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.Conv2d(8, 4, 5)), soft_tissue",
        "def volumes():",
        "    return nn.Sequential(nn.Conv3d(1, 6, 3), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(6, 4, 3))",
    )
    floats("scan.npy", 1, 16, 24, 24)
    floats("scans.npy", 5, 1, 16, 24, 24)


def preprocessing() -> None:
    photograph("photograph.jpg")
    photographs("photographs")
    code(
        "nets.py",
        "from torchvision import transforms as T",
        "def preprocess():",
        "    return T.Compose([T.Resize(64), T.CenterCrop(64), T.ToTensor(), T.Normalize(0.5, 0.5)])",
        "class Net(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.features = nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 5))",
        "    def forward(self, x):",
        "        return self.features(x)",
        "model = Net",
        "def model_and_preprocess():",
        "    return Net().eval(), preprocess()",
    )


def remote_sensing() -> None:
    code("nets.py", "def scenes():", "    return nn.Sequential(nn.Conv2d(13, 8, 3), nn.ReLU())")
    floats("scenes.npy", 10, 13, 64, 64)


def several_inputs() -> None:
    for name in ("left.png", "right.png"):
        photograph(name, (96, 96))
    code(
        "nets.py",
        "class Siamese(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.features, self.both = nn.Conv2d(3, 4, 3), nn.Conv2d(8, 5, 1)",
        "    def forward(self, left, right):",
        "        return self.both(torch.cat([self.features(left).relu(), self.features(right).relu()], 1))",
    )
    code("data.py", "def pairs():", "    return [(torch.rand(3, 12, 12), torch.rand(3, 12, 12)) for _ in range(10)]")
    left, right = RANDOM.random((2, 10, 3, 12, 12)).astype(np.float32)
    np.savez("pairs.npz", left=left, right=right)


def signals() -> None:
    code(
        "nets.py",
        "def ecg():",
        "    return nn.Sequential(nn.Conv1d(12, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 8, 7))",
    )
    floats("beat.npy", 12, 500)
    floats("beats.npy", 10, 12, 500)


def video() -> None:
    import av  # noqa: PLC0415  of the environment that is tried

    with av.open("film.mp4", "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for _ in range(20):
            pixels = RANDOM.integers(0, 256, (96, 96, 3), dtype=np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode())


def your_model() -> None:
    photograph("photograph.jpg")
    lines = [
        "def factory():",
        "    torch.manual_seed(0)",
        "    features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3))",
        "    return nn.Sequential(__import__('collections').OrderedDict(features=features))",
    ]
    code("path/to/file.py", *lines)
    code("package/module.py", *lines)
    scope: dict[str, Callable[[], object]] = {}
    exec(Path("path/to/file.py").read_text(), scope)
    from safetensors.torch import save_model  # noqa: PLC0415  of the environment that is tried

    save_model(scope["factory"](), "trained.safetensors")


def explore() -> None:
    photographs()
    squeezenet("squeezenet1_1.safetensors")


def squeezenet(name: str) -> None:
    """SqueezeNet's weights, random."""
    import torchvision  # noqa: PLC0415  of the environment that is tried
    from safetensors.torch import save_model  # noqa: PLC0415

    save_model(torchvision.models.squeezenet1_1(weights=None), name)


MAKES: dict[str, Callable[[], None]] = {
    "README": first,
    "tutorial": lambda: None,  # in the README's folder
    "audio": audio,
    "checkpoints": checkpoints,
    "datasets": datasets,
    "detection": detection,
    "explore": explore,
    "judge-a-picture": photographs,
    "medical": medical,
    "preprocessing": preprocessing,
    "remote-sensing": remote_sensing,
    "several-gpus": lambda: photographs("imagenet/val/noise"),
    "several-inputs": several_inputs,
    "signals-and-volumes": signals,
    "video": video,
    "watch-training": digits,
    "your-model": your_model,
}
# What a document names in its text that `pip install '.[all]'` does not bring.
PACKAGES = {
    "with-other-tools": ["transformers"],
    "photographs": ["nbclient", "ipykernel"],
    "training": ["nbclient", "ipykernel"],
}
