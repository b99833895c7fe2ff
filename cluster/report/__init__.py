"""The report of a run as one self-contained HTML file."""

from cluster.report.write import write_report

__all__ = ["write_report"]
