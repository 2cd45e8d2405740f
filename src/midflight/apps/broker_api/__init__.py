"""The SPIFFE Broker API (incubating): SVIDs of local processes, for brokers that represent them.

    server.py       the endpoint: mutual TLS with X509-SVIDs on a Unix socket, and its own SVID
    calls.py        which broker asks for which process, and what it may have
    descriptors.py  the messages, and the details of errors

A broker is named in the settings together with the workloads that it may represent. What a process
is entitled to is `workload_api/entitled.py`'s to say, as if it had asked itself.
"""
