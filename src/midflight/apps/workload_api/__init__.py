"""The SPIFFE Workload API: gRPC on a Unix socket, for local processes.

    front.py        the public socket: who connects, as the kernel says; limits
    serving.py      gRPC behind it, on a socket that nobody else reaches
    server.py       the API as a whole
    calls.py        what each call does
    entitled.py     what a process is entitled to, now and whenever it changes
    changes.py      what wakes the streams
    refused.py      how a call ends that is refused
    messages.py     SVIDs and bundles as messages
    descriptors.py  the messages, by `proto.py` in a descriptor pool of their own
    handlers.py     calls as gRPC wants them; what goes wrong becomes a status

Identity comes from attestation; a caller says nothing about itself. `apps/broker_api` stands on
the same parts for brokers, who ask on behalf of others.
"""
