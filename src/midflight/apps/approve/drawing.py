"""What waits for a person, and one question with all that an approver needs to know.

Every value comes from `ApprovalStatus` and is drawn as what it is: words of the plane as text,
words of agents, tools and records in boxes. Origins and concerns are called as on the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from midflight.apps.approve.html import fields, hidden, page, plain, said
from midflight.apps.cli.approval_screen import (
    HEAD,
    MAX_LINES,
    TAIL,
    concern,
    leaves,
    origin,
    quoted,
)
from midflight.apps.cli.run import labels
from midflight.apps.durations import iso
from midflight.domain.approval import NOT_OWNER, OWNER, ApprovalState, binding_code
from midflight.domain.approver import MAX_REASON
from midflight.domain.traits import KEY_ROLES
from midflight.services.approval_desk import ApprovalStatus
from midflight.services.approver_sessions import SignedIn

MAX_LISTED = 100
MAX_CUT = 700
"""Of a value that was cut already, and of the words that say so."""
MAX_WHOLE = 1_000_000
"""Characters of long values that one page holds whole; what is beyond is said to be elsewhere."""
MAX_ROWS = 2_000
REMEMBER = {"0": "no", "86400": "for a day", "2592000": "for 30 days", "31536000": "for a year"}
"""For how many seconds the owner's list may keep the counterparties of a yes, as the form asks."""

_HOSTILE = (
    "<p>What is in boxes was written by agents, tools or strangers. It is what the action would "
    "carry, and never an instruction to you.</p>"
)

# Enter in a field presses the first button of a form, and one that is disabled presses nothing
# (HTML, "implicit submission"): a code that is typed must not be a yes.
_NO_DEFAULT = "<button disabled hidden></button>"


def banner(person: SignedIn) -> str:
    """Who is signed in, and how to end that."""
    return (
        f'<header><form method="post" action="/approve/sign-out">{hidden({"csrf": person.csrf})}'
        f"<p>Signed in as <strong>{plain(person.name)}</strong> by {plain(person.proof)}. "
        "<button>Sign out</button></p></form></header>"
    )


def waiting(found: Sequence[ApprovalStatus], person: SignedIn, *, now: float) -> str:
    """What waits, like beside like, the most urgent first."""
    groups: dict[tuple[str, ...], list[ApprovalStatus]] = {}
    for status in found[:MAX_LISTED]:
        policies = (reason.policy for reason in status.reasons)
        key = (status.workload, status.upstream, status.name, *policies)
        groups.setdefault(key, []).append(status)
    sections = [_group(group, now=now) for group in groups.values()]
    if not sections:
        sections = ["<p>Nothing waits for you.</p>"]
    if len(found) > MAX_LISTED:
        sections.append(f"<p>{len(found) - MAX_LISTED} more wait that are less urgent.</p>")
    return page("What waits for you", "".join(sections), who=banner(person))


def _group(group: Sequence[ApprovalStatus], *, now: float) -> str:
    first = group[0]
    asks = ", ".join(plain(reason.policy) for reason in first.reasons)
    rows = "".join(
        f'<tr><td><a href="/approve/{plain(status.id)}">{plain(status.id)}</a></td>'
        f"<td>{plain(binding_code(status.id, status.digest))}</td>"
        f"<td>{plain(status.run)}</td><td>{_left(status, now)}</td></tr>"
        for status in group
    )
    return (
        f"<section><h2>{said(f'{first.upstream}/{first.name}')} for "
        f"{said(first.workload)} ({len(group)})</h2><p>Asked by {asks}.</p>"
        '<table><thead><tr><th scope="col">Question</th><th scope="col">Code</th>'
        '<th scope="col">Run</th><th scope="col">Time left</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def request(
    status: ApprovalStatus,
    person: SignedIn,
    *,
    now: float,
    form: str,
    told: str = "",
) -> str:
    """One question. `form` is what answers it (HTML), `told` what has just happened (HTML)."""
    found: dict[str, Any] = msgspec.to_builtins(status)
    concerns = [concern(word) for word in found["facts"]["flow"]["concerns"]]
    content = "".join(
        (
            told,
            _HOSTILE,
            fields(_facts(status, found, now)),
            "<h2>What it would carry</h2>",
            _arguments(found),
            _list("What speaks against it", [plain(text) for text in concerns]),
            _list("A person is asked by", [_reason(reason) for reason in found["reasons"]]),
            _list("Answers so far", [_answer(answer) for answer in found["answers"]]),
            _list("What happens on yes", _on_yes(status)),
            form,
            '<p><a href="/approve">What else waits for you</a></p>',
        )
    )
    return page("May this be done?", content, who=banner(person))


def answer_form(status: ApprovalStatus, person: SignedIn, *, proof: str, passkey: str) -> str:
    """The form that answers.

    `proof` is HTML: fields to prove oneself again; `passkey` are attributes that ask for one.
    """
    remember = ""
    if status.endorses:
        options = "".join(
            f'<option value="{value}">{text}</option>' for value, text in REMEMBER.items()
        )
        remember = (
            '<label for="remember">Keep its recipients, accounts and addresses on the list of '
            f"{plain(status.owner)}</label>"
            f'<select id="remember" name="remember">{options}</select>'
        )
    return (
        '<h2 id="answer">Your answer</h2>'
        f'<form method="post" action="/approve/{plain(status.id)}" aria-labelledby="answer"'
        f"{passkey}>{_NO_DEFAULT}{hidden({'csrf': person.csrf, 'digest': status.digest})}"
        '<label for="reason">Why (optional; it is kept in the ledger for good)</label>'
        f'<textarea id="reason" name="reason" rows="2" maxlength="{MAX_REASON}"></textarea>'
        f'{remember}{proof}<p role="status"></p>'
        f"<p>You answer as <strong>{plain(person.name)}</strong>.</p>"
        '<button name="decision" value="yes">Yes, once</button>'
        '<button name="decision" value="no">No</button></form>'
    )


def _facts(status: ApprovalStatus, found: dict[str, Any], now: float) -> Sequence[tuple[str, str]]:
    facts = found["facts"]
    traits = facts["traits"]
    reviewed = "" if traits["reviewed"] else ", not reviewed by anybody"
    raised = f", raised by {facts['labels_source']}" if facts["labels_source"] else ""
    return (
        ("State", plain(f"{status.state.value}")),
        ("Time left", _left(status, now)),
        ("Action", f"{plain(status.kind)} {_called(status)}"),
        ("It can", plain(f"{traits['effect']}, {traits['reach']} world{reviewed}")),
        ("Workload", f"{said(status.workload)}, owner {plain(status.owner)}"),
        ("Run", plain(status.run)),
        ("Labels of the run", plain(labels(facts["labels"]) + raised)),
        ("Must agree", ", ".join(_approver(name, status) for name in status.approvers)),
        ("Digest", f"<code>{plain(status.digest)}</code>"),
        ("Code", f"<strong>{plain(binding_code(status.id, status.digest))}</strong>"),
    )


def _called(status: ApprovalStatus) -> str:
    """What is called, twice where a letter may look like another."""
    text = f"{status.upstream}/{status.name}"
    twice = "" if text.isascii() else f"<br>Beyond ASCII, look twice: {said(_in_ascii(text))}"
    return said(text) + twice


def _in_ascii(text: str) -> str:
    return msgspec.json.encode(text).decode().encode("ascii", "backslashreplace").decode("ascii")


def _left(status: ApprovalStatus, now: float) -> str:
    left = max(0, int(status.expires_at - now))
    words = f"{left // 60} min {left % 60} s" if left < 3_600 else f"{left // 3_600} h"
    return plain(f"{words} (until {iso(status.expires_at)})") if left else "over"


def _approver(approver: str, status: ApprovalStatus) -> str:
    if approver == NOT_OWNER:
        return f"for each of them nobody who answers for {plain(status.owner)}"
    who = f"{approver} ({status.owner})" if approver == OWNER else approver
    return plain(who if approver in status.missing else f"{who}: has agreed")


def _arguments(found: dict[str, Any]) -> str:
    if found["arguments"] is None:
        return '<p class="warn">It is erased: nobody can see it any more.</p>'
    known: dict[str, list[dict[str, Any]]] = {}
    for entry in found["facts"]["flow"]["arguments"]:
        known.setdefault(entry["path"], []).append(entry)
    values = sorted(leaves(found["arguments"]), key=lambda leaf: leaf[0] not in known)
    room = _Room(MAX_WHOLE)
    rows = [_row(shown, value, known.get(path, ()), room) for path, shown, value in values]
    rows += [_row(f"(parameter) {shown}", v, (), room) for _, shown, v in leaves(found["params"])]
    seen = {path for path, _, _ in values}
    unseen = [
        f"{path}: {origin(entry)}"
        for path, entries in known.items()
        if path not in seen
        for entry in entries
    ]
    if not rows:
        return "<p>Nothing.</p>"
    rest, more = rows[MAX_LINES:MAX_ROWS], len(rows) - MAX_ROWS
    left = ""
    if rest:
        keys = sum(path in known for path, _, _ in values[MAX_LINES:MAX_ROWS])
        of_them = f", {keys:,} of them key arguments" if keys else ""
        left = (
            f"<details><summary>{len(rest):,} more values{of_them}</summary>"
            f"{_table(rest)}</details>"
        )
    if more > 0:
        left += _elsewhere(f"{more:,} values are")
    if room.cut:
        left += _elsewhere(f"Parts of {room.cut:,} values are")
    return (
        _table(rows[:MAX_LINES])
        + left
        + _list("Where else it came from", _bounded([said(text) for text in unseen]))
    )


def _table(rows: Sequence[str]) -> str:
    return (
        '<table><thead><tr><th scope="col">Argument</th><th scope="col">Value</th>'
        '<th scope="col">Where it came from</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _elsewhere(what: str) -> str:
    return (
        f'<p class="warn" role="alert">{what} not shown here. Look at them with '
        "<code>midflight approval show --json</code> before you agree.</p>"
    )


def _bounded(lines: Sequence[str]) -> Sequence[str]:
    """The first of many, and how many there are besides."""
    over = len(lines) - MAX_LINES
    return [*lines[:MAX_LINES], *([f"and {over:,} more"] if over > 0 else [])]


class _Room:
    """How much of long values a page still holds whole, and how many it could not. Mutable."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.cut = 0

    def take(self, wanted: int) -> int:
        """How many of so many characters have room."""
        given = min(wanted, self.left)
        self.left -= given
        self.cut += given < wanted
        return given


def _row(shown: str, value: Any, entries: Iterable[dict[str, Any]], room: _Room) -> str:
    origins = [said(origin(entry)) for entry in entries]
    if (
        isinstance(value, str)
        and not value.isascii()
        and any(entry["role"] in KEY_ROLES for entry in entries)
    ):
        origins.append(f"Beyond ASCII, look twice: {said(_in_ascii(value))}")
    where = "<br>".join(origins) or "not looked at: no key argument"
    return f"<tr><td>{said(shown)}</td><td>{_value(value, room)}</td><td>{where}</td></tr>"


def _value(value: Any, room: _Room) -> str:
    """A value on one line, cut where it is long; all of it is there to be opened."""
    drawn = said(quoted(value), limit=MAX_CUT)
    text = msgspec.json.encode(value).decode()
    if len(text) <= HEAD + TAIL:
        return drawn
    given = room.take(len(text))
    much = f"All {len(text):,}" if given == len(text) else f"{given:,} of {len(text):,}"
    whole = said(text, limit=given)
    return f"{drawn}<details><summary>{much} characters</summary>{whole}</details>"


def _reason(reason: dict[str, Any]) -> str:
    return plain(f"{reason['policy']}: {reason['text']}" if reason["text"] else reason["policy"])


def _answer(answer: dict[str, Any]) -> str:
    word = "Yes" if answer["yes"] else "No"
    reason = f": {said(answer['reason'])}" if answer["reason"] else ""
    return plain(f"{word}, by {answer['author']} ({answer['proof']}), {iso(answer['at'])}") + reason


def _on_yes(status: ApprovalStatus) -> Sequence[str]:
    if status.state is not ApprovalState.PENDING:
        return []
    lines = [
        plain(
            f"Exactly this passes once, before {iso(status.expires_at)}, and only if nothing gets "
            "worse until then."
        )
    ]
    others = [name for name in status.missing if name != NOT_OWNER]
    if len(others) > 1:
        lines.append(plain(f"Each of {', '.join(others)} has to agree, by a person of its own."))
    vouched = [
        f"Vouched for in this run: {plain(value.role.value)} "
        f"{said(quoted(value.value), limit=MAX_CUT)}"
        for value in status.endorses
    ]
    return [*lines, *_bounded(vouched)]


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{plain(title)}</h2><ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul>"


__all__ = ["REMEMBER", "answer_form", "banner", "request", "waiting"]
