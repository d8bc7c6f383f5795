"""A run as one self-contained HTML page, made from the files of its folder alone."""

from holoprop.report.page import write_report
from holoprop.report.records import ReportError

__all__ = ["ReportError", "write_report"]
