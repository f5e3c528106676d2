"""The faults, one function each; `ALL` has them in the order of the report."""

from __future__ import annotations

from trio_chat.testing.battery.faults.clients_gone import CLIENTS_GONE
from trio_chat.testing.battery.faults.controls import CONTROLS
from trio_chat.testing.battery.faults.failover import FAILOVER
from trio_chat.testing.battery.faults.floods import FLOODS
from trio_chat.testing.battery.faults.network import NETWORK
from trio_chat.testing.battery.faults.postgres_gone import POSTGRES_GONE
from trio_chat.testing.battery.faults.redis_gone import REDIS_GONE
from trio_chat.testing.battery.faults.redis_trouble import REDIS_TROUBLE
from trio_chat.testing.battery.faults.server_gone import SERVER_GONE
from trio_chat.testing.battery.faults.server_trouble import SERVER_TROUBLE
from trio_chat.testing.battery.faults.shouting import SHOUTING

ALL = (
    *(
        *REDIS_GONE,
        *REDIS_TROUBLE,
        *FAILOVER,
        *NETWORK,
        *POSTGRES_GONE,
        *SERVER_GONE,
        *SERVER_TROUBLE,
        *CLIENTS_GONE,
        *FLOODS,
        *SHOUTING,
    ),
    *CONTROLS,
)
