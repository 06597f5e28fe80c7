"""Child processes that touch media: started by ``media.child``, never imported by the server.

Each module answers one JSON request on stdin with JSON lines on stdout (``media.workers.protocol``).
"""
