"""Checkpoints to measure with, written byte by byte with the standard library: as torch.save and safetensors write them."""

import os
import struct
import zlib
from itertools import islice

# A record's data begins at a multiple of this, as torch.save has it.
ALIGNED = 64


def many(count):
    """Names and shapes of so many small tensors, four to a block: a convolution, a norm, a linear layer."""
    for block in range(count // 4):
        # Of a million the header of safetensors stays within its 100 MB.
        path = f"model.stages.{block // 100}.{block % 100}"
        yield path + ".conv.weight", (4, 4, 1, 1)
        yield path + ".norm.weight", (4,)
        yield path + ".norm.bias", (4,)
        yield path + ".fc.weight", (2, 4)


def vision_transformer():
    """The tensors of torchvision's vit_b_16, 330 MiB of float32."""
    yield "class_token", (1, 1, 768)
    yield "conv_proj.weight", (768, 3, 16, 16)
    yield "conv_proj.bias", (768,)
    yield "encoder.pos_embedding", (1, 197, 768)
    for layer in range(12):
        path = f"encoder.layers.encoder_layer_{layer}."
        for name, shape in [
            ("ln_1", (768,)),
            ("self_attention.in_proj_", (2304, 768)),
            ("self_attention.out_proj", (768, 768)),
            ("ln_2", (768,)),
            ("mlp.0", (3072, 768)),
            ("mlp.3", (768, 3072)),
        ]:
            joint = "" if name.endswith("_") else "."
            yield f"{path}{name}{joint}weight", shape
            yield f"{path}{name}{joint}bias", shape[:1]
    yield "encoder.ln.weight", (768,)
    yield "encoder.ln.bias", (768,)
    yield "heads.head.weight", (1000, 768)
    yield "heads.head.bias", (1000,)


def elements(shape):
    product = 1
    for axis in shape:
        product *= axis
    return product


class Numbers:
    """Bytes of float32 that look like weights: small, and none like its neighbour."""

    def __init__(self):
        random = os.urandom(1 << 20)
        # The exponent of numbers around 1/16, the rest at random.
        block = bytearray(random)
        block[3::4] = bytes(0x3D | byte & 0x80 for byte in random[3::4])
        self.block = bytes(block)

    def of(self, shape):
        count = 4 * elements(shape)
        return (self.block * (count // len(self.block) + 1))[:count]


def safetensors(path, tensors):
    """A safetensors file of float32."""
    numbers, rows, offset = Numbers(), [], 0
    for name, shape in tensors():
        end = offset + 4 * elements(shape)
        shape = ",".join(map(str, shape))
        rows.append(f'"{name}":{{"dtype":"F32","shape":[{shape}],"data_offsets":[{offset},{end}]}}')
        offset = end
    header = ("{" + ",".join(rows) + "}").encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        for _, shape in tensors():
            out.write(numbers.of(shape))


def torch(path, tensors):
    """A state dict as `torch.save` writes it: a zip archive with a pickle, and a record for each tensor."""
    with open(path, "wb") as out:
        archive = Archive(out)
        archive.add("data.pkl", pickle(tensors))
        archive.add("byteorder", b"little")
        numbers = Numbers()
        for key, (_, shape) in enumerate(tensors()):
            archive.add(f"data/{key}", numbers.of(shape))
        archive.add("version", b"3\n")
        archive.finish()


class Archive:
    """A zip archive whose members are stored as they are."""

    def __init__(self, out):
        self.out, self.directory, self.count, self.at = out, [], 0, 0

    def add(self, name, data):
        name = b"archive/" + name.encode()
        checksum, length = zlib.crc32(data), len(data)
        padding = -(self.at + 30 + len(name) + 4) % ALIGNED
        extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        common = struct.pack("<HHHHHIIIHH", 0, 0, 0, 0, 0, checksum, length, length, len(name), len(extra))
        header = b"PK\3\4" + common + name + extra
        self.directory.append(
            b"PK\1\2\0\0" + common[:-2] + struct.pack("<HHHHII", 0, 0, 0, 0, 0, self.at) + name
        )
        self.out.write(header)
        self.out.write(data)
        self.at += len(header) + length
        self.count += 1

    def finish(self):
        directory = b"".join(self.directory)
        self.out.write(directory)
        end = self.at + len(directory)
        # The longer end, which more than 65,535 members need, and where it is.
        self.out.write(struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, self.count, self.count, len(directory), self.at))
        self.out.write(struct.pack("<4sIQI", b"PK\6\7", 0, end, 1))
        few = min(self.count, 0xFFFF)
        self.out.write(struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, few, few, len(directory), self.at, 0))


def pickle(tensors):
    """The pickle of an OrderedDict of tensors, opcode for opcode as torch.save's."""
    out = Pickle()
    ordered = out.found("collections", "OrderedDict")
    out.code += b")R"
    out.keep()
    known = None
    rows, key = iter(tensors()), 0
    while batch := list(islice(rows, 1000)):
        out.code += b"("
        for name, shape in batch:
            out.text(name)
            if known:
                rebuild, word, storage, place = known
                out.again(rebuild)
                out.code += b"(("
                out.again(word)
                out.again(storage)
                out.text(str(key))
                out.again(place)
            else:
                rebuild = out.found("torch._utils", "_rebuild_tensor_v2")
                out.code += b"(("
                word, storage = out.text("storage"), out.found("torch", "FloatStorage")
                out.text(str(key))
                known = (rebuild, word, storage, out.text("cpu"))
            out.number(elements(shape))
            out.code += b"t"
            out.keep()
            out.code += b"QK\0"
            out.tuple(shape)
            out.tuple([elements(shape[axis + 1 :]) for axis in range(len(shape))])
            out.code += b"\x89"
            out.again(ordered)
            out.code += b")R"
            out.keep()
            out.code += b"t"
            out.keep()
            out.code += b"R"
            out.keep()
            key += 1
        out.code += b"u"
    return bytes(out.code + b".")


class Pickle:
    def __init__(self):
        self.code, self.kept = bytearray(b"\x80\2"), 0

    def keep(self):
        self.code += struct.pack("<BB", 0x71, self.kept) if self.kept < 256 else struct.pack("<BI", 0x72, self.kept)
        self.kept += 1
        return self.kept - 1

    def again(self, index):
        self.code += struct.pack("<BB", 0x68, index)

    def found(self, module, name):
        self.code += f"c{module}\n{name}\n".encode()
        return self.keep()

    def text(self, text):
        self.code += struct.pack("<BI", 0x58, len(text)) + text.encode()
        return self.keep()

    def number(self, number):
        if number < 256:
            self.code += struct.pack("<BB", 0x4B, number)
        elif number < 65536:
            self.code += struct.pack("<BH", 0x4D, number)
        else:
            self.code += struct.pack("<Bi", 0x4A, number)

    def tuple(self, numbers):
        numbers = list(numbers)
        if len(numbers) > 3:
            self.code += b"("
        for number in numbers:
            self.number(number)
        self.code += {1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(numbers), b"t")
        self.keep()
