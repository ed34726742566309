"""Known mistakes of ports: a module for each subject, and all of them in ``families``."""
