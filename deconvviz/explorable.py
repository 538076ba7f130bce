"""What a network can show in a notebook: a part of `DeconvNet`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from deconvviz.arguments import CLASS_NAMES, optional, takes, whole_from
from deconvviz.errors import DependencyError


class Explorable:
    """A network that a notebook can explore."""

    @takes(channel=optional(whole_from(0)), classes=CLASS_NAMES)
    def explore(
        self, inputs: Any, layer: Any = None, *, channel: int | None = None, classes: Sequence[str] = ()
    ) -> Any:
        """Show what the network responds to in images as a widget in a notebook: layers, feature maps, units.

        No server runs: the widget asks the notebook's kernel. Where no kernel runs, as in an exported notebook, there
        is a picture of the unit that was shown when the cell ran. `deconvviz.explore` opens the same as a page in the
        browser, with a data set, a camera and evidence.

        Args:
            inputs: Images (N, C, H, W), or images or paths if the network has a preprocess, as for `project`.
            layer: The layer that is shown first, by name or as a module; None for the first convolution.
            channel: The channel that is shown first; None for the strongest.
            classes: Class names.

        Returns:
            A widget, see `deconvviz.explorer.notebook.NotebookExplorer`.

        Raises:
            DependencyError: If anywidget is not installed: ``pip install anywidget``.
            UnknownLayerError: If the layer does not run.
            InputError: If there is no such channel, or the input is not a batch of images.

        Example:
            >>> from deconvviz import DeconvNet
            >>> from deconvviz.data import mnist_test
            >>> from deconvviz.models.mnist import mnist_cnn
            >>> widget = DeconvNet(mnist_cnn()).explore(mnist_test()[0][:3], "conv2", channel=5)
            >>> widget.channel = 7
            >>> widget.projection().units[0].channel
            7
        """
        try:
            notebook = importlib.import_module("deconvviz.explorer.notebook")
        except ImportError as error:
            raise DependencyError(
                f"a network is explored in a notebook with anywidget, which cannot be imported ({error}); "
                f"install it with: pip install anywidget"
            ) from error
        return notebook.shown(self, inputs, layer, channel=channel, classes=classes)
