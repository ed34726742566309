"""Known mistakes of ports: a module for each subject, and all of them in ``families``.

A public function of such a module yields the mistakes of one kind that a network allows, each
with the hypothesis that the port makes it.
"""
