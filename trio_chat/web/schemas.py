"""JSON schemas of structs, for both documents: as msgspec makes them, and what it cannot know. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from trio_chat.web.api.shapes import JSON_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterable

_TIMES: Final = ("timestamp", "lastActiveAt")


def reference(name: str) -> dict[str, str]:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def components(kinds: Iterable[type], prefix: str = "") -> dict[str, Any]:
    """Return the schemas of structs, and of all they refer to, by name.

    Args:
        kinds: the structs.
        prefix: what their names are to begin with.
    """
    template = reference(f"{prefix}{{name}}")["$ref"]
    _, found = msgspec.json.schema_components(kinds, ref_template=template)
    for schema in found.values():
        for name, field in schema.get("properties", {}).items():
            if name in _TIMES:
                field["format"] = "date-time"
    return {"JsonValue": JSON_VALUE} | {f"{prefix}{name}": schema for name, schema in found.items()}
