"""Whatever a journal says, it is explained and replayed, or refused with a message."""

import contextlib
import io

import pytest
from decided_journal import journal, resolved, write_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from absa.errors import AbsaError
from cluster.explaining.explain import explain
from cluster.replaying.draw import draw_replay
from cluster.replaying.other import Other

JOB = resolved("policy.kind=hybrid", "policy.reference_epochs=0.1")
RECORDS = journal(JOB, stopped="not_fallen")
KEYS = sorted({key for record in RECORDS for key in record} - {"lineage"})

values = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(-1e6, 1e6),
    st.sampled_from([10**400, "x", "\x1b[2J", [], {}, [1, 2], [None, None], [10**400, 3]]),
)
damages = st.tuples(st.integers(0, len(RECORDS) - 1), st.sampled_from(KEYS), values)


@pytest.mark.soak
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(damages, max_size=8), st.integers(0, len(RECORDS)))
def test_damage_is_told_around_or_refused(tmp_path_factory, damaged, length):
    records = [dict(record) for record in RECORDS]
    for index, key, value in damaged:
        records[index][key] = value
    folder = str(write_run(tmp_path_factory.mktemp("damaged"), records[:length], JOB))
    for other in (None, Other(), Other(None, ("policy.kind=abs",))):
        stream = io.StringIO()
        console = Console(file=stream, width=80, highlight=False)
        with contextlib.suppress(AbsaError):
            if other is None:
                explain(folder, "nowhere", console)
            else:
                draw_replay(folder, other, "nowhere", console)
        assert "\x1b" not in stream.getvalue()
