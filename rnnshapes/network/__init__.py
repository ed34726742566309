"""Graph of layers with named sizes, and its symbolic summary."""
