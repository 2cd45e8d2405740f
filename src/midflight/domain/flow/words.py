"""Words for effects and for what they are done to: a lexicon of everyday English.

It serves two readers: what the principal asks for (`intent.py`) and what a tool's name and
description say that it does (`domain/proposal`). A family is coarser than a verb and finer than an
effect. What is not in here asks for nothing: a missing word costs a question, never an action.
"""

from __future__ import annotations

import enum
from functools import lru_cache


def lexicon(text: str) -> frozenset[str]:
    """The words of a list that is written as text, so that it reads as one."""
    return frozenset(text.split())


class Family(enum.StrEnum):
    """Kinds of doing."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    SEND = "send"
    PAY = "pay"
    GRANT = "grant"
    EXECUTE = "execute"


_VERBS: dict[Family, str] = {
    Family.READ: (
        """
            get list search find read fetch show view display check lookup query
            count compute calculate estimate convert verify validate retrieve
            describe summarize summarise compare diff grep cat ls pwd cd head tail
            wc du sort think analyze analyse browse preview ping watch translate
            know see tell give print recommend suggest determine identify review
            inspect examine investigate look monitor scan detect classify rank
            filter navigate visit explore peek extract locate gather collect learn
            explain confirm measure assess evaluate predict download
        """
        # `tell` and `give` are also a way of sending: see below.
    ),
    Family.CREATE: (
        """
            create add make write draft new schedule setup set generate save store
            put append record log insert upload register compose prepare craft build
            initiate plan mkdir touch echo produce form establish introduce include
            attach compile document jot note open file book reserve arrange organize
            organise mark capture duplicate copy cp backup import install populate
            enter submit start fill
        """
    ),
    Family.UPDATE: (
        """
            update change modify edit adjust set rename move reschedule replace
            correct fix increase decrease raise lower mark assign reassign upgrade
            downgrade exchange switch resolve close complete finish amend alter
            revise extend shorten swap convert transfer relocate shift mv refresh
            reduce toggle turn enable disable activate deactivate apply configure
            overwrite tweak improve finalize merge link tag label sync postpone
            delay confirm transition reopen pause resume reset restore populate
            acknowledge scale resize upsert silence mute unmute snooze reject deny decline
            rearrange sort follow unfollow subscribe archive star pin like vote rate
            bookmark append commit push rebase squash revert stage bump patch migrate
        """
    ),
    Family.DELETE: (
        """
            annul scrap rescind retract nix eliminate exclude delete remove cancel
            erase clear drop discard unsubscribe terminate rm rmdir wipe purge
            destroy trash uninstall revoke withdraw void abort undo return empty
            clean unfollow
        """
    ),
    Family.SEND: (
        """
            send email mail message text notify reply respond forward tell inform
            invite post tweet publish comment share ask contact write dm announce
            broadcast submit alert remind report communicate mention retweet repost
            escalate deliver answer request relay convey distribute upload call
            transmit pass give let update drop shoot ping present dispatch reach
            boast drop transfer express thank greet congratulate
        """
    ),
    Family.PAY: (
        """
            pay transfer refund reimburse wire donate buy purchase order settle fund
            deposit withdraw tip book reserve send return invest trade sell exchange
            checkout spend rent hire subscribe procure allocate inject replenish
            remit acquire charge bill compensate repay give place execute secure top
            process
        """
    ),
    Family.GRANT: (
        """
            grant share invite permit allow authorize authorise enable promote
            assign onboard enroll enrol whitelist approve trust delegate unlock
            expose add
        """
    ),
    Family.EXECUTE: (
        """
            run execute start launch deploy restart trigger call lock unlock
            activate drive stop press release shut reboot invoke begin initiate
            perform turn engage disengage build compile test kill install switch set
            ignite authenticate login logout log sign play pause toggle prime
            dispatch fill refuel refill secure move
        """
    ),
}

# Nouns that stand for one another. The first of a row is its name; a noun can be in several rows.
_NOUNS = (
    """
        money payment transaction transfer bill rent refund amount fund invoice salary
        cost price fee debt loan dollar euro pound cash subscription charge credit
        deposit balance bank expense iban donation standing difference share half extra
        rest
    """,
    "mail email e-mail inbox mailbox letter newsletter correspondence",
    """
        message dm direct chat text sms slack channel conversation note reply word
        notification response thread
    """,
    """
        event meeting appointment calendar lunch call dinner breakfast session reminder
        party trip interview standup sync schedule conference class slot appointment
        check-up checkup
    """,
    """
        file document doc folder directory report spreadsheet list sheet paper draft
        slide attachment text backup summary copy readme log notes page result pdf txt
        content data archive plan letter essay drive cloud presentation template output
        script line
    """,
    """
        user member person people participant guest team colleague contact friend
        employee staff everyone attendee somebody someone customer client account
        coworker agent human
    """,
    """
        post tweet comment status social twitter facebook article page website webpage
        blog web site feed thread retweet tag hashtag linkedin update announcement link
    """,
    """
        order item product purchase package stock watchlist shipment delivery cart
        exchange return refund good stock share position symbol trade market company
        watchlist
    """,
    "booking reservation trip itinerary travel vacation journey holiday",
    "hotel room stay accommodation apartment suite hostel lodging",
    "flight plane airline airfare ticket seat passenger baggage bag cabin itinerary reservation",
    "restaurant table dinner lunch reservation cuisine",
    "car rental vehicle suv van",
    "ticket issue bug request incident case problem task complaint card todo job item",
    """
        account profile info information address phone name detail data record setting
        preference street city residence bio
    """,
    "password passcode pin credential key secret token passphrase login",
    "permission access role right sharing share privilege authorization collaborator admin member",
    "repository repo branch commit code project pull merge tag release pipeline build workflow",
    "record row entry database table db item field value column document",
    "card credit debit method payment",
    """
        door window engine vehicle car brake light climate temperature tank fuel tire
        tyre gas trunk gear cruise headlight navigation destination
    """,
    "budget limit threshold quota cap",
    "group channel team workspace list community chat server",
    "device machine server service instance container process job container lamp thermostat",
)

GENERIC = lexicon(
    """
        it that this them those these thing stuff one everything all data new info
        information detail details item items api tool request system object resource
        entry
    """
)
"""Nouns that say nothing about what something is done to."""

COMMON_VERBS = lexicon(
    """
        create add make write set update change modify edit send delete remove put get
        open run start give move turn post use save apply do new
    """
)
"""Verbs of so many tools that they alone say nothing about which is meant."""

INSTRUCT = lexicon("""
    memory memories prompt rule rules instruction instructions guideline workflow preference persona
""")
"""What other runs, or later ones, obey."""
RIGHTS = lexicon(
    """
        password passcode passphrase credential credentials key token role permission
        permissions access privilege member members collaborator collaborators owner
        ownership admin webhook forwarding delegate sharing visibility 2fa mfa totp
        oauth grant policy acl allowlist whitelist factor authenticator invite
    """
)
"""What outlives a run: who may do what."""
LINKS = lexicon("""
    link links url urls website websites webpage webpages page pages article articles site sites
    blog blogs visit browse web
""")
"""What an intent speaks of that asks to follow links."""
MONEY = frozenset(_NOUNS[0].split()) - {"price", "cost", "direct", "balance", "credit"}

_IRREGULAR = {
    "sent": "send", "paid": "pay", "bought": "buy", "made": "make", "wrote": "write",
    "written": "write", "gave": "give", "given": "give", "told": "tell", "put": "put",
    "read": "read", "found": "find", "got": "get", "seen": "see", "shown": "show",
    "ran": "run", "running": "run", "set": "set", "setting": "set", "putting": "put",
    "getting": "get", "began": "begin", "sold": "sell", "spent": "spend", "lent": "lend",
    "shut": "shut", "shutting": "shut", "let": "let", "letting": "let", "kept": "keep",
    "left": "leave", "drove": "drive", "people": "person", "children": "child",
    "cancelled": "cancel", "cancelling": "cancel", "canceled": "cancel", "canceling": "cancel",
}  # fmt: skip


def _inflect(verb: str) -> tuple[tuple[str, str], ...]:
    """(form, how) of a verb: `base`, `s`, `ed`, `ing`."""
    stem = verb.removesuffix("e")
    third = verb + "es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else verb + "s"
    if verb.endswith("y") and verb[-2:-1] not in "aeiou":
        third, past = verb[:-1] + "ies", verb[:-1] + "ied"
    else:
        past = stem + "ed"
    forms = [(verb, "base"), (third, "s"), (past, "ed"), (stem + "ing", "ing")]
    if (
        len(verb) > 2
        and verb[-1] not in "aeiouwxy"
        and verb[-2] in "aeiou"
        and verb[-3] not in "aeiou"
    ):
        forms += [(verb + verb[-1] + "ed", "ed"), (verb + verb[-1] + "ing", "ing")]
    return tuple(forms)


def _table() -> dict[str, tuple[str, str, frozenset[Family]]]:
    families: dict[str, set[Family]] = {}
    for family, verbs in _VERBS.items():
        for verb in verbs.split():
            families.setdefault(verb, set()).add(family)
    table: dict[str, tuple[str, str, frozenset[Family]]] = {}
    for verb, found in families.items():
        for form, how in _inflect(verb):
            if how == "base" or form not in table:
                table[form] = (verb, how, frozenset(found))
    for form, verb in _IRREGULAR.items():
        if verb in families and form != verb:
            how = "ing" if form.endswith("ing") else "ed"
            table[form] = (verb, how, frozenset(families[verb]))
    return table


DEVERBAL = {
    "cancellation": "cancel", "cancelation": "cancel", "deletion": "delete", "removal": "remove",
    "purchase": "purchase", "acquisition": "acquire", "reservation": "reserve", "booking": "book",
    "payment": "pay", "refund": "refund", "reimbursement": "reimburse", "transfer": "transfer",
    "donation": "donate", "creation": "create", "modification": "modify", "update": "update",
    "change": "change", "exchange": "exchange", "return": "return", "replacement": "replace",
    "adjustment": "adjust", "upgrade": "upgrade", "downgrade": "downgrade", "order": "order",
    "reply": "reply", "response": "respond", "invitation": "invite", "announcement": "announce",
    "reset": "reset", "reminder": "remind", "subscription": "subscribe", "deployment": "deploy",
    "rescindment": "rescind", "reversal": "undo", "termination": "terminate", "post": "post",
    "resolution": "resolve", "comment": "comment", "registration": "register", "backup": "backup",
    "withdrawal": "withdraw", "deposit": "deposit", "renaming": "rename", "extension": "extend",
}  # fmt: skip
"""Nouns that ask for what their verb asks for, behind a verb that does nothing by itself."""

_TALK = lexicon("message email post")
MONEY_VERBS = lexicon("send give return process execute place secure top transfer")
"""Verbs that pay only where their clause speaks of money."""
IMPLIED: dict[str, frozenset[str]] = (
    dict.fromkeys(
        lexicon(
            """
                send email mail message text notify reply respond forward tell
                inform write dm announce alert remind report communicate answer
                reach contact let ask dispatch thank
            """
        ),
        frozenset({"message", "email"}),
    )
    | dict.fromkeys(lexicon("post tweet publish comment retweet repost mention boast share"), _TALK)
    | dict.fromkeys(
        lexicon("pay refund reimburse wire donate remit deposit withdraw fund repay tip"),
        frozenset({"money", "fund"}),
    )
    | dict.fromkeys(
        lexicon("buy purchase order procure acquire trade sell"), frozenset({"order", "product"})
    )
    | dict.fromkeys(lexicon("book reserve rent hire"), frozenset({"booking"}))
    | dict.fromkeys(lexicon("invite onboard enroll"), frozenset({"user", "event"}))
    | dict.fromkeys(lexicon("refuel refill"), frozenset({"tank", "fuel"}))
)
"""What a verb is done to when its clause does not say."""

VERBS = _table()
"""Form of a verb → (the verb, `base`/`s`/`ed`/`ing`, its families)."""

_CLASSES: dict[str, frozenset[int]] = {}
for _number, _row in enumerate(_NOUNS):
    for _noun in _row.split():
        _CLASSES[_noun] = _CLASSES.get(_noun, frozenset()) | {_number}


@lru_cache(maxsize=4_096)
def singular(word: str) -> str:
    """A noun without its plural ending, as far as that shows from outside."""
    if word in _IRREGULAR and word not in VERBS:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def classes(noun: str) -> frozenset[int]:
    """The rows of the lexicon that a noun is in."""
    return _CLASSES.get(singular(noun), frozenset())


def related(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two sets of nouns (singular) can be about the same thing."""
    if one & other:
        return True
    rows = frozenset(row for noun in one for row in classes(noun))
    return any(rows & classes(noun) for noun in other)


def numbers(before: str) -> bool:
    """Whether a word in front of a short number makes it the number of something."""
    noun = singular(before.lower())
    return noun in ("id", "no", "nr", "number") or bool(classes(noun))


__all__ = [
    "COMMON_VERBS",
    "DEVERBAL",
    "GENERIC",
    "IMPLIED",
    "INSTRUCT",
    "LINKS",
    "MONEY",
    "MONEY_VERBS",
    "RIGHTS",
    "VERBS",
    "Family",
    "classes",
    "lexicon",
    "numbers",
    "related",
    "singular",
]
