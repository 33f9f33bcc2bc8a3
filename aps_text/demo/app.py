"""The page of `aps demo` in Gradio: components, and which function each of them calls.

Nothing is fetched from another host: system fonts, no analytics. Nothing that was typed becomes
HTML unescaped, and no file is kept: what can be downloaded is inside of the page.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

from aps_rewards import RewardError

from ..images.tasks import TASKS
from ..pipelines.restoration import RestorationPipeline
from ..pipelines.text import APSPipeline
from .answering import answering, as_json, same
from .asked import PRESETS, Asked, as_asked, read_asked, usable
from .drawn import STYLE, drawn, escape, framed, problem
from .restoring import MISSING, example, fitted, pictures, restoring

__all__ = ["Demo", "gradio"]

ROWS = 3  # rewards that can be chosen at once
AT_ONCE = 4  # runs; the others queue
FAILURES = (ValueError, TypeError, ImportError, OSError, RuntimeError, RewardError)
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


class Demo:
    """What the page calls, and the page itself.

    Args:
        pipe: answers the questions, of several users at once.
        images: restores images; None shows why there is nothing to restore with.
        trust_code: whether a user's function may be run.
        settings: keywords of `APSConfig` below those a user gives.
    """

    def __init__(
        self,
        pipe: APSPipeline,
        images: RestorationPipeline | None = None,
        *,
        trust_code: bool = False,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.pipe, self.images, self.trust_code = pipe, images, trust_code
        self.settings = settings or {}
        self.rewards = usable()

    def asked(self, *typed: Any) -> Asked:
        """The checked values of the form, in its order."""
        question, preset, beta, seed, steps, tokens, *rest = typed
        rows = [tuple(rest[3 * row : 3 * row + 3]) for row in range(ROWS)]
        function, weight = rest[3 * ROWS :] if self.trust_code else ("", 1.0)
        return as_asked(
            question,
            rows,
            known=self.rewards,
            function=function,
            function_weight=1.0 if weight is None else weight,
            trust_code=self.trust_code,
            preset=preset,
            beta=beta,
            seed=seed,
            settings={
                **self.settings,
                **_typed("steps", steps),
                **_typed("max_new_tokens", tokens),
            },
        )

    def run(self, *typed: Any) -> Iterator[tuple[str, str, str, Any]]:
        """A run of the form; yields (canvases, replay, downloads, the run or None)."""
        try:
            asked = self.asked(*typed)
        except FAILURES as error:
            yield problem(str(error)), "", "", None
            return
        yield from self.answered(asked, None)

    def again(self, earlier: dict[str, Any] | None) -> Iterator[tuple[str, str, str, Any]]:
        """The last finished run once more; says whether the tokens are the same."""
        if not earlier:
            yield problem("no run has finished yet, so there is none to repeat"), "", "", None
            return
        try:
            text = json.dumps(earlier)
            asked = read_asked(text, known=self.rewards, trust_code=self.trust_code)
        except FAILURES as error:
            yield problem(str(error)), "", "", earlier
            return
        yield from self.answered(asked, earlier)

    def answered(
        self, asked: Asked, earlier: dict[str, Any] | None
    ) -> Iterator[tuple[str, str, str, Any]]:
        """The steps of a run, and then what is kept of it."""
        try:
            parts = []
            for parts in answering(self.pipe, asked):
                yield drawn(parts), "", "", earlier
        except FAILURES as error:
            yield problem(str(error)), "", "", earlier
            return
        record = as_json(self.pipe, asked, parts)
        plain, last = parts[0].output, parts[-1].output
        assert plain is not None
        assert last is not None
        page = last.to_html(beside=None if last is plain else plain)
        note = ""
        if earlier is not None:
            equal = same(earlier, record)
            note = f"Run again with seed {asked.seed}: " + (
                "the same answers, token for token." if equal else "the answers differ."
            )
        yield drawn(parts, note), framed(page), downloads(record, page), record

    def opened(self, data: bytes | None) -> list[Any]:
        """The form's values of a shared run's JSON, and a line about it."""
        count = 6 + 3 * ROWS + 2 * self.trust_code
        gr = gradio()
        try:
            text = (data or b"").decode("utf-8")
            asked = read_asked(text, known=self.rewards, trust_code=self.trust_code)
            if len(asked.rewards) > ROWS:
                raise ValueError(f"this page has room for {ROWS} rewards")
        except FAILURES as error:
            return [*(gr.skip() for _ in range(count)), problem(str(error))]
        rows = [(*name.partition(":")[::2], weight) for name, weight in asked.rewards]
        rows += [("", "", 1.0)] * (ROWS - len(rows))
        typed = [asked.beta, *map(asked.settings.get, ("steps", "max_new_tokens"))]
        beta, steps, tokens = ("" if one is None else str(one) for one in typed)
        form: list[Any] = [asked.question, asked.preset, beta, asked.seed, steps, tokens]
        form += [value for name, options, weight in rows for value in (name, weight, options)]
        form += [asked.function, asked.function_weight] if self.trust_code else []
        said = "The form has the run's question and settings; press Run to repeat it."
        return [*form, f'<div class="aps"><p class="soft">{escape(said)}</p></div>']

    def restored(
        self, path: str | None, task: str, sigma: Any, samples: Any, seed: Any
    ) -> Iterator[str]:
        """A restoration of an uploaded image, or of one the model draws."""
        if self.images is None:
            yield problem(MISSING)
            return
        try:
            number = int(seed or 0)
            truth = fitted(path, self.images.size) if path else example(self.images, number)
            for found in restoring(
                self.images,
                truth,
                task,
                sigma=float(sigma),
                samples=int(samples),
                seed=number,
            ):
                yield pictures(found)
        except FAILURES as error:
            yield problem(str(error))

    def blocks(self) -> Any:
        """The page, a `gradio.Blocks`."""
        gr = gradio()
        with gr.Blocks(title="aps_text", analytics_enabled=False) as page:
            gr.Markdown(
                "# aps_text\nA masked diffusion model fills an answer step by step; rewards steer "
                f"it. Plain and steered, by `{self.pipe.model.name}`."
            )
            with gr.Tab("Ask"):
                self._ask_tab(gr)
            with gr.Tab("Restore an image"):
                self._restore_tab(gr)
        return page.queue(default_concurrency_limit=AT_ONCE, max_size=64)

    def launch(self, *, host: str, port: int | None, share: bool, browser: bool, **how: Any) -> Any:
        """Serve the page.

        Args:
            host, port: where; None takes the first free port from 7860.
            share: a public link through Gradio's servers; never without being asked for.
            browser: open the page.
            how: further keywords of `Blocks.launch`.

        Returns:
            The `gradio.Blocks` that was served.
        """
        page = self.blocks()
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
            **how,
        )
        return page

    def _ask_tab(self, gr: Any) -> None:
        question = gr.Textbox(
            "Name a kind of fruit.", label="Question", lines=2, max_lines=8, elem_id="question"
        )
        names = [("(none)", ""), *((name, name) for name in self.rewards)]
        usual = "answer-quality" if "answer-quality" in self.rewards else ""
        with gr.Row():
            first = [
                gr.Dropdown(names, value=usual, label="Reward", scale=2, min_width=180),
                gr.Number(1.0, label="Weight", min_width=100),
            ]
            preset = gr.Dropdown(list(PRESETS), value="balanced", label="Preset", min_width=110)
            beta = gr.Textbox("", label="Beta", placeholder="usual", min_width=110)
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100)
        further: list[Any] = []
        with gr.Accordion("More rewards, their options, and length", open=False):
            gr.Markdown(
                "A reward of weight 0 is only measured. Options are those of `aps rewards`."
            )
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
        if self.trust_code:
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
            gr.HTML(self._table(), js_on_load=None)
        last = gr.State(None)
        form = [question, preset, beta, seed, steps, tokens, *rows, *own]
        found = [shown, replay, links, last]
        how = {"show_progress": "hidden", "api_visibility": "private"}
        running = [
            gr.on([go.click, question.submit], self.run, form, found, **how),
            again.click(self.again, [last], found, **how),
        ]
        stop.click(_stopped, None, [links], cancels=running, **how)
        shared.upload(self.opened, [shared], [*form, shown], **how)

    def _restore_tab(self, gr: Any) -> None:
        if self.images is None:
            gr.HTML(problem(MISSING), elem_id="restored", js_on_load=None)
            return
        channels, high, wide = self.images.size
        colours = "grey" if channels == 1 else "colours"
        with gr.Row():
            image = gr.Image(
                type="filepath",
                sources=["upload"],
                label=f"A clean image (its middle square, {wide} x {high}, {colours}); "
                "without one the model draws an example",
                height=240,
                min_width=240,
            )
            with gr.Column(min_width=240):
                task = gr.Dropdown(list(TASKS), value="sr2", label="Task", elem_id="task")
                sigma = gr.Number(0.05, label="Sigma of the noise, on [-1, 1]", minimum=1e-4)
                samples = gr.Slider(1, 8, value=4, step=1, label="Samples")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
        with gr.Row():
            go = gr.Button("Restore", variant="primary", elem_id="restore", min_width=100)
            stop = gr.Button("Stop", variant="stop", min_width=100)
        found = gr.HTML("", elem_id="restored", js_on_load=None)
        how = {"show_progress": "hidden", "api_visibility": "private"}
        running = go.click(self.restored, [image, task, sigma, samples, seed], [found], **how)
        stop.click(None, None, None, cancels=[running], api_visibility="private")

    def _table(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(what)}</td></tr>"
            for name, what in self.rewards.items()
        )
        return f'<div class="aps"><table>{rows}</table></div>'


def downloads(record: dict[str, Any], page: str) -> str:
    """Links that hold what they download: the run as JSON, and the page of the answers."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    files = {
        "run.json": ("the run as JSON", "application/json", text),
        "answer.html": ("the page of these answers", "text/html", page),
    }
    links = " ".join(
        f'<a download="{name}" href="data:{kind};base64,'
        f'{base64.b64encode(content.encode()).decode()}">{label}</a>'
        for name, (label, kind, content) in files.items()
    )
    return f'<div class="aps"><p class="soft links">Download {links}</p></div>'


def _stopped() -> str:
    return '<div class="aps"><p class="soft">Stopped: nothing more is computed.</p></div>'


def _typed(name: str, text: Any) -> dict[str, int]:
    """A whole number that was typed; nothing for an empty field."""
    if text is None or not str(text).strip():
        return {}
    try:
        return {name: int(str(text))}
    except ValueError:
        raise ValueError(f"{name} is a whole number, got {text!r}") from None


def _theme(gr: Any) -> Any:
    """Gradio's plain theme in the fonts of the reader's system."""
    return gr.themes.Base(
        primary_hue="blue",
        font=[gr.themes.Font(name) for name in ("system-ui", "Segoe UI", "Roboto", "sans-serif")],
        font_mono=[gr.themes.Font(name) for name in ("ui-monospace", "Consolas", "monospace")],
    )
