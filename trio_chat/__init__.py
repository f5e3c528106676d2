"""Chat rooms as supervised Trio actors."""
