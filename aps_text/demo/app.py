"""The page of `aps demo` in Gradio: components, and which function each of them calls.

Nothing is fetched from another host: system fonts, no analytics.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ..core.presets import IMAGE_PRESETS, TEXT_PRESETS
from ..images.tasks import TASKS
from .drawn import STYLE, escape, problem, remark
from .functions import FAILURES, ROWS, Demo
from .restoring import MISSING

__all__ = ["gradio", "launch", "page_of"]

AT_ONCE = 4  # runs; the others queue
OWN = """def mine(prompts, completions, **columns):
    return [-abs(len(text.split()) - 8) / 8 for text in completions]
"""


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
            "# aps_text\nA masked diffusion model fills an answer step by step; rewards steer "
            f"it. Plain and steered, by `{demo.pipe.model.name}`."
        )
        with gr.Tab("Ask"):
            _ask_tab(gr, demo)
        with gr.Tab("Restore an image"):
            _restore_tab(gr, demo)
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


def _ask_tab(gr: Any, demo: Demo) -> None:
    question = gr.Textbox(
        "Write a sentence about a lonely king.",
        label="Question",
        lines=2,
        max_lines=8,
        elem_id="question",
    )
    names = [("(none)", ""), *((name, name) for name in demo.rewards)]
    usual = "sentiment" if "sentiment" in demo.rewards else ""
    with gr.Row():
        first = [
            gr.Dropdown(names, value=usual, label="Reward", scale=2, min_width=180),
            gr.Number(1.0, label="Weight", min_width=100),
        ]
        preset = gr.Dropdown(list(TEXT_PRESETS), value="balanced", label="Preset", min_width=165)
        beta = gr.Textbox("", label="Beta", placeholder="usual", min_width=110)
        seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100)
    further: list[Any] = []
    with gr.Accordion("More rewards, their options, and length", open=False):
        gr.Markdown("A reward of weight 0 is only measured. Options are those of `aps rewards`.")
        example = "present=apple,pear"
        first.append(gr.Textbox("", label="Options of the reward above", placeholder=example))
        for number in range(2, ROWS + 1):
            with gr.Row():
                further += [
                    gr.Dropdown(names, value="", label=f"Reward {number}", min_width=180),
                    gr.Number(1.0, label="Weight", min_width=100),
                    gr.Textbox("", label="Options", placeholder=example, min_width=180),
                ]
        with gr.Row():
            steps = gr.Textbox("", label="Steps", placeholder="usual", min_width=110)
            tokens = gr.Textbox("", label="Tokens", placeholder="usual", min_width=110)
    rows = [*first, *further]
    own: list[Any] = []
    if demo.trust_code:
        with gr.Accordion("Your own reward, a Python function", open=False):
            own = [
                gr.Code("", language="python", label="The last function counts"),
                gr.Number(1.0, label="Weight"),
            ]
            gr.Markdown(f"For example, answers of about eight words:\n```python\n{OWN}```")
    with gr.Row():
        go = gr.Button("Run", variant="primary", elem_id="run", min_width=120)
        stop = gr.Button("Stop", elem_id="stop", min_width=120)
        again = gr.Button("Same seed again", elem_id="again", min_width=180)
        shared = gr.UploadButton(
            "Open a run's JSON", file_types=[".json"], type="binary", min_width=180
        )
    shown = gr.HTML("", elem_id="shown", js_on_load=None)
    links = gr.HTML("", elem_id="links", js_on_load=None)
    with gr.Accordion("Step by step, once more", open=False, elem_id="replay"):
        replay = gr.HTML("", elem_id="page", js_on_load=None)
    with gr.Accordion("What the installed rewards measure", open=False):
        gr.HTML(_table(demo), js_on_load=None)
    last = gr.State(None)
    form = [question, preset, beta, seed, steps, tokens, *rows, *own]
    found = [shown, replay, links, last]
    how = {"show_progress": "hidden", "api_visibility": "private"}
    running = [
        gr.on([go.click, question.submit], demo.closing.until_closed(demo.run), form, found, **how),
        again.click(demo.closing.until_closed(demo.again), [last], found, **how),
    ]
    stop.click(_stopped, None, [links], cancels=running, **how)
    shared.upload(_filler(gr, demo, len(form)), [shared], [*form, shown], **how)


def _restore_tab(gr: Any, demo: Demo) -> None:
    if not demo.images:
        gr.HTML(problem(MISSING), elem_id="restored", js_on_load=None)
        return
    models = [(f"{name}: {_pixels(pipe.size)}", name) for name, pipe in demo.images.items()]
    with gr.Row():
        image = gr.Image(
            type="filepath",
            sources=["upload"],
            label="A clean image, of which the middle square is taken in the model's size and "
            "colours; without one the model draws an example",
            height=240,
            min_width=240,
        )
        with gr.Column(min_width=240):
            model = gr.Dropdown(models, value=models[0][1], label="Model", elem_id="image-model")
            preset = gr.Radio(
                [(sought, name) for name, sought in IMAGE_PRESETS.items()],
                value="restore",
                label="What is sought",
            )
            tasks = [(f"{name}: {task.what}", name) for name, task in TASKS.items()]
            task = gr.Dropdown(tasks, value="sr4", label="Task", elem_id="task")
            sigma = gr.Number(0.05, label="Sigma of the noise, on [-1, 1]", minimum=1e-4)
            samples = gr.Slider(1, 8, value=4, step=1, label="Samples")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    with gr.Row():
        go = gr.Button("Restore", variant="primary", elem_id="restore", min_width=100)
        stop = gr.Button("Stop", variant="stop", min_width=100)
    found = gr.HTML("", elem_id="restored", js_on_load=None)
    how = {"show_progress": "hidden", "api_visibility": "private"}
    restored = demo.closing.until_closed(demo.restored)
    form = [image, model, preset, task, sigma, samples, seed]
    running = go.click(restored, form, [found], **how)
    stop.click(None, None, None, cancels=[running], api_visibility="private")


def _pixels(size: tuple[int, int, int]) -> str:
    channels, high, wide = size
    return f"{wide} x {high}, {'grey' if channels == 1 else 'colours'}"


def _table(demo: Demo) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(what)}</td></tr>"
        for name, what in demo.rewards.items()
    )
    return f'<div class="aps"><table>{rows}</table></div>'


def _filler(gr: Any, demo: Demo, count: int) -> Callable[[bytes | None], list[Any]]:
    """Takes a run's JSON; gives the `count` values of the form and a line about them."""

    def fill(data: bytes | None) -> list[Any]:
        try:
            form = demo.opened(data or b"")
        except FAILURES as error:
            return [*(gr.skip() for _ in range(count)), problem(str(error))]
        said = "The form has the run's question and settings; press Run to repeat it."
        return [*form, remark(said)]

    return fill


def _stopped() -> str:
    return remark("Stopped: nothing more is computed.")


def _theme(gr: Any) -> Any:
    """Gradio's plain theme in the fonts of the reader's system."""
    return gr.themes.Base(
        primary_hue="blue",
        font=[gr.themes.Font(name) for name in ("system-ui", "Segoe UI", "Roboto", "sans-serif")],
        font_mono=[gr.themes.Font(name) for name in ("ui-monospace", "Consolas", "monospace")],
    )
