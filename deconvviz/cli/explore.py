"""The command explore."""

from __future__ import annotations

import argparse
from typing import Any

from deconvviz.cli.model_options import loaded, model_arguments
from deconvviz.cli.shared import DATA_HELP, Command, dataset, lines_of, remark
from deconvviz.errors import InputError

# ruff: noqa: PLC0415


def _explore_arguments(parser: argparse.ArgumentParser) -> None:
    model_arguments(parser)
    parser.add_argument(
        "data", metavar="DATA", nargs="?", help=f"{DATA_HELP} (default: mnist for the model mnist, otherwise none)"
    )
    parser.add_argument("--root", metavar="DIR", help="folder of the torchvision dataset")
    parser.add_argument("--top", metavar="FILE", help="result of `deconvviz scan`, for values over the dataset")
    parser.add_argument("--atlas", metavar="DIR", help="atlas of this network and dataset, in place of --top")
    parser.add_argument("--classes", metavar="FILE", help="text file with one class name per line")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; any but this machine's needs --token"
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--token", help="token of the address, 16 characters or more (default: a random one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address without opening it")


def _explore(args: argparse.Namespace) -> None:
    import webbrowser

    from deconvviz.explorer.atlas_values import AtlasValues
    from deconvviz.explorer.networks import Networks
    from deconvviz.explorer.serve import Explorer, check_reach, check_server_installed
    from deconvviz.mining.matching import check_scan
    from deconvviz.results import TopActivations

    check_server_installed()
    if not 0 <= args.port < 2**16:
        raise InputError(f"--port is a whole number from 0 to 65535, not {args.port}")
    check_reach(args.host, args.token)
    if args.atlas and args.top:
        raise InputError("give --top or --atlas, of which either has the values over the dataset")
    classes = lines_of(args.classes) if args.classes else []
    args.data = args.data or ("mnist" if args.model == "mnist" else None)
    net, _ = loaded(args)
    networks = Networks(net, None if args.data is None else dataset(args, net))
    items = None if networks.data is None else len(networks.data)
    top = TopActivations.load(args.top) if args.top else None
    if top is not None:
        check_scan(net, networks.data, top)
    explorer = Explorer(
        networks,
        top,
        classes,
        lines=_lines(args, args.data),
        host=args.host,
        port=args.port,
        token=args.token,
        atlas=AtlasValues(args.atlas, net, items) if args.atlas else None,
    )
    with explorer:
        try:
            print(explorer.url, flush=True)
            remark("Ctrl-C ends the explorer")
            if not args.no_browser:
                webbrowser.open(explorer.url)
            explorer.wait()
        except KeyboardInterrupt:  # the usual end
            remark("the explorer has ended")


def _lines(args: argparse.Namespace, data: str | None) -> Any:
    """The lines of Python that load the model and the dataset as the options do."""
    from deconvviz.explorer.python_lines import PythonLines

    options = [f"{args.model!r}"]
    if args.weights:
        options.append(f"weights={args.weights!r}")
    if args.pretrained:
        options.append("pretrained=True")
    network = ["from deconvviz.models.by_name import load_model"]
    names = ("size", "mean", "std", "channels", "bands", "channels_last")
    wishes = [f"{name}={value!r}" for name in names if (value := getattr(args, name)) not in (None, False)]
    if args.preprocess:
        network.append("from deconvviz.models.by_name import load_preprocess")
        wishes.append(f"preprocess=load_preprocess({args.preprocess!r})")
    if wishes:
        network.append("from deconvviz.models.inputs import InputWishes")
        options.append(f"wishes=InputWishes({', '.join(wishes)})")
    network += ["import torch", "torch.manual_seed(0)  # for weights that are random"]
    network.append(f"loaded = load_model({', '.join(options)})")
    model = "loaded.model"
    if args.device != "cpu" or args.dtype:
        model += f".to({args.device!r}" + (f", torch.{args.dtype})" if args.dtype else ")")
    network.append(f"net = dv.DeconvNet({model}, {args.style!r}, preprocess=loaded.preprocess)")
    root = f", {args.root!r}" if args.root else ""
    dataset = (
        [] if data is None else ["from deconvviz.data.by_name import load_data", f"dataset = load_data({data!r}{root})"]
    )
    return PythonLines(network, dataset, args.style)


EXPLORE = {"explore": Command("open a page that shows live what a network responds to", _explore_arguments, _explore)}
