"""An animated picture of answers: plain beside steered, tokens and anchors, the reward below.

python examples/steering_picture.py docs/assets/steering.gif    (needs Pillow)

What it shows is not selected: seed 0, and the three questions of README.md under "Start", with the
settings of `aps ask --model smol --reward sentiment` (preset `balanced`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from aps_text import APSPipeline
from aps_text.pipelines.output import APSOutput
from aps_text.pipelines.page.frames import Frames, frames_of
from aps_text.pipelines.page.replay import Shown, replay

QUESTIONS = (
    "Write a sentence about a lonely king.",
    "Describe your favorite book in one sentence.",
    "Write a short poem about generative AI",
)
GUIDE = "sentiment"
WIDE, MARGIN, LINE, LINES = 860, 24, 34, 6
FOOT = 90 + LINES * LINE  # of the answers
PAGE, CARD, INK, SOFT, RULE = "#fbfbf9", "#ffffff", "#1c1f23", "#5c636b", "#d9dce0"
OPEN, ANCHOR, TONES = "#e9ebee", "#0b7a43", ("#5f6670", "#0b62c4")
EARLY, LATE = (215, 230, 250), (246, 185, 138)
STEP_MS, END_MS = 420, 3500


def answers(pipe: APSPipeline, question: str, seed: int = 0, **settings) -> list[APSOutput]:
    """The plain and the steered answer, with their steps."""
    how = {"reward": GUIDE, "seed": seed, "keep_trajectory": True, **settings}
    return [pipe.generate(question, **how), pipe(question, **how)]


def picture(question: str, outs: list[APSOutput]) -> list[Image.Image]:
    """A frame for each step from 0 to the last."""
    sides = []
    for out in outs:
        batch, row = out.places[0]
        sides.append(frames_of(out.trajectory[batch], row, out.record))
    last = max(side.frames[-1]["s"] for side in sides)
    return [frame(question, outs, sides, step, last) for step in range(last + 1)]


def font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def frame(
    question: str, outs: list[APSOutput], sides: list[Frames], step: int, last: int
) -> Image.Image:
    image = Image.new("RGB", (WIDE, FOOT + 232), PAGE)
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, 16), question, INK, font(22))
    said = f"step {step} of {last}"
    draw.text((WIDE - MARGIN - draw.textlength(said, font(15)), 22), said, SOFT, font(15))
    half = (WIDE - 3 * MARGIN) // 2
    for number, (out, side) in enumerate(zip(outs, sides, strict=True)):
        left = MARGIN + number * (half + MARGIN)
        draw.rounded_rectangle((left, 54, left + half, FOOT + 28), 8, CARD, RULE)
        passes = round(out.cost.denoiser_forwards)
        title = f"{('plain', 'steered (APS)')[number]}, {passes} passes of the model"
        draw.text((left + 14, 62), title, TONES[number], font(16))
        canvas(draw, replay(side, step), (left + 14, 90), half - 28, last)
        if step >= side.frames[-1]["s"]:
            value = out.rewards[GUIDE][0]
            draw.text((left + 14, FOOT), f"{GUIDE} of the text: {value:.2f}", SOFT, font(15))
    curve(draw, outs, sides, step, last)
    return image


def canvas(
    draw: ImageDraw.ImageDraw, tokens: list[Shown], at: tuple[int, int], wide: int, last: int
) -> None:
    """Tokens in boxes, line by line, as far as there is room."""
    x, y = at
    for one in tokens:
        text = one.text.strip()
        width = 26 if one.kind == "open" else 14 if one.kind == "end" else 0
        width = width or int(draw.textlength(text, font(18))) + 8
        x += 5 * (x > at[0] and (one.kind != "text" or one.text.startswith(" ")))
        if x + width > at[0] + wide and (text or one.kind != "text"):
            x, y = at[0], y + LINE
        if y > at[1] + (LINES - 1) * LINE:
            return
        share = (one.wrote - 1) / max(last - 1, 1)
        tint = tuple(round(a + (b - a) * share) for a, b in zip(EARLY, LATE, strict=True))
        fill = OPEN if one.kind == "open" else ANCHOR if one.anchor else tint
        draw.rounded_rectangle((x, y, x + width, y + 25), 4, fill)
        ink = "#ffffff" if one.anchor else INK
        if one.kind == "end":
            draw.rectangle((x + 4, y + 10, x + 10, y + 16), ink)
        elif one.kind == "text":
            draw.text((x + 4, y + 2), text, ink, font(18))
        x += width + 1
        if one.kind == "text" and "\n" in one.text:
            x, y = at[0], y + LINE


def curve(
    draw: ImageDraw.ImageDraw, outs: list[APSOutput], sides: list[Frames], step: int, last: int
) -> None:
    """The guide at each step so far, and dashed lines: of the final texts."""
    left, right, top, bottom = MARGIN + 44, WIDE - MARGIN - 8, FOOT + 74, FOOT + 192
    found = [
        [(one["s"], one["r"][GUIDE]) for one in side.frames if GUIDE in one.get("r", {})]
        for side in sides
    ]
    ends = [out.rewards[GUIDE][0] for out in outs]
    values = [value for line in found for _, value in line] + ends
    low, high = min(values), max(values)
    if high - low < 1e-3:
        low, high = low - 0.5, high + 0.5

    def place(at: int, value: float) -> tuple[float, float]:
        share = (at - 1) / max(last - 1, 1)
        return left + share * (right - left), bottom - (value - low) / (high - low) * (bottom - top)

    text = (
        f"{GUIDE} of each step's whole answer; dashed: of the final text (grey plain, blue steered)"
    )
    draw.text((MARGIN, FOOT + 42), text, SOFT, font(15))
    for value in (low, (low + high) / 2, high):
        y = place(1, value)[1]
        draw.line((left, y, right, y), RULE)
        said = f"{value:.2f}"
        draw.text((left - 8 - draw.textlength(said, font(13)), y - 9), said, SOFT, font(13))
    for at in sorted({1, (last + 1) // 2, last}):
        draw.text((place(at, low)[0] - 4, bottom + 8), str(at), SOFT, font(13))
    for tone, side, line, end in zip(TONES, sides, found, ends, strict=True):
        points = [place(at, value) for at, value in line if at <= step]
        if len(points) > 1:
            draw.line(points, tone, 3)
        for x, y in points[-1:]:
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), tone)
        if step >= side.frames[-1]["s"]:
            y = place(1, end)[1]
            for x in range(left, right, 14):
                draw.line((x, y, x + 8, y), tone, 2)


def write(films: list[list[Image.Image]], path: str | Path) -> None:
    """A GIF of one film after the other that repeats; each one's last frame stands longer."""
    sheet = Image.new("RGB", (WIDE * len(films), films[0][-1].height))
    for number, film in enumerate(films):
        sheet.paste(film[-1], (number * WIDE, 0))
    colours = sheet.quantize(64)  # the same for all frames, so that little changes between them
    none = Image.Dither.NONE
    frames = [films[-1][-1], *(one for film in films for one in film)]  # first what previews show
    small = [one.quantize(palette=colours, dither=none) for one in frames]
    times = [time for film in films for time in [STEP_MS] * (len(film) - 1) + [END_MS]]
    times.insert(0, STEP_MS)
    small[0].save(path, save_all=True, append_images=small[1:], duration=times, loop=0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the animated picture.")
    parser.add_argument("path", help="a .gif")
    parser.add_argument("--model", default="smol")
    args = parser.parse_args()
    pipe, films = APSPipeline.from_pretrained(args.model), []
    for question in QUESTIONS:
        outs = answers(pipe, question)
        films.append(picture(question, outs))
        for out in outs:
            print(f"{out.text[0]}  {GUIDE} {out.rewards[GUIDE][0]:.3f}")
    write(films, args.path)
    print(f"{args.path}: {Path(args.path).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
