"""An animated picture of answers: plain beside steered, and what each step chose among.

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
SHOWN = 5
"""Answers of a choice, and the chosen one."""
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
    compared(draw, sides[-1], step)
    return image


def canvas(
    draw: ImageDraw.ImageDraw, tokens: list[Shown], at: tuple[int, int], wide: int, last: int
) -> None:
    """Tokens in boxes, line by line; an open one that finds no room is left out.

    Raises:
        ValueError: no room for text.
    """
    x, y = at
    for one in tokens:
        text = one.text.strip()
        width = 26 if one.kind == "open" else 14 if one.kind == "end" else 0
        width = width or int(draw.textlength(text, font(18))) + 8
        x += 5 * (x > at[0] and (one.kind != "text" or one.text.startswith(" ")))
        if x + width > at[0] + wide and (text or one.kind != "text"):
            x, y = at[0], y + LINE
        if y > at[1] + (LINES - 1) * LINE and one.kind == "open":
            return
        if y > at[1] + (LINES - 1) * LINE and text:
            raise ValueError(f"no room for {text!r} on line {LINES + 1}; raise LINES")
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


def compared(draw: ImageDraw.ImageDraw, side: Frames, step: int) -> None:
    """What the last choice up to a step was made among, the highest reward first."""
    found = [one for one in side.frames if "p" in one and one["s"] <= step]
    if not found:
        return
    choice, top = found[-1], FOOT + 70
    said = f"step {choice['s']} chose among {choice['n']} whole answers, by {GUIDE}:"
    draw.text((MARGIN, FOOT + 42), said, SOFT, font(15))
    lines = choice["p"][:SHOWN]
    lines += [one for one in choice["p"][SHOWN:] if one[2]]
    for number, (value, times, chosen, pieces) in enumerate(lines):
        y = top + number * 25
        text = "".join(side.pieces[piece] for piece in pieces).strip()
        text = " / ".join(line.strip() for line in text.splitlines())
        more = f"  ({times} times)" if times > 1 else ""
        while draw.textlength(text + more, font(15)) > WIDE - 2 * MARGIN - 80:
            text = text.rstrip("… ")[:-1] + "…"
        text += more
        if chosen:
            draw.rounded_rectangle((MARGIN, y, WIDE - MARGIN, y + 23), 4, EARLY)
        shown = "-∞" if value is None else f"{value:.2f}"
        draw.text((MARGIN + 52 - draw.textlength(shown, font(15)), y + 2), shown, INK, font(15))
        draw.text((MARGIN + 68, y + 2), text, INK if chosen else SOFT, font(15))


def write(films: list[list[Image.Image]], path: str | Path) -> None:
    """A GIF of one film after the other that repeats; each one's last frame stands longer."""
    # A strip of the anchors' green, which the last frames have little of, keeps it in the palette.
    sheet = Image.new("RGB", (WIDE * len(films), films[0][-1].height + 60), ANCHOR)
    for number, film in enumerate(films):
        sheet.paste(film[-1], (number * WIDE, 0))
    colours = sheet.quantize(24)  # the same for all frames, so that little changes between them
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
