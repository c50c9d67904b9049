"""Where lesions are: proposals from how the breast enhances, for a reader to correct."""
