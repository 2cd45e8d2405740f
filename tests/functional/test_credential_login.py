"""`midflight credential add` with discovery and `midflight credential login`, on a real plane."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
import typer
from control_kit import RunningPlane, running_plane
from credential_kit import MARKER, Asked
from discovery_kit import Pair, pair
from oauth_backend_kit import GOOD, READ
from typer.testing import CliRunner, Result

from midflight.apps.cli.login_callback import PATH, Callback
from midflight.apps.cli.main import app
from midflight.domain.errors import Unavailable

RUNNER = CliRunner()
DOCS = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text(encoding="utf-8")


class Answering(Pair):
    """A pair whose authorization server sends the browser back with a code."""

    iss = ""

    def authorization(self, one: Asked) -> Any:
        parts = urlsplit(one.path)
        if parts.path != "/authorize":
            return super().authorization(one)
        asked = dict(parse_qsl(parts.query))
        back = {"code": "the-code", "state": asked["state"], "iss": self.iss or self.server}
        return 302, b"", {"Location": f"{asked['redirect_uri']}?{urlencode(back)}"}


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    monkeypatch.chdir(tmp_path)
    with running_plane(tmp_path) as running:
        yield running


@pytest.fixture
def servers() -> Iterator[Answering]:
    made = Answering()
    with pair(made):
        yield made


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[httpx2.Response]]:
    """What a person's browser saw, that opens each URL that the command shows."""
    saw: list[httpx2.Response] = []
    threads: list[Thread] = []
    echo = typer.echo

    def look(text: str) -> None:
        with httpx2.Client(trust_env=False, follow_redirects=True) as client:
            saw.append(client.get(text))

    def shown(text: Any = "", **more: Any) -> None:
        echo(text, **more)
        if "/authorize?" in str(text):
            threads.append(Thread(target=look, args=(text,)))
            threads[-1].start()

    monkeypatch.setattr(typer, "echo", shown)
    yield saw
    for thread in threads:
        thread.join()


def midflight(*words: str, code: int = 0) -> Result:
    result = RUNNER.invoke(app, ["credential", *words])
    assert result.exit_code == code, result.output
    return result


def add(servers: Pair, *more: str) -> Result:
    """The command of the page, for servers of this test."""
    line = re.findall(r"^    midflight credential (add wiki .*)$", DOCS, re.MULTILINE)[0]
    line = line.replace("https://wiki.example.org", servers.tools)
    words = shlex.split(line.replace("--upstream wiki", "--upstream desk"))
    return midflight(*words, *more)


def test_what_is_found_when_it_is_added_is_shown_and_pinned(
    plane: RunningPlane, servers: Answering
) -> None:
    del plane
    servers.challenge = f'Bearer scope="{READ}"'
    shown = json.loads(add(servers, "--json").stdout)
    assert shown["settings"]["issuer"] == servers.server
    assert shown["scopes"] == [READ]
    assert "is who it says" in midflight("test", "wiki").stdout
    servers.resource = {"authorization_servers": ["http://127.0.0.1:1"]}
    assert "does not name the pinned" in midflight("test", "wiki", code=2).stderr


def test_a_person_logs_in_and_what_that_gave_is_nowhere_to_be_seen(
    plane: RunningPlane, servers: Answering, browser: list[httpx2.Response]
) -> None:
    servers.token = (200, {**GOOD, "scope": "", "access_token": MARKER, "refresh_token": MARKER})
    add(servers)
    done = midflight("login", "wiki", "--json")
    assert json.loads(done.stdout) == {
        "name": "wiki",
        "issuer": servers.server,
        "scopes": [],
        "lasts": "until somebody ends it there",
    }
    assert browser[0].status_code == 200
    assert "Close this page" in browser[0].text
    assert b"code_verifier=" in servers.server_asked[-1].body
    assert MARKER not in done.output + midflight("show", "wiki").output
    assert MARKER in str(plane.do(lambda: plane.plane.logins.get("wiki")))
    changed = plane.records("changed")
    assert [each for each in changed if each["what"] == "credential.login"]
    assert MARKER not in json.dumps(changed)
    servers.metadata = {"revocation_endpoint": f"{servers.server}/revoke"}
    midflight("test", "wiki")  # which asks for the metadata anew
    midflight("remove", "wiki")
    ended = [dict(parse_qsl(each.body.decode())) for each in servers.server_asked[-1:]]
    assert [(each["token"], each["token_type_hint"]) for each in ended] == [
        (MARKER, "refresh_token")
    ]
    assert plane.do(lambda: plane.plane.logins.get("wiki")) is None


def test_an_answer_of_another_server_ends_in_a_refusal(
    plane: RunningPlane, servers: Answering, browser: list[httpx2.Response]
) -> None:
    del plane, browser
    add(servers)
    servers.iss = "https://evil.example"
    assert "where the login began" in midflight("login", "wiki", code=1).stderr
    assert "/token" not in servers.paths()


def test_nobody_logs_in_where_no_person_is_needed(plane: RunningPlane) -> None:
    del plane
    midflight(
        *("add", "crm", "--backend", "oauth", "--upstream", "desk", "--set", "client_id=midflight"),
        *("--set", "issuer=https://login.example.org", "--set", "resource=https://a.example"),
        *("--inject", "header:Authorization=Bearer {token}"),
    )
    assert "Nobody logs in" in midflight("login", "crm", code=1).stderr


def test_the_callback_takes_one_answer_in_its_form_and_waits_no_longer() -> None:
    with Callback() as callback:
        assert urlsplit(callback.url).hostname == "127.0.0.1"
        refused: list[int] = []

        def knock() -> None:
            base = callback.url.removesuffix(PATH)
            with httpx2.Client(trust_env=False) as client:
                odd = ("/", f"{PATH}?", f"{PATH}?code=a&code=b", "/favicon.ico")
                refused.extend(client.get(base + path).status_code for path in odd)
                client.get(f"{callback.url}?code=c&state=s")

        thread = Thread(target=knock)
        thread.start()
        assert callback.wait(30) == {"code": "c", "state": "s"}
        thread.join()
        assert refused == [404] * 4
    with Callback() as callback, pytest.raises(Unavailable):
        callback.wait(0)
