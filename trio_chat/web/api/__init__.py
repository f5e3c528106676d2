"""The HTTP API for back ends, `/api/v1`: what a program does to rooms without a WebSocket.

A request goes through `site` (origin, route, token, rate), `reading` (query and body, strictly) and one handler of `rooms`
or `operators`; whatever is refused on the way is a `Problem`. `openapi` describes the very table that `site` serves.
"""
