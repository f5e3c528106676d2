"""HTTP for people and machines: the chat page and what stands beside it."""
