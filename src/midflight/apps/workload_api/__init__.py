"""The SPIFFE Workload API: gRPC on a Unix socket, for local processes.

    front.py        the public socket: who connects, as the kernel says; limits
    server.py       gRPC behind it, on a socket that nobody else reaches
    calls.py        what each call does
    changes.py      what wakes the streams
    descriptors.py  the messages, in a descriptor pool of their own

Identity comes from attestation; a caller says nothing about itself.
"""
