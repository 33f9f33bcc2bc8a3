"""Alternative names of settings: deprecated ones, and those of other libraries (for hints)."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["given_once", "hint", "renamed"]

RENAMED = {
    "num_candidates": "pool_size",
    "counting": "reveal_rule",
    "standard_score": "rank_by",
    "revisable": "remask",
}
"""Deprecated names: accepted with a warning."""

WORDS = {("likelihood_weight", "slides"): "length"}
"""Deprecated values, by setting."""

CALL = (
    *("prompts", "reward", "method", "select", "report", "control", "on_error", "config"),
    *("preset", "seeds", "columns", "start", "on_step", "keep_trajectory", "warm_start"),
)
"""Arguments of a pipeline's call that are not settings; suggested in hints, too."""

THEIRS = {
    # transformers
    "max_length": "max_new_tokens",
    "min_length": "min_new_tokens",
    "num_beams": "num_return_sequences",
    "do_sample": "temperature",
    "generation_config": "config",
    "streamer": "on_step",
    # diffusers
    "prompt": "prompts",
    "num_inference_steps": "steps",
    "timesteps": "steps",
    "guidance_scale": "cfg_scale",
    "num_images_per_prompt": "num_return_sequences",
    "generator": "seed",
    "callback": "on_step",
    "callback_on_step_end": "on_step",
    # trl
    "rewards": "reward",
    "reward_fn": "reward",
    "reward_func": "reward",
    "reward_funcs": "reward",
    "reward_function": "reward",
    "reward_model": "reward",
    "reward_weights": "reward",
    "max_completion_length": "max_new_tokens",
    "num_generations": "num_return_sequences",
    "kl_coef": "beta",
    # vLLM, OpenAI
    "messages": "prompts",
    "max_tokens": "max_new_tokens",
    "max_completion_tokens": "max_new_tokens",
    "min_tokens": "min_new_tokens",
    "n": "num_return_sequences",
    "best_of": "num_return_sequences",
    "sampling_params": "config",
    "timeout": "reward_timeout",
    # PEFT, torch
    "r": "lora_rank",
    "rank": "lora_rank",
    "lora_r": "lora_rank",
    "alpha": "lora_alpha",
    "layers": "lora_layers",
    "num_layers": "lora_layers",
    "lr": "learning_rate",
    "eps": "adam_eps",
    "random_seed": "seed",
    "manual_seed": "seed",
    # Dream, LLaDA, Fast-dLLM and other masked diffusion models
    "gen_length": "max_new_tokens",
    "length": "max_new_tokens",
    "num_tokens": "max_new_tokens",
    "new_tokens": "max_new_tokens",
    "diffusion_steps": "steps",
    "num_steps": "steps",
    "sampling_steps": "steps",
    "denoising_steps": "steps",
    "block_size": "block_length",
    "cfg": "cfg_scale",
    "confidence_threshold": "threshold",
    "temp": "temperature",
    "tau": "temperature",
    "num_samples_per_prompt": "num_return_sequences",
    "num_particles": "pool_size",
    "candidates": "pool_size",
    "num_iterations": "steps",
    "iterations": "steps",
    "callbacks": "on_step",
}
"""Other libraries' names, and ours for the same option."""

ELSEWHERE = {
    "batch_size": "pass it to APSPipeline, or to from_pretrained",
    "device": "pass it to from_pretrained",
    "device_map": "pass it to from_pretrained",
    "dtype": "pass it to from_pretrained",
    "torch_dtype": "pass dtype=... to from_pretrained",
    "model": "pass it to APSPipeline",
    "tokenizer": "pass it to APSPipeline",
    "stream": "iterate over pipe.stream(...)",
    "repetition_penalty": "there is none; steer by reward='distinctness'",
    "stop_sequences": "there is none; answers end at the model's stop tokens",
    "eos_token_id": "there is none; answers end at the model's stop tokens",
    "pad_token_id": "there is none; it is the model's",
    "mask_id": "there is none; it is the model's",
    "system": "write it as the first message: [{'role': 'system', ...}, {'role': 'user', ...}]",
    "system_prompt": "write it as the first message: [{'role': 'system', ...}, ...]",
    "tools": "there are none",
    "return_dict": "there is none; a call returns an APSOutput",
    "verbose": "progress=True shows a bar",
    "min_p": "there is none; top_p and top_k limit the draw",
    "typical_p": "there is none; top_p and top_k limit the draw",
    "epsilon_cutoff": "there is none; top_p and top_k limit the draw",
    "gamma": "there is none; beta is the reward's temperature",
    "presence_penalty": "there is none; steer by reward='distinctness'",
    "frequency_penalty": "there is none; steer by reward='distinctness'",
    "early_stopping": "there are no beams; answers end at a stop token",
    "negative_prompt": "there is none; cfg_scale guides by the prompt masked out",
    "stop": "there is none; answers end at the model's stop tokens",
    "prefix": "pass start={'prefix': ...}",
    "suffix": "pass start={'suffix': ...}",
    "template": "pass start={'template': ...}",
    "init_text": "pass start={'init_text': ...}",
    "init_strength": "pass start={'init_text': ..., 'init_strength': ...}",
    "logprobs": "keep_trajectory=True keeps every step's probabilities",
}


def renamed(options: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
    """The options with deprecated names and values replaced; warns about each if `warn`.

    Raises:
        TypeError: an option given under both its names.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        now = RENAMED.get(name, name)
        if now != name and now in options:
            raise TypeError(f"{name} and {now} are one option; give {now}")
        word = WORDS.get((now, value), value) if isinstance(value, str) else value
        if warn and (now, word) != (name, value):
            old, new = (name, now) if now != name else (f"{name}={value!r}", f"{now}={word!r}")
            warnings.warn(f"{old} is called {new} now", DeprecationWarning, stacklevel=3)
        found[now] = word
    return found


def given_once(name: str, value: Any, old: str, old_value: Any) -> Any:
    """The value of a dataclass's option `name` that may come by its deprecated name `old`.

    To be called in `__post_init__`: the warning points to the caller of the constructor.

    Args:
        value, old_value: None is not given.

    Raises:
        TypeError: given under both names.
    """
    if old_value is None:
        return value
    if value is not None:
        raise TypeError(f"{old} and {name} are one option; give {name}")
    warnings.warn(f"{old} is called {name} now", DeprecationWarning, stacklevel=4)
    return old_value


def hint(name: str, known: Collection[str]) -> str:
    """The end of an error message about an unknown option: what to use instead."""
    plain = name.strip().lower().lstrip("-").replace("-", "_")
    if plain in ELSEWHERE:
        return f"; {ELSEWHERE[plain]}"
    near = THEIRS.get(plain)
    if near is None:
        close = difflib.get_close_matches(plain, [*known, *CALL, *THEIRS], n=1)
        near = THEIRS.get(close[0], close[0]) if close else None
    if near is None:
        return f"; known: {', '.join(known)}"
    if near == name:
        return "; this call has no such argument"
    return f"; did you mean {near!r}?"
