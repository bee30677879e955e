"""A Llama of next to no size, made on the spot: its shape and its tokenizer, no weights.

vLLM fills the weights at random (``--load-format dummy``), so what it says is noise, in true time and true tokens. The
tokenizer knows the 256 bytes and nothing more: whatever text goes in, its tokens are its bytes.
"""

import json
from pathlib import Path
from typing import Final

_BEGIN, _END = "<s>", "</s>"

CONTEXT: Final = 2048
"""Tokens. Room for streams that last while something happens to them."""

_CHAT: Final = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"

_SHAPE: Final = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "float32",
    "hidden_size": 128,
    # 32 each: vLLM's attention on CPUs takes no smaller head.
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "intermediate_size": 256,
    # Some 80 tokens a second: streams last long enough for something to happen to them.
    "num_hidden_layers": 12,
    "max_position_embeddings": CONTEXT,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "vocab_size": 258,
    "bos_token_id": 256,
    "eos_token_id": 257,
}


def _alphabet() -> list[str]:
    """The character that byte-level BPE writes for each byte, as GPT-2 set it."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def _special(token: int, text: str) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token, "content": text, "special": True, **flags}


def _tokenizer() -> dict[str, object]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    vocabulary = {character: token for token, character in enumerate(_alphabet())} | {_BEGIN: 256, _END: 257}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(256, _BEGIN), _special(257, _END)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocabulary, "merges": [],
        },
    }  # fmt: skip


def write(directory: Path) -> None:
    """Write the model's files as Hugging Face's libraries look for them."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": _SHAPE,
        "tokenizer.json": _tokenizer(),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": CONTEXT,
            "bos_token": _BEGIN,
            "eos_token": _END,
            "chat_template": _CHAT,
        },
        "generation_config.json": {"bos_token_id": 256, "eos_token_id": 257},
    }
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
