"""PEFT's adapters as llama.cpp reads them: `gguf_adapter.py HEADS KEY_HEADS TYPE FROM TO [FROM TO ...]`.

As llama.cpp's own `convert_lora_to_gguf.py` for a Llama, without torch: rows of what queries and keys are made by
are put in the order of its rotation. TYPE is f32 or f16.
"""

import json
import sys

import numpy as np
from gguf import GGUFWriter
from safetensors.numpy import load_file

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def permute(rows, heads):
    """Puts the two halves of each head's rows beside each other."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def convert(source, target, heads, keys, dtype):
    with open(f"{source}/adapter_config.json") as file:
        config = json.load(file)
    writer = GGUFWriter(target, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for name, tensor in load_file(f"{source}/adapter_model.safetensors").items():
        layer, rest = name.removeprefix("base_model.model.model.layers.").split(".", 1)
        module, side = rest.removesuffix(".weight").rsplit(".", 1)
        if side == "lora_B" and module.endswith(("q_proj", "k_proj")):
            tensor = permute(tensor, heads if module.endswith("q_proj") else keys)
        side = {"lora_A": "lora_a", "lora_B": "lora_b"}[side]
        writer.add_tensor(f"blk.{layer}.{NAMES[module]}.weight.{side}", np.ascontiguousarray(tensor.astype(dtype)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


heads, keys, dtype = int(sys.argv[1]), int(sys.argv[2]), {"f32": np.float32, "f16": np.float16}[sys.argv[3]]
for source, target in zip(sys.argv[4::2], sys.argv[5::2], strict=True):
    convert(source, target, heads, keys, dtype)
