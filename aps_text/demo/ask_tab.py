"""The tab that asks: components in Gradio, and which function each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.presets import TEXT_PRESETS
from .drawn import STARTING, escape, problem, remark
from .functions import FAILURES, ROWS, Demo
from .style import SCROLLS

__all__ = ["ask_tab"]

OWN = """def mine(prompts, completions, **columns):
    return [-abs(len(text.split()) - 8) / 8 for text in completions]
"""


def ask_tab(gr: Any, demo: Demo) -> None:
    """Add the components; `gr` is Gradio."""
    gr.Markdown(f"`{demo.pipe.model.name}` answers twice: alone, then steered by the rewards.")
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
    with gr.Accordion("More rewards and length", open=False):
        gr.Markdown(
            "A reward of weight 0 is only measured. Options are NAME=VALUE, several with a colon "
            "between them; those of each reward stand in the list at the end of the page."
        )
        first.append(
            gr.Textbox("", label="Options of the reward above", placeholder=_options(demo, usual))
        )
        for number in range(2, ROWS + 1):
            with gr.Row():
                further += [
                    gr.Dropdown(names, value="", label=f"Reward {number}", min_width=180),
                    gr.Number(1.0, label="Weight", min_width=100),
                    gr.Textbox("", label="Options", min_width=180),
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
            gr.Markdown(
                "It steers together with the rewards chosen above; choose (none) there to steer by "
                f"it alone. For example, answers of about eight words:\n```python\n{OWN}```"
            )
    with gr.Row(elem_id="actions"):
        go = gr.Button("Run", variant="primary", elem_id="run", min_width=120)
        stop = gr.Button("Stop", elem_id="stop", interactive=False, min_width=120)
        again = gr.Button("Same seed again", elem_id="again", interactive=False, min_width=180)
        shared = gr.UploadButton(
            "Open a run's JSON",
            file_types=[".json"],
            type="binary",
            elem_id="shared",
            min_width=180,
        )
    shown = gr.HTML("", elem_id="shown", js_on_load=None)
    links = gr.HTML("", elem_id="links", js_on_load=None)
    title = "Step by step, once more"
    with gr.Accordion(title, open=False, visible=False, elem_id="replay") as whole:
        replay = gr.HTML("", elem_id="page", js_on_load=None)
    with gr.Accordion("What the installed rewards measure", open=False, elem_id="rewards"):
        gr.HTML(_table(demo), js_on_load=None)
    last = gr.State(None)
    form = [question, preset, beta, seed, steps, tokens, *rows, *own]
    buttons = [go, stop, again, shared, whole]
    how = {"show_progress": "hidden", "api_visibility": "private"}
    at_once = {**how, "queue": False}

    def state(running: bool, finished: bool) -> list[Any]:
        """The buttons, and the steps of a finished run."""
        return [
            gr.Button(interactive=not running),
            gr.Button(interactive=running),
            gr.Button(interactive=finished and not running),
            gr.UploadButton(interactive=not running),
            gr.Accordion(visible=finished and not running),
        ]

    def begun() -> list[Any]:
        return [STARTING, "", "", *state(True, False)]

    def ended(run: Any) -> list[Any]:
        return state(False, run is not None)

    def stopped(run: Any) -> list[Any]:
        return [remark("Stopped: nothing more is computed."), *ended(run)]

    running = []
    for button, run, given in ((go, demo.run, form), (again, demo.again, [last])):
        start = button.click(begun, None, [shown, replay, links, *buttons], **at_once)
        start.then(None, None, None, js=SCROLLS % "actions", **at_once)
        steady = demo.closing.until_closed(run)
        running.append(start.then(steady, given, [shown, replay, links, last], **how))
        running[-1].then(ended, [last], buttons, **at_once)
    question.submit(None, None, None, js="() => document.querySelector('#run').click()", **at_once)
    stop.click(stopped, [last], [links, *buttons], cancels=running, **at_once)
    shared.upload(_filler(gr, demo, len(form)), [shared], [*form, shown], **how)
    for name, options in zip(rows[::3], rows[2::3], strict=True):
        name.change(
            lambda one: gr.Textbox(placeholder=_options(demo, one)), [name], [options], **at_once
        )


def _options(demo: Demo, name: str) -> str:
    """What may be typed as the options of a reward."""
    known = demo.rewards[name].options if name in demo.rewards else ()
    return ":".join(f"{one}=..." for one in known) if known else "none" * (name in demo.rewards)


def _table(demo: Demo) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(one.measures)}</td>"
        f"<td>{escape(', '.join(one.options))}</td></tr>"
        for name, one in demo.rewards.items()
    )
    head = "<tr><th>reward</th><th>measures</th><th>options</th></tr>"
    return f'<div class="aps"><table>{head}{rows}</table></div>'


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
