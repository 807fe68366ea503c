"""Commands about speed: metrics, and why it is slow."""

import sys

from sploot import exits, render
from sploot.reach import client
from sploot.terminal import print_json, style
from splootd.protocol import GetMetrics, GetReport, Report, Slow, WhySlow
from splootd.wire import encode


def metrics(*, as_json: bool = False) -> int:
    """Prometheus' text, or the report."""
    if as_json:
        print_json(encode(client().ask(GetReport(), Report)))
    else:
        sys.stdout.write(client().text(GetMetrics()))
    return exits.DONE


def slow(*, as_json: bool = False) -> int:
    found = client().ask(WhySlow(), Slow)
    if as_json:
        print_json(encode(found))
    else:
        print("\n".join(render.slow(found, style())))
    return exits.DONE
