"""The plan's page in a real browser."""

import pytest
from browser import in_browser, open_page
from planning_journal import GROWING, journal

from cluster.planning.find import plan_of
from cluster.planning.options import Options
from cluster.planning.page import make_page

pytestmark = in_browser


@pytest.mark.parametrize("windows", [GROWING, [(64, 1)]])
def test_both_curves_are_drawn_without_an_error(write_run, tmp_path, windows):
    plan = plan_of(str(write_run(journal(windows))), Options(), "nowhere")
    path = tmp_path / "plan.html"
    path.write_text(make_page(plan), "utf-8")
    document, logged = open_page(path, tmp_path / "profile")
    assert logged == ""
    assert document.count('class="uplot ') == 2
