"""Commands that cannot be done: the arguments, the exit status, and the sentence that is said.

They run in a folder with the files of `bad_cases.workshop`. In a sentence, "…" stands for anything.
"""

from __future__ import annotations

from tests.helpers.invalid_inputs.analysis_commands import experiments, judging
from tests.helpers.invalid_inputs.command import ENDINGS, FORMS, IN_THE_WAY, SEALED, SHOWS, TINY, Command
from tests.helpers.invalid_inputs.exploring import EXPLORE


def _models() -> list[Command]:
    named = {
        "''": f"there is no model ''; a model is {FORMS}",
        "mnits": f"there is no model 'mnits'; a model is {FORMS}; did you mean 'mnist'?",
        "nets.py": (
            "the file 'nets.py' is neither TorchScript nor an exported program; name the code that makes the model, "
            "such as net.py:network, and give a file of weights with --weights"
        ),
        ":f": f"there is no model ':f'; a model is {FORMS}",
        "::": f"there is no module ':' to take a model from (No module named ':'); a model is {FORMS}",
        ".pkg:f": f"there is no module '.pkg' to take a model from; a model is {FORMS}",
        "a..b:f": f"there is no module 'a..b' to take a model from (…); a model is {FORMS}",
        "torchvision:": "torchvision has no model ''",
        "torchvision:resnet19": "torchvision has no model 'resnet19'; did you mean …?",
        "torchvision:../../etc/passwd": "torchvision has no model '../../etc/passwd'",
        "no.py:f": "there is no file 'no.py' to take a model from",
        f"{'x' * 5000}.py:f": f"there is no file '{'x' * 5000}.py' to take a model from",
        "nets.py:": "'nets.py' has no factory ''",
        "nets.py:color": "'nets.py' has no factory 'color'; did you mean 'colours'?",
        "nets.py:nothing": "'nets.py:nothing' made a NoneType, not a torch.nn.Module",
        "os:getcwd": "'os:getcwd' made a str, not a torch.nn.Module",
        "nets.py:lines": f"RuntimeError: one two three {SHOWS}",
        "nets.py:wordless": f"AssertionError {SHOWS}",
        "nets.py:leaves": "the model's code ended the program (exit status 0)",
        "quits.py:f": "the model's code ended the program (exit status 0)",
        "typo.py:f": f"SyntaxError: … {SHOWS}",
        "needs.py:f": f"ModuleNotFoundError: No module named 'no_such_thing' {SHOWS}",
        "nets.py:Raises": f"ValueError: my own fault {SHOWS}",
        "nets.py:Fills": "there is not enough memory; give smaller images (--size), fewer of them or a smaller batch",
        "nets.py:Quits": "the model's code ended the program (exit status 3)",
        "mnist --size 0": "the size of the input is a whole number from 1, not 0",
        "mnist --size 29": "the model mnist takes 28 x 28 pixels, not 29 x 29",
        f"{TINY} --size -5": "the size of the input is a whole number from 1, not -5",
        f"{TINY} --size 1": "the model does not take an input of shape (1, 3, 1, 1): …",
        f"{TINY} --size 99999999": "the size of an input is a whole number from 1 to 65536, not 99999999",
        f"{TINY} --pretrained": (
            f"there are no weights to download for '{TINY}', but for torchvision:NAME and timm:NAME"
        ),
        "zfnet --pretrained": "there are no weights to download for 'zfnet', but for torchvision:NAME and timm:NAME",
        "mnist --style guide": (
            "there is no style 'guide'; the styles are 'deconvnet', 'guided', 'gradient'; did you mean 'guided'?"
        ),
        "mnist --weights no.pt": "there is no file 'no.pt' to load weights from",
        "mnist --weights empty": "'empty' cannot be read (Is a directory)",
        "mnist --weights text.txt": "'text.txt' is truncated or neither a safetensors file nor a torch checkpoint",
        "mnist --weights zero.safetensors": "'zero.safetensors' is truncated or not a safetensors file (…)",
        "mnist --weights photo.png": "'photo.png' is truncated or neither a safetensors file nor a torch checkpoint",
    }
    named |= {
        f"{TINY} --mean 0.5": "the mean is given and the std is not; give both",
        f"{TINY} --mean 1 1 --std 1 1": "there are 3 channels, and 2 means and 2 deviations; give one for each",
        f"{TINY} --preprocess {TINY} --size 3": (
            "a preprocess makes the whole input, so there is no size to give; leave it out"
        ),
        f"{TINY} --preprocess nets.py": (
            "there is no preprocess 'nets.py'; a preprocess is path/to/file.py:factory or package.module:factory"
        ),
        f"{TINY} --preprocess nets.py:nothing": (
            "'nets.py:nothing' made a NoneType, not a function from a PIL image to a tensor"
        ),
        "torchvision:squeezenet1_1 --channels 1": (
            "the model brings its own preprocess, of which the channels cannot be changed alone; leave it out, or say "
            "all of it with a mean and std"
        ),
    }
    return [Command(f"layers {rest}", sentence) for rest, sentence in named.items()]


def _pictures() -> list[Command]:
    digit = "project mnist mnist:0 --layer conv1"
    said = {
        "project mnist mnist:10000 --layer conv1": (
            "the bundled test images are mnist:0 to mnist:9999, not 'mnist:10000'"
        ),
        f"project mnist mnist:{'9' * 5000} --layer conv1": "the bundled test images are mnist:0 to mnist:9999, not '…'",
        "project mnist mnist:-1 --layer conv1": "there is no image file 'mnist:-1'",
        "project mnist no.png --layer conv1": "there is no image file 'no.png'",
        "project nets.py:signals no.npy --layer output": "there is no file 'no.npy' of arrays",
        "project nets.py:signals whole.npy --layer output": (
            "'whole.npy' holds int16; save floating-point numbers, scaled as the model expects, or pictures of 8 bits"
        ),
        "project nets.py:signals photo.png --layer output": (
            "the model takes signals (N, C, L), not pictures; give them as floating-point numbers in an .npy file"
        ),
        "layers nets.py:signals --size 20 30": "the size of the input is 1 number, or one for all, not (20, 30)",
        f"layers {TINY} --size 8 8 8": "the size of a picture is its height and width, not (8, 8, 8)",
        "layers nets.py:signals --channels-last": (
            "the model takes no pictures, so --channels-last does not apply; give arrays as it takes them"
        ),
        "project nets.py:Pair photo.png photo.png --layer conv": (
            "the model takes left, right; give --together with a file or a number for each of them"
        ),
        "project nets.py:Pair photo.png --together --layer conv": (
            "the model takes left, right, and 1 input came; give a file or a number for each of them"
        ),
        "project nets.py:Pair photo.png words.npy --together --layer conv": "'words.npy' holds <U1, not numbers",
        "top mnist images --layer conv1 --most 0": "--most is a number of channels from 1, not 0",
        f"{digit} --overlay 2": "alpha is a number from 0 to 1, not 2",
        f"{digit} --rate 100": "a rate is for signals, and no input is one; leave it out",
        f"project mnist {'x' * 5000} --layer conv1 --out a.png": f"there is no image file '{'x' * 5000}'",
        "project mnist images --layer conv1": "'images' is a folder, not an image file",
        "project mnist text.txt --layer conv1": "'text.txt' is not an image file that Pillow can read",
        "project mnist /dev/zero --layer conv1": "'/dev/zero' is a device or pipe, not an image file",
        "project nets.py:two photo.png --layer 0": (
            "an image has one channel or three, but the network takes 2; give it tensors"
        ),
        "project mnist mnist:0 --layer ''": (
            "there is no layer '' in MnistCNN; the layers are 'conv1', 'relu1', 'pool1', 'conv2', 'relu2', ..."
        ),
        "project mnist mnist:0 --layer ../up": (
            "there is no layer '../up' in MnistCNN; the layers are 'conv1', 'relu1', 'pool1', 'conv2', 'relu2', ..."
        ),
        "project nets.py:Silent mnist:0 --layer conv": (
            "there is no layer 'conv': no module returns anything that depends on the input in Silent"
        ),
        f"{digit} --channel 24": "layer 'conv1' has channels 0 to 23, not 24",
        f"{digit} --channel -1": "layer 'conv1' has channels 0 to 23, not -1",
        f"{digit} --position 1": (
            "layer 'conv1' has maps of size (28, 28); a position is 'max', 'all', 2 integers, or an integer "
            "tensor (1, 2), not [1]"
        ),
        f"{digit} --position 28 0": "layer 'conv1' has maps of size (28, 28); the position [28, 0] lies outside",
        "project mnist mnist:0 --layer fc1 --position 1 1": (
            "layer 'fc1' has channels but no positions; a position is 'max', 'all', 0 integers, or an integer "
            "tensor (1, 0), not [1, 1]"
        ),
        f"{digit} --seed two": "the seed is 'activation' or 'one', not 'two'",
        f"{digit} --out a.doc": f"a picture cannot be written as 'a.doc'; {ENDINGS}",
        f"{digit} --out a.pgf": f"a picture cannot be written as 'a.pgf'; {ENDINGS}",
        f"{digit} --out .png": f"a picture cannot be written as '.png'; {ENDINGS}",
        f"{digit} --out empty": f"a picture cannot be written as 'empty'; {ENDINGS}",
        f"{digit} --out /dev/null": f"a picture cannot be written as 'null'; {ENDINGS}",
        f"{digit} --out text.txt/a.png": f"'text.txt/a.png' {IN_THE_WAY}",
        f"{digit} --out /proc/a.png": f"'/proc/a.png' {SEALED}",
        f"{digit} --out {'x' * 300}.png": (
            f"'{'x' * 300}.png' cannot be written: File name too long; nothing there was changed"
        ),
        f"{digit} --out photo.png": (
            "'photo.png' was not written by deconvviz, was changed since, or has a format without a mark; give another "
            "path with --out, or replace it with --force"
        ),
        "project mnist photo.png --layer conv2": (
            "'photo-conv2.png' already exists, and a default name replaces nothing; give another path with "
            "--out, or pass this one to --out to replace what deconvviz wrote"
        ),
        "project mnist photo.png --layer conv1 --out photo.png": (
            "'photo.png' is read by this command; name another file to write"
        ),
        "filters mnist --layer relu1": "layer 'relu1' has no filters; the nearest layer that has some is 'conv1'",
        "filters mnist --layer fc2": (
            "layer 'fc2' is linear and reads 128 numbers that are no maps, so its filters are no pictures; project its "
            "channels instead"
        ),
        "filters mnist --layer conv1 --channel 24": "layer 'conv1' has channels 0 to 23, not 24",
        "filters mnist --layer conv1 --most 0": "most is a whole number from 1, not 0",
        "filters mnist --layer conv1 --out photo.png": (
            "'photo.png' was not written by deconvviz, was changed since, or has a format without a mark; give another "
            "path with --out, or replace it with --force"
        ),
        "activations mnist no.png --layer conv1": "there is no image file 'no.png'",
        "activations mnist mnist:0 --layer conv1 --out a.doc": f"a picture cannot be written as 'a.doc'; {ENDINGS}",
        "activations mnist mnist:0 --layer nope": (
            "there is no layer 'nope' in MnistCNN; the layers are 'conv1', 'relu1', 'pool1', 'conv2', 'relu2', ..."
        ),
        "reconstruct mnist no.png --layers conv1": "there is no image file 'no.png'",
        "reconstruct mnist mnist:0 --layers conv1 nope": (
            "there is no layer 'nope' in MnistCNN; the layers are 'conv1', 'relu1', 'pool1', 'conv2', 'relu2', ..."
        ),
        "demo --out text.txt": "'text.txt' is a file; name a folder to write the demonstration to",
        "demo --out text.txt/x": f"'text.txt/x/index.html' {IN_THE_WAY}",
        "demo --out /proc/x": f"'/proc/x/index.html' {SEALED}",
    }
    return [Command(arguments, sentence) for arguments, sentence in said.items()]


def _mining() -> list[Command]:
    said = {
        "scan mnist a\0b": r"'a\x00b' has a null character in it, which no name can have",
        "scan mnist no": "there is no folder 'no' of images",
        "scan mnist text.txt": "there is no folder 'text.txt' of images",
        "scan mnist empty": "the folder 'empty' holds no image files",
        "scan mnist torchvision:MNIST": "torchvision:MNIST needs the folder that holds it: --root DIR",
        "scan mnist images --root empty": (
            "--root is the folder of a dataset torchvision:NAME, and 'images' is read without it"
        ),
        "scan mnist images --out ''": "--out is empty; name a file or folder, or leave it out",
        "scan mnist images --state ''": "--state is empty; name a file or folder, or leave it out",
        "atlas mnist images --layers conv1 --limit 0": "limit must be a whole number of at least 1, not 0",
        "atlas mnist images --layers conv1 --channel 99": "layer 'conv1' has channels 0 to 23, not 99",
        "atlas mnist images --top found.safetensors --k -1": (
            "--k is -1, and the scan in 'found.safetensors' has 2; leave it out"
        ),
        "scan mnist torchvision:MNIST --root empty": "torchvision:MNIST cannot be read from 'empty': …",
        "scan mnist torchvision:mnsit --root empty": "torchvision has no dataset 'mnsit'…",
        "scan mnist torchvision:FakeData --root empty": (
            "torchvision's FakeData is not read from a folder, so there is nothing to scan"
        ),
        "scan mnist images --k 0": "k must be a whole number of at least 1, not 0",
        "scan mnist images --batch-size 0": "batch_size must be a whole number of at least 1, not 0",
        "scan mnist images --per-image 0": "per_image must be a whole number of at least 1, not 0",
        "scan mnist images --workers -1": "workers must be a whole number of at least 0, not -1",
        "scan mnist images --device banana": "--device is cpu, cuda, cuda:N, xpu, xpu:N or mps, not 'banana'",
        "scan mnist images --device cuda:": "--device is cpu, cuda, cuda:N, xpu, xpu:N or mps, not 'cuda:'",
        "scan mnist images --device cuda:99": "--device cuda:99: …",
        "scan mnist images --layers nope": "there is no layer 'nope' in MnistCNN; the layers are …",
        "scan mnist images --on-error raise": (
            "item cats/bad.png cannot be read: ImageFileError: 'images/cats/bad.png' is not an image file "
            "that Pillow can read"
        ),
        "scan mnist torchvision:LSUN --root .": (
            "torchvision's LSUN unpickles a file of the current folder, which can run any code; give its images as a "
            "folder"
        ),
        "scan nets.py:two images": "an image has one channel or three, but the network takes 2; give it tensors",
        "scan nets.py:Raises images": f"ValueError: my own fault {SHOWS}",
        "scan nets.py:Silent images": (
            "the model Silent runs no convolution or linear layer; name the layers that are meant"
        ),
        "scan mnist images --out images/cats/bad.png": (
            "'images/cats/bad.png' would lie in 'images', which this command reads; give a path outside with --out"
        ),
        "scan mnist images --out empty": "'empty' is a folder; name a file to write",
        "scan mnist images --out text.txt/x": f"'text.txt/x' {IN_THE_WAY}",
        "scan mnist images --out /proc/x": f"'/proc/x' {SEALED}",
        "scan mnist images --state text.txt": "the state 'text.txt' is a file; name a folder",
        "scan mnist images --state text.txt/x": f"'text.txt/x/rank-0.safetensors' {IN_THE_WAY}",
        "atlas mnist images --out at --state at/state": (
            "the state 'at/state' would lie in the atlas 'at'; name another folder"
        ),
        "atlas mnist images --out images/cats/at": (
            "the atlas 'images/cats/at' and the folder of images 'images' must not contain each other; name a "
            "folder outside the images"
        ),
        "atlas mnist images --out text.txt": "the atlas is written to a folder, and 'text.txt' is a file",
        "atlas mnist images --out images": (
            "'images' has other files in it; give a new folder, an empty one or an older atlas"
        ),
        "atlas mnist images --out text.txt/x": f"'text.txt/x/index.html' {IN_THE_WAY}",
        "atlas mnist images --out /proc/x": f"'/proc/x/index.html' {SEALED}",
        "top mnist images --layer nope": "there is no layer 'nope' in MnistCNN; the layers are …",
        "top mnist images --layer conv1 --channel 99": "layer 'conv1' has channels 0 to 23, not 99",
        "atlas mnist images --top no": "there is no file 'no' to load a TopActivations from",
        "atlas mnist images --top text.txt": "'text.txt' is not a result saved by deconvviz (…)",
    }
    return [Command(arguments, sentence) for arguments, sentence in said.items()]


CASES = [
    *_models(),
    *_pictures(),
    *_mining(),
    *judging(),
    *experiments(),
    *(Command(arguments, sentence) for arguments, sentence in EXPLORE.items()),
    Command("layers nets.py:Stops", "interrupted", 130),
]

# What the parser itself refuses, with the usage of the command.
UNPARSED = [
    "nonsense",
    "layers",
    "layers mnist --size big",
    "layers mnist --nonsense",
    "project mnist mnist:0",
    "project mnist mnist:0 --layer conv1 --channel x",
    "scan mnist",
    "scan mnist images --k many",
    "atlas mnist",
    "evidence mnist",
    "evidence mnist mnist:0 --measures nope",
    "compare mnist mnist:0 --target cat",
    "circuit mnist mnist --layer conv1",
    "mixed mnist mnist",
    "labels mnist mnist",
    "read mnist mnist",
    "synthesize mnist",
    "diff mnist",
    "train --out o",
    "demo --out",
    "occlusion mnist",
    "invariance mnist mnist:0 --values far",
    "correspond mnist mnist:0",
    "evolve mnist empty",
    "decode mnist",
    "diagnose mnist",
    "probe mnist",
    "uncertainty mnist",
]
