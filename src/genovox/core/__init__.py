"""What every stage shares: volumes, cases, the study, artifacts, errors, tasks and the log."""
