"""Planning: how many patients show what."""
