"""Measuring a server from outside, as its clients see it: `fishs2 bench`.

    texts voices   what is asked for
    listening      one request, and what came of it
    parts          which requests, how many at once
    figures        raw answers into figures; pure functions
    report tables plot   what is shown and kept
    own_server     a server that lives as long as the measurement

Speaks HTTP only: it knows no more of the server than any client does.
"""
