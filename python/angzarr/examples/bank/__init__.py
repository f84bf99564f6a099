"""The first five minutes: one account, and a fuller one."""
