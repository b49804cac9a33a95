"""What Hydra, OmegaConf and PyYAML complain of, as one message that names the key, or the file and the line."""

from notellm.app.overrides import one_line

__all__ = ["of_a_value", "of_hydra", "of_yaml"]


def of_a_value(error: BaseException) -> str:
    """What OmegaConf says of a value that cannot be resolved, with its key before it."""
    key = str(getattr(error, "full_key", None) or "the configuration")
    said = one_line(getattr(error, "msg", None) or error).partition(" full_key: ")[0]
    return f"{key}: must be a value that can be resolved, but: {said}"


def of_hydra(error: BaseException) -> str:
    """What Hydra says; where a value's ``${...}`` cannot be parsed it says nothing, but its cause names the key."""
    from omegaconf.errors import GrammarParseError

    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, GrammarParseError) and cause.full_key):
        cause = cause.__cause__
    return one_line(error) if cause is None else of_a_value(cause)


def of_yaml(error: Exception) -> str:
    """What PyYAML says of a file, behind the file and the line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f"{mark.name}:{mark.line + 1}: " if mark is not None else ""
    return f"{where}must be YAML, but: {one_line(getattr(error, 'problem', None) or error)}"
