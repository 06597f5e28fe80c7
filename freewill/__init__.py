"""The composition root: settings, command line, and the wiring of every part.

This is the only package that builds things; nothing imports it but tests and the console script.
"""

__version__ = "0.1.0"
