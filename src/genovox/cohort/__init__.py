"""From exams and labels to an auditable cohort: who is in, who is not and why, folds."""
