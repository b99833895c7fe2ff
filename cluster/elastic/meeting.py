"""The members of a generation meet before they connect: who has what, and who sees which data."""

import json
import time
from dataclasses import asdict, dataclass

from torch._C._distributed_c10d import Store, TCPStore

from absa.errors import DataError
from cluster.elastic.membership import Membership
from cluster.elastic.protocol.member import Holding
from cluster.elastic.protocol.messages import Announcement, WorkerId
from cluster.ray_failure import LostPeerError

_LOOK_S = 0.002
"""How often to look; not `wait`, whose time-out torch reports on the standard error."""

_DATA = "data"


@dataclass(frozen=True)
class Card:
    """What a member tells the others.

    Args:
        holding: The state it has, or None.
        node: Where its process runs.
        data: What it sees of the data, for comparison.
    """

    holding: Holding | None
    node: str
    data: list[object]


def meet(membership: Membership, announcement: Announcement, mine: Card) -> dict[WorkerId, Card]:
    """Leave this member's card, wait for those of all others, and return them in order of ranks.

    Raises:
        LostPeerError: The generation is over before all have come, or the store cannot be reached.
    """
    if announcement.members == (membership.worker,):
        return {membership.worker: mine}
    try:
        # A client of its own, for 0.6 ms: one whose connection was lost once never works again.
        return _meet(membership, announcement, membership.store(), mine)
    except RuntimeError as error:
        raise LostPeerError(str(error)) from error


def _meet(
    membership: Membership, announcement: Announcement, store: TCPStore, mine: Card
) -> dict[WorkerId, Card]:
    place = f"card/{announcement.generation}"
    store.set(f"{place}/{membership.worker}", json.dumps(asdict(mine)))
    keys = [f"{place}/{worker}" for worker in announcement.members]
    while not store.check(keys):
        if membership.is_broken(announcement.generation):
            raise LostPeerError(f"generation {announcement.generation} is over")
        time.sleep(_LOOK_S)
    cards = [_card(store.get(key)) for key in keys]
    return dict(zip(announcement.members, cards, strict=True))


def ensure_same_data(cards: dict[WorkerId, Card], source: WorkerId, mine: WorkerId) -> None:
    """Return if this worker sees the data that the others train on.

    Raises:
        DataError: It does not: it would take other samples than they believe.
    """
    ensure_alike(cards[mine].data, cards[source].data)


def post_data(store: Store, data: list[object]) -> None:
    """Let newcomers know which data the run trains on."""
    store.set(_DATA, json.dumps(data))


def ensure_posted_data(store: Store, mine: list[object]) -> None:
    """Return if this worker sees the data that the run trains on, as far as that is known.

    A newcomer that does not is no loss to the others: they have not been interrupted yet.

    Raises:
        DataError: It does not.
    """
    if store.check([_DATA]):
        ensure_alike(mine, json.loads(store.get(_DATA)))


def ensure_alike(mine: list[object], theirs: list[object]) -> None:
    """Return if two workers see the same data and measure the same.

    Raises:
        DataError: They do not.
    """
    if mine != theirs:
        raise DataError(
            "this worker has training samples, evaluation samples, metrics and means to measure "
            f"curvature {mine}, the others {theirs}; every worker must see the same data, and "
            "curvature.every_epochs: null does without"
        )


def _card(data: bytes) -> Card:
    read = json.loads(data)
    holding = None if read["holding"] is None else Holding(**read["holding"])
    return Card(holding, read["node"], read["data"])
