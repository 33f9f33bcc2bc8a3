"""The page of `aps demo` in Gradio, and its server; the tabs are `ask_tab` and `restore_tab`.

Nothing is fetched from another host: system fonts, no analytics.
"""

from __future__ import annotations

import os
from typing import Any

from .ask_tab import ask_tab
from .functions import Demo
from .restore_tab import restore_tab
from .style import STYLE

__all__ = ["gradio", "launch", "page_of"]

AT_ONCE = 4  # runs; the others queue
FITS = """() => addEventListener("message", (event) => {
  const frame = document.querySelector("#page iframe"), height = event.data?.apsHeight;
  if (frame && event.source === frame.contentWindow && Number.isFinite(height))
    frame.style.height = `${Math.min(height + 4, 6000)}px`;
})"""
"""Gives the page inside of this one the height that it tells, so that only one page scrolls."""


def gradio() -> Any:
    """The module, told to send nothing home.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio as found
    except ImportError as error:
        raise ModuleNotFoundError('the page needs Gradio: pip install "aps-text[demo]"') from error
    return found


def page_of(demo: Demo) -> Any:
    """The page, a `gradio.Blocks`."""
    gr = gradio()
    with gr.Blocks(title="aps_text", analytics_enabled=False) as page:
        gr.Markdown(
            "# aps_text\nA masked diffusion model fills a text or an image step by step; rewards "
            "or a measurement steer it."
        )
        with gr.Tab("Ask"):
            ask_tab(gr, demo)
        with gr.Tab("Restore an image"):
            restore_tab(gr, demo)
        page.load(None, None, None, js=FITS, api_visibility="private")
    return page.queue(default_concurrency_limit=AT_ONCE, max_size=64)


def launch(demo: Demo, *, host: str, port: int | None, share: bool, browser: bool) -> Any:
    """Serve the page from a thread of its own; `block_thread` of what is returned waits.

    Args:
        host, port: where; None takes the first free port from 7860.
        share: a public link through Gradio's servers; never without being asked for.
        browser: open the page.

    Returns:
        The `gradio.Blocks` that is served, at its `local_url`.

    Raises:
        OSError: the port is taken, or the host is not this machine.
    """
    page = page_of(demo)
    page.launch(
        server_name=host,
        server_port=port,
        share=share,
        inbrowser=browser,
        theme=_theme(gradio()),
        css=STYLE,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        max_file_size="20mb",
        prevent_thread_lock=True,
        quiet=not share,  # Gradio's own words name `launch()`, but tell what became of the link
    )
    return page


def _theme(gr: Any) -> Any:
    """Gradio's plain theme in the fonts of the reader's system."""
    return gr.themes.Base(
        primary_hue="blue",
        font=[gr.themes.Font(name) for name in ("system-ui", "Segoe UI", "Roboto", "sans-serif")],
        font_mono=[gr.themes.Font(name) for name in ("ui-monospace", "Consolas", "monospace")],
    )
