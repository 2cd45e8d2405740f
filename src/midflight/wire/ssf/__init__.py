"""The bytes of Shared Signals: SETs, subjects, what receivers ask for, pushes and polls.

    verify_set, hint          a SET that somebody sends, and whose it claims to be     sets.py
    HEADER                    of the SETs that are made here                           sets.py
    decode_subject            RFC 9493 and SSF 1.0 §3                                  subjects.py
    wish, status, …           requests of the stream management API (SSF 1.0 §8.1)     streams.py
    decode_poll …             RFC 8936, both sides                                     polls.py
    metadata                 the transmitter's document (SSF 1.0 §7), both sides      metadata.py

Pure. Above stand `apps/ssf`, `adapters/signals`, and the services by what is handed in to them.
"""

from midflight.wire.ssf.sets import HEADER, check_event, hint, verify_set
from midflight.wire.ssf.subjects import decode_subject

__all__ = ["HEADER", "check_event", "decode_subject", "hint", "verify_set"]
