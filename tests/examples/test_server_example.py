"""`examples/server.py`: the answers of a caller who is alone, and no work for one who has left."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from paths import ROOT
from tiny import tiny_text_model

from aps_text import APSPipeline

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient

SMALL = {"steps": 5, "max_new_tokens": 8, "preset": "fast"}


@pytest.fixture(scope="module")
def server():
    spec = importlib.util.spec_from_file_location("server_example", ROOT / "examples/server.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pipe():
    return APSPipeline(tiny_text_model(dtype=torch.float64))


@pytest.fixture(scope="module")
def client(server, pipe):
    with TestClient(server.make_app(pipe, **SMALL)) as found:
        yield found


def ask(client, seed):
    reply = client.post("/ask", json={"question": "what is a dog ?", "seed": seed})
    assert reply.status_code == 200
    return [json.loads(line) for line in reply.text.splitlines()]


def test_it_streams_the_steps_and_then_the_answer(client, pipe):
    *steps, last = ask(client, 3)
    want = pipe("what is a dog ?", "length", seed=3, **SMALL)
    assert last.pop("cut_off") is want.cut_off[0]
    assert last == {"answer": want.text[0], "rewards": dict(want[0].rewards)}
    assert [line["step"] for line in steps] == sorted({line["step"] for line in steps})
    assert "_" in steps[0]["text"]
    assert steps[-1]["text"] == want.text[0]


def test_callers_at_once_get_their_own_answers(client):
    alone = [ask(client, seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda seed: ask(client, seed), range(6))) == alone
    assert len({one[-1]["answer"] for one in alone}) > 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"question": ""}, "empty"),
        ({"question": "why ?", "reward": "os:system"}, "reward is one of"),
        ({"question": "why ?", "reward": "rewards.py:mine"}, "reward is one of"),
    ],
)
def test_what_cannot_be_answered_is_a_422(client, asked, message):
    reply = client.post("/ask", json=asked)
    assert reply.status_code == 422
    assert message in reply.text


def test_a_caller_who_leaves_stops_the_work(server, pipe, monkeypatch):
    """The application itself, as a web server drives it, with a caller who leaves after a line."""
    computed = []
    step = server.Stream._step
    monkeypatch.setattr(server.Stream, "_step", lambda self: computed.append(1) or step(self))
    app = server.make_app(pipe, steps=40, max_new_tokens=48, preset="fast")
    body = json.dumps({"question": "why ?"}).encode()

    async def run():
        left, sent = asyncio.Event(), []
        asked = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive():
            for message in asked:
                return message
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)
            if message["type"] == "http.response.body":
                left.set()
                await asyncio.sleep(0)

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "method": "POST",
            "path": "/ask", "raw_path": b"/ask", "query_string": b"", "root_path": "",
            "scheme": "http", "http_version": "1.1", "server": ("test", 80), "client": ("test", 1),
            "headers": [(b"content-type", b"application/json")],
        }  # fmt: skip
        await app(scope, receive, send)
        return sent

    sent = asyncio.run(run())
    assert sum(message["type"] == "http.response.body" for message in sent) < 20
    assert 1 <= len(computed) < 20  # of forty
