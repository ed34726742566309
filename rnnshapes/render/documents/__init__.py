"""One module for each kind of result: how it looks to people and to programs.

Each has ``document(result, view)`` for people, ``record(result)`` for JSON and ``rows(result)`` for
CSV; those of a Trace and of a Golden have ``arrays(result)``, too, and that of a Golden
``header(result)``.
"""
