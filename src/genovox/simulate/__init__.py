"""A simulated breast MRI cohort whose truth is known: patients, genetic tests, lesions, scans."""
