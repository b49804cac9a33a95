from collections.abc import Sequence
from typing import Any, Self, TypedDict

Value = bool | int | float | str | Sequence[str] | Sequence[int]

class Option:
    def __init__(
        self,
        name: str,
        standard: Value,
        meaning: str,
        *,
        low: float | None = None,
        high: float | None = None,
        excludes_low: bool = False,
        excludes_high: bool = False,
        choices: Sequence[str] = ...,
        must_not_be_empty: bool = False,
        must_differ: bool = False,
        unit: str = "",
        decides_cost: bool = False,
        is_added_later: bool = False,
        is_of_integers: bool = False,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def standard(self) -> Any: ...
    @property
    def meaning(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def excludes_low(self) -> bool: ...
    @property
    def excludes_high(self) -> bool: ...
    @property
    def choices(self) -> list[str]: ...
    @property
    def must_not_be_empty(self) -> bool: ...
    @property
    def must_differ(self) -> bool: ...
    @property
    def unit(self) -> str: ...
    @property
    def decides_cost(self) -> bool: ...
    @property
    def is_added_later(self) -> bool: ...

class OptionGroup:
    def __init__(self, name: str, meaning: str, options: Sequence[Option]) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def meaning(self) -> str: ...
    @property
    def options(self) -> list[Option]: ...

def core_groups() -> list[OptionGroup]: ...
def check(
    values: dict[str, Any], groups: Sequence[OptionGroup], *, name: str = "", fills_in: bool = False
) -> dict[str, Any]: ...
def read_yaml(
    text: str | bytes, groups: Sequence[OptionGroup], *, name: str = "", fills_in: bool = False
) -> dict[str, Any]: ...
def check_yaml(text: str | bytes, *, name: str = "") -> None: ...
def to_yaml(values: dict[str, Any], groups: Sequence[OptionGroup]) -> str: ...
def keys_of(groups: Sequence[OptionGroup]) -> list[str]: ...
def unknown_key(groups: Sequence[OptionGroup], key: str) -> str: ...

# Below: written by tools/option_stubs.py; `make format` does it anew.

class MiningOptions:
    def __init__(
        self,
        *,
        score: str = "notellm",
        lower: float = 0.01,
        upper: float = 30.0,
        top: int = 10,
        min_users: int = 1,
        swing_alpha: float = 1.0,
        max_user_events: int = 0,
        sample_user_notes: int = 0,
        sample_note_users: int = 0,
        sample_seed: int = 0,
        max_gap_seconds: int = 0,
        max_gap_events: int = 0,
    ) -> None: ...
    @property
    def score(self) -> str: ...
    @property
    def lower(self) -> float: ...
    @property
    def upper(self) -> float: ...
    @property
    def top(self) -> int: ...
    @property
    def min_users(self) -> int: ...
    @property
    def swing_alpha(self) -> float: ...
    @property
    def max_user_events(self) -> int: ...
    @property
    def sample_user_notes(self) -> int: ...
    @property
    def sample_note_users(self) -> int: ...
    @property
    def sample_seed(self) -> int: ...
    @property
    def max_gap_seconds(self) -> int: ...
    @property
    def max_gap_events(self) -> int: ...
    def to_dict(self) -> dict[str, Any]: ...
    def replace(self, **changes: Any) -> Self: ...

class MiningKeywords(TypedDict, total=False):
    score: str
    lower: float
    upper: float
    top: int
    min_users: int
    swing_alpha: float
    max_user_events: int
    sample_user_notes: int
    sample_note_users: int
    sample_seed: int
    max_gap_seconds: int
    max_gap_events: int

class EmbedOptions:
    def __init__(
        self,
        *,
        batch_tokens: int = 4096,
        weights: str = "same",
        dim: int = 0,
        storage: str = "fp32",
    ) -> None: ...
    @property
    def batch_tokens(self) -> int: ...
    @property
    def weights(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def storage(self) -> str: ...
    def to_dict(self) -> dict[str, Any]: ...
    def replace(self, **changes: Any) -> Self: ...

class EmbedKeywords(TypedDict, total=False):
    batch_tokens: int
    weights: str
    dim: int
    storage: str

class DecodingOptions:
    def __init__(
        self,
        *,
        max_new_tokens: int = 32,
        batch_tokens: int = 4096,
        beams: int = 1,
        length_penalty: float = 1.0,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
    ) -> None: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def batch_tokens(self) -> int: ...
    @property
    def beams(self) -> int: ...
    @property
    def length_penalty(self) -> float: ...
    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...
    def to_dict(self) -> dict[str, Any]: ...
    def replace(self, **changes: Any) -> Self: ...

class DecodingKeywords(TypedDict, total=False):
    max_new_tokens: int
    batch_tokens: int
    beams: int
    length_penalty: float
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float

class GenerationOptions(DecodingOptions):
    def __init__(
        self,
        *,
        hashtag_count: int = 5,
        max_new_tokens: int = 32,
        batch_tokens: int = 4096,
        beams: int = 1,
        length_penalty: float = 1.0,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
    ) -> None: ...
    @property
    def hashtag_count(self) -> int: ...
    @property
    def max_new_tokens(self) -> int: ...
    @property
    def batch_tokens(self) -> int: ...
    @property
    def beams(self) -> int: ...
    @property
    def length_penalty(self) -> float: ...
    @property
    def temperature(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def top_p(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...
    def to_dict(self) -> dict[str, Any]: ...
    def replace(self, **changes: Any) -> Self: ...

class GenerationKeywords(TypedDict, total=False):
    hashtag_count: int
    max_new_tokens: int
    batch_tokens: int
    beams: int
    length_penalty: float
    temperature: float
    top_k: int
    top_p: float
    repetition_penalty: float
