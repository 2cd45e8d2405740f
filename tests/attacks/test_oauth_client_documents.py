"""Client metadata documents that lie: of another client, with secrets, with hostile redirects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from identity_kit import AUTHOR, NOW, WORKLOAD, Key, Recorder, workload_of

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.authorization import AuthorizationRefused, Client, Refusal
from midflight.domain.errors import NoDocument
from midflight.services.authorization_clients import Clients
from midflight.services.authorization_documents import MAX_DOCUMENTS, MAX_FETCHES, REFUSED_S
from midflight.services.authorization_registration import is_document
from midflight.services.ports.documents import Document
from midflight.testing import FakeClock
from midflight.wire.oauth import proofs

pytestmark = pytest.mark.anyio

URL = "https://app.example/client.json"


class FixedDocuments:
    """Documents by URL, and how often each was asked for."""

    def __init__(self, **changes: Any) -> None:
        self.document: dict[str, Any] = {
            "client_id": URL,
            "client_name": "An app",
            "redirect_uris": ["http://127.0.0.1/callback"],
            **changes,
        }
        self.asked = 0

    async def fetch(self, url: str, *, limit: int = 0, allow_private: bool = False) -> Document:
        del url, limit
        assert not allow_private
        self.asked += 1
        return Document(value=self.document)


async def clients_of(
    documents: FixedDocuments, *, workload: str | None = None
) -> tuple[Clients, FakeClock]:
    store, clock = MemoryStore(), FakeClock(NOW)
    await store.open()
    await store.put_workload(workload_of())
    made = Clients(
        store=store,
        recorder=Recorder(),
        clock=clock,
        proofs=proofs,
        issuer="https://plane.example.test",
        documents=documents,
        document_workload=workload,
    )
    return made, clock


async def test_a_document_says_nothing_of_the_workload() -> None:
    documents = FixedDocuments(workload="spiffe://example.test/agents/admin", scope="mcp")
    clients, clock = await clients_of(documents)
    assert await clients.find(URL) is None  # nobody has said as whom it acts
    await clients.add(
        Client(id=URL, workload=workload_of().id, name="App", document=True, scope=("mcp:git",)),
        AUTHOR,
    )
    found = await clients.find(URL)
    assert found is not None
    assert (found.workload, found.scope) == (workload_of().id, ("mcp:git",))
    await clients.find(URL)
    assert documents.asked == 1
    clock.advance(301)
    await clients.find(URL)
    assert documents.asked == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://app.example/other.json"},
        {"client_id": None},
        {"client_secret": "x"},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"jwks": {"keys": [Key().public_jwk]}},
        {"jwks": {"keys": [Key().private_jwk]}, "token_endpoint_auth_method": "private_key_jwt"},
        {"jwks": []},
        {"redirect_uris": "http://127.0.0.1/callback"},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["http://evil.example/"]},
        {"redirect_uris": [{}]},
        {"redirect_uris": ["http://127.0.0.1/"] * 21},
        {"client_name": "\u202egnp.exe"},
    ],
)
async def test_a_document_that_lies(changes: dict[str, Any]) -> None:
    clients, _ = await clients_of(FixedDocuments(**changes), workload=workload_of().id)
    with pytest.raises(AuthorizationRefused):
        await clients.find(URL)


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/client.json",
        "https://app.example",
        "https://app.example/",
        "https://user@app.example/client.json",
        "https://app.example/a/../client.json",
        "https://app.example/client.json#x",
        "https:///client.json",
        "https://app.example/" + "a" * 1_100,
        "https://app.example/cli ent.json",
        "file:///etc/passwd",
        "https://[::1/x",
    ],
)
async def test_a_client_id_that_is_no_url_of_a_document(url: str) -> None:
    assert not is_document(url)
    documents = FixedDocuments()
    clients, _ = await clients_of(documents, workload=workload_of().id)
    assert await clients.find(url) is None
    assert documents.asked == 0


class SlowDocuments(FixedDocuments):
    """Documents that come when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.go = asyncio.Event()
        self.bad = False

    async def fetch(self, url: str, *, limit: int = 0, allow_private: bool = False) -> Document:
        self.urls.append(url)
        await self.go.wait()
        if self.bad:
            raise NoDocument("It is not there.", reason="answered 404")
        return Document(value={**self.document, "client_id": url})


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_flood_of_made_up_documents_is_no_flood_of_fetches() -> None:
    documents = SlowDocuments()
    clients, _ = await clients_of(documents, workload=WORKLOAD)
    registered = Client(
        id="https://known.example/c.json", workload=WORKLOAD, name="k", document=True
    )
    await clients.add(registered, AUTHOR)
    asked = [
        asyncio.ensure_future(clients.find(f"https://victim.example/{number}"))
        for number in range(200)
    ]
    await turns()
    assert len(documents.urls) == MAX_FETCHES
    # One that an operator has named does not wait behind strangers.
    known = asyncio.ensure_future(clients.find(registered.id))
    await turns()
    assert documents.urls[-1] == registered.id
    documents.go.set()
    assert await known is not None
    found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in found if isinstance(one, AuthorizationRefused)]
    assert len(refused) == 200 - MAX_FETCHES
    assert {one.refusal for one in refused} == {Refusal.TEMPORARILY_UNAVAILABLE}


async def test_one_document_is_fetched_once_for_all_who_wait_and_not_again_where_it_is_bad() -> (
    None
):
    documents = SlowDocuments()
    clients, clock = await clients_of(documents, workload=WORKLOAD)
    documents.bad = True
    asked = [asyncio.ensure_future(clients.find(URL)) for _ in range(50)]
    await turns()
    asked[0].cancel()  # who came first takes nobody's answer along
    documents.go.set()
    found = await asyncio.gather(*asked[1:], return_exceptions=True)
    assert all(isinstance(one, AuthorizationRefused) for one in found)
    with pytest.raises(AuthorizationRefused):
        await clients.find(URL)
    assert documents.urls == [URL]
    clock.advance(REFUSED_S + 1)
    documents.bad = False
    assert await clients.find(URL) is not None


async def test_a_flood_of_bad_documents_forgets_no_good_one() -> None:
    documents = SlowDocuments()
    documents.go.set()
    clients, _ = await clients_of(documents, workload=WORKLOAD)
    assert await clients.find(URL) is not None
    documents.bad = True
    for number in range(MAX_DOCUMENTS + 10):
        with pytest.raises(AuthorizationRefused):
            await clients.find(f"https://victim.example/{number}")
    assert await clients.find(URL) is not None
