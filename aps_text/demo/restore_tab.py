"""The tab that restores images: components in Gradio, and which function each of them calls."""

from __future__ import annotations

from typing import Any

from ..core.presets import IMAGE_PRESETS
from ..images.tasks import TASKS
from .drawn import STARTING, problem
from .functions import Demo
from .restoring import MISSING
from .style import SCROLLS

__all__ = ["restore_tab"]


def restore_tab(gr: Any, demo: Demo) -> None:
    """Add the components; `gr` is Gradio."""
    if not demo.images:
        gr.HTML(problem(MISSING), elem_id="restored", js_on_load=None)
        return
    models = [(f"{name}: {_pixels(pipe.size)}", name) for name, pipe in demo.images.items()]
    usual = next((name for name in demo.images if name.endswith("portraits")), models[0][1])
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
            model = gr.Dropdown(models, value=usual, label="Model", elem_id="image-model")
            tasks = [(f"{name}: {task.what}", name) for name, task in TASKS.items()]
            task = gr.Dropdown(tasks, value="sr4", label="What is done to it", elem_id="task")
            sigma = gr.Number(
                0.05,
                label="Noise added to it",
                info="its standard deviation, where black is -1 and white is 1",
                minimum=1e-4,
            )
            preset = gr.Radio(
                [(sought, name) for name, sought in IMAGE_PRESETS.items()],
                value="restore",
                label="What is sought",
                info="each sample is a try of its own; of the likeliest image they differ little",
            )
            samples = gr.Slider(1, 8, value=4, step=1, label="Samples")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    with gr.Row(elem_id="image-actions"):
        go = gr.Button("Restore", variant="primary", elem_id="restore", min_width=100)
        stop = gr.Button("Stop", elem_id="image-stop", interactive=False, min_width=100)
    found = gr.HTML("", elem_id="restored", js_on_load=None)
    how = {"show_progress": "hidden", "api_visibility": "private"}
    at_once = {**how, "queue": False}

    def state(running: bool) -> list[Any]:
        return [gr.Button(interactive=not running), gr.Button(interactive=running)]

    restored = demo.closing.until_closed(demo.restored)
    form = [image, model, preset, task, sigma, samples, seed]
    start = go.click(lambda: [STARTING, *state(True)], None, [found, go, stop], **at_once)
    start.then(None, None, None, js=SCROLLS % "image-actions", **at_once)
    running = start.then(restored, form, [found], **how)
    running.then(lambda: state(False), None, [go, stop], **at_once)
    stop.click(lambda: state(False), None, [go, stop], cancels=[running], **at_once)


def _pixels(size: tuple[int, int, int]) -> str:
    channels, high, wide = size
    return f"{wide} x {high}, {'grey' if channels == 1 else 'colours'}"
