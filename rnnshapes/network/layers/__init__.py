"""The layers of a network: which weights each owns, and what it does to a tensor."""
