"""A worker's side of the membership: a line to the coordinator beside the training thread."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Client, Connection

from torch._C._distributed_c10d import TCPStore

from absa.errors import ResizeError
from cluster.elastic.invitation import Farewell, Hello, Invitation, Welcome, hang_up, send_at_once
from cluster.elastic.protocol import member as machine
from cluster.elastic.protocol.member import Abort, Action, Holding, Member, Step
from cluster.elastic.protocol.messages import Reply
from cluster.ray_failure import LostPeerError

_LOOK_S = 0.02

HEARTBEAT_S = 1.0
"""How often a worker says that it lives; a tenth of its lease."""

_STORE_TIMEOUT = timedelta(seconds=60)


class CutOffError(ResizeError):
    """This worker is out of the group: its line to the coordinator has ended."""


class Membership:
    """Keeps a worker in touch with the coordinator while it trains; made in the thread that does.

    A thread sends what the coordinator must know and obeys announcements that break a generation;
    everything else waits until the training thread asks for its `next_action`.

    Args:
        invitation: Where the coordinator is.
        label: By which the process of this worker can be found.
        ip: The address at which other workers reach this one.

    Raises:
        OSError: Nobody answers.
    """

    def __init__(self, invitation: Invitation, label: str, ip: str) -> None:
        self.invitation, self.ip = invitation, ip
        self._line: Connection = Client((invitation.ip, invitation.port), authkey=invitation.key)
        send_at_once(self._line)
        self._line.send(Hello(label))
        welcome = self._line.recv()
        assert isinstance(welcome, Welcome)
        self.worker, self.first_lineage = welcome.worker, welcome.first_lineage
        self._lease_s = welcome.lease_s
        self._member = Member(welcome.worker)
        self._turn = threading.Lock()
        self._actions: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._broken = -1
        self._thread = threading.get_ident()
        self.waits = False
        self._num_waits = self._progressed = 0
        self._position = 0
        self._hung_up = False
        threading.Thread(target=self._run, name="membership", daemon=True).start()

    def store(self) -> TCPStore:
        """Return a new client of the store through which process groups are made."""
        ip, port = self.invitation.ip, self.invitation.store_port
        return TCPStore(ip, port, is_master=False, wait_for_workers=False, timeout=_STORE_TIMEOUT)

    def next_action(self) -> Action:
        """Wait for what the training thread has to do next.

        Raises:
            CutOffError: Nobody says who is in the group any more.
        """
        action = self._actions.get()
        if action is None:
            raise CutOffError(
                f"the coordinator of the worker group is gone, or has given worker {self.worker} "
                "up; if the command that started the run has ended, go on from the newest "
                "checkpoint with absa train --resume"
            )
        return action

    def warmed_up(self) -> None:
        """Say that this worker can join."""
        with self._turn:
            self._take(machine.warmed_up(self._member))

    def give_up(self, generation: int) -> None:
        """Let nobody in this process wait in a collective of a generation any more."""
        self._broken = max(self._broken, generation)

    def failed(self, generation: int) -> None:
        """Say that a collective of a generation failed."""
        self.give_up(generation)
        with self._turn:
            self._keep_position()
            self._take(machine.failed(self._member, generation))

    def formed(self, generation: int, holdings: dict[int, Holding | None]) -> None:
        """Say that the process group stands, and who has what."""
        with self._turn:
            self._take(machine.formed(self._member, generation, holdings))

    def settled(self, generation: int, holding: Holding) -> None:
        """Say that this worker has the state with which its generation trains."""
        self._position = holding.update
        with self._turn:
            self._take(machine.settled(self._member, generation, holding))

    def left_for_newer(self, generation: int) -> None:
        """Say that all members of a generation stand at a boundary and leave for a newer one."""
        with self._turn:
            self._keep_position()
            self._take(machine.at_boundary(self._member, generation, newer=True))

    def reached(self, position: int) -> None:
        """Note how far the training has come; costs no more than an assignment."""
        self._position = position

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Note that the training thread waits for its peers, in a collective."""
        if threading.get_ident() != self._thread:
            yield  # what else waits holds nobody up
            return
        self.waits = True
        try:
            yield
        finally:
            self._num_waits += 1
            self.waits = False

    def farewell(self) -> None:
        """Say that the training is over, for all, and hang up."""
        with self._turn:
            self._hung_up = True
            with contextlib.suppress(OSError):  # it is over all the same
                self._line.send(Farewell())
            hang_up(self._line)

    def close(self) -> None:
        """Hang up: this worker gives up its place, and may write nothing more."""
        with self._turn:
            self._hung_up = True
            self._member = machine.cut_off(self._member)
            hang_up(self._line)

    def is_superseded(self, generation: int) -> bool:
        """Return whether a newer generation is announced; asked at every update."""
        newest = self._member.announced
        return newest is not None and newest.generation > generation

    def is_broken(self, generation: int) -> bool:
        """Return whether whoever waits in a collective of a generation must give up."""
        ended = self._hung_up or self._member.phase == "gone"
        return generation <= self._broken or ended

    def ensure_current(self, generation: int) -> None:
        """Return if an update of a generation may change the weights now.

        Raises:
            LostPeerError: This worker may have been replaced without knowing.
        """
        if not machine.may_apply(self._member, generation, time.monotonic()):
            raise LostPeerError(
                f"worker {self.worker} has not heard from the coordinator for {self._lease_s:g} s, "
                f"or generation {generation} is over: it may have been replaced"
            )

    def wait_for_lease(self) -> None:
        """Return once this worker knows that it has not been replaced; for what takes long.

        Raises:
            LostPeerError: It has been replaced, or the coordinator is gone.
        """
        while time.monotonic() >= self._member.lease_until_s or self._member.phase == "gone":
            if self._hung_up or self._member.phase == "gone":
                raise LostPeerError(f"worker {self.worker} was replaced: it must write nothing")
            time.sleep(_LOOK_S)

    def _keep_position(self) -> None:
        """Let the member know how far the training has come."""
        holding = self._member.holding
        if holding is not None:
            holding = replace(holding, update=self._position)
            self._member = replace(self._member, holding=holding)

    def _take(self, step: Step) -> None:
        """Keep the new state, tell the coordinator, and pass on what is to be done."""
        before, (self._member, actions) = self._member, step
        for action in actions:
            if isinstance(action, Abort):
                self._broken = max(self._broken, action.generation)
            else:
                self._actions.put(action)
        if self._member.phase != before.phase or self._member.generation != before.generation:
            self._tell()

    def _progress(self) -> int:
        """Return a number that grows as long as the training thread gets anything done.

        Its processor time does, wherever it is; one that hangs takes none. While it waits for its
        peers it takes some to look up, but gets nothing done.
        """
        if self.waits:
            return self._progressed
        self._progressed = self._position + self._num_waits + self._processor_ms()
        return self._progressed

    def _processor_ms(self) -> int:
        try:
            clock = time.pthread_getcpuclockid(self._thread)
            return int(time.clock_gettime(clock) * 1000)
        except (AttributeError, OSError):
            return 0  # a system without such clocks, or the thread has ended

    def _tell(self) -> None:
        self._keep_position()
        self._member, status = machine.status(
            self._member, time.monotonic(), self._progress(), waits=self.waits
        )
        try:
            self._line.send(status)
        except OSError:
            self._lost_line()

    def _lost_line(self) -> None:
        """Note that the coordinator is gone; the training thread notices at its next step."""
        if not self._hung_up:
            self._hung_up = True
            self._member = machine.cut_off(self._member)
            self._actions.put(None)

    def _run(self) -> None:
        try:
            while not self._hung_up:
                reply = self._line.recv() if self._line.poll(HEARTBEAT_S) else None
                with self._turn:
                    if reply is None:
                        self._tell()
                    else:
                        self._hear(reply)
        except (OSError, EOFError):
            with self._turn:
                self._lost_line()
        finally:
            with self._turn:  # nobody may write to a line that is being closed
                self._line.close()

    def _hear(self, reply: Reply) -> None:
        self._take(machine.replied(self._member, reply, self._lease_s))
