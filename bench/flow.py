"""What flow costs: judging an action, taking in a result, and how that grows with a run.

A mailbox whose mails are mostly plain words and hold addresses, links, numbers and ids like real
ones, every one of them new: the worst case for an index. Times are of the thread's own CPU, so that
what else runs here counts less; memory is what `tracemalloc` sees of one index.
"""

from __future__ import annotations

import gc
import random
import string
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from bench.report import Row, at_most, percentile
from midflight.domain.flow import fields
from midflight.domain.flow.index import RunIndex
from midflight.domain.flow.intent import Reading, read
from midflight.domain.flow.judge import judge
from midflight.domain.flow.selecting import linked_records, selected
from midflight.domain.flow.subject import Circumstances, Subject, parts, subject
from midflight.domain.flow.yields import Reviewed
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits

CALLS = 600
STEPS = 10_000

INTENT = (
    "Search my mail about the quarterly report, send a summary to ann.lee@example.org and tell me "
    "what became of order #W1234."
)
SEND = Traits(
    effect=Effect.SEND,
    reach=Reach.OPEN,
    proposed=True,
    arguments=(
        Argument(path="to", role=Role.RECIPIENT),
        Argument(path="subject", role=Role.TITLE),
        Argument(path="body", role=Role.CONTENT),
    ),
)
SEARCH = Traits(
    effect=Effect.READ,
    reach=Reach.CLOSED,
    proposed=True,
    arguments=(Argument(path="query", role=Role.QUERY),),
)
QUERY = {"query": "quarterly report"}


def run() -> list[Row]:
    """Every row."""
    mail = Mail(random.Random(20261125))
    rows: list[Row] = []
    index, step = RunIndex(b"k" * 32), Step()
    for size, target in ((1_000, 100), (10_000, 1_000)):
        results = [mail.result(size) for _ in range(CALLS)]
        times = timed(lambda i, r=results: step.observe(index, r[i], f"1-{i}"), CALLS)
        rows.append(
            at_most(f"index a result of {size // 1_000} KB, p50", p(times, 50), "µs", target)
        )
        rows.append(Row(f"index a result of {size // 1_000} KB, p99", p(times, 99), "µs"))
    given = {"to": "ann.lee@example.org", "subject": "Summary", "body": mail.text(80)}
    times = timed(lambda _: step.judge(index, given), CALLS * 4)
    rows.append(at_most("judge an action of 600 B, p50", p(times, 50), "µs", 60))
    rows.append(at_most("judge an action of 600 B, p99", p(times, 99), "µs", 300))
    given = given | {"body": mail.text(600)}
    times = timed(lambda _, g=given: step.judge(index, g), CALLS * 4)
    rows.append(Row("judge an action of 4 KB, p50", p(times, 50), "µs"))
    rows += growth(mail, step)
    rows.append(at_most("memory of a run of 1,000 steps", memory(mail, step), "MB", 2))
    return rows


def growth(mail: Mail, step: Step) -> list[Row]:
    """The cost of a step behind 100 and behind 10,000 others."""
    index = RunIndex(b"k" * 32)
    results = [mail.result(1_000) for _ in range(STEPS)]
    given = {"to": "ann.lee@example.org", "subject": "Summary", "body": mail.text(80)}
    judged: list[float] = []
    took: list[float] = []
    for i, result in enumerate(results):
        began = time.thread_time()
        step.judge(index, given)
        halfway = time.thread_time()
        step.observe(index, result, f"1-{i}")
        judged.append(halfway - began)
        took.append(time.thread_time() - halfway)
        if i % 500 == 0:
            index.unsaved()
    early, late = slice(600, 1_600), slice(STEPS - 1_000, STEPS)
    return [
        at_most(
            "judging, step 10,000 over step 1,000",
            percentile(judged[late], 50) / percentile(judged[early], 50),
            "x",
            1.2,
        ),
        at_most(
            "indexing, step 10,000 over step 1,000",
            percentile(took[late], 50) / percentile(took[early], 50),
            "x",
            1.2,
        ),
    ]


def memory(mail: Mail, step: Step) -> float:
    """Megabytes of one index behind a thousand results of 1 KB."""
    gc.collect()
    tracemalloc.start()
    index = RunIndex(b"k" * 32)
    for i in range(1_000):
        step.observe(index, mail.result(1_000), f"1-{i}")
        if i % 100 == 0:
            index.unsaved()
    index.unsaved()
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / 1e6


class Step:
    """What the guard does for flow, without the rest."""

    def __init__(self) -> None:
        self.reading: Reading = read(INTENT)
        self.send: Subject = subject("send_mail", "Sends a mail.", SEND)
        self.search: Subject = subject("search_mail", "Searches the mailbox.", SEARCH)
        self.reviewed = Reviewed(SEARCH)
        self.about = Circumstances(done=0, endorsed=lambda _: False)

    def observe(self, index: RunIndex, result: Any, record: str) -> None:
        """Take in a result of the search."""
        found = [leaf for leaf, _ in self.reviewed.apply(fields.leaves(result, effect=False))]
        index.add(
            found,
            record=record,
            selected=selected(
                self.search, parts(self.search, QUERY), index=index, reading=self.reading
            ),
            linked=linked_records(found, self.reading),
        )

    def judge(self, index: RunIndex, arguments: dict[str, Any]) -> None:
        """Judge a mail."""
        judge(self.send, arguments, index=index, reading=self.reading, about=self.about)


class Mail:
    """Mails that were never seen before."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._words = [
            "".join(chance.choices(string.ascii_lowercase, k=chance.randint(2, 9)))
            for _ in range(5_000)
        ]

    def result(self, size: int) -> list[dict[str, str]]:
        """Mails of together about `size` bytes of JSON."""
        found: list[dict[str, str]] = []
        left = size
        while left > 0:
            body = self.text(45)
            found.append(
                {
                    "id": str(self._chance.randint(1, 10**6)),
                    "sender": self._address(),
                    "subject": f"{self._word()} {self._word()}",
                    "body": body,
                    "sent": "2026-01-02T03:04:05",
                }
            )
            left -= len(body) + 130
        return found

    def text(self, words: int) -> str:
        """Words, and among fifteen of them one thing that can be recognised."""
        return " ".join(
            self._word() if self._chance.random() < 0.93 else self._thing() for _ in range(words)
        )

    def _word(self) -> str:
        return self._chance.choice(self._words)

    def _thing(self) -> str:
        return self._chance.choice(
            (
                self._address(),
                f"https://{self._word()}.org/{self._word()}",
                str(self._chance.randint(10, 99_999)),
                f"ID{self._chance.randint(1_000, 9_999)}",
                self._word().title(),
            )
        )

    def _address(self) -> str:
        return f"{self._word()}@{self._word()}.com"


def timed(call: Callable[[int], object], times: int) -> list[float]:
    """CPU seconds of each call."""
    gc.collect()
    gc.disable()
    taken: list[float] = []
    try:
        for i in range(times):
            began = time.thread_time()
            call(i)
            taken.append(time.thread_time() - began)
    finally:
        gc.enable()
    return taken


def p(seconds: list[float], percent: float) -> float:
    """A percentile in microseconds."""
    return percentile(seconds, percent) * 1e6
