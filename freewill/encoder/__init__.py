"""``freewill encoder``: encodes on this machine for a server elsewhere (Y14, B48).

It asks, waits, encodes as the server itself would, in a child with the same limits, and brings what was made.
It keeps nothing: whatever breaks here or on the way, the server gives the job to somebody else.
"""
