"""Other projects' own clients against a server process, in an environment of theirs.

`scripts/clients.py` brings them; `programs` holds what runs there, which knows nothing of fishs2.
"""
