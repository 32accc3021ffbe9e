"""Configurations that files of other projects carry along as text: read, never run."""
