"""Who may be shown what, with a reason for every removal."""
