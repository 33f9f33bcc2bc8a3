"""A server of answers as they form: several at once, and one that nobody reads any more stops.

pip install fastapi uvicorn && python examples/server.py
curl -N localhost:8000/ask --json '{"question": "What is a violin?", "reward": "length"}'
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from aps_rewards import RewardError, list_rewards
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from aps_text import APSPipeline
from aps_text.pipelines.stream import Stream


class Question(BaseModel):
    question: str
    reward: str = "length"
    seed: int = 0


def make_app(pipe: APSPipeline, **settings) -> FastAPI:
    app = FastAPI()
    known = {reward.name for reward in list_rewards()}  # a file or a module would be code

    @app.post("/ask")
    def ask(asked: Question) -> StreamingResponse:  # not async: each request has a thread
        if asked.reward not in known:
            raise HTTPException(422, f"reward is one of {', '.join(sorted(known))}")
        try:
            stream = pipe.stream(asked.question, asked.reward, seed=asked.seed, **settings)
        except (ValueError, TypeError) as error:
            raise HTTPException(422, str(error)) from error
        return StreamingResponse(lines(stream), media_type="application/x-ndjson")

    return app


def lines(stream: Stream) -> Iterator[str]:
    """A line of JSON for each step, then the answer; computed as far as somebody reads."""
    try:
        for state, texts in stream:
            yield json.dumps({"step": state.step + 1, "text": texts[0]}) + "\n"
        out = stream.output()
        found = {"answer": out[0].text, "cut_off": out.cut_off[0], "rewards": out[0].rewards}
        yield json.dumps(found) + "\n"
    except RewardError as error:
        yield json.dumps({"error": str(error)}) + "\n"


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(make_app(APSPipeline.from_pretrained("mini"), preset="fast"))
