"""Wyoming, the protocol of Home Assistant's voice programs: a TCP port beside the HTTP server.

listener -> session -> desk
             session: events of one connection, read by `frames`; `info` says what there is
"""
