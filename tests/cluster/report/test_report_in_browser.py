"""The report in a real browser: the script runs under the page's own policy and draws."""

import re
from pathlib import Path
from types import ModuleType

from browser import in_browser, open_page

from cluster.report import write_report

pytestmark = in_browser

PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const drawn = () => [...document.querySelectorAll(".plot canvas")].filter((canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value) => value > 0);
  }).length;
  const result = [drawn()];
  document.querySelector("input[value=seconds]").click();
  document.querySelector("input[data-log]").click();
  setTimeout(() => {
    result.push(drawn());
    document.body.dataset.probe = result.join(" ");
  }, 100);
}, 100));
</script></body>"""


def test_script_runs_without_an_error_under_the_policy(replay: ModuleType, tmp_path: Path) -> None:
    folder = replay.write_run(tmp_path / "run", replay.journal())
    dom, log = open_page(Path(write_report(folder)), tmp_path / "profile", timeout_s=300)
    assert log == ""
    assert 'data-drawn="8"' in dom
    assert dom.count("<canvas") == 8 + 5  # eight charts, and the key of five kinds of mark
    assert re.search(r'u-value">0\.012', dom)


def test_every_canvas_is_painted_over_samples_and_over_time(
    replay: ModuleType, tmp_path: Path
) -> None:
    folder = replay.write_run(tmp_path / "run", replay.journal())
    page = Path(write_report(folder)).read_text("utf-8")
    unlocked = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    probed = folder / "probed.html"
    probed.write_text(unlocked.replace("</body>", PROBE), "utf-8")
    dom, log = open_page(probed, tmp_path / "profile", timeout_s=300)
    assert log == ""
    assert 'data-probe="8 8"' in dom


def test_a_run_with_one_observation_opens(replay: ModuleType, tmp_path: Path) -> None:
    folder = replay.write_run(tmp_path / "run", replay.journal()[:2], job="")
    dom, log = open_page(Path(write_report(folder)), tmp_path / "profile", timeout_s=300)
    assert log == ""
    assert "data-drawn" in dom
