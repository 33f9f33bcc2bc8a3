"""JSON schema: whether the answer is JSON, and meets a schema.

    not JSON:   r = 1/4 of the fraction of the text that a JSON parser reads before its first error
    JSON:       r = 1/2 + 1/2 / (1 + number of violations of the schema);  1 without any

A black box, graded. The package `jsonschema` (MIT) checks the schema; references to other documents
are not fetched.
"""

from __future__ import annotations

import json
from typing import Any

from .guard import described
from .protocol import Prompt, last_text, row_values

__all__ = ["JsonSchema"]


class JsonSchema:
    """How close the answer is to JSON of a given schema, in [0, 1]; 1 only for valid answers.

    How to game it: the smallest valid document. `{}` meets every schema that requires nothing, and
    strings of any content meet `{"type": "string"}`.

    Args:
        schema: a JSON schema as a dict (or True); None = the dataset column `schema`.

    Raises:
        ModuleNotFoundError: jsonschema is not installed.
        ValueError: the schema itself is not valid, or none is given.
    """

    name = "json-schema"
    measures = "answer is JSON that meets a schema"
    range = (0.0, 1.0)
    differentiable = False

    def __init__(self, schema: dict[str, Any] | bool | None = None) -> None:
        try:
            import jsonschema  # noqa: F401
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the json-schema reward needs its checker: pip install jsonschema"
            ) from error
        self.schema = schema
        if schema is not None:
            self._validator(schema)

    def __call__(
        self,
        prompts: list[Prompt],
        completions: list[Prompt],
        completion_ids: list[list[int]] | None = None,
        **columns: list[Any],
    ) -> list[float]:
        """B floats in [0, 1]."""
        schemas = row_values(self.name, "schema", self.schema, columns, len(completions))
        return [
            self._score(self._validator(schema), last_text(completion).strip())
            for schema, completion in zip(schemas, completions, strict=True)
        ]

    def _score(self, validator: Any, text: str) -> float:
        try:
            document = json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            return 0.25 * error.pos / max(1, len(text))
        except (RecursionError, ValueError):  # deep nesting, NaN, huge integers
            return 0.0
        violations = sum(1 for _ in validator.iter_errors(document))
        return 0.5 + 0.5 / (1 + violations)

    def _validator(self, schema: dict[str, Any] | bool) -> Any:
        if not isinstance(schema, dict | bool):
            raise ValueError(
                f"a JSON schema is an object, or true or false, got {described(schema)}; "
                'e.g. {"type": "array"}'
            )
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        kind = validator_for(schema)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise ValueError(f"{schema!r} is no JSON schema: {error.message}") from None
        return kind(schema, registry=Registry())


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
