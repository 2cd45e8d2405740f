"""The method table, held against the official SDK's own registry of methods and versions."""

from __future__ import annotations

import pytest
from mcp_types import methods as sdk

from midflight.domain.action import ActionKind
from midflight.wire.jsonrpc import Notification, Request
from midflight.wire.malformed import UnknownMethod
from midflight.wire.mcp import methods, versions
from midflight.wire.mcp.methods import Method, Own

# The SDK leaves the experimental tasks of 2025-11-25 and the tasks extension out.
_TASKS = {name for name in (m.name for m in methods.TABLE) if "task" in name}


def _ours(rows: object) -> set[tuple[str, str]]:
    return {
        (row.name, version)
        for row in dict(rows).values()  # type: ignore[call-overload]
        for version in versions.SUPPORTED
        if row.spoken_in(version) and row.name not in _TASKS
    }


def _theirs(rows: object) -> set[tuple[str, str]]:
    return {
        (name, version)
        for name, version in rows  # type: ignore[attr-defined]
        if version in versions.SUPPORTED and name not in _TASKS
    }


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (methods.CLIENT_REQUESTS, sdk.CLIENT_REQUESTS),
        (methods.CLIENT_NOTIFICATIONS, sdk.CLIENT_NOTIFICATIONS),
        (methods.SERVER_NOTIFICATIONS, sdk.SERVER_NOTIFICATIONS),
    ],
)
def test_the_table_has_exactly_the_methods_of_each_version(ours: object, theirs: object) -> None:
    assert _ours(ours) == _theirs(theirs)


def test_server_requests_are_those_of_each_version_and_modern_ones_travel_in_results() -> None:
    legacy = {row for row in _ours(methods.SERVER_REQUESTS) if row[1] != versions.MODERN}
    assert legacy == _theirs(sdk.SERVER_REQUESTS)
    modern = {row for row in _ours(methods.SERVER_REQUESTS) if row[1] == versions.MODERN}
    assert {name for name, _ in modern} == {
        "sampling/createMessage",
        "roots/list",
        "elicitation/create",
    }


def test_cacheable_and_asking_methods_are_those_of_the_sdk() -> None:
    rows = methods.CLIENT_REQUESTS.values()
    assert {m.name for m in rows if m.cacheable} == set(sdk.CACHEABLE_METHODS)
    assert {m.name for m in rows if m.may_ask} == set(sdk.INPUT_REQUIRED_METHODS)


def test_tasks_exist_in_the_form_of_each_generation() -> None:
    def tasks(version: str) -> set[str]:
        rows = methods.CLIENT_REQUESTS.values()
        return {m.name for m in rows if m.name in _TASKS and m.spoken_in(version)}

    assert tasks("2025-06-18") == set()
    assert tasks("2025-11-25") == {"tasks/get", "tasks/result", "tasks/list", "tasks/cancel"}
    assert tasks("2026-07-28") == {"tasks/get", "tasks/update", "tasks/cancel"}


def test_every_client_method_is_an_action_or_midflights_own() -> None:
    for row in [*methods.CLIENT_REQUESTS.values(), *methods.CLIENT_NOTIFICATIONS.values()]:
        assert isinstance(row.kind, ActionKind | Own), row
    assert all(m.kind is not None for m in methods.SERVER_REQUESTS.values())


def test_an_unknown_method_is_404_with_the_requests_id() -> None:
    with pytest.raises(UnknownMethod) as caught:
        methods.from_client(Request(id=3, method="tools/Call"))
    assert (caught.value.rpc_code, caught.value.http_status, caught.value.request_id) == (
        -32601,
        404,
        3,
    )


@pytest.mark.parametrize(
    ("message", "version"),
    [
        (Request(id=1, method="initialize"), "2026-07-28"),
        (Request(id=1, method="resources/subscribe"), "2026-07-28"),
        (Request(id=1, method="server/discover"), "2025-11-25"),
        (Request(id=1, method="tasks/get"), "2025-06-18"),
        (Request(id=1, method="tools/list"), "2024-11-05"),
        (Request(id=1, method="tools/list"), "zzz"),
        (Notification(method="notifications/initialized"), "2026-07-28"),
        (Notification(method="tools/call"), "2025-11-25"),
        (Request(id=1, method="notifications/cancelled"), "2025-11-25"),
    ],
)
def test_a_method_of_another_version_or_form_does_not_exist(
    message: Request | Notification, version: str
) -> None:
    with pytest.raises(UnknownMethod):
        methods.from_client(message, version=version)


def test_initialize_agrees_on_a_legacy_version_only() -> None:
    assert versions.negotiate("2025-03-26") == "2025-03-26"
    assert versions.negotiate("2025-06-18") == "2025-06-18"
    for other in ("2024-11-05", "2026-07-28", "2099-01-01", ""):
        assert versions.negotiate(other) == "2025-11-25"
    assert versions.SUPPORTED == ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26")
    assert versions.is_modern("2026-07-28")
    assert not versions.is_modern("2027-01-01")
    assert not versions.is_supported("2024-11-05")


def test_rows_are_unique_within_their_role() -> None:
    keys = [(row.role, row.name) for row in methods.TABLE]
    assert len(set(keys)) == len(keys)
    assert isinstance(methods.TABLE[0], Method)
