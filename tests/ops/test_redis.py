"""The Redis stand-in as a real process, asked what the limits ask of Redis."""

from pathlib import Path

import redis

from ops.embedded import redis as stand_in
from ops.embedded.ports import free_port
from ops.embedded.supervisor import Supervisor


def test_it_serves_scripts_and_expiring_keys_and_stops_while_clients_are_connected(tmp_path: Path) -> None:
    port = free_port()
    with (
        Supervisor([stand_in.child(port)], state=tmp_path),
        redis.Redis.from_url(stand_in.url(port)) as client,
    ):
        assert client.set("probe", "1", nx=True, px=60_000)
        assert not client.set("probe", "2", nx=True, px=60_000)
        assert client.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "spent", 3) == 3
