"""From the runs' tables to differences with intervals, verdicts and advice."""
