"""Traits from the manifest to the pin: proposed, confirmed by a person, applied, drifted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import OPERATOR, READ_TOOL, SEND_TOOL, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.domain.errors import Conflict, Malformed
from midflight.domain.traits import FieldKind, Role

RUNNER = CliRunner()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        yield running


def midflight(*words: str | Path) -> Result:
    return RUNNER.invoke(app, [str(word) for word in words])


def good(*words: str | Path) -> Result:
    result = midflight(*words)
    assert result.exit_code == 0, result.stderr
    return result


def confirm(tmp_path: Path, *tools: str, **changes: str) -> Path:
    """What a person does with the file: sets `reviewed = true`, and corrects what is wrong."""
    file = tmp_path / "traits" / "desk.toml"
    head, *tables = file.read_text().split("\n[tool.")
    for index, table in enumerate(tables):
        if table.startswith(tuple(f"{name}]" for name in tools)):
            tables[index] = table.replace("reviewed = false", "reviewed = true")
            for old, new in changes.items():
                tables[index] = tables[index].replace(f'{old} = "open"', f'{old} = "{new}"')
    file.write_text("\n[tool.".join([head, *tables]))
    return file


def test_a_proposal_says_what_why_and_what_to_confirm(plane: RunningPlane, tmp_path: Path) -> None:
    result = good("traits", "propose", "desk")
    assert "TOOL" in result.stdout
    assert "WHY" in result.stdout
    assert "A person must confirm" in result.stdout
    text = (tmp_path / "traits" / "desk.toml").read_text()
    assert text.count("reviewed = false") == 2
    assert "reviewed = true" not in text.replace("`reviewed = true`", "")
    assert "# effect: " in text
    checked = json.loads(good("traits", "check", "traits/desk.toml", "--json").stdout)
    assert checked["to_confirm"] == ["read_ticket", "send_mail"]


def test_a_proposal_is_json_for_scripts(plane: RunningPlane, tmp_path: Path) -> None:
    found = json.loads(good("traits", "propose", "desk", "--json", "--out", "p.toml").stdout)
    assert found["written"] == "p.toml"
    assert [tool["name"] for tool in found["tools"]] == ["read_ticket", "send_mail"]
    [send] = [tool for tool in found["tools"] if tool["name"] == "send_mail"]
    assert send["digest"] == plane.tool("send_mail")["digest"]
    assert {"path": "to", "role": "recipient"} in send["traits"]["arguments"]
    assert {"about", "says", "why", "sure", "confirm"} == set(send["evidence"][0])
    assert not (tmp_path / "traits").exists()


def test_what_a_person_confirmed_is_pinned_by_that_person(
    plane: RunningPlane, tmp_path: Path
) -> None:
    good("traits", "propose", "desk")
    confirm(tmp_path, "read_ticket", reach="closed")
    unasked = midflight("traits", "apply", "desk")
    assert unasked.exit_code == 2
    assert "reach closed" in unasked.stderr
    assert plane.tool("read_ticket")["state"] == "unpinned"
    result = good("traits", "apply", "desk", "--yes")
    assert "1 in the file wait for a person" in result.stderr
    pinned = plane.tool("read_ticket")
    assert (pinned["state"], pinned["pinned_by"]) == ("pinned", OPERATOR)
    assert (pinned["traits"]["reviewed"], pinned["traits"]["proposed"]) == (True, False)
    assert pinned["traits"]["reach"] == "closed"
    assert plane.tool("send_mail")["state"] == "unpinned"
    [record] = [r for r in plane.records("changed") if r["what"] == "tool.pin desk/read_ticket"]
    assert record["author"] == OPERATOR
    assert record["details"]["review"] == "reviewed"
    assert record["details"]["reach"] == "closed"
    assert "was pinned so" in good("traits", "apply", "desk", "--yes").stdout
    assert len([r for r in plane.records("changed") if r["what"].startswith("tool.pin")]) == 1


def test_a_review_does_not_hold_for_a_definition_that_changed(
    plane: RunningPlane, tmp_path: Path
) -> None:
    good("traits", "propose", "desk")
    confirm(tmp_path, "read_ticket", "send_mail")
    plane.upstream.tools[0] = READ_TOOL | {"description": "Reads a ticket, and deletes it."}
    result = midflight("traits", "apply", "desk", "--yes")
    assert result.exit_code == 1
    assert "not pinned: another definition is served" in result.stdout
    assert plane.tool("read_ticket")["state"] == "unpinned"
    assert plane.tool("send_mail")["state"] == "pinned"
    refused = midflight("tool", "pin", "desk", "read_ticket", "--yes")
    assert refused.exit_code == 1
    assert "reviewed another definition" in refused.stderr
    assert "is about another definition" in good("traits", "show", "desk").stdout
    good("traits", "propose", "desk")
    text = (tmp_path / "traits" / "desk.toml").read_text()
    assert re.search(r"^# review: was read, (?:open|closed) for [0-9a-f]{12} ", text, re.MULTILINE)
    assert text.count("\nreviewed = false") == 1
    assert text.count("\nreviewed = true") == 1


def test_a_tool_that_is_gone_is_said_and_its_review_is_kept(
    plane: RunningPlane, tmp_path: Path
) -> None:
    good("traits", "propose", "desk")
    file = confirm(tmp_path, "send_mail")
    del plane.upstream.tools[1]
    result = midflight("traits", "apply", "desk", "--yes", "--json")
    assert result.exit_code == 1
    assert [entry["outcome"] for entry in json.loads(result.stdout)] == ["gone"]
    good("traits", "propose", "desk")
    assert "[tool.send_mail]" in file.read_text()


def test_a_pin_takes_the_review_of_the_file(plane: RunningPlane, tmp_path: Path) -> None:
    good("traits", "propose", "desk")
    waiting = good("tool", "pin", "desk", "send_mail", "--yes")
    assert "nobody has confirmed it: send_mail" in waiting.stderr
    assert plane.tool("send_mail")["traits"]["reviewed"] is False
    file = confirm(tmp_path, "send_mail")
    good("tool", "pin", "desk", "send_mail", "--yes")
    traits = plane.tool("send_mail")["traits"]
    assert traits["reviewed"] is True
    assert {"path": "to", "role": "recipient"} in traits["arguments"]
    named = midflight("tool", "pin", "desk", "read_ticket", "--yes", "--traits-file", file)
    assert named.exit_code == 1
    assert "has no review of read_ticket" in named.stderr
    assert plane.tool("read_ticket")["state"] == "unpinned"


def test_what_a_person_says_in_the_command_counts_before_the_file(
    plane: RunningPlane, tmp_path: Path
) -> None:
    (tmp_path / "traits").mkdir()
    (tmp_path / "traits" / "desk.toml").write_text("broken")
    broken = midflight("tool", "pin", "desk", "read_ticket", "--yes")
    assert broken.exit_code == 2
    assert "desk.toml is not TOML" in broken.stderr
    good("tool", "pin", "desk", "read_ticket", "--yes", "--effect", "read", "--reach", "closed")
    assert plane.tool("read_ticket")["traits"]["arguments"] == []


def test_a_proposal_that_is_pinned_is_no_review(plane: RunningPlane) -> None:
    result = good("tool", "pin", "desk", "--all", "--proposed", "--yes")
    assert "Nobody has confirmed this" in result.stderr
    traits = plane.tool("send_mail")["traits"]
    assert (traits["reviewed"], traits["proposed"]) == (False, True)
    assert traits["effect"] == "send"
    assert {"path": "to", "role": "recipient"} in traits["arguments"]
    both = midflight("tool", "pin", "desk", "send_mail", "--proposed", "--effect", "read")
    assert both.exit_code == 2
    with pytest.raises(Conflict):
        plane.client.post(
            "/v1/tools/pin",
            upstream="desk",
            name="send_mail",
            digest=plane.tool("send_mail")["digest"],
            effect="read",
            reach="closed",
            proposed=True,
        )


def test_a_review_does_not_carry_over_to_a_definition_nobody_looked_at(
    plane: RunningPlane,
) -> None:
    plane.pin("read_ticket", "read", "closed")
    good("tool", "pin", "desk", "read_ticket", "--yes")
    assert plane.tool("read_ticket")["traits"]["reviewed"] is True
    plane.upstream.tools[0] = READ_TOOL | {"description": "Reads and deletes a ticket."}
    good("tool", "pin", "desk", "read_ticket", "--yes")
    assert plane.tool("read_ticket")["traits"]["reviewed"] is False
    assert plane.tool("read_ticket")["traits"]["effect"] == "execute"


def test_roles_and_yields_are_shown(plane: RunningPlane, tmp_path: Path) -> None:
    good("traits", "propose", "desk")
    file = confirm(tmp_path, "send_mail")
    with file.open("a") as more:
        more.write(
            '\n[[tool.send_mail.yields]]\npath = "$.mail.body"\nkind = "text"\n'
            'unless_field = "sender"\ndomains = ["example.org"]\n'
        )
    good("traits", "apply", "desk", "--yes")
    shown = good("tool", "show", "desk", "send_mail").stdout
    assert "recipient" in shown
    assert "$.mail.body" in shown
    assert "sender of example.org" in shown
    listed = good("tool", "list", "desk").stdout
    assert "1 roles, 1 yields" in listed
    traits = json.loads(good("tool", "show", "desk", "send_mail", "--json").stdout)["traits"]
    assert traits["yields"][0]["kind"] == FieldKind.TEXT.value
    assert midflight("tool", "show", "desk", "nothing").exit_code == 1
    both = good("traits", "show", "desk").stdout
    assert "says the same" in both
    assert "waits for a person" in both
    assert json.loads(good("traits", "show", "desk", "--json").stdout)[0]["name"] == "read_ticket"


@pytest.mark.parametrize(
    "traits",
    [
        {"effect": "read"},
        {"effect": "read", "reach": "closed", "reviewed": True},
        {"effect": "read", "reach": "closed", "arguments": [{"path": "$.a", "role": "url"}]},
        {"effect": "read", "reach": "closed", "arguments": [{"path": "a", "role": "anything"}]},
        {"effect": "read", "reach": "closed", "yields": [{"path": "a", "kind": "text"}]},
        {"effect": "read", "reach": "closed", "yields": [{"path": "$.a", "kind": "x"}]},
    ],
)
def test_the_api_takes_no_traits_that_are_none(plane: RunningPlane, traits: dict[str, Any]) -> None:
    digest = plane.tool("read_ticket")["digest"]
    target: dict[str, Any] = {"upstream": "desk", "name": "read_ticket", "digest": digest}
    with pytest.raises(Malformed):
        plane.client.post("/v1/tools/pin", **target, traits=traits)
    review = {"name": "read_ticket", "digest": digest, "traits": traits}
    with pytest.raises(Malformed):
        plane.client.post("/v1/traits/apply", upstream="desk", tools=[review])
    assert plane.tool("read_ticket")["state"] == "unpinned"


def test_the_api_takes_a_tool_once(plane: RunningPlane) -> None:
    review = {"name": "a", "digest": "0" * 64, "traits": {"effect": "read", "reach": "closed"}}
    with pytest.raises(Conflict):
        plane.client.post("/v1/traits/apply", upstream="desk", tools=[review, review])


@pytest.mark.parametrize("name", ["../desk", "/etc/x", "Desk", "", "a" * 33])
def test_no_name_of_an_upstream_leads_out_of_the_directory(plane: RunningPlane, name: str) -> None:
    for verb in ("propose", "show", "apply"):
        result = midflight("traits", verb, name)
        assert result.exit_code == 2
        assert "is not the name of an upstream" in result.stderr


def test_a_file_about_another_upstream_is_refused(plane: RunningPlane, tmp_path: Path) -> None:
    good("traits", "propose", "desk")
    file = confirm(tmp_path, "read_ticket")
    file.write_text(file.read_text().replace('upstream = "desk"', 'upstream = "mail"'))
    result = midflight("traits", "apply", "desk", "--yes")
    assert result.exit_code == 1
    assert "about the upstream 'mail'" in result.stderr


def test_traits_are_proposed_from_files_without_a_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tools.json").write_text(json.dumps({"desk": [READ_TOOL, SEND_TOOL]}))
    assert midflight("traits", "propose", "desk", "--tools", "tools.json").exit_code == 2
    options = ("--tools", "tools.json", "--out", "made/desk.toml", "--json")
    found = json.loads(good("traits", "propose", "desk", *options).stdout)
    assert [tool["name"] for tool in found["tools"]] == ["read_ticket", "send_mail"]
    good("traits", "check", "made/desk.toml")
    assert (tmp_path / "made" / "desk.toml").stat().st_mode & 0o777 == 0o644
    api = {
        "openapi": "3.1.0",
        "paths": {"/tickets/{id}": {"delete": {"operationId": "getTicket", "responses": {}}}},
    }
    (tmp_path / "api.json").write_text(json.dumps(api))
    options = ("--openapi", "api.json", "--out", "api.toml", "--json")
    [tool] = json.loads(good("traits", "propose", "api", *options).stdout)["tools"]
    assert tool["name"] == "getTicket"
    assert tool["traits"]["effect"] == "delete"
    (tmp_path / "api.yaml").write_text("openapi: 3.1.0\n")
    result = midflight("traits", "propose", "api", "--openapi", "api.yaml", "--out", "api.toml")
    assert result.exit_code == 2
    assert "convert YAML first" in result.stderr
    assert midflight("traits", "propose", "api", "--openapi", "none", "--out", "x").exit_code == 2
    both = ("--openapi", "api.json", "--tools", "tools.json")
    assert midflight("traits", "propose", "api", *both).exit_code == 2


def test_our_own_document_is_one_that_is_read(plane: RunningPlane, tmp_path: Path) -> None:
    document = plane.client.get("/v1/openapi.json")
    (tmp_path / "api.json").write_text(json.dumps(document))
    options = ("--openapi", "api.json", "--out", "api.toml", "--json")
    tools = json.loads(good("traits", "propose", "api", *options).stdout)["tools"]
    found = {tool["name"]: tool["traits"] for tool in tools}
    operations = [method for item in document["paths"].values() for method in item]
    assert len(found) == len(operations)
    assert all(
        found[operation["operationId"]]["effect"] != "read"
        for item in document["paths"].values()
        for method, operation in item.items()
        if method == "post"
    )
    pinned = [argument["path"] for argument in found["pin_tool"]["arguments"]]
    assert {"upstream", "name", "digest"} <= set(pinned)


def test_a_closed_tool_that_says_nothing_of_its_results_is_warned_of(
    plane: RunningPlane, tmp_path: Path
) -> None:
    good("traits", "propose", "desk")
    confirm(tmp_path, "read_ticket", reach="closed")
    checked = good("traits", "check", "traits/desk.toml")
    assert "read_ticket: all that it returns counts as the owner's own words" in checked.stderr
    found = json.loads(good("traits", "check", "traits/desk.toml", "--json").stdout)
    assert found["own_words"] == ["read_ticket"]
    file = tmp_path / "traits" / "desk.toml"
    told = '[tool.read_ticket]\nyields = [{ path = "$..body", kind = "text" }]'
    file.write_text(file.read_text().replace("[tool.read_ticket]", told))
    found = json.loads(good("traits", "check", "traits/desk.toml", "--json").stdout)
    assert found["own_words"] == []


def test_a_wrong_file_is_checked_with_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text('format = 1\nupstream = "desk"\n[tool.a]\neffekt = "read"\n')
    result = midflight("traits", "check", file)
    assert result.exit_code == 1
    assert "desk.toml:4: tool.a.effekt: is not a key of this file" in result.stdout
    found = json.loads(midflight("traits", "check", file, "--json").stdout)
    assert found["ok"] is False
    assert len(found["problems"]) == 5
    assert midflight("traits", "check", tmp_path / "none.toml").exit_code == 1


def test_every_role_and_kind_can_be_said_in_a_file(tmp_path: Path) -> None:
    roles = "\n".join(f'{role.value} = "{role.value}"' for role in Role)
    kinds = "\n".join(
        f'[[tool.a.yields]]\npath = "$.{kind.value}"\nkind = "{kind.value}"' for kind in FieldKind
    )
    file = tmp_path / "desk.toml"
    file.write_text(
        f'format = 1\nupstream = "desk"\n[tool.a]\ndigest = "{"0" * 64}"\nreviewed = true\n'
        f'effect = "read"\nreach = "open"\n[tool.a.arguments]\n{roles}\n{kinds}\n'
    )
    assert json.loads(good("traits", "check", file, "--json").stdout)["reviewed"] == ["a"]
