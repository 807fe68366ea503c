"""Measure the delay from PostgreSQL to a WebSocket: `python benchmarks/push_latency.py [--count 200]`.

From the statement that completes an embedding, sent by an unrelated program, to the event at a WebSocket of a server
that did not run it; `--count` in sequence, with two servers, first with PostgreSQL alone and then with Redis. All are
real processes on this machine.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import postgres
import s3
from postgres_cluster import Fleet, measure_push_ms
from redis_server import RedisServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="push-") as scratch:
        redis = RedisServer(Path(scratch))
        for carrier, environment in (("PostgreSQL", {}), ("and Redis", {"SPLOOT_SERVER_EVENTS": redis.url})):
            folder = Path(scratch) / carrier
            with fleet_in(folder, environment) as fleet:
                fleet.serve(0), fleet.serve(1)
                took_ms = sorted(asyncio.run(measure_push_ms(fleet, count=arguments.count)))
            p99 = took_ms[int(0.99 * (len(took_ms) - 1))]
            print(f"{carrier}: {len(took_ms)} rows, median {statistics.median(took_ms):.1f} ms, ", end="")
            print(f"p99 {p99:.1f} ms, slowest {took_ms[-1]:.1f} ms")
        redis.kill()


@contextlib.contextmanager
def fleet_in(folder: Path, environment: dict[str, str]) -> Iterator[Fleet]:
    database = postgres.new_database()
    place = {"SPLOOT_SERVER_DATABASE": database, "SPLOOT_SERVER_BLOBS": s3.new_prefix()}
    os.environ.update({**s3.server(), **place, **environment})
    fleet = Fleet(folder, database)
    try:
        yield fleet
    finally:
        fleet.end()


if __name__ == "__main__":
    main()
