"""Writes down how the updates since the last observation went."""

from absa.loop.listening import heard
from absa.loop.training import Training
from absa.observe import Window, forecast
from absa.update.cut import cut_update


def observe(training: Training, workers: int | None = None) -> None:
    """Record an observation, unless nothing was applied since the last.

    Args:
        training: Where to.
        workers: How many made these updates, or None for as many as there are now.
    """
    window = training.window
    if window.num_updates == 0:
        return
    progress, settings, replica = training.progress, training.settings, training.replica
    num_train = len(replica.train)
    world_size = workers or training.outside.collective.world_size
    done, left_s = forecast(training.rules.stop, progress, num_train, training.training_s)
    shares = cut_update(
        min(settings.global_batch, num_train),
        bn_group=replica.options.bn_group,
        micro_batch=settings.micro_batch,
        world_size=world_size,
    )
    summary = window.summary()
    training.last_loss = summary["loss"]
    training.record(
        "observation",
        **summary,
        **heard(training),
        learning_rate=training.applied_lr,
        global_batch=settings.global_batch,
        micro_batch=settings.micro_batch,
        accumulation_steps=max(len(share) for share in shares),
        workers=world_size,
        progress=done,
        time_left_s=left_s,
        epoch=progress.samples / num_train,
    )
    training.window = Window(window.last_s)
