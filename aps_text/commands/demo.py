"""`aps demo`: a page to ask on and to restore images on, served by this machine alone."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .loading import add_loading, loading_options
from .waiting import waiting

if TYPE_CHECKING:
    from ..demo.functions import Demo

__all__ = ["add_parser", "demo_command", "demo_of"]

LOCAL = "127.0.0.1"


def add_parser(subparsers: Any) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="a page to ask on: plain beside steered, token by token",
        description="Serves a page on this machine until Ctrl-C. It fetches nothing.",
    )
    add = parser.add_argument
    add("--model", default="mini", help="'mini', 'smol', a folder or a hub id")
    add(
        "--image-model",
        metavar="FOLDER",
        help="for the tab that restores images (default: the embedded ones)",
    )
    add("--host", default=LOCAL, help=f"default: {LOCAL}, which no other machine can reach")
    add("--port", type=int, help="default: the first free one from 7860")
    add("--open", action="store_true", help="open the page in a browser")
    add(
        "--share",
        action="store_true",
        help="a public link through Gradio's servers, which see what is asked",
    )
    add(
        "--trust-code",
        action="store_true",
        help="a box for a Python function as a reward, which runs as YOU; this machine only",
    )
    add_loading(parser)
    parser.set_defaults(run=demo_command)


def demo_command(args: argparse.Namespace) -> int:
    """Serve the page until it is interrupted."""
    demo = demo_of(args)
    from ..demo.app import launch

    try:
        page = launch(demo, host=args.host, port=args.port, share=args.share, browser=args.open)
    except OSError as error:
        port = "a free port from 7860" if args.port is None else f"port {args.port}"
        raise OSError(
            f"cannot serve on {args.host} and {port}, which is taken or not this machine's; "
            "leave out --port for the first free one, and --host for this machine alone"
        ) from error
    print(f"The page: {page.local_url} (Ctrl-C ends it)", flush=True)
    with ending(demo, page):
        page.block_thread()
    demo.closing.close()
    return 0


@contextmanager
def ending(demo: Demo, page: Any) -> Iterator[None]:
    """Context in which SIGINT and SIGTERM stop the runs, and the server without open pages."""

    def end(number: int, frame: Any) -> None:
        demo.closing.stop()
        logging.getLogger("uvicorn.error").disabled = True  # it reports each page that is left
        page.server.force_exit = True
        raise KeyboardInterrupt

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, end) for one in signals]
    try:
        yield
    finally:
        for one, old in zip(signals, before, strict=True):
            signal.signal(one, old)


def demo_of(args: argparse.Namespace) -> Demo:
    """The page's functions with the models of the flags.

    Raises:
        ValueError: code of whoever opens the page, on a page that others can open; no port number.
        ModuleNotFoundError: Gradio is not installed.
    """
    if args.trust_code and (args.share or args.host not in (LOCAL, "localhost", "::1")):
        other = "--share" if args.share else f"--host {args.host}"
        raise ValueError(
            f"--trust-code runs what is typed on the page as you, and {other} lets others type; "
            "leave out one of them"
        )
    if args.port is not None and not 1 <= args.port <= 65535:
        raise ValueError(f"--port is 1 to 65535, got {args.port}")
    with waiting("loading gradio"):
        from ..demo.app import gradio
        from ..demo.functions import Demo

        gradio()
    with waiting(f"loading {args.model} and the rewards"):
        from ..models.placement import as_device
        from ..pipelines.image_model import embedded_image_models
        from ..pipelines.restoration import RestorationPipeline
        from ..pipelines.text import APSPipeline

        pipe = APSPipeline.from_pretrained(args.model, **loading_options(args))
        pipe.shell = True
        names = [args.image_model] if args.image_model else embedded_image_models()
        device = as_device(args.device) or "cpu"
        images = {
            Path(name).name: RestorationPipeline.from_pretrained(name, device=device)
            for name in names
        }
        return Demo(pipe, images, trust_code=args.trust_code)
