"""Ranks of one machine that come together."""

import socket

import torch
import torch.distributed as dist

from absa.host_memory import keep_freed_memory


def join(rank: int, world_size: int, port: int) -> torch.device:
    """Come together with the other ranks, with the allocator as our workers set it.

    Args:
        rank: This one.
        world_size: How many there are.
        port: What `free_port` returned.

    Returns:
        Where this rank computes.
    """
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    keep_freed_memory()
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(
        backend, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size
    )
    return device


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
