"""Fuzzing of every reader written here: contents that are nearly right must be read, or refused in one message."""
