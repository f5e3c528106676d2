"""Where sessions live: the hot store while they are active, the archive for good."""
