"""The classroom: what chapters show (`show`) and how exercises check themselves."""
