"""``trace --follow``: one time step after the other, on a terminal."""
