"""Writes a Llama of random weights as GGUF, every matrix in one type, through the `gguf` package."""

import os

from common import fail, package

# Where in a block its float16 scales lie, and what they are so that weights have a deviation of about 1/50:
# byte of the scale, value. Everything else in a block is random.
SCALES = {
    "Q8_0": [(0, 2.7e-4)],
    "Q4_0": [(0, 4.3e-3)],
    "Q4_K": [(0, 1.0e-4), (2, 7.5e-4)],
    "TQ2_0": [(64, 0.02)],
    "TQ1_0": [(52, 0.02)],
    "Q1_0": [(0, 0.02)],
}


def block_size(name, flag="type"):
    """Weights and bytes of a block of a type; refuses one that cannot be written here."""
    if name not in SCALES:
        fail(f"{flag} {name} cannot be written here; choose {', '.join(SCALES)}")
    gguf = package("gguf")
    if not hasattr(gguf.GGMLQuantizationType, name):
        fail(f"this gguf package does not know {name}; pip install --upgrade gguf")
    return gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]


def misfit(name, shape, flag):
    """Why the blocks of a type do not fit the shape's rows, or nothing."""
    block = block_size(name, flag)[0]
    for k in (shape.width, shape.mlp):
        if k % block:
            return f"{flag} {name} wants rows in multiples of {block}; {shape.name} has rows of {k}"
    return ""


def row_bytes(name, k):
    block, size = block_size(name)
    return k // block * size


def bytes_per_token(shape, name, head_name, tokens):
    """Read for one token of a text of `tokens`: blocks, norms, head, and float16 keys and values at the mean length."""
    blocks = shape.layers * sum(n * row_bytes(name, k) for _, n, k in shape.block_matrices())
    norms = (2 * shape.layers + 1) * shape.width * 4
    cache = 2 * 2 * shape.layers * shape.kv_width * (tokens + 1) / 2
    return blocks + norms + shape.vocab * row_bytes(head_name, shape.width) + cache


def write(path, shape, name, head_name):
    """The file `path`: blocks and embedding in type `name`, head (where tied: and embedding) in `head_name`."""
    gguf, np = package("gguf"), package("numpy")
    types, random = gguf.GGMLQuantizationType, np.random.default_rng(0)
    w = gguf.GGUFWriter(os.fspath(path), "llama")
    w.add_name(shape.name)
    w.add_context_length(4096)
    w.add_embedding_length(shape.width)
    w.add_block_count(shape.layers)
    w.add_feed_forward_length(shape.mlp)
    w.add_head_count(shape.heads)
    w.add_head_count_kv(shape.kv_heads)
    w.add_rope_dimension_count(shape.width // shape.heads)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(shape.vocab)
    add_tokens(gguf, w, shape.vocab)

    matrices = [("token_embd", shape.vocab, shape.width, head_name if shape.tied else name)]
    if not shape.tied:
        matrices.append(("output", shape.vocab, shape.width, head_name))
    norms = ["output_norm"]
    for i in range(shape.layers):
        matrices += [(f"blk.{i}.{part}", n, k, name) for part, n, k in shape.block_matrices()]
        norms += [f"blk.{i}.attn_norm", f"blk.{i}.ffn_norm"]
    ones = np.ones(shape.width, np.float32)
    for norm in norms:
        w.add_tensor_info(norm + ".weight", ones.shape, ones.dtype, ones.nbytes)
    for matrix, n, k, type_name in matrices:
        size = row_bytes(type_name, k)
        w.add_tensor_info(matrix + ".weight", (n, size), np.dtype(np.uint8), n * size, raw_dtype=types[type_name])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for _ in norms:
        w.write_tensor_data(ones)
    for _, n, k, type_name in matrices:
        w.write_tensor_data(random_blocks(np, random, type_name, n, k))
    w.close()


def random_blocks(np, random, name, n, k):
    size = block_size(name)[1]
    blocks = random.integers(0, 256, (n * row_bytes(name, k) // size, size), np.uint8)
    for at, value in SCALES[name]:
        blocks[:, at : at + 2] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
    return blocks.reshape(n, -1)


def add_tokens(gguf, w, vocab):
    """Made-up pieces: a vocabulary is wanted although no text is ever read."""
    if vocab < 259:
        fail(f"a vocabulary of {vocab} is too small for this comparison; at least 259")
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    kind = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256
    tokens += [f"t{i}" for i in range(len(tokens), vocab)]
    kind += [kinds.NORMAL] * (vocab - len(kind))
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * vocab)
    w.add_token_types(kind)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
