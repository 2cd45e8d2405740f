"""The calls into `cedarpy` whose types it leaves open, with their types. Nothing is decided here.

The schema is not optional: without it Cedar reads entities out of caller-supplied records and
forgets action groups. Partial evaluation alone takes none, since an unknown has no type.
"""

from __future__ import annotations

from collections.abc import Sequence

import cedarpy

from midflight.domain.value import JSONObject


def is_authorized(
    request: JSONObject,
    policies: cedarpy.PolicySet,
    entities: cedarpy.Entities,
    schema: cedarpy.Schema,
) -> cedarpy.AuthzResult:
    """Ask for a decision. `request["context"]` is encoded JSON."""
    return cedarpy.is_authorized(  # pyright: ignore[reportUnknownMemberType]
        request, policies, entities, schema
    )


def is_authorized_partial(
    request: JSONObject, policies: cedarpy.PolicySet, entities: cedarpy.Entities
) -> cedarpy.PartialAuthzResult:
    """Ask what can be said while parts of the context are unknown."""
    return cedarpy.is_authorized_partial(  # pyright: ignore[reportUnknownMemberType]
        request, policies, entities
    )


def read_entities(text: str, schema: cedarpy.Schema) -> cedarpy.Entities:
    """Parse entities against the schema. `ValueError` if they do not fit."""
    return cedarpy.Entities.from_json_str(  # pyright: ignore[reportUnknownMemberType]
        text, schema
    )


def add_entities(base: cedarpy.Entities, text: str, schema: cedarpy.Schema) -> cedarpy.Entities:
    """Entities with others beside them. `ValueError` if they do not fit, or one is there already.

    All are copied and validated: cheaper than to parse them, and nothing for every question.
    """
    return base.with_added_json_str(text, schema)  # pyright: ignore[reportUnknownMemberType]


def validate(text: str, schema: cedarpy.Schema) -> Sequence[cedarpy.ValidationError] | None:
    """The errors of a text of policies; None if it is valid. Releases the interpreter."""
    result = cedarpy.validate_policies(  # pyright: ignore[reportUnknownMemberType]
        text, schema, release_gil=True
    )
    return None if result.validation_passed else result.errors


__all__ = ["add_entities", "is_authorized", "is_authorized_partial", "read_entities", "validate"]
