"""The report as a reader gets it: parsed back from the file."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from absa.errors import InputError
from cluster.report import write_report
from cluster.report.run_files import RunFiles
from cluster.report.write import render

VOID = {"meta", "input", "link", "br", "img"}


class Page(HTMLParser):
    """Elements, texts and the embedded data of a document; it must be well nested."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join(text for tag, text in self.texts if tag not in ("script", "style"))

    @property
    def data(self) -> Any:
        found = re.findall(r'<script type="application/json" id="data">(.*?)</script>', self.html)
        assert len(found) == 1
        return json.loads(found[0], parse_constant=pytest.fail)

    def chart(self, title: str) -> Any:
        return next(chart for chart in self.data["charts"] if chart["title"] == title)


def page_of(
    records: list[dict[str, Any]], job: str = "name: x\n", location: str = "runs/x"
) -> Page:
    return Page(render(RunFiles(location, job, records)))


@pytest.fixture(scope="module")
def page(replay: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = replay.write_run(tmp_path_factory.mktemp("run"), replay.journal())
    path = write_report(folder)
    assert path == str(folder / "report.html")
    assert {entry.name for entry in folder.iterdir()} == {"job.yaml", "events.jsonl", "report.html"}
    return Page(Path(path).read_text("utf-8"))


def test_nothing_is_loaded_from_outside(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "href", "srcset", "style", "onclick"} & set(attributes)
    style = " ".join(text for tag, text in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_licence_of_what_is_embedded_travels_with_it(page: Page) -> None:
    assert "Permission is hereby granted, free of charge" in page.html
    assert "Copyright (c) 2022 Leon Sorokin" in page.html


def test_first_table_row_and_last_are_the_ends_of_the_curve(page: Page) -> None:
    accuracy = page.html.split('<div class="scroll"')[2]
    assert "<td>1.0</td><td>0:01</td><td>41.11 %</td>" in accuracy
    assert "<td>60.0</td><td>0:38</td>" in accuracy


def test_headline_settings_and_events_are_told(page: Page) -> None:
    for word in ("98.61 %", "99.17 %", "570", "86,220", "60.0 epochs", "all epochs done"):
        assert word in page.text
    assert "optimizer: {name: sgd, lr: 0.1" in page.text
    assert "batch 64 → 128: noise scale" in page.text
    assert "from checkpoint update-00000456" in page.text
    assert "update skipped: loss is not finite" in page.text


def test_marks_carry_position_and_reason(page: Page) -> None:
    kinds = [mark["kind"] for mark in page.data["marks"]]
    assert sorted(kinds) == [
        "fault",
        "resize",
        "resize",
        "resize",
        "resumed",
        "settings",
        "settings",
        "settings",
        "skipped",
    ]
    growth = next(mark for mark in page.data["marks"] if mark["kind"] == "settings")
    assert growth["samples"] == 12 * 1437
    assert growth["text"].startswith("batch 64 → 128: noise scale 147")


def test_resizes_are_steps_of_the_workers_a_number_and_marks(page: Page) -> None:
    (workers,) = page.chart("Workers")["series"]
    steps = [v for i, v in enumerate(workers["values"]) if i == 0 or v != workers["values"][i - 1]]
    assert steps == [1, 2, 1, 2]
    texts = [mark["text"] for mark in page.data["marks"] if mark["kind"] == "resize"]
    assert texts[0] == "2 workers (1 joined) after a stall of 83 ms: planned from epoch 20 on"
    assert texts[1] == "1 worker (1 lost) after a stall of 410 ms: a worker was lost"
    assert re.search(r"resizes\s+3\s+572 ms of stall, 1\.\d % of the time", page.text)


def test_the_workers_step_at_the_resize_itself_not_at_the_next_observation() -> None:
    page = page_of(
        [
            {"event": "run_started", "samples": 0, "time": 0.0, "workers": 1, "lineage": 0},
            {"event": "resize", "samples": 30, "time": 3.0, "after": 4, "lineage": 0},
            {"event": "observation", "samples": 90, "time": 9.0, "workers": 4, "lineage": 0},
        ]
    )
    chart = page.chart("Workers")
    assert list(zip(chart["samples"], chart["series"][0]["values"], strict=True)) == [
        (0, 1),
        (30, 4),
        (90, 4),
    ]


def test_the_stall_of_a_restart_counts_although_the_axis_of_time_leaves_it_out() -> None:
    common = {"update": 1, "samples": 50}
    page = page_of(
        [
            {"event": "run_started", "samples": 0, "time": 0.0, "lineage": 0},
            {"event": "observation", "time": 10.0, "lineage": 0, **common},
            {"event": "run_started", "time": 20.0, "lineage": 1, **common},
            {"event": "resize", "time": 20.0, "seconds": 10.0, "lineage": 1, **common},
            {"event": "observation", "time": 40.0, "samples": 90, "lineage": 1},
        ]
    )
    assert re.search(r"resizes\s+1\s+10 s of stall, 25\.0 % of the time", page.text)


def test_a_run_that_was_never_resized_says_nothing_of_it() -> None:
    assert "resizes" not in page_of([{"event": "observation", "lineage": 0}]).text


def test_curves_run_forward_through_a_resume(page: Page) -> None:
    for chart in page.data["charts"]:
        assert chart["samples"] == sorted(chart["samples"])
        assert chart["seconds"] == sorted(chart["seconds"])
    accuracy = page.chart("Accuracy")
    assert accuracy["samples"] == [1437 * epoch for epoch in range(1, 61)]
    assert "abandoned" in page.text


def test_every_chart_has_words_and_a_table(page: Page) -> None:
    figures = page.html.split("<figure>")[1:]
    assert len(figures) == len(page.data["charts"]) == 8
    for figure, chart in zip(figures, page.data["charts"], strict=True):
        assert f">{chart['title']}</h3>" in figure
        assert 'role="img" aria-labelledby="title-' in figure
        assert figure.count("<tr>") > 1
    assert "Global batch: from 64 to 512" in page.text


def test_identifiers_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


EVIL = """</script><script>alert(1)</script><img src=x onerror=alert(1)> "'&<!-- ]]> $name \u2028"""


def test_hostile_texts_stay_texts() -> None:
    common = {"lineage": 0, "time": 1.0, "samples": 5, "update": 1}
    page = page_of(
        [
            {"event": "run_started", "name": EVIL, "run": EVIL, "model": EVIL, **common},
            {"event": "evaluation", "metrics": {EVIL: 0.5, "accuracy": 0.1}, **common},
            {"event": "settings", "changed": {EVIL: [EVIL, 1]}, "reason": EVIL, **common},
            {"event": EVIL, "x": EVIL, **common},
            {"event": "run_ended", "reason": EVIL, "metrics": {EVIL: EVIL}, **common},
        ],
        job=EVIL,
        location=f"/tmp/{EVIL}",
    )
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert page.data["marks"][0]["text"].count("<script>alert(1)</script>") == 3
    assert "$name" in page.text


@pytest.mark.parametrize(
    "events", [[], ["run_started"], ["observation"], ["run_started", "evaluation"]]
)
def test_a_run_that_has_hardly_begun_has_a_report(events: list[str]) -> None:
    page = page_of([{"event": event} for event in events])
    assert "no end recorded" in page.text
    assert page.data["marks"] == []


def test_without_evaluation_the_report_says_so(replay: ModuleType) -> None:
    records = [r for r in replay.journal()[:60] if r["event"] != "evaluation"]
    page = page_of(records)
    assert "none yet" in page.text
    assert [s["label"] for s in page.chart("Loss")["series"]] == ["training"]
    assert not [chart for chart in page.data["charts"] if chart["title"] == "Accuracy"]


def test_numbers_that_are_not_finite_leave_a_gap(replay: ModuleType) -> None:
    page = page_of(
        [
            {"event": "observation", "loss": loss, "samples": i, "time": float(i)}
            for i, loss in enumerate([1.0, float("nan"), float("inf"), None, "no", 2.0])
        ]
    )
    assert page.chart("Loss")["series"][0]["values"] == [1.0, 2.0]


def long_observation(i: int) -> dict[str, Any]:
    """Never twice the same, with many digits: nothing compresses."""
    return {
        "event": "observation",
        "lineage": 0,
        "time": 1e9 + 1.37 * i,
        "samples": 517 * i,
        "update": i,
        "loss": 1.2345678 / (i + 1) + (i % 97) * 1.234567e-4,
        "learning_rate": 0.1 / (i + 1),
        "gradient_norm": 1.234567 + (i % 89) / 7,
        "global_batch": 64 + i % 5,
        "micro_batch": 16,
        "accumulation_steps": 1 + i % 3,
        "workers": 1 + i % 2,
        "samples_per_s": 999.123 + i % 83,
    }


@pytest.mark.cpu_heavy
def test_a_long_run_stays_small() -> None:
    records = [long_observation(i) for i in range(30_000)]
    common = {"time": 2e9, "lineage": 0, "samples": 1e8, "metrics": {"accuracy": 0.5}}
    for kind in ("update_skipped", "settings", "checkpoint", "evaluation"):
        records += [{"event": kind, "reason": "r" * 10_000, **common}] * 3_000
    page = page_of(records, job="a: b\n" * 100_000)
    assert len(page.html.encode()) < 2_000_000
    for chart in page.data["charts"]:
        for series in chart["series"]:
            assert sum(value is not None for value in series["values"]) <= 2_000
    assert "8,400 more in the middle are in events.jsonl" in page.text


def test_torn_and_foreign_lines_of_a_journal_are_left_out(tmp_path: Path) -> None:
    kept = b'{"event":"fault","what":"kept","lineage":0}'
    (tmp_path / "events.jsonl").write_bytes(
        kept + b'\n[1]\n\xff\xfe\n\n{"event":"fault","lineage":0,"wha'
    )
    with pytest.warns(UserWarning, match="is not a record, skipped"):
        html = Path(write_report(str(tmp_path))).read_text("utf-8")
    assert "fault: kept" in html


def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no run folder: .*no journal .*events\.jsonl"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.dictionaries(st.text(max_size=5), st.floats(), max_size=2),
)  # fmt: skip
keys = st.sampled_from(
    [
        "seconds",
        "after",
        "time",
        "lineage",
        "samples",
        "update",
        "num_train",
        "loss",
        "metrics",
        "best",
        "name",
    ]
)
kinds = st.sampled_from(
    ["run_started", "observation", "evaluation", "settings", "run_ended", "resize", "x", None]
)


@given(st.lists(st.builds(lambda k, r: {"event": k, **r}, kinds, st.dictionaries(keys, values))))
@settings(max_examples=40)
def test_no_record_breaks_the_report(records: list[dict[str, Any]]) -> None:
    page_of(records)
