"""The executable of a model called by its name, as the commands show and measure it. Stands on top."""
from __future__ import annotations

import graphc as gc
from graphc.models import declare


def compiled(name: str, pipeline: str | gc.Pipeline = "default", target: str = "", products: str = "auto") -> gc.Executable:
    """The executable of the model called `name`, for this machine's CPU or for a GPU such as "sm_90", where `products` says who multiplies
    matrices (see `ConfigProto`)."""
    config = gc.ConfigProto(pipeline=pipeline, products=products)
    with gc.Graph().as_default() as graph, gc.Session(graph=graph, config=config) as session:
        fetches, feeds = declare(name)
        return session.compile(fetches, feeds, target=target)
