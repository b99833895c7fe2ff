"""What happened in a run: the records of the journal, which every view and report reads.

A record is a flat JSON object. Every record has ``event`` (its kind), ``time`` (Unix seconds),
``lineage``, ``generation``, ``update`` (updates applied so far) and ``samples`` (samples consumed
so far; epoch = samples / num_train). The other keys, by kind:

run_started     run, name, task, model, num_parameters, num_train, num_evaluation, workers, device,
                threads, global_batch (that it begins with), total_samples (null when the end is not
                known in samples), policy (its kind), resumed_from (checkpoint name or null)
observation     loss (mean over the samples since the last observation), gradient_norm (of the last
                update, before clipping), learning_rate, global_batch, micro_batch,
                accumulation_steps (most passes of a rank), workers, samples_per_s, update_s
                (median), progress (0..1), time_left_s (null when unknown), epoch (float),
                noise_scale (samples; null if not resolved; from here on the keys are missing until
                the gradient noise was seen, see `absa.signals.NoiseScale`), noise_lower,
                noise_upper (null if not bounded), noise_trace, gradient_sq,
                noise_groups (object: name -> noise scale or null),
                noise_preconditioned
curvature       value (largest eigenvalue; null if nothing was measured), values, residuals, lower,
                upper (null if not bounded), failure_probability, stopped, num_products,
                num_samples, seconds (see `absa.signals.Curvature`)
decision        rule (of the policy; "keep", "missing", "stale", "undecided", "bounded", "hold":
                nothing changes; "dropped": what was decided came to nothing, because an operator
                was faster; "rate": the learning rate alone changes; "share": what is perturbed
                alone changes), reason, numbers (object: what was compared), limited_by (list of
                texts), decided_at (samples), global_batch, lr_scale, adversarial_ratio ([before,
                after] each)
warning         text (what the run must do without)
evaluation      metrics (object: name -> number), seconds, best (bool: best so far)
checkpoint      checkpoint (its name), seconds (writing, in the background), bytes, best (bool)
update_skipped  reason, loss (null if it is not finite), consecutive (skipped updates in a row)
settings        changed (object: name -> [old, new]), reason
fault           what, detail
resize          before, after (workers), joined, left, lost (numbers of workers), reason, seconds
                (from the end of the last update before to the start of the first after), phases
                (object: name -> seconds: what these were spent on)
run_ended       reason ("epochs", "updates", "samples", "time", "target", "interrupted",
                "diverged"), metrics (last evaluation), best_metrics, seconds, skipped, checkpoint
                (name of the last one or null)

Views also take two records that are no part of the journal: phase (text: what the driver is busy
with) and run_folder (path; report: where it lies, or null).
"""

from typing import Any, Protocol

Record = dict[str, Any]


class Recorder(Protocol):
    """Takes records; never blocks training."""

    def __call__(self, record: Record) -> None:
        """Take one record."""
        ...
