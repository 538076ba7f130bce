"""Commands that judge pictures and run experiments, and cannot be done."""

from __future__ import annotations

from tests.helpers.invalid_inputs.command import ENDINGS, IN_THE_WAY, NO_IDX, SEALED, SEVERAL, TINY, Command


def judging() -> list[Command]:
    said = {
        "evidence mnist no.png": "there is no image file 'no.png'",
        "evidence mnist mnist:0 --out e.PNG": f"'e.PNG' {SEVERAL}",
        "diagnose mnist mnist:0 --out a/d.pdf": f"'d.pdf' {SEVERAL}",
        "atlas mnist mnist --out a.html": f"'a.html' {SEVERAL}",
        "train --root empty --out w.safetensors": f"'w.safetensors' {SEVERAL}",
        "project mnist mnist:0 mnist:1 --layer conv1 --out p.png": f"'p.png' {SEVERAL}",
        "evidence mnist empty": "the folder 'empty' holds no image files",
        "evidence mnist photo.png text.txt": "'text.txt' is not an image file that Pillow can read",
        f"evidence {TINY} photo.png mnist:0": (
            "the images are of different sizes or types; give only photographs or only bundled digits"
        ),
        f"evidence {TINY} photo.png --measures localisation": "localisation needs to know where the object is: …",
        "evidence mnist mnist:0 --measures deletion --layer nope": (
            "there is no layer 'nope' in MnistCNN; the layers are …"
        ),
        "evidence mnist mnist:0 --measures clarity --layer nope": (
            "--layer is for deletion, randomisation, leak, selectivity, not for clarity; leave it out"
        ),
        "evidence mnist mnist:0 --measures selectivity clarity --channel 1": (
            "--channel is for deletion, randomisation, leak, not for selectivity, clarity; leave it out"
        ),
        "evidence mnist mnist:0 --measures deletion --channel 10": "layer 'output' has channels 0 to 9, not 10",
        "evidence mnist mnist:0 --measures deletion --position 1": (
            "layer 'output' has channels but no positions; a position is 'max', 'all', 0 integers, or an "
            "integer tensor (1, 0), not [1]"
        ),
        "evidence mnist mnist:0 --limit 4": "--limit is for folders of images, and none is given; leave it out",
        "evidence mnist images --limit 0": "--limit is a number of images from 1, not 0",
        "evidence mnist mnist:0 --measures clarity --methods guided": (
            "--methods is for selectivity, deletion, localisation, randomisation, not for clarity; leave it out"
        ),
        "evidence mnist mnist:0 --methods guide": "there is no method 'guide'; there are …; did you mean 'guided'?",
        "evidence mnist mnist:0 --measures deletion --out text.txt": f"'text.txt/deletion.png' {IN_THE_WAY}",
        "evidence mnist mnist:0 --measures deletion --out /proc": f"'/proc/deletion.png' {SEALED}",
        "compare mnist mnist:0 --target 10": "layer 'output' has channels 0 to 9, not 10",
        "compare mnist mnist:0 --target 1 --layer conv1": (
            "a target is a class; give the class 1 or a unit of layer 'conv1', not both"
        ),
        "compare mnist mnist:0 --channel 1": "channel 1 of which layer? give the layer, or the class as target",
        "compare mnist mnist:0 --methods Saliencey": (
            "there is no method 'Saliencey'; there are …; did you mean 'Saliency'?"
        ),
        "compare mnist mnist:0 --scores insertoin": (
            "there is no score 'insertoin'; there are …, or 'all'; did you mean 'insertion' or 'insertion, signed'?"
        ),
        "compare mnist mnist:0 --layer conv1 --position 99 99": (
            "layer 'conv1' has maps of size (28, 28); the position [99, 99] lies outside"
        ),
        "compare mnist mnist:0 --out a.doc": f"a picture cannot be written as 'a.doc'; {ENDINGS}",
        "compare mnist mnist:0 --out text.txt/a.png": f"'text.txt/a.png' {IN_THE_WAY}",
        "compare mnist mnist:0 --out /proc/a.png": f"'/proc/a.png' {SEALED}",
        "circuit mnist images --layer conv2 --channel 99": "layer 'conv2' has channels 0 to 47, not 99",
        "circuit mnist images --layer conv2 --channel 1 --depth 0": "depth must be a whole number of at least 1, not 0",
        "labels mnist images/cats --layer conv1": (
            "the images of 'images/cats' have no labels, or text that is not used; give a folder with one folder per "
            "label, a CSV file with a column label, or a dataset of images with numbers of classes"
        ),
        "mixed mnist mnist --layer conv1 --units 7": "units must be a whole number of at least 24, not 7",
        "read mnist mnist --layer conv1 --pictures patch": "there are no pictures 'patch'; there are …",
        "read mnist mnist --layer conv1 --observers hogg": "there is no observer 'hogg'; there are …",
        "read mnist images --layer conv1 --questions 99": (
            "99 questions about a channel need at least 198 held-out images, and there are …"
        ),
        "read mnist images --layer conv1 --page text.txt": (
            "a page cannot be written as 'text.txt'; its ending must be .html"
        ),
        "synthesize mnist --layer conv1 --steps 0": "steps is a whole number from 1, not 0",
        "diff mnist mnist": (
            "there is one network; give the weights of two with --weights A B, or a second with --other"
        ),
        "diff mnist mnist --weights a b c": "--weights takes the files of two networks, not 3",
        "diff mnist images --other mnist --layers conv9": (
            "the first network: there is no layer 'conv9' in MnistCNN; did you mean …"
        ),
        "train --root no --out o": "there is no folder 'no' to read MNIST from",
        "train --root text.txt --out o": "there is no folder 'text.txt' to read MNIST from",
        "train --root empty --out o": NO_IDX,
        "train --root empty --out o --epochs 0": "epochs is a whole number from 1, not 0",
        "train --root empty --out o --patience 0": "patience is a whole number from 1 or None, not 0",
        "train --root empty --out o --random-state -1": "random_state is a whole number from 0, not -1",
        "train --root empty --out o --learning-rate nan": "learning_rate is a finite number, not nan",
        "train --root empty --out o --learning-rate -1": "learning_rate is a number above 0, not -1.0",
        "train --root empty --out o --validation 1": "validation is a number in (0, 1), not 1.0",
        "train --root empty --out o --schedule x": "schedule is one of constant, cosine, not 'x'",
        "train --root empty --out text.txt": f"'text.txt/mnist_cnn.safetensors' {IN_THE_WAY}",
    }
    return [Command(arguments, sentence) for arguments, sentence in said.items()]


def experiments() -> list[Command]:
    fills = "a fill is one of 'black', 'grey', 'white', 'mean', 'blur' or a finite number, not"
    sides = "is one integer of 1 or more, or two (height, width), not"
    no_layer = "there is no layer 'nope' in MnistCNN; the layers are 'conv1', 'relu1', 'pool1', 'conv2', 'relu2', ..."
    said = {
        "occlusion mnist no.png": "there is no image file 'no.png'",
        "occlusion mnist mnist:0 --target 10": "there is no class 10; give one from 0 to 9",
        "occlusion mnist mnist:0 --layer nope": no_layer,
        "occlusion mnist mnist:0 --layer conv1 --channel 24": ("there is no channel 24; give one from 0 to 23"),
        "occlusion mnist mnist:0 --patch 0": f"the patch {sides} 0",
        "occlusion mnist mnist:0 --patch 1 2 3": f"the patch {sides} [1, 2, 3]",
        "occlusion mnist mnist:0 --patch 29": "a patch of 29 x 29 pixels is larger than the images of 28 x 28",
        "occlusion mnist mnist:0 --stride 0": f"the stride {sides} 0",
        "occlusion mnist mnist:0 --fill pink": f"{fills} 'pink'",
        "occlusion mnist mnist:0 --fill nan": f"{fills} nan",
        "occlusion mnist mnist:0 --classes no": "'no' cannot be read as text: No such file or directory",
        "occlusion mnist mnist:0 --classes photo.png": (
            "'photo.png' cannot be read as text: 'utf-8' codec can't decode …"
        ),
        "occlusion mnist mnist:0 --out text.txt": f"'text.txt/occlusion.png' {IN_THE_WAY}",
        "occlusion mnist mnist:0 --out /proc": f"'/proc/occlusion.png' {SEALED}",
        "invariance mnist text.txt": "'text.txt' is not an image file that Pillow can read",
        "invariance mnist mnist:0 --transform shear": (
            "a transform is one of 'translation', 'scale', 'rotation' or a function, not 'shear'"
        ),
        "invariance mnist mnist:0 --values nan": "the values to transform by are finite numbers, not nan",
        "invariance mnist mnist:0 --transform scale --values 0": "a scale is above zero, not 0",
        "invariance mnist mnist:0 --layers nope": no_layer,
        "invariance mnist mnist:0 --target 10": "there is no class 10; give one from 0 to 9",
        "invariance mnist mnist:0 --target 1 2": "give one class, or one for each of the 1 images, not 2",
        "invariance mnist mnist:0 --fill pink": f"{fills} 'pink'",
        "invariance mnist mnist:0 --batch-size 0": "batch_size must be a whole number of at least 1, not 0",
        "invariance mnist mnist:0 --out text.txt": f"'text.txt/invariance.png' {IN_THE_WAY}",
        "correspond mnist mnist:0 mnist:1 --parts no.csv": "there is no file 'no.csv' to read parts from",
        "correspond mnist mnist:0 mnist:1 --parts text.txt": (
            "'text.txt' has the columns some text; they must be image, part, and either top, left, bottom, right or "
            "row, column"
        ),
        "correspond mnist mnist:0 mnist:1 --parts photo.png": "'photo.png' is not a CSV file (…)",
        "diagnose mnist no": "there is no folder 'no' of images",
        "diagnose mnist images --layers nope": "there is no layer 'nope' in MnistCNN; the layers are …",
        "diagnose mnist images --similar 2": (
            "similar lies in (0, 1], outlier is above 1, rms_limit and batch_size are above 0, not similar=2.0, …"
        ),
        "diagnose nets.py:Silent images": "the model Silent runs no convolution; name the layers that are meant",
        "diagnose mnist images --out text.txt": f"'text.txt/diagnose.png' {IN_THE_WAY}",
        "decode mnist images": "decoding needs at least 5 images, and … of these can be read",
        "decode mnist images --images 4": "images must be a whole number of at least 5, not 4",
        "decode mnist images --seeds 0": "seeds is a whole number from 1, not 0",
        "probe mnist no": "there is no folder 'no' of images",
        "probe mnist images": "all 1 images are of one class, cats; a classifier needs at least two",
        "probe mnist images --layers nope": no_layer,
        "probe mnist images --folds 1": "folds must be a whole number of at least 2, not 1",
        "probe mnist images --pool -1": "pool must be a whole number of at least 1, not -1",
        "probe mnist images --out text.txt": f"'text.txt/probe.png' {IN_THE_WAY}",
        "uncertainty mnist no": "there is no folder 'no' of images",
        "uncertainty mnist images --samples 0": "samples must be a whole number of at least 1, not 0",
        "uncertainty torchvision:resnet18 images": "ResNet has no dropout layer, so every draw would be the same",
        "uncertainty mnist images --out text.txt": f"'text.txt/uncertainty.png' {IN_THE_WAY}",
        "evolve mnist no mnist": "there is no folder 'no' of checkpoints",
        "evolve mnist text.txt mnist": "there is no folder 'text.txt' of checkpoints",
        "evolve mnist empty mnist": (
            "the folder 'empty' holds no checkpoints: no file ends in .safetensors, .pt, .pth, .ckpt, .pth.tar, "
            ".th, .bin"
        ),
        "evolve mnist hidden mnist": "the folder 'hidden' holds no checkpoints but hidden ones, which are left out",
    }
    return [Command(arguments, sentence) for arguments, sentence in said.items()]
