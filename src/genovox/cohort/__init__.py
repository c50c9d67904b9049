"""From images and labels to an auditable cohort: manifest, labels, eligibility, folds."""
