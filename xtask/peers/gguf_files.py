"""What llama.cpp's own package makes of GGUF files: `gguf_files.py read FOLDER` and `gguf_files.py write FOLDER SEED`.

read: for each file of the folder, every tensor's elements in f32 and some metadata.
write: one file with a tensor of each type, and what it holds.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

KEYS = ["general.architecture", "general.name", "tokenizer.ggml.model", "tokenizer.ggml.tokens"]


def read(folder):
    for path in sorted(folder.glob("*.gguf")):
        reader = gguf.GGUFReader(path)
        out = path.with_suffix("")
        out.mkdir()
        shapes = {}
        for tensor in reader.tensors:
            elements = dequantize(tensor.data, tensor.tensor_type).astype("<f4")
            elements.tofile(out / f"{tensor.name}.f32")
            shapes[tensor.name] = [int(size) for size in reversed(tensor.shape)]
        metadata = {key: reader.get_field(key).contents() for key in KEYS}
        (out / "said.json").write_text(json.dumps({"shapes": shapes, "metadata": metadata}))


def write(folder, seed):
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(folder / "theirs.gguf", "llama")
    writer.add_block_count(3)
    writer.add_token_list(["<unk>", "\u2581a", "b"])
    writer.add_rope_freq_base(5e5)
    for kind in [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q5_0]:
        rows = random.normal(0, 10, (3, 512)).astype("<f4")
        rows[0, :32] = 0
        stored = quantize(rows, kind)
        writer.add_tensor(kind.name, stored, raw_dtype=kind)
        rows.tofile(folder / f"{kind.name}.in")
        dequantize(stored, kind).astype("<f4").tofile(folder / f"{kind.name}.f32")
    # The package reads these, but does not make them: any bytes do, with scales that are numbers.
    halves = {Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}
    for kind, places in halves.items():
        size = gguf.GGML_QUANT_SIZES[kind][1]
        blocks = random.integers(0, 256, (3, 2, size), dtype=np.uint8)
        for place in places:
            scales = random.normal(0, 1, (3, 2)).astype("<f2")
            blocks[..., place : place + 2] = scales[..., None].view(np.uint8)
        stored = blocks.reshape(3, -1)
        writer.add_tensor(kind.name, stored, raw_dtype=kind)
        dequantize(stored, kind).astype("<f4").tofile(folder / f"{kind.name}.f32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


match sys.argv[1:]:
    case ["read", folder]:
        read(pathlib.Path(folder))
    case ["write", folder, seed]:
        write(pathlib.Path(folder), int(seed))
