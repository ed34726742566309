"""Mistakes with unknown numbers, which are fitted to the numbers of a port."""
