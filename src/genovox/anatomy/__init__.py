"""Where the patient is in a scan: body, breasts, brain, lesions."""
