"""What a plan says, in numbers and words: for the page and the terminal alike."""

import math
from dataclasses import dataclass

from absa.policy.goodput import efficiency_interval
from absa.policy.interval import Interval
from cluster.planning.find import Plan
from cluster.planning.frontier import Row
from cluster.views import number_format as show
from cluster.views.fields import printable


@dataclass(frozen=True)
class Finding:
    """One number with its label and a remark."""

    label: str
    value: str
    remark: str


def money(plan: Plan, row: Row) -> Interval:
    """Return what a row costs: in the currency of the price, or in worker-hours."""
    return row.worker_hours.scaled(plan.price) if plan.price else row.worker_hours


def money_name(plan: Plan) -> str:
    """Return what `money` is called."""
    return "money" if plan.price else "worker-hours"


def pick(row: Row) -> str:
    """Return the option that makes a row's number the limit of a run."""
    return f"--set workers.max={row.workers}"


def span(interval: Interval) -> str:
    """Return the ends of an interval of money."""
    return f"{amount(interval.lower, 2)} - {amount(interval.upper, 2)}"


def amount(value: float, digits: int = 3) -> str:
    """Return money or hours as they are told."""
    return show.significant(value, digits) if math.isfinite(value) else show.MISSING


def time_span(interval: Interval) -> str:
    """Return the ends of an interval of seconds."""
    return f"{show.duration(interval.lower)} - {show.duration(interval.upper)}"


def findings(plan: Plan) -> list[Finding]:
    """Return the numbers that a reader wants first."""
    first, last, staffing = plan.frontier.rows[0], plan.frontier.rows[-1], plan.frontier.staffing
    return [
        Finding("workers that pay", show.count(staffing.pays), _how_sure(plan)),
        *(
            Finding(
                label,
                show.duration(row.time_s.value),
                f"{row.workers} {'worker' if row.workers == 1 else 'workers'}, "
                f"{amount(money(plan, row).value)} {money_name(plan)}",
            )
            for label, row in (("cheapest", first), ("fastest", last))
        ),
    ]


def _how_sure(plan: Plan) -> str:
    staffing = plan.frontier.staffing
    low, high = staffing.likely
    if high == staffing.rows[-1].workers and staffing.most < plan.most:
        return f"{low} or more; beyond {staffing.most} once these are measured"
    return "sure" if low == high else f"{low} to {high} are possible"


def told(plan: Plan) -> list[str]:
    """Return what the plan rests on and what it leaves out, in paragraphs."""
    return [text for text in (_pays(plan), _trained(plan), _seen(plan), _besides(plan)) if text]


def _pays(plan: Plan) -> str:
    reason, fastest = plan.frontier.staffing.reason, plan.frontier.rows[-1].workers
    words = f"{reason[:1].upper()}{reason[1:]}."
    if fastest < plan.most:
        words += f" More than {fastest}, up to {plan.most}, would take longer and cost more."
    return words


def _trained(plan: Plan) -> str:
    batches = [stage.global_batch for stage in plan.stages]
    noise, last = plan.measured.noise, batches[-1]
    path = str(last) if len(set(batches)) == 1 else f"{batches[0]} to {last}"
    num = sum(stage.num_updates for stage in plan.stages)
    words = f"Time is that of {show.count(num)} updates at a batch of {path}, whole"
    if plan.done is not None and plan.done < 1:
        words += f" ({show.percent(plan.done, 0)} of the samples are done)"
    if noise is not None and last != plan.job.batch.initial:
        share = efficiency_interval(noise, last, plan.job.batch.initial)
        words += (
            f". By the noise scale at the end a sample of a batch of {last} teaches "
            f"{_percents(share)} of what one in a batch of {plan.job.batch.initial} does"
        )
    return words + "."


def _percents(share: Interval) -> str:
    return f"{show.percent(share.lower, 0)} to {show.percent(share.upper, 0)}"


def _seen(plan: Plan) -> str:
    seen, misfit = plan.model.seen, plan.model.misfit
    workers = " to ".join(dict.fromkeys(map(str, seen.workers)))
    runs = f"{len(plan.runs)} runs" if len(plan.runs) > 1 else plan.runs[0].name
    device = f" ({printable(plan.measured.device)})" if plan.measured.device else ""
    ways = f"{seen.num_loads} ways" if seen.num_loads > 1 else "one way"
    noun = "worker" if seen.workers[1] == 1 else "workers"
    words = (
        f"Measured: {show.count(seen.num_updates)} updates of {runs} on {workers} {noun}{device}, "
        f"cut in {ways}. The model of their time is trusted to {show.percent(misfit, 0)} there; "
        f"intervals hold the truth with {show.percent(plan.model.confidence, 0)}"
    )
    if seen.workers[1] == 1:
        words += "; what a second worker costs in communication was never seen"
    words += "; rows marked ? lie outside of what was measured."
    return words + (f" {seen.left_out}." if seen.left_out else "")


def _besides(plan: Plan) -> str:
    if not plan.measured.besides_s:
        return ""
    return (
        "Not included: start-up, checkpoints, and evaluations and curvature, which took "
        f"{show.duration(plan.measured.besides_s)} in {plan.runs[0].name}."
    )
