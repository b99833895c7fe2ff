"""Every error that absa raises on purpose.

AbsaError
├── InputError          what the user gave cannot be used
│   ├── ConfigError         the job file or an argument is wrong
│   ├── DataError           a data set is missing, corrupt or not what it says
│   ├── TaskError           a task breaks its contract (losses, metrics, model)
│   ├── CheckpointError     a checkpoint is missing, unreadable or tampered with
│   └── ClusterError        the cluster cannot give what the job needs
├── DivergenceError     training produced too many non-finite updates in a row
├── MeasurementError    a signal could not be measured
└── ResizeError         workers could not join or leave

A message says what is wrong, the value it got, what is allowed and what to do. The command line
prints it without a traceback and exits with `exit_code`.
"""


class AbsaError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 1


class InputError(AbsaError):
    """What the user gave cannot be used: nothing was started, nothing was changed."""

    exit_code = 2


class ConfigError(InputError):
    """The job file or an argument is wrong."""


class DataError(InputError):
    """A data set is missing, corrupt or not what it says."""


class TaskError(InputError):
    """A task breaks its contract."""


class CheckpointError(InputError):
    """A checkpoint is missing, unreadable or tampered with."""


class ClusterError(InputError):
    """The cluster cannot give what the job needs."""


class DivergenceError(AbsaError):
    """Training produced too many non-finite updates in a row."""

    exit_code = 3


class MeasurementError(AbsaError):
    """A signal could not be measured."""


class ResizeError(AbsaError):
    """Workers could not join or leave."""
