"""What a scenario file may say of its model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, model_validator

from flexsim.scenario.quantities import Count, Flag, Name, Positive, Table


class ModelTable(Table):
    """What is trained: a preset, a family of models with sizes, or a preset with changes."""

    preset: Name | None = Field(
        default=None, description="a name that `flexsim list models` prints"
    )
    name: Name | None = Field(default=None, description="a family of models: gpt, bert, llama …")
    layers: Count | None = None
    hidden: Count | None = None
    heads: Count | None = None
    kv_heads: Count | None = Field(
        default=None, description="key and value heads; heads unless given"
    )
    head_size: Count | None = Field(default=None, description="hidden / heads unless given")
    ffn: Count | None = Field(
        default=None, description="feed-forward size; 4 x hidden unless given"
    )
    sequence: Count | None = Field(default=None, description="tokens a sequence")
    vocabulary: Count | None = None
    attention: Literal["unfused", "flash"] | None = None
    tied_embedding: Flag | None = Field(
        default=None, description="output layer shares the embedding"
    )
    embedding_and_head: Flag | None = Field(default=None, description="false: the bare layers")
    image: Count | None = Field(default=None, description="pixels a side of an image")
    patch: Count | None = Field(default=None, description="pixels a side of a transformer's patch")
    classes: Count | None = Field(default=None, description="classes that a sample is sorted into")
    tables: Count | None = Field(default=None, description="embedding tables of a recommender")
    experts: Count | None = Field(default=None, description="experts of a mixture layer")
    chosen_experts: Count | None = Field(default=None, description="experts that a token goes to")
    expert_ffn: Count | None = Field(
        default=None, description="feed-forward size of an expert; ffn unless given"
    )
    shared_experts: NonNegativeInt | None = Field(
        default=None, description="experts that every token goes to"
    )
    dense_layers: NonNegativeInt | None = Field(
        default=None, description="layers without experts, before the others"
    )
    capacity_factor: Positive | None = Field(
        default=None, description="slots of an expert for its even share of tokens; 1 unless given"
    )
    load_imbalance: NonNegativeFloat | None = Field(
        default=None, description="spread of what experts get, as a share of the mean"
    )
    seed: NonNegativeInt | None = Field(default=None, description="of the draw of that spread")
    query_rank: Count | None = Field(default=None, description="latent size of queries")
    key_rank: Count | None = Field(default=None, description="latent size of keys and values")
    rotary_size: Count | None = Field(
        default=None, description="rotated elements of a head beside head_size"
    )
    value_size: Count | None = Field(
        default=None, description="of a head's values; head_size unless given"
    )

    @model_validator(mode="after")
    def _is_named(self) -> ModelTable:
        if self.preset is None and self.name is None:
            raise ValueError("say which: preset = 'gpt3-175b', or name = 'gpt' and its sizes")
        return self

    @property
    def sizes(self) -> dict[str, Any]:
        """The keys that were given beside ``preset`` and ``name``."""
        return self.model_dump(exclude={"preset", "name"}, exclude_none=True)
