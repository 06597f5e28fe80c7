"""Bytes of video and image: probing, ladder, encoding, packaging, pictures, object stores, signed URLs.

Nothing here decodes in the server process: ``media.workers`` holds the child modules that do, and only
they import ``av``. Everything else is pure or talks to files, a store or a child.
"""
