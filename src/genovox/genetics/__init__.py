"""From genetic tests to labels: carrier, non-carrier, or why neither can be said."""
