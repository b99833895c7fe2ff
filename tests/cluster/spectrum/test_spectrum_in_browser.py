"""The spectrum's page in a real browser, beside the run's curves and alone."""

from pathlib import Path

import pytest
from browser import in_browser, open_page

from absa.journal import read_journal
from cluster.report.run_files import write_page
from cluster.spectrum.measure import measure
from cluster.spectrum.options import Options
from cluster.spectrum.page import make_page

pytestmark = in_browser


@pytest.mark.parametrize("measured_while_training", [True, False])
def test_every_curve_is_drawn_without_an_error(run, restore, tmp_path, measured_while_training):
    restored = restore()
    spectrum = measure(restored, Options(starts=2, steps=12), lambda text: None)
    records = read_journal(run.storage) if measured_while_training else []
    page = make_page(restored, spectrum, records)

    dom, log = open_page(Path(write_page(tmp_path, page, "x.html")), tmp_path / "profile")

    assert log == ""
    num_charts = page.count('class="plot"')
    assert num_charts >= 1 + measured_while_training
    assert f'data-drawn="{num_charts}"' in dom
    # The key of the marks is a canvas too; the curves of the run bring theirs.
    assert dom.count("<canvas") >= num_charts + 1
