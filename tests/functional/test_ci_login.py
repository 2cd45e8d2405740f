"""`midflight ci login` and `logout` against a running plane: one job from its token to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bare_client import Modern
from identity_kit import by_hand
from outside_kit import RsaKey, header_of, jwks_of

from gateways import AGENT, Gateway, running_gateway
from midflight.apps.cli.ci_exchange import JobKey
from midflight.apps.cli.ci_exchange import Plane as RemotePlane
from midflight.apps.cli.ci_tokens import GITHUB_TOKEN, GITHUB_URL, ci_token
from midflight.domain.errors import Forbidden, Misconfigured, Unavailable
from midflight.domain.run import RunState
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio

GITLAB = "https://gitlab.example.test"
KEY = RsaKey()


class Job:
    """A job on a machine of its own, as far as its environment goes."""

    def __init__(self, folder: Path, plane: str) -> None:
        self.folder = folder
        self.plane = plane
        passed = ("PATH", "PYTHONPATH")
        self.environment = {name: os.environ[name] for name in passed if name in os.environ}
        self.environment |= {"RUNNER_TEMP": str(folder), "HOME": str(folder)}

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": GITLAB,
            "aud": self.plane,
            "iat": now - 1,
            "exp": now + 300,
            "jti": f"job-{time.monotonic_ns()}",
            "sub": "project_path:acme/app:ref_type:branch:ref:main",
            "project_id": "22",
            "namespace_id": "7",
            "ref": "main",
            "ref_protected": "true",
            "pipeline_source": "push",
            "job_id": "900",
            **changes,
        }
        return by_hand(header_of(KEY), claims, KEY)

    async def run(self, *words: str, **variables: str) -> tuple[int, str, str]:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "midflight.apps.cli.main", "ci", *words,
            env=self.environment | variables, cwd=self.folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, error = await child.communicate()
        assert child.returncode is not None
        return child.returncode, out.decode(), error.decode()


@contextlib.asynccontextmanager
async def plane_of(
    folder: Path, served: Served | None = None
) -> AsyncIterator[tuple[Gateway, Job]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    (folder / "keys.json").write_text(json.dumps(jwks_of(KEY)))
    rule = {
        "workload": AGENT,
        "write": True,
        "claims": {"project_id": "22", "namespace_id": "7", "ref_protected": "true", "ref": "main"},
    }
    issuer = {
        "name": "gitlab", "kind": "gitlab", "issuer": GITLAB,
        "jwks_file": folder / "keys.json", "rules": (rule,),
    }  # fmt: skip
    async with (
        over_http(served) as upstream,
        running_gateway(
            folder,
            [{"name": "one", "url": upstream, "reach": "closed"}],
            gateway={"listen": url.removeprefix("http://"), "public_url": url},
            ci={"issuer": (issuer,)},
        ) as gateway,
    ):
        await gateway.pin_all()
        job = folder / "job"
        job.mkdir()
        yield gateway, Job(job, url)


async def call(plane: str, token: str, key: JobKey) -> httpx2.Response:
    url = f"{plane}/mcp"
    proof = key.proof(method="POST", url=url, token=token)
    headers = {"authorization": f"DPoP {token}", "dpop": proof}
    async with httpx2.AsyncClient(timeout=30, trust_env=False, headers=headers) as http:
        agent = Modern(http, url)
        return await agent.post(agent.request("tools/call", name="echo", arguments={"text": "a"}))


async def test_a_job_logs_in_acts_and_logs_out(tmp_path: Path) -> None:
    served = Served()
    async with plane_of(tmp_path, served) as (gateway, job):
        own = job.token()
        code, out, error = await job.run(
            "login", "--plane", job.plane, "--format", "json", MIDFLIGHT_ID_TOKEN=own
        )
        assert code == 0, error
        got = json.loads(out)
        assert set(got) == {"token", "expires_at", "directory"}
        assert got["expires_at"] <= time.time() + 900
        place = Path(got["directory"])
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o600}
        private = json.loads((place / "key.json").read_text())["d"]
        for text in (out, error):
            assert private not in text
            assert own not in text
        key = JobKey.kept((place / "key.json").read_bytes())
        answer = await call(job.plane, got["token"], key)
        assert answer.status_code == 200, answer.text
        # Without the key the token is worth nothing.
        assert (await call(job.plane, got["token"], JobKey())).status_code == 401
        # Another step of the same job joins the same run.
        code, out, error = await job.run(
            "login", "--plane", job.plane, "--format", "json", MIDFLIGHT_ID_TOKEN=job.token()
        )
        assert code == 0, error
        runs = await gateway.plane.parts.store.list_runs(workload=AGENT)
        assert len(runs) == 1
        code, out, error = await job.run("logout", MIDFLIGHT_JOB=str(place))
        assert code == 0, error
        assert list(place.iterdir()) == []
        stored = await gateway.plane.parts.store.get_run(runs[0].run.id)
        assert stored is not None
        assert stored.state is RunState.CLOSED
        assert '"isError":true' in (await call(job.plane, got["token"], key)).text.replace(" ", "")
        # And the job cannot open another one.
        code, _, error = await job.run(
            "login", "--plane", job.plane, MIDFLIGHT_ID_TOKEN=job.token()
        )
        assert code != 0
        assert "ended" in error
    assert served.calls == ["echo"]


async def test_a_token_is_handed_on_as_the_job_asks(tmp_path: Path) -> None:
    async with plane_of(tmp_path) as (_, job):
        code, out, error = await job.run(
            "login", "--plane", job.plane, MIDFLIGHT_ID_TOKEN=job.token()
        )
        assert code == 0, error
        lines = out.splitlines()
        assert [line.partition("=")[0] for line in lines] == [
            "export MIDFLIGHT_TOKEN",
            "export MIDFLIGHT_JOB",
        ]
        exported = job.folder / "github_env"
        exported.write_text("BEFORE=1\n")
        code, out, error = await job.run(
            "login", "--plane", job.plane, "--from", "env:T", "--format", "github-env",
            T=job.token(), GITHUB_ENV=str(exported),
        )  # fmt: skip
        assert code == 0, error
        token = exported.read_text().split("MIDFLIGHT_TOKEN=")[1].splitlines()[0]
        assert out == f"::add-mask::{token}\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"project_id": "23"}, "No rule"),
        ({"aud": "https://elsewhere.test"}, "audience"),
        ({"iss": "https://evil.example.test"}, ""),
        ({"exp": 1}, ""),
    ],
)
async def test_a_job_that_is_refused_is_told_why_and_leaves_nothing(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    async with plane_of(tmp_path) as (_, job):
        own = job.token(**changes)
        code, out, error = await job.run("login", "--plane", job.plane, MIDFLIGHT_ID_TOKEN=own)
        assert code != 0
        assert out == ""
        assert words in error
        assert own not in error
        assert "Traceback" not in error
        assert list(job.folder.glob("midflight-job-*")) == []


async def test_where_there_is_no_ci_system_the_way_to_a_token_is_shown(tmp_path: Path) -> None:
    job = Job(tmp_path, "https://plane.example.test")
    code, _, error = await job.run("login", "--plane", job.plane)
    assert code != 0
    assert "id-token: write" in error
    code, _, error = await job.run("login", "--plane", "http://plane.example.test", T="a")
    assert code != 0
    code, _, error = await job.run("logout", "--directory", str(tmp_path))
    assert code != 0
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)


# GitHub, and planes that are none


def answering(*answers: Any) -> tuple[httpx2.Client, list[httpx2.Request]]:
    """A client whose requests are answered in order and written down."""
    asked: list[httpx2.Request] = []
    waiting = list(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        status, value, *headers = waiting.pop(0)
        return httpx2.Response(status, json=value, headers=headers[0] if headers else {})

    return httpx2.Client(transport=httpx2.MockTransport(answer)), asked


GITHUB = {GITHUB_URL: "https://run.actions.example.test/token?api-version=2", GITHUB_TOKEN: "b"}


def test_github_is_asked_for_our_audience_alone() -> None:
    http, asked = answering((200, {"value": "a.b.c", "count": 3}))
    found = ci_token("auto", audience="https://plane.test/?&", environment=GITHUB, http=http)
    assert found == "a.b.c"
    assert str(asked[0].url).endswith("?api-version=2&audience=https%3A%2F%2Fplane.test%2F%3F%26")
    assert asked[0].headers["authorization"] == "Bearer b"


@pytest.mark.parametrize(
    "answer", [(200, {}), (200, {"value": 1}), (200, []), (403, {"value": "a"}), (302, {})]
)
def test_github_that_gives_no_token_is_an_error_without_its_words(answer: Any) -> None:
    http, _ = answering(answer)
    with pytest.raises(Unavailable):
        ci_token("github", audience="x", environment=GITHUB, http=http)


@pytest.mark.parametrize(
    "changes",
    [
        {GITHUB_URL: "http://a.test/"},
        {GITHUB_TOKEN: ""},
        {GITHUB_URL: "https://a.test/?audience=x"},
    ],
)
def test_github_is_not_asked_in_the_clear_or_for_another_audience(changes: dict[str, str]) -> None:
    http, asked = answering()
    with pytest.raises(Misconfigured):
        ci_token("github", audience="x", environment=GITHUB | changes, http=http)
    assert asked == []


META = {"issuer": "https://plane.test", "token_endpoint": "https://plane.test/oauth/token"}
GOT = {"access_token": "a.b.c", "token_type": "DPoP", "expires_in": 300}


def exchanged(*answers: Any) -> tuple[Any, list[httpx2.Request]]:
    http, asked = answering(*answers)
    plane = RemotePlane("https://plane.test", http=http)
    return plane.exchange("ci.ci.ci", key=JobKey(), resource="https://plane.test/mcp"), asked


def test_a_nonce_is_sent_when_the_server_asks_for_one() -> None:
    got, asked = exchanged(
        (200, META), (400, {"error": "use_dpop_nonce"}, {"dpop-nonce": "n-1"}), (200, GOT)
    )
    assert got.token == "a.b.c"
    assert len(asked) == 3
    assert "a.b.c" not in repr(got)


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([(200, META | {"issuer": "https://evil.test"})], Unavailable),
        ([(200, META | {"token_endpoint": "https://evil.test/oauth/token"})], Unavailable),
        ([(200, META | {"token_endpoint": "http://plane.test/oauth/token"})], Unavailable),
        ([(404, {})], Unavailable),
        ([(200, META), (200, GOT | {"token_type": "Bearer"})], Unavailable),
        ([(200, META), (200, GOT | {"expires_in": 86_400})], Unavailable),
        ([(200, META), (200, GOT | {"access_token": "a\nb"})], Unavailable),
        ([(200, META), (302, {})], Forbidden),
        ([(200, META), (400, {"error": "invalid_request"})], Forbidden),
        ([(200, META), (500, {})], Unavailable),
    ],
)
def test_a_plane_that_is_none_gets_no_token_and_gives_none(answers: Any, error: Any) -> None:
    with pytest.raises(error):
        exchanged(*answers)


@pytest.mark.parametrize(
    "url", ["http://plane.test", "ftp://plane.test", "https://", "https://a@plane.test", "x"]
)
def test_a_ci_token_does_not_travel_in_the_clear(url: str) -> None:
    with pytest.raises(Misconfigured):
        RemotePlane(url, http=httpx2.Client())


async def test_a_token_in_the_clear_does_not_leave_the_machine_by_a_proxy(tmp_path: Path) -> None:
    met: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(await reader.read(65_536))
        writer.close()

    async with plane_of(tmp_path) as (_, job):
        listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
        where = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        proxies = {"HTTP_PROXY": where, "http_proxy": where, "ALL_PROXY": where}
        async with listening:
            code, out, error = await job.run(
                "login", "--plane", job.plane, "--format", "json",
                MIDFLIGHT_ID_TOKEN=job.token(), **proxies,
            )  # fmt: skip
            assert code == 0, error
            place = json.loads(out)["directory"]
            assert (await job.run("logout", "--directory", place, **proxies))[0] == 0
        assert met == []
