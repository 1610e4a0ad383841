"""Odd image files as people have them: every kind that the readers of `crates/data` tell apart.

`files()` gives their bytes by name. Pillow writes what it can; PNG, BMP, TIFF and PNM variants that
it does not write are put together here, byte by byte.
"""
import io
import struct
import zlib

import numpy
from PIL import Image

# Sides that are no multiple of a block, a byte of bits or a tile.
SIZES = [(1, 1), (3, 2), (17, 13), (33, 20)]


def photo(seed, width, height, channels=3):
    """A smooth random picture with noise, so that rounding in every step of a decoder shows."""
    random = numpy.random.default_rng(seed)
    small = random.integers(0, 256, (4, 4, channels), dtype=numpy.uint8)
    bands = [Image.fromarray(small[:, :, c]).resize((width, height), Image.BICUBIC)
             for c in range(channels)]
    smooth = numpy.stack([numpy.asarray(band) for band in bands], axis=2).astype(int)
    noise = random.integers(-20, 21, smooth.shape)
    return (smooth + noise).clip(0, 255).astype(numpy.uint8)


def picture(seed, width, height, mode="RGB"):
    """The same as a Pillow image of a mode."""
    if mode == "P":
        return picture(seed, width, height).quantize(17)
    if mode == "1":
        return picture(seed, width, height, "L").convert("1")
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = photo(seed, width, height, channels)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, mode)


def encoded(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


# JPEG

def jpeg_exif(orientation=6, thumbnail=b""):
    """An APP1 segment with an orientation and, where given, a thumbnail."""
    entries = [(0x0103, 3, 1, 6), (0x0112, 3, 1, orientation)]
    if thumbnail:
        entries += [(0x0201, 4, 1, 8 + 2 + 4 * 12 + 4), (0x0202, 4, 1, len(thumbnail))]
    entries.sort()
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    body = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + bytes(4) + thumbnail
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def with_exif(jpeg, **options):
    return jpeg[:2] + jpeg_exif(**options) + jpeg[2:]


def jpegs():
    for width, height in SIZES:
        for subsampling in (0, 1, 2):
            for progressive in (False, True):
                name = f"{width}x{height}_s{subsampling}_{'p' if progressive else 'b'}.jpg"
                yield name, encoded(picture(1, width, height), "JPEG", quality=80,
                                    subsampling=subsampling, progressive=progressive)
        yield f"{width}x{height}_grey.jpg", encoded(picture(2, width, height, "L"), "JPEG")
        yield f"{width}x{height}_rgb.jpg", encoded(picture(3, width, height), "JPEG",
                                                   keep_rgb=True)
    whole = encoded(picture(4, 40, 24), "JPEG", quality=90)
    yield "quality_1.jpg", encoded(picture(4, 40, 24), "JPEG", quality=1)
    yield "quality_100.jpg", encoded(picture(4, 40, 24), "JPEG", quality=100, subsampling=0)
    yield "optimised.jpg", encoded(picture(4, 40, 24), "JPEG", optimize=True)
    yield "restart.jpg", encoded(picture(4, 40, 24), "JPEG", restart_marker_blocks=1)
    yield "progressive_grey.jpg", encoded(picture(4, 40, 24, "L"), "JPEG", progressive=True)
    yield "comment.jpg", encoded(picture(4, 40, 24), "JPEG", comment="a comment")
    yield "orientation.jpg", with_exif(whole, orientation=6)
    yield "trailing.jpg", whole + b"bytes behind the end" * 9
    yield "two_images.jpg", whole + encoded(picture(5, 24, 40), "JPEG")
    thumbnail = encoded(picture(5, 16, 12), "JPEG")
    rotated = with_exif(whole, thumbnail=thumbnail)
    yield "thumbnail.jpg", rotated
    # The thumbnail's end marker is no end of the image.
    yield "thumbnail_cut.jpg", rotated[: len(rotated) * 3 // 4]
    yield "thumbnail_no_end.jpg", rotated[:-2]
    yield "no_end.jpg", whole[:-2]
    yield "cut.jpg", whole[: len(whole) // 2]
    yield "cut_header.jpg", whole[:200]
    progressive = encoded(picture(4, 40, 24), "JPEG", progressive=True)
    yield "progressive_cut.jpg", progressive[: len(progressive) // 2]
    yield "progressive_no_end.jpg", progressive[:-2]
    damaged = bytearray(whole)
    damaged[len(damaged) * 2 // 3] ^= 0x15
    yield "damaged.jpg", bytes(damaged)
    # An end marker in the middle of the image: libjpeg fills what is missing, and so does Pillow.
    middle = len(whole) * 2 // 3
    yield "early_end.jpg", whole[:middle] + b"\xff\xd9"
    yield "early_end_trailing.jpg", whole[:middle] + b"\xff\xd9" + whole[middle:]
    yield "cmyk.jpg", encoded(picture(6, 20, 12, "CMYK"), "JPEG")
    yield "mpo.jpg", encoded(picture(7, 20, 12), "MPO", save_all=True,
                             append_images=[picture(8, 20, 12)])


# PNG

def png_chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def pack_bits(samples, depth):
    """Rows of samples `[h, w]` of 1, 2 or 4 bits, each row padded to whole bytes."""
    height, width = samples.shape
    per_byte = 8 // depth
    padded = numpy.zeros((height, -(-width // per_byte) * per_byte), dtype=numpy.uint8)
    padded[:, :width] = samples
    packed = numpy.zeros((height, padded.shape[1] // per_byte), dtype=numpy.uint8)
    for i in range(per_byte):
        packed |= padded[:, i::per_byte] << (8 - depth * (i + 1))
    return packed


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2)]


def png(samples, colour, depth=8, before=(), interlaced=False, **changes):
    """A PNG of samples `[h, w, c]`; `before` are chunks between header and pixels."""
    height, width, _ = samples.shape
    rows = b""
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    for x, y, step_x, step_y in passes:
        part = samples[y::step_y, x::step_x]
        if part.size == 0:
            continue
        if depth == 16:
            lines = [(line.astype(">u2") * 257 + 3).tobytes() for line in part]
        elif depth == 8:
            lines = [line.tobytes() for line in part]
        else:
            lines = [line.tobytes() for line in pack_bits(part[:, :, 0] >> (8 - depth), depth)]
        rows += b"".join(b"\0" + line for line in lines)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    data = zlib.compress(rows)
    middle = changes.get("cut_pixels")
    pieces = [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header)]
    pieces += [png_chunk(name, body) for name, body in before]
    pieces += [png_chunk(b"IDAT", data[:middle] if middle else data)]
    if changes.get("end", True):
        pieces.append(png_chunk(b"IEND", b""))
    return b"".join(pieces)


def palette_bytes(count, seed=9):
    return numpy.random.default_rng(seed).integers(0, 256, 3 * count, dtype=numpy.uint8).tobytes()


def pngs():
    for width, height in SIZES:
        for interlaced in (False, True):
            end = f"{width}x{height}{'_i' if interlaced else ''}.png"
            for depth in (1, 2, 4, 8):
                grey = photo(depth, width, height, 1)
                yield f"grey{depth}_{end}", png(grey, 0, depth, interlaced=interlaced)
                palette = [(b"PLTE", palette_bytes(1 << depth))]
                yield f"palette{depth}_{end}", png(grey, 3, depth, palette, interlaced)
            yield f"rgb_{end}", png(photo(3, width, height), 2, interlaced=interlaced)
            yield f"grey_alpha_{end}", png(photo(3, width, height, 2), 4, interlaced=interlaced)
            yield f"rgba_{end}", png(photo(3, width, height, 4), 6, interlaced=interlaced)
    grey, rgb = photo(3, 17, 13, 1), photo(3, 17, 13)
    clear = [(b"PLTE", palette_bytes(256)), (b"tRNS", bytes(range(0, 250, 5)))]
    yield "palette_clear.png", png(grey, 3, before=clear)
    yield "palette_short.png", png(grey // 16, 3, before=[(b"PLTE", palette_bytes(7))])
    yield "grey_clear.png", png(grey, 0, before=[(b"tRNS", struct.pack(">H", int(grey[0, 0, 0])))])
    yield "grey1_clear.png", png(grey, 0, 1, before=[(b"tRNS", struct.pack(">H", 1))])
    key = struct.pack(">HHH", *(int(v) for v in rgb[0, 0]))
    yield "rgb_clear.png", png(rgb, 2, before=[(b"tRNS", key)])
    yield "gamma.png", png(rgb, 2, before=[(b"gAMA", struct.pack(">I", 45455))])
    yield "srgb.png", png(rgb, 2, before=[(b"sRGB", b"\0")])
    yield "background.png", png(rgb, 2, before=[(b"bKGD", bytes(6))])
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    yield "orientation.png", png(rgb, 2, before=[(b"eXIf", exif)])
    yield "text.png", png(rgb, 2, before=[(b"tEXt", b"Comment\0hello")])
    yield "no_end.png", png(rgb, 2, end=False)
    whole = png(rgb, 2)
    yield "trailing.png", whole + b"bytes behind the end"
    yield "pixels_cut.png", png(rgb, 2, cut_pixels=100)
    yield "cut.png", whole[: len(whole) // 2]
    yield "checksum.png", whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]
    yield "filters.png", encoded(Image.fromarray(photo(3, 33, 20)), "PNG", optimize=True)
    yield "animated.png", encoded(picture(3, 17, 13), "PNG", save_all=True,
                                  append_images=[picture(4, 17, 13)])
    yield "animated_other.png", encoded(picture(3, 17, 13), "PNG", save_all=True,
                                        default_image=True, append_images=[picture(4, 17, 13)])
    for colour, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        yield f"sixteen_bits_{colour}.png", png(photo(3, 17, 13, channels), colour, 16)


# BMP

def bmp(rows, width, height, bits, header=40, compression=0, palette=b"", masks=b"", colours=0,
        offset=None):
    """A BMP of packed rows, bottom row first unless `height` is negative."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(rows),
                           2835, 2835, colours, 0)
    if header >= 52:
        info += masks.ljust(header - 40, b"\0")
        masks = b""
    start = 14 + len(info) + len(masks) + len(palette) if offset is None else offset
    head = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
    return head + info + masks + palette + rows


def bmp_rows(samples, bits):
    """Rows of samples `[h, w]` or `[h, w, bytes]`, bottom first, padded to 4 bytes."""
    if bits < 8:
        lines = pack_bits(samples >> (8 - bits), bits)
    else:
        lines = samples.reshape(samples.shape[0], -1)
    return b"".join(line.tobytes() + bytes(-len(line.tobytes()) % 4) for line in lines[::-1])


def bmp_palette(count, entry=4, grey=False):
    if grey:
        levels = [i * 255 // (count - 1) for i in range(count)]
    colours = numpy.random.default_rng(7).integers(0, 256, (count, 3), dtype=numpy.uint8)
    rows = [bytes([levels[i]] * 3) if grey else colours[i].tobytes() for i in range(count)]
    return b"".join(row + bytes(entry - 3) for row in rows)


def run_lengths(samples, four_bits):
    """RLE8 or RLE4 of samples `[h, w]`, bottom row first: runs, literals, ends of lines, a skip."""
    out = b""
    for line in samples[::-1]:
        values = line.tolist()
        at = 0
        while at < len(values):
            run = 1
            while at + run < len(values) and values[at + run] == values[at] and run < 255:
                run += 1
            if run >= 3 or len(values) - at < 3:
                value = values[at] * 17 if four_bits else values[at]
                out += bytes([run, value])
                at += run
            else:
                literal = values[at: at + min(7, len(values) - at)]
                body = bytes(literal)
                if four_bits:
                    padded = literal + [0] * (len(literal) % 2)
                    body = bytes(a << 4 | b for a, b in zip(padded[::2], padded[1::2]))
                out += bytes([0, len(literal)]) + body + bytes(len(body) % 2)
                at += len(literal)
        out += b"\0\0"
    return out + b"\0\1"


def bmps():
    for width, height in SIZES:
        grey, rgb = photo(5, width, height, 1)[:, :, 0], photo(5, width, height)
        end = f"{width}x{height}.bmp"
        for bits in (1, 4, 8):
            rows = bmp_rows(grey, bits)
            for is_grey in (False, True):
                palette = bmp_palette(1 << bits, grey=is_grey)
                kind = "grey" if is_grey else "palette"
                yield f"{kind}{bits}_{end}", bmp(rows, width, height, bits, palette=palette)
            palette = bmp_palette(1 << bits, 3)
            yield f"os2_{bits}_{end}", bmp(rows, width, height, bits, 12, palette=palette)
        rows = bmp_rows(rgb, 24)
        yield f"rgb_{end}", bmp(rows, width, height, 24)
        yield f"os2_24_{end}", bmp(rows, width, height, 24, 12)
        yield f"v5_{end}", bmp(rows, width, height, 24, 124)
        flipped = bmp_rows(rgb[::-1], 24)
        yield f"top_down_{end}", bmp(flipped, width, -height, 24)
        rows = bmp_rows(photo(5, width, height, 4), 32)
        yield f"rgbx_{end}", bmp(rows, width, height, 32)
        wide = numpy.random.default_rng(5).integers(0, 256, (height, width, 2), dtype=numpy.uint8)
        yield f"rgb555_{end}", bmp(bmp_rows(wide, 16), width, height, 16)
        masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
        yield f"rgb565_{end}", bmp(bmp_rows(wide, 16), width, height, 16, 40, 3, masks=masks)
        masks = struct.pack("<III", 0x7C00, 0x3E0, 0x1F)
        yield f"rgb555_masks_{end}", bmp(bmp_rows(wide, 16), width, height, 16, 40, 3, masks=masks)
        few = grey // 64 * 3
        rows = run_lengths(few, False)
        yield f"rle8_{end}", bmp(rows, width, height, 8, 40, 1, bmp_palette(256))
        rows = run_lengths(few, True)
        yield f"rle4_{end}", bmp(rows, width, height, 4, 40, 2, bmp_palette(16))
    width, height = 17, 13
    four, rgb = photo(5, width, height, 4), photo(5, width, height)
    for name, masks in {
        "bgrx": (0xFF0000, 0xFF00, 0xFF, 0),
        "xbgr": (0xFF000000, 0xFF0000, 0xFF00, 0),
        "bgxr": (0xFF000000, 0xFF00, 0xFF, 0),
        "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
        "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
        "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
        "bgar": (0xFF000000, 0xFF00, 0xFF, 0xFF0000),
        "zero": (0, 0, 0, 0),
        "odd": (0x3FF00000, 0xFFC00, 0x3FF, 0),
    }.items():
        masks = struct.pack("<IIII", *masks)
        yield f"masks_{name}.bmp", bmp(bmp_rows(four, 32), width, height, 32, 108, 3, masks=masks)
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    yield "masks_v3.bmp", bmp(bmp_rows(four, 32), width, height, 32, 40, 3, masks=masks)
    grey = photo(5, width, height, 1)[:, :, 0]
    short = bmp(bmp_rows(grey // 40, 8), width, height, 8, palette=bmp_palette(7), colours=7)
    yield "palette_short.bmp", short
    outside = bmp(bmp_rows(grey, 8), width, height, 8, palette=bmp_palette(7), colours=7)
    yield "palette_outside.bmp", outside
    two = bmp_palette(2, grey=True)
    yield "palette_two.bmp", bmp(bmp_rows(grey // 128, 8), width, height, 8, palette=two, colours=2)
    whole = bmp(bmp_rows(rgb, 24), width, height, 24)
    yield "trailing.bmp", whole + b"bytes behind the end"
    yield "gap.bmp", whole[:10] + struct.pack("<I", 64) + whole[14:54] + bytes(10) + whole[54:]
    yield "cut.bmp", whole[: len(whole) // 2]
    yield "cut_padding.bmp", whole[:-1]
    yield "cut_header.bmp", whole[:40]
    runs = bmp(run_lengths(grey // 64 * 3, False), width, height, 8, 40, 1, bmp_palette(256))
    yield "rle_cut.bmp", runs[:-60]
    skip = b"\x04\x05\0\2\3\2\x05\x07\0\0\x03\x01\0\1"
    yield "rle_skip.bmp", bmp(skip, width, height, 8, 40, 1, bmp_palette(256))
    yield "jpeg_inside.bmp", bmp(b"\xff\xd8", width, height, 24, 40, 4)
    yield "two_bits.bmp", bmp(bmp_rows(grey, 2), width, height, 2, palette=bmp_palette(4))
    for mode in ("1", "L", "P", "RGB", "RGBA"):
        yield f"pillow_{mode}.bmp", encoded(picture(5, width, height, mode), "BMP")


# TIFF

TYPES = {"B": 1, "H": 3, "I": 4}


def tiff(blocks, tags, order="<"):
    """A TIFF of one directory: `blocks` are its strips or tiles, `tags` have type and values."""
    position = 8
    offsets = []
    for block in blocks:
        offsets.append(position)
        position += len(block) + len(block) % 2
    tiled = 322 in tags
    tags = dict(tags)
    tags[324 if tiled else 273] = ("I", offsets)
    tags[325 if tiled else 279] = ("I", [len(block) for block in blocks])
    entries, extra = b"", b""
    start = position + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}{kind}", *values)
        entries += struct.pack(f"{order}HHI", tag, TYPES[kind], len(values))
        if len(data) <= 4:
            entries += data.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", start + len(extra))
            extra += data + bytes(len(data) % 2)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(block + bytes(len(block) % 2) for block in blocks)
    return (mark + struct.pack(f"{order}I", position) + body
            + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + extra)


def packbits(data):
    out = b""
    for at in range(0, len(data), 100):
        piece = data[at: at + 100]
        out += bytes([len(piece) - 1]) + piece
    return out


def reversed_bits(data):
    return bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)


def samples_tiff(samples, photometric, depth=8, order="<", strip=None, compress=None, extra=(),
                 planar=1, tile=None, predictor=1, more=None):
    """A TIFF of samples `[h, w, c]` of 1 to 16 bits."""
    height, width, channels = samples.shape

    def block_bytes(part):
        if predictor == 2:
            part = part.copy()
            part[:, 1:] -= part[:, :-1].copy()
        if depth < 8:
            lines = [line.tobytes() for line in pack_bits(part[:, :, 0] >> (8 - depth), depth)]
        elif depth == 16:
            lines = [(line.astype(f"{order}u2") * 257).astype(f"{order}u2").tobytes()
                     for line in part]
        else:
            lines = [line.tobytes() for line in part]
        data = b"".join(lines)
        return compress(data) if compress else data

    planes = [samples[:, :, c:c + 1] for c in range(channels)] if planar == 2 else [samples]
    blocks = []
    tags = {256: ("I", [width]), 257: ("I", [height]), 258: ("H", [depth] * channels),
            262: ("H", [photometric]), 277: ("H", [channels]), 284: ("H", [planar])}
    for plane in planes:
        if tile:
            down, across = -(-height // tile) * tile, -(-width // tile) * tile
            padded = numpy.zeros((down, across, plane.shape[2]), dtype=numpy.uint8)
            padded[:height, :width] = plane
            for y in range(0, down, tile):
                for x in range(0, across, tile):
                    blocks.append(block_bytes(padded[y:y + tile, x:x + tile]))
        else:
            rows = strip or height
            for y in range(0, height, rows):
                blocks.append(block_bytes(plane[y:y + rows]))
    if tile:
        tags[322], tags[323] = ("I", [tile]), ("I", [tile])
    else:
        tags[278] = ("I", [strip or height])
    if extra:
        tags[338] = ("H", list(extra))
    if predictor == 2:
        tags[317] = ("H", [2])
    tags.update(more or {})
    return tiff(blocks, tags, order)


def tiff_palette(depth):
    values = numpy.random.default_rng(depth).integers(0, 65536, 3 << depth)
    return {320: ("H", [int(v) for v in values])}


def lzw(data):
    import imagecodecs
    return imagecodecs.lzw_encode(data)


def tiffs():
    for width, height in SIZES:
        grey, rgb = photo(6, width, height, 1), photo(6, width, height)
        for order in "<>":
            end = f"{width}x{height}_{'le' if order == '<' else 'be'}.tif"
            for depth in (1, 2, 4, 8):
                yield f"white_is_0_{depth}_{end}", samples_tiff(grey, 0, depth, order)
                yield f"grey{depth}_{end}", samples_tiff(grey, 1, depth, order)
                more = tiff_palette(depth)
                yield f"palette{depth}_{end}", samples_tiff(grey, 3, depth, order, more=more)
            yield f"rgb_{end}", samples_tiff(rgb, 2, order=order, strip=3)
            yield f"planar_{end}", samples_tiff(rgb, 2, order=order, strip=5, planar=2)
            yield f"tiles_{end}", samples_tiff(rgb, 2, order=order, tile=16)
        end = f"{width}x{height}.tif"
        deflate = {259: ("H", [8])}
        yield f"deflate_{end}", samples_tiff(rgb, 2, strip=4, compress=zlib.compress, more=deflate)
        yield f"deflate_predictor_{end}", samples_tiff(rgb, 2, strip=4, compress=zlib.compress,
                                                       predictor=2, more=deflate)
        yield f"deflate_tiles_{end}", samples_tiff(rgb, 2, tile=16, compress=zlib.compress,
                                                   predictor=2, more=deflate)
        yield f"deflate_planar_{end}", samples_tiff(rgb, 2, strip=4, compress=zlib.compress,
                                                    planar=2, more=deflate)
        old = {259: ("H", [32946])}
        yield f"old_deflate_{end}", samples_tiff(rgb, 2, compress=zlib.compress, more=old)
        packed = {259: ("H", [32773])}
        yield f"packbits_{end}", samples_tiff(rgb, 2, strip=1, compress=packbits, more=packed)
        yield f"packbits1_{end}", samples_tiff(grey, 1, 1, strip=1, compress=packbits, more=packed)
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
            for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits"):
                yield f"pillow_{mode}_{compression}_{end}", encoded(
                    picture(6, width, height, mode), "TIFF", compression=compression)
    rgb, grey = photo(6, 17, 13), photo(6, 17, 13, 1)
    for extra in (0, 1, 2, 999):
        four = photo(6, 17, 13, 4)
        yield f"extra{extra}.tif", samples_tiff(four, 2, extra=(extra,))
        yield f"extra{extra}_deflate.tif", samples_tiff(
            four, 2, extra=(extra,), compress=zlib.compress, more={259: ("H", [8])})
        yield f"extra{extra}_planar.tif", samples_tiff(four, 2, extra=(extra,), planar=2)
        two = photo(6, 17, 13, 2)
        yield f"grey_extra{extra}.tif", samples_tiff(two, 1, extra=(extra,))
        more = tiff_palette(8)
        yield f"palette_extra{extra}.tif", samples_tiff(two, 3, extra=(extra,), more=more)
    yield "no_extra.tif", samples_tiff(photo(6, 17, 13, 4), 2)
    five = photo(6, 17, 13, 5)
    for extra in ((0, 0), (1, 0), (2, 0)):
        yield f"five_{extra[0]}.tif", samples_tiff(five, 2, extra=extra)
    for orientation in range(1, 9):
        more = {274: ("H", [orientation])}
        yield f"orientation{orientation}.tif", samples_tiff(rgb, 2, more=more)
        more = {274: ("H", [orientation]), 259: ("H", [8])}
        yield f"orientation{orientation}_deflate.tif", samples_tiff(
            rgb, 2, compress=zlib.compress, more=more)
    fill = {266: ("H", [2])}
    for depth in (1, 4, 8):
        yield f"fill_order{depth}.tif", samples_tiff(grey, 1, depth, compress=reversed_bits,
                                                     more=fill)
    yield "sixteen_bits.tif", samples_tiff(rgb, 2, 16)
    yield "sixteen_bits_grey.tif", samples_tiff(grey, 1, 16)
    yield "cmyk.tif", samples_tiff(photo(6, 17, 13, 4), 5)
    yield "lab.tif", samples_tiff(rgb, 8)
    yield "ycbcr.tif", samples_tiff(rgb, 6, more={530: ("H", [1, 1])})
    yield "signed.tif", samples_tiff(grey, 1, more={339: ("H", [2])})
    floats = photo(6, 17, 13, 4)
    yield "floats.tif", samples_tiff(floats, 1, more={
        258: ("H", [32]), 277: ("H", [1]), 339: ("H", [3])})
    yield "jpeg.tif", encoded(picture(6, 32, 32), "TIFF", compression="jpeg")
    yield "group4.tif", encoded(picture(6, 33, 20, "1"), "TIFF", compression="group4")
    yield "group3.tif", encoded(picture(6, 33, 20, "1"), "TIFF", compression="group3")
    yield "zstd.tif", encoded(picture(6, 33, 20), "TIFF", compression="zstd")
    yield "lzma.tif", encoded(picture(6, 33, 20), "TIFF", compression="lzma")
    yield "big.tif", encoded(picture(6, 33, 20), "TIFF", big_tiff=True)
    yield "pages.tif", encoded(picture(6, 33, 20), "TIFF", save_all=True,
                               append_images=[picture(7, 20, 33)])
    yield "strips.tif", encoded(picture(6, 33, 20), "TIFF", strip_size=200,
                                compression="tiff_lzw")
    predicted = encoded(picture(6, 33, 20), "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "lzw_predictor.tif", predicted
    yield "many_strips_short_last.tif", samples_tiff(rgb, 2, strip=6)
    whole = samples_tiff(rgb, 2, strip=4)
    yield "trailing.tif", whole + b"bytes behind the end"
    yield "cut.tif", whole[: len(whole) // 2]
    shortened = encoded(picture(6, 33, 20), "TIFF")
    yield "pixels_cut.tif", shortened[:-300]
    lacking = samples_tiff(rgb, 2, more={257: ("I", [26]), 278: ("I", [26])})
    yield "rows_missing.tif", lacking
    deflated = samples_tiff(rgb, 2, compress=zlib.compress,
                            more={259: ("H", [8]), 257: ("I", [26]), 278: ("I", [26])})
    yield "deflate_rows_missing.tif", deflated
    yield "lzw_rows_missing.tif", samples_tiff(
        rgb, 2, compress=lzw, more={259: ("H", [5]), 257: ("I", [26]), 278: ("I", [26])})
    yield "packbits_rows_missing.tif", samples_tiff(
        rgb, 2, compress=packbits, more={259: ("H", [32773]), 257: ("I", [26]), 278: ("I", [26])})


# WebP

def webps():
    for width, height in SIZES + [(64, 48), (129, 65)]:
        end = f"{width}x{height}.webp"
        for mode in ("RGB", "RGBA"):
            image = picture(8, width, height, mode)
            for quality in (1, 50, 95):
                yield f"{mode}_q{quality}_{end}", encoded(image, "WEBP", quality=quality)
            yield f"{mode}_m0_{end}", encoded(image, "WEBP", quality=70, method=0)
            yield f"{mode}_m6_{end}", encoded(image, "WEBP", quality=70, method=6)
            yield f"{mode}_lossless_{end}", encoded(image, "WEBP", lossless=True)
            yield f"{mode}_lossless_m6_{end}", encoded(image, "WEBP", lossless=True, method=6,
                                                       exact=True)
        yield f"alpha_quality_{end}", encoded(picture(8, width, height, "RGBA"), "WEBP",
                                              quality=60, alpha_quality=20)
        few = picture(8, width, height, "P").convert("RGB")
        yield f"few_colours_{end}", encoded(few, "WEBP", lossless=True)
        yield f"grey_{end}", encoded(picture(8, width, height, "L"), "WEBP", quality=60)
        two = picture(8, width, height, "1").convert("RGB")
        yield f"two_colours_{end}", encoded(two, "WEBP", lossless=True)
        flat = Image.new("RGB", (width, height), (1, 200, 30))
        yield f"flat_{end}", encoded(flat, "WEBP", lossless=True)
    exif = Image.Exif()
    exif[0x112] = 6
    yield "orientation.webp", encoded(picture(8, 33, 20), "WEBP", quality=80, exif=exif)
    frames = [picture(seed, 33, 20, "RGBA") for seed in (9, 10)]
    yield "animated.webp", encoded(picture(8, 33, 20), "WEBP", save_all=True,
                                   append_images=frames, duration=100)
    yield "animated_alpha.webp", encoded(frames[0], "WEBP", save_all=True,
                                         append_images=frames[1:], duration=100, lossless=True)
    clear = frames[0].copy()
    clear.paste((0, 0, 0, 0), (0, 0, 20, 20))
    yield "animated_small.webp", encoded(clear, "WEBP", save_all=True, append_images=frames[1:],
                                         duration=100, lossless=True, minimize_size=True)
    yield "animated_lossy_alpha.webp", encoded(clear, "WEBP", save_all=True,
                                               append_images=frames[1:], duration=100, quality=60)
    for name, options in (("lossy", {"quality": 80}), ("lossless", {"lossless": True})):
        for mode in ("RGB", "RGBA"):
            whole = encoded(picture(8, 64, 48, mode), "WEBP", **options)
            yield f"{name}_{mode}_cut.webp", whole[: len(whole) // 2]
            yield f"{name}_{mode}_cut_end.webp", whole[:-7]
            yield f"{name}_{mode}_trailing.webp", whole + b"bytes behind the end"


# PNM

def pnms():
    for width, height in SIZES:
        grey, rgb = photo(7, width, height, 1), photo(7, width, height)
        bits = numpy.packbits(grey[:, :, 0] >> 7, axis=1).tobytes()
        end = f"{width}x{height}"
        size = f"{width} {height}"
        yield f"binary_{end}.pgm", f"P5\n{size}\n255\n".encode() + grey.tobytes()
        yield f"binary_{end}.ppm", f"P6\n{size}\n255\n".encode() + rgb.tobytes()
        yield f"bits_{end}.pbm", f"P4\n{size}\n".encode() + bits
        text = " ".join(str(v) for v in grey.ravel())
        yield f"text_{end}.pgm", f"P2\n{size}\n255\n{text}\n".encode()
        text = "\n".join(str(v) for v in rgb.ravel())
        yield f"text_{end}.ppm", f"P3\n{size}\n255\n{text}\n".encode()
        text = "".join(str(v) for v in grey.ravel() >> 7)
        yield f"text_{end}.pbm", f"P1\n{size}\n{text}\n".encode()
    grey, rgb = photo(7, 17, 13, 1), photo(7, 17, 13)
    yield "comment.pgm", b"P5\n# a comment\n17 # and one here\n13\n255\n" + grey.tobytes()
    yield "levels_100.pgm", b"P5 17 13 100\n" + (grey // 3).tobytes()
    yield "levels_15.ppm", b"P6 17 13 15\n" + (rgb // 16).tobytes()
    yield "over.pgm", b"P5 17 13 100\n" + grey.tobytes()
    yield "text_levels_15.ppm", b"P3 17 13 15\n" + " ".join(
        str(v // 16) for v in rgb.ravel()).encode()
    yield "sixteen_bits.pgm", b"P5 17 13 65535\n" + (grey.astype(">u2") * 257).tobytes()
    yield "sixteen_bits.ppm", b"P6 17 13 65535\n" + (rgb.astype(">u2") * 257).tobytes()
    yield "cut.ppm", b"P6\n17 13\n255\n" + rgb.tobytes()[:-50]
    yield "text_cut.ppm", b"P3\n17 13\n255\n" + b"1 2 3 " * 50
    yield "trailing.ppm", b"P6\n17 13\n255\n" + rgb.tobytes() + b"behind"
    yield "float.pfm", b"Pf\n17 13\n-1.0\n" + bytes(17 * 13 * 4)


def files():
    """Bytes of all odd files by name, unlike names for all."""
    found = {}
    for kind in (jpegs, pngs, bmps, tiffs, webps, pnms):
        for name, data in kind():
            assert name not in found, name
            found[name] = data
    found["empty.png"] = b""
    found["web_page.jpg"] = b"<!DOCTYPE html><html>quota</html>"
    found["pointer.png"] = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    found["animation.gif"] = encoded(picture(1, 17, 13), "GIF")
    found["phone.avif"] = encoded(picture(1, 17, 13), "AVIF")
    found["jpeg_2000.jp2"] = encoded(picture(1, 17, 13), "JPEG2000")
    return found
