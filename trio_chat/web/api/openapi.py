"""The OpenAPI 3.1 document, made of the table of operations and of the structs they take and give. Nothing is kept by hand."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import msgspec

from trio_chat.web.api.calls import ALWAYS
from trio_chat.web.api.shapes import Id, Problem, RoomId
from trio_chat.web.schemas import components, reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trio_chat.web.api.calls import Operation

_NAMES: Final[Mapping[str, Any]] = {"room": RoomId, "id": Id, "user": Id}
_BODY: Final = frozenset({408, 413, 415})
_RETRY: Final = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
}
_PROBLEMS: Final[Mapping[int, tuple[str, Mapping[str, Any]]]] = {
    400: ("The request is not what was expected.", {}),
    401: (
        "There is no token, or it is not accepted.",
        {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    ),
    403: ("The token does not allow it, whether or not there is such a room.", {}),
    404: ("What the path names is not there.", {}),
    408: ("The body did not arrive in time.", {}),
    409: ("The id belongs to somebody else's message.", {}),
    410: ("The message was deleted.", {}),
    413: ("The body is too large.", {}),
    415: ("The body is no JSON.", {}),
    429: ("Too fast.", _RETRY),
    500: ("The server failed on this request. The outcome is unknown.", {}),
    503: ("Not at the moment; after `unavailable` the outcome is unknown.", _RETRY),
}
_ABOUT: Final = (
    "Post, change and read the messages of rooms, see who is there, and steer the server. Ids in a path are "
    "percent-encoded, slashes too: the room `team-42/general` is `team-42%2Fgeneral`."
)


def make_openapi(operations: Sequence[Operation], prefix: str) -> dict[str, Any]:
    """Return the document.

    Args:
        operations: what can be asked.
        prefix: the path they are below.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "trio-chat", "version": "1", "description": _ABOUT, "license": _LICENSE},
        "servers": [{"url": prefix}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "responses": {str(status): _problem(status) for status in sorted(_PROBLEMS)},
            "schemas": _schemas(operations),
        },
    }


_LICENSE: Final = {"name": "MIT", "identifier": "MIT"}


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    shapes: list[Any] = [Problem]
    for operation in operations:
        shapes += [*operation.answers.values(), *([operation.body] if operation.body else [])]
    return components(shapes)


def _describe(operation: Operation) -> dict[str, Any]:
    summary, *rest = (inspect.getdoc(operation.handler) or "").split("\n\n")
    # What a cancel does concerns whoever works on the server.
    about = [" ".join(text.split()) for text in rest if not text.startswith("Cancelling")]
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": summary,
        "tags": ["operators" if operation.admin else "rooms"],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation.query)],
        "responses": {str(status): _answer(kind) for status, kind in operation.answers.items()}
        | _refusals(operation),
    }
    if operation.admin:
        about.append("Takes a token with the role `admin`.")
    if about:
        described["description"] = " ".join(about)
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _path_parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for part in operation.template:
        if part.startswith("{"):
            name = part[1:-1]
            schema = msgspec.json.schema(_NAMES[name])
            yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(query: type) -> Iterator[dict[str, Any]]:
    for field in msgspec.structs.fields(query):
        schema = msgspec.json.schema(field.type)
        kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
        if kinds:  # a parameter that is left out is no null
            [kind] = kinds
            schema |= kind
        if field.default is not None and not field.required:
            schema["default"] = field.default
        yield {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema}


def _answer(kind: type) -> dict[str, Any]:
    first = (inspect.getdoc(kind) or "").partition("\n")[0]
    return {"description": first, "content": _content(kind)}


def _refusals(operation: Operation) -> dict[str, Any]:
    statuses = ALWAYS | operation.problems
    if operation.body:
        statuses |= _BODY
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _problem(status: int) -> dict[str, Any]:
    description, headers = _PROBLEMS[status]
    problem = {"description": description, "content": _content(Problem)}
    return {**problem, "headers": headers} if headers else problem


def _content(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": reference(kind.__name__)}}
