"""The battery of faults: real servers, real clients and a proxy that plays tricks, and what must hold meanwhile.

``python -m trio_chat.testing.battery`` runs it; see `docs/reliability.md`. Needs the extras ``trio-chat[embedded]``.
"""
