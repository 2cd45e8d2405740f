"""Effects and reach: what a tool's verb, nouns and arguments say that it does.

Where a name and a description disagree, the one that does more is believed; a name is whatever its
author liked. Above: `rules.py`. Below: `naming.py`, `roles.py`.
"""

from __future__ import annotations

from midflight.domain.flow.words import INSTRUCT, MONEY, RIGHTS, Family, lexicon, singular
from midflight.domain.proposal.naming import Doing
from midflight.domain.proposal.values import Sureness
from midflight.domain.traits import Effect, Reach, Role
from midflight.domain.value import JSONObject, Value

# Verbs that read whatever they are used on.
_READS = lexicon("""
    get list search find read fetch show view display check lookup query count compute calculate
    estimate convert verify validate retrieve describe summarize summarise compare diff grep cat ls
    pwd cd head tail wc du sort think analyze analyse browse preview ping watch translate inspect
    examine investigate look monitor scan detect classify rank filter navigate locate explain recall
    screenshot measure assess evaluate predict recommend suggest determine identify know see
""")
# A description begins with these whatever the tool does.
_SAYS = lexicon("return give provide let allow use take help support include offer make perform")
_DELETES = lexicon("""
    delete remove cancel erase clear drop discard terminate rm rmdir wipe purge destroy trash
    uninstall void abort empty
""")
_SENDS = lexicon("""
    send email mail text notify reply respond forward invite post tweet publish comment retweet
    mention dm message announce broadcast contact escalate
""")
_PAYS = lexicon("""
    pay refund reimburse wire donate buy purchase order settle deposit withdraw tip invest trade
    sell checkout charge fund payout
""")
_EXECUTES = lexicon("""
    run execute launch deploy trigger invoke start restart reboot stop kill lock unlock press
    release activate deactivate dispatch
""")
_GRANTS = lexicon("grant authorize authorise share permit approve promote delegate")
_SESSION = lexicon("login logout authenticate signin signout")
_BOOKS = lexicon("book reserve rent hire subscribe")
_MOVES = lexicon("send make transfer schedule create place update issue give release")
_INSTRUCTS = lexicon("remember memorize memorise instruct teach")
_LETS_IN = lexicon("add invite assign enroll enrol attach join")
_CIRCLES = lexicon(
    "user member collaborator people admin group team channel workspace organization"
)
_OUTSIDE = lexicon("""
    web webpage website internet url http https google tweet twitter social public online site page
    news wikipedia weather feed rss blog crawl scrape
""")
_GOES = lexicon("open load visit goto go navigate render crawl scrape")
_REQUESTS = lexicon("method headers header body payload replacement")
_COMPUTES = lexicon("calculate compute evaluate solve")
_CODE = lexicon("script code javascript js python shell sql bash command program statement")
_PHRASES = {
    ("check", "out"): Effect.PAY,
    ("check", "in"): Effect.WRITE,
    ("sign", "up"): Effect.WRITE,
    ("list", "item"): Effect.WRITE,
    ("search", "replace"): Effect.WRITE,
    ("find", "replace"): Effect.WRITE,
    ("place", "call"): Effect.SEND,
    ("make", "call"): Effect.SEND,
}


_HANDS = lexicon("send transfer swap stake")
# Read although no principal asks for them by such a word (`words.py` does not know them).
_HEADS = (
    _READS
    | _GOES
    | _DELETES
    | _SENDS
    | _PAYS
    | _EXECUTES
    | _GRANTS
    | _SESSION
    | _BOOKS
    | _INSTRUCTS
)


class Said(Value):
    """An effect or a reach, why, and how sure that is."""

    effect: Effect = Effect.EXECUTE
    why: str = ""
    sure: Sureness = Sureness.LOW


def effect_of(does: Doing, roles: dict[str, Role]) -> Said:
    """The effect of a tool."""
    if not does.verb and not does.described_verb:
        return Said(why="nothing says what it does, so the worst is assumed")
    for (first, second), effect in _PHRASES.items():
        if first in does.parts and second in does.parts:
            return Said(
                effect=effect, why=f"its name says `{first} {second}`", sure=Sureness.MEDIUM
            )
    head = does.parts[0] if does.parts and does.parts[0] in _HEADS else ""
    found = _by_verb(does.verb or head or does.described_verb, does, roles)
    for other in does.others:
        # "get_or_create": what does more counts.
        more = _by_verb(other, does, roles)
        if found.effect is Effect.READ and more.effect is not Effect.READ:
            found = more
    return found


def _by_verb(  # noqa: C901, PLR0911 -- one return a rule, in order
    verb: str, does: Doing, roles: dict[str, Role]
) -> Said:
    named = f"its verb is `{verb}`"
    if verb in _READS:
        return _reads(verb, does, roles)
    if Role.CONTENT not in roles.values():
        if verb in _GOES and Role.URL in roles.values():
            why = f"{named}, and it takes an address"
            return Said(effect=Effect.READ, why=why, sure=Sureness.LOW)
        if verb == "log" and does.parts[-1] == "log":
            return Said(effect=Effect.READ, why="it is called a log", sure=Sureness.LOW)
    if verb in _HANDS and not (does.nouns & RIGHTS) - {"token"} and "token" in does.nouns:
        return Said(effect=Effect.PAY, why="it moves tokens", sure=Sureness.MEDIUM)
    lasting = _outlives(verb, does)
    if lasting is not None:
        return lasting
    if verb in _SESSION:
        return Said(effect=Effect.WRITE, why=f"{named}: a session", sure=Sureness.MEDIUM)
    if verb in _DELETES:
        return Said(effect=Effect.DELETE, why=named, sure=Sureness.HIGH)
    paid = _pays(verb, does, frozenset(roles.values()))
    if paid is not None:
        return paid
    if verb in _SENDS:
        return Said(effect=Effect.SEND, why=named, sure=Sureness.HIGH)
    if verb in _EXECUTES:
        return Said(effect=Effect.EXECUTE, why=named, sure=Sureness.MEDIUM)
    if Role.COMMAND in roles.values():
        return Said(effect=Effect.EXECUTE, why="it takes a command", sure=Sureness.MEDIUM)
    return _by_family(named, does)


def _by_family(named: str, does: Doing) -> Said:
    kinds = does.families or does.described
    for families, effect in (
        (frozenset({Family.CREATE, Family.UPDATE}), Effect.WRITE),
        (frozenset({Family.DELETE}), Effect.DELETE),
        (frozenset({Family.SEND}), Effect.SEND),
    ):
        if kinds & families:
            return Said(effect=effect, why=named, sure=Sureness.MEDIUM)
    if kinds == frozenset({Family.READ}):
        return Said(effect=Effect.READ, why=named, sure=Sureness.MEDIUM)
    return Said(why=f"{named}, which is not a word for reading or writing")


def _reads(verb: str, does: Doing, roles: dict[str, Role]) -> Said:
    """A reading name. A description or an argument that acts is believed before it."""
    told = does.described_verb
    if verb == "convert" and any(
        role is Role.OBJECT and path.endswith("_id") for path, role in roles.items()
    ):
        return Said(
            effect=Effect.WRITE, why="it converts something that is kept", sure=Sureness.LOW
        )
    fields = {path.rpartition(".")[2].lower() for path in roles}
    if Role.COMMAND in roles.values():
        code = _CODE & (does.nouns | does.described_nouns | fields)
        if verb not in _COMPUTES or code:
            return Said(effect=Effect.EXECUTE, why="it takes a command", sure=Sureness.MEDIUM)
    if _REQUESTS & fields or any(field.startswith("new_") for field in fields):
        sends = Role.URL in roles.values()
        effect = Effect.SEND if sends else Effect.WRITE
        return Said(effect=effect, why="it takes what is to be written", sure=Sureness.MEDIUM)
    if told and told not in _READS | _SAYS and does.described - {Family.READ}:
        said = _by_verb(told, does, roles)
        if said.effect is not Effect.READ:
            why = f"its name reads and its description says `{told}`"
            return Said(effect=said.effect, why=why, sure=Sureness.LOW)
    sure = Sureness.HIGH if told in _READS or not told else Sureness.MEDIUM
    return Said(effect=Effect.READ, why=f"its verb is `{verb}`", sure=sure)


def _outlives(verb: str, does: Doing) -> Said | None:
    """What changes who may do what, or what other runs obey."""
    if verb in _DELETES and not does.nouns & INSTRUCT:
        return None
    if verb in _INSTRUCTS or does.nouns & INSTRUCT:
        why = "it writes what other runs obey"
        return Said(effect=Effect.INSTRUCT, why=why, sure=Sureness.MEDIUM)
    if does.nouns & RIGHTS or verb in _GRANTS:
        return Said(effect=Effect.GRANT, why="it changes who may do what", sure=Sureness.HIGH)
    if verb in _LETS_IN and {singular(noun) for noun in does.nouns} & _CIRCLES:
        return Said(effect=Effect.GRANT, why="it lets somebody in", sure=Sureness.MEDIUM)
    return None


def _pays(verb: str, does: Doing, has: frozenset[Role]) -> Said | None:
    nouns = does.nouns | does.described_nouns
    moves = bool(nouns & (MONEY | {"credit", "payout"})) and verb in _MOVES
    valued = bool({Role.AMOUNT, Role.ACCOUNT} & has)
    sends = Role.AMOUNT in has and bool({Role.ACCOUNT, Role.RECIPIENT} & has)
    if verb in _PAYS or sends or (moves and valued):
        return Said(effect=Effect.PAY, why="it moves money", sure=Sureness.HIGH)
    if verb in _BOOKS:
        return Said(effect=Effect.PAY, why=f"`{verb}`: somebody pays for it", sure=Sureness.MEDIUM)
    return None


def reach_of(
    does: Doing, has: frozenset[Role], effect: Effect, hinted: JSONObject
) -> tuple[Reach, str, Sureness]:
    """The reach of a tool, why, and how sure that is."""
    if hinted.get("openWorldHint") is True:
        return Reach.OPEN, "it says that it reaches the open world", Sureness.HIGH
    if Role.URL in has:
        return Reach.OPEN, "it takes an address to go to", Sureness.HIGH
    if effect in (Effect.SEND, Effect.PAY):
        return Reach.OPEN, "what it sends leaves", Sureness.HIGH
    if Role.RECIPIENT in has and effect is not Effect.READ:
        return Reach.OPEN, "somebody receives what it writes", Sureness.MEDIUM
    if does.nouns & _OUTSIDE:
        return Reach.OPEN, "its name speaks of the outside", Sureness.MEDIUM
    return Reach.CLOSED, "nothing says that it leaves the upstream", Sureness.LOW


__all__ = ["Said", "effect_of", "reach_of"]
