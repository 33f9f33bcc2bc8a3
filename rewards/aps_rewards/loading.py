"""Loading of rewards, from an instance or, tried in this order, an installed name, `pkg.mod:attr`,
`file.py:func`, or a model.

Installed names are entry points of the group `aps_text.rewards`, imported only when used. Classes
are instantiated with the options; functions get them as fixed keywords; a function without a
parameter for answers is a factory, called with the options (trl's `get_...`). A folder with a
config.json or an adapter_config.json, `owner/name`, a loaded Hugging Face model and a text
classification pipeline become a `SequenceClassifier`.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib
import inspect
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .guard import described, undisturbed
from .installed import installed, installed_names, the_only
from .paths import typed_path
from .protocol import Reward, RewardInfo, describe, reward_name
from .reward_file import file_module
from .specs import TypedOption, split_spec

__all__ = ["InstalledReward", "list_rewards", "load_reward"]


@dataclass(frozen=True)
class InstalledReward:
    """One installed reward.

    Attributes:
        name, target: of its entry point.
        info: its metadata; None if it cannot be imported.
        problem: why it cannot be imported; "" if it can.
        options: names of its options.
    """

    name: str
    target: str
    info: RewardInfo | None
    problem: str = ""
    options: tuple[str, ...] = ()


def list_rewards() -> list[InstalledReward]:
    """Every reward installed under the entry-point group, by name; broken ones are listed too."""
    found = []
    for name, points in sorted(installed().items()):
        point = points[0]
        try:
            loaded = the_only(name, points).load()
            info = describe(loaded)
        except (Exception, SystemExit) as error:
            problem = described(error)
            found.append(InstalledReward(name, point.value, None, problem))
        else:
            found.append(InstalledReward(name, point.value, info, options=_options_of(loaded)))
    return found


def load_reward(spec: str | Reward, **options: Any) -> Reward:
    """Load a reward.

    Args:
        spec: a callable; an installed name (`relevance`); `package.module:attribute`;
            `path/to/file.py:function`; a model's folder or hub id. A string may contain options,
            `keywords:present=king,lonely` or `file.py:function:words=4`: comma-separated if the
            option is declared as a list, else JSON or text.
        options: keywords for the class or function, e.g. `reference="text"`; of a model, those of
            `aps_rewards.sequence_classifier.SequenceClassifier`.

    Raises:
        TypeError: an option the reward does not have; the message lists its options.
        ValueError: nothing of that name (the message lists what was tried and what is installed),
            a name that two packages define, a model without weights or tokenizer, a bad option.
        ImportError: the import of the reward, or of a package it needs, failed.
    """
    if isinstance(spec, str):
        spec, typed = split_spec(spec)
        for name, _, value in (one.partition("=") for one in typed):
            if name in options:
                raise TypeError(
                    f"reward {spec!r}: the option {name!r} is given twice; give it once"
                )
            options[name] = TypedOption(value)
    with undisturbed(), _gradients_possible():
        try:
            found = _found(spec, options)
        except (ValueError, TypeError, ImportError, OSError, RuntimeError):
            raise
        except (Exception, SystemExit) as error:
            raise ImportError(
                f"reward {described(spec)} does not load: {described(error)}"
            ) from error
    if not callable(found):
        raise TypeError(
            f"reward {described(spec)} made {described(found)}, which cannot be called with "
            "prompts and completions; give its class a __call__, or pass one of its methods"
        )
    return found


def _found(spec: str | Reward, options: dict[str, Any]) -> Reward:
    if isinstance(spec, os.PathLike):
        spec = os.fspath(spec)
    if not isinstance(spec, str):
        if not callable(spec):
            raise TypeError(f"a reward is a name or a callable, got {described(spec)}")
        of_model = _of_model(spec, options)
        if of_model is None:
            _check_module(spec)
        return of_model or _built(spec, options)
    found: Any
    points = installed().get(spec)
    if points is not None:
        point = the_only(spec, points)
        try:
            found = point.load()
        except (Exception, SystemExit) as error:
            said = error if isinstance(error, ImportError) else described(error)
            raise ImportError(
                f"reward {spec!r} is installed ({point.value}) but does not import: {said}"
            ) from error
        return _built(found, options)
    place, colon, attribute = spec.rpartition(":")
    if not (colon and place and attribute):
        return _model(spec, options)
    module = file_module(place) if place.endswith(".py") else _from_package(place, spec)
    found = module
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        close = difflib.get_close_matches(attribute, dir(module), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{place!r} has no {attribute!r}{hint}") from None
    if not callable(found):
        raise TypeError(f"reward {spec!r} is {type(found).__name__}, not a function or class")
    if _is_factory(found):
        found, options = _built(found, options, call=True), {}
        if not callable(found):
            raise TypeError(f"{spec!r} made {found!r}, which is not a reward")
    return _built(found, options)


def _gradients_possible() -> contextlib.AbstractContextManager[Any]:
    """Context without inference mode, whose tensors could never be part of a gradient."""
    torch: Any = sys.modules.get("torch")
    return torch.inference_mode(False) if torch is not None else contextlib.nullcontext()


_ANSWERS = {"prompts", "completions", "completion_ids"}


def _is_factory(found: Any) -> bool:
    """Whether a function has no parameter for answers, so that it makes a reward."""
    if not inspect.isroutine(found):
        return False
    parameters = inspect.signature(found).parameters.values()
    takes_all = any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters)
    return not takes_all and not _ANSWERS & {p.name for p in parameters}


def _model(spec: str, options: dict[str, Any]) -> Reward:
    """A sequence-classification model from a folder or the hub."""
    folder = typed_path(spec)
    local = bool(spec) and folder.is_dir()
    if local and not any((folder / n).is_file() for n in ("config.json", "adapter_config.json")):
        raise ValueError(
            f"the folder {spec!r} holds no config.json and no adapter_config.json; give the folder "
            "of a model or of a PEFT adapter"
        )
    if not local and not re.fullmatch(r"[\w.-]+/[\w.-]+", spec):
        raise ValueError(_unknown(spec))
    from .published import PUBLISHED
    from .sequence_classifier import SequenceClassifier

    chosen = {**PUBLISHED.get(spec, {}), **options}
    try:
        return _built(SequenceClassifier, {"model": folder if local else spec, **chosen})
    except OSError as error:
        raise ValueError(f"{_unknown(spec)} As a model: {error}") from error
    except (KeyError, IndexError, AttributeError, RuntimeError) as error:  # a damaged tokenizer
        raise ValueError(
            f"{spec!r} cannot be used as a reward model: {described(error)}"
        ) from error


def _of_model(found: Any, options: dict[str, Any]) -> Reward | None:
    """A loaded Hugging Face model or pipeline as a reward; None for anything else."""
    if inspect.isclass(found) or hasattr(found, "score_embeds"):
        return None
    torch: Any = sys.modules.get("torch")
    if torch is not None and isinstance(found, torch.nn.Module):
        from .classifier_loading import unwrapped

        found = unwrapped(found)
    if not hasattr(found, "get_input_embeddings") and not hasattr(found, "task"):
        return None
    from .classifier_loading import of_classifier
    from .sequence_classifier import SequenceClassifier

    if of_classifier(found, options.get("tokenizer")) is None:
        return None
    return _built(SequenceClassifier, {"model": found, **options})


def _check_module(found: Any) -> None:
    """Refuse a network that reads tensors: `call_reward` gives texts.

    Raises:
        TypeError: its `forward` has no parameter for prompts or completions.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None or not isinstance(found, torch.nn.Module) or hasattr(found, "score_embeds"):
        return
    parameters = inspect.signature(found.forward).parameters
    anything = all(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in parameters.values())
    if not anything and not _ANSWERS & parameters.keys():
        raise TypeError(
            f"a {type(found).__name__} is no reward: its forward takes ({', '.join(parameters)}), "
            "and a reward is called with prompts and completions, two lists of texts. Give a "
            "function of them that calls the network, or, for a model that scores token ids, "
            "SequenceClassifier(model, tokenizer, extract=...)"
        )


def _built(found: Any, options: dict[str, Any], call: bool = False) -> Reward:
    is_class = call or inspect.isclass(found)
    if not is_class and not options:
        return found
    if not is_class and not inspect.isroutine(found):
        raise TypeError(
            f"reward {reward_name(found)!r} is already built and takes no options, "
            f"got {', '.join(options)}"
        )
    try:
        parameters = list(inspect.signature(found).parameters.values())
    except ValueError:
        raise TypeError(
            f"reward {reward_name(found)!r} is a class written in C whose arguments are not known; "
            "give a function of prompts and completions, or an object that is called with them"
        ) from None
    known = _options_of(found)
    # **kwargs of a function are for dataset columns, so options must be named parameters.
    catches_all = is_class and any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if option not in known and not catches_all:
            have = f"it has {', '.join(known)}" if known else "it has none"
            raise TypeError(f"reward {reward_name(found)!r} has no option {option!r}; {have}")
    if is_class:
        _check_needed(found, parameters, options, call)
    kinds = {p.name: str(p.annotation) for p in parameters if p.annotation is not p.empty}
    options = {
        name: value.read(kinds.get(name, "")) if isinstance(value, TypedOption) else value
        for name, value in options.items()
    }
    for name, value in options.items():
        kind = kinds.get(name, "")
        wrong = isinstance(value, str | bool | list | tuple | dict)
        if wrong and re.fullmatch(r"(int|float)( \| (int|float|None))*", kind):
            mend = _colons(name, value) if isinstance(value, str) else ""
            raise TypeError(
                f"reward {reward_name(found)!r}: the option {name} is a number ({kind}), got "
                f"{described(value)}{mend}"
            )
    return found(**options) if is_class else functools.partial(found, **options)


def _colons(name: str, value: str) -> str:
    """A mend for `low=4,high=6`, of which a weight may have taken the last number."""
    found = re.fullmatch(r"([^,]*),\s*([A-Za-z_]\w*)(?:=(.*))?", value)
    if found is None:
        return ""
    return f"; options are separated by colons: {name}={found[1]}:{found[2]}={found[3] or 'VALUE'}"


def _check_needed(
    found: Any, parameters: list[inspect.Parameter], options: dict[str, Any], call: bool
) -> None:
    """Refuse a class or factory without the options that it needs.

    Raises:
        TypeError: its required parameters without a value.
    """
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]
    lacking = [name for name in needed if name not in options]
    if not lacking:
        return
    name, lacks = reward_name(found), ", ".join(lacking)
    mend = "give " + ":".join(["NAME", *(f"{one}=VALUE" for one in lacking)])
    if not call:
        raise TypeError(f"reward {name!r} needs {lacks}; {mend}")
    raise TypeError(
        f"reward {name!r} has no parameter for answers, so it is called with its options to make "
        f"a reward, and lacks {lacks}; a reward itself is def reward(prompts, completions, "
        f"**kwargs), which returns a number per completion; for one that makes a reward, {mend}"
    )


def _options_of(found: Any) -> tuple[str, ...]:
    """Names of the parameters of a class or function other than those of every reward."""
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):  # no signature (written in C)
        return ()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return tuple(name for name in named if name not in _ANSWERS)


def _from_package(place: str, spec: str) -> Any:
    if not all(part.isidentifier() for part in place.split(".")):
        raise ValueError(_unknown(spec))
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # the module exists, but one of its imports does not
        raise ValueError(_unknown(spec)) from None


def _functions_in(file: Path) -> list[str]:
    """The public functions and classes that a Python file defines; none of a file with an error."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError, OSError):
        return []
    kinds = ast.FunctionDef | ast.ClassDef
    return [one.name for one in body if isinstance(one, kinds) and not one.name.startswith("_")]


def _unknown(spec: str) -> str:
    if spec.endswith(".py") and Path(spec).is_file():
        known = [f"{spec}:{name}" for name in _functions_in(Path(spec))]
        return (
            f"no reward {spec!r}: name a function of the file: {', '.join(known) or 'it has none'}"
        )
    names = installed_names()
    close = difflib.get_close_matches(spec, names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    words = re.split(r"[\s,]+", spec.strip())
    if len(words) > 1 and set(words) <= set(names):
        hint = (
            f" Several rewards are a list: {words}; on the command line separate them by spaces: "
            f"--reward {' '.join(words)}."
        )
    return (
        f"no reward {spec!r}.{hint} Tried: an installed name (installed: "
        f"{', '.join(names) or 'none'}), package.module:attribute, file.py:function, "
        "a model's folder or owner/name."
    )
