"""Moments over shards, with dask: the public name of :mod:`fastpath.streaming.distributed`."""

from fastpath.streaming.distributed import attend, moment_state

__all__ = ["attend", "moment_state"]
