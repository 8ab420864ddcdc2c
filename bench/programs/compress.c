/*
 * A compressor of the family of LZMA, small: matches found through hash chains, literals and matches coded by an adaptive
 * binary range coder. Each repetition compresses 64 KiB of made-up text, decompresses it and compares.
 */
#include "bench.h"

#define SIZE (64 * 1024)
static uint8_t text[SIZE], packed[SIZE * 2], unpacked[SIZE];

/* Sentences of 300 invented words, the early ones far more frequent. */
static void write_text(uint64_t seed) {
  static char words[300][10];
  for (int w = 0; w < 300; w++) {
    int length = 2 + (int)(next_random(&seed) % 7);
    for (int i = 0; i < length; i++) words[w][i] = "etaoinshrdlucmfwypvbgk"[next_random(&seed) % 22];
    words[w][length] = 0;
  }
  for (int at = 0; at < SIZE;) {
    uint64_t r = next_random(&seed) % 300;
    for (const char *c = words[r * r / 300]; *c && at < SIZE; c++) text[at++] = (uint8_t)*c;
    if (at < SIZE) text[at++] = next_random(&seed) % 12 ? ' ' : '\n';
  }
}

/* ---- Binary range coder: probabilities of 11 bits, moved by 1/32 of the error ---- */

#define TOP (1u << 24)
typedef uint16_t probability;

struct model {
  probability is_match[256];        /* by the byte before */
  probability literal[256][256];    /* by the byte before; a binary tree over the bits of the byte */
  probability length[256];          /* length - MINIMUM, as a tree */
  probability distance_bits[32];    /* how many bits the distance has, as a tree */
};
static struct model model;

static void reset_model(void) {
  probability *p = (probability *)&model;
  for (size_t i = 0; i < sizeof model / sizeof *p; i++) p[i] = 1024;
}

static struct { uint64_t low; uint32_t range; uint8_t cache; uint64_t pending; uint8_t *out; } encoder;

static void shift_low(void) {
  if ((uint32_t)encoder.low < 0xff000000u || encoder.low >> 32) {
    uint8_t carry = (uint8_t)(encoder.low >> 32);
    uint8_t byte = encoder.cache;
    do {
      *encoder.out++ = (uint8_t)(byte + carry);
      byte = 0xff;
    } while (--encoder.pending);
    encoder.cache = (uint8_t)(encoder.low >> 24);
  }
  encoder.pending++;
  encoder.low = (encoder.low & 0x00ffffff) << 8;
}

static void put_bit(probability *p, int bit) {
  uint32_t bound = (encoder.range >> 11) * *p;
  if (bit) {
    encoder.low += bound;
    encoder.range -= bound;
    *p -= *p >> 5;
  } else {
    encoder.range = bound;
    *p += (2048 - *p) >> 5;
  }
  while (encoder.range < TOP) {
    encoder.range <<= 8;
    shift_low();
  }
}

static void put_plain(uint32_t value, int bits) {
  while (bits--) {
    encoder.range >>= 1;
    if (value >> bits & 1) encoder.low += encoder.range;
    while (encoder.range < TOP) {
      encoder.range <<= 8;
      shift_low();
    }
  }
}

static void put_tree(probability *tree, uint32_t value, int bits) {
  uint32_t node = 1;
  while (bits--) {
    int bit = value >> bits & 1;
    put_bit(&tree[node], bit);
    node = node << 1 | (uint32_t)bit;
  }
}

static struct { uint32_t range, code; const uint8_t *in; } decoder;

static void refill(void) {
  while (decoder.range < TOP) {
    decoder.range <<= 8;
    decoder.code = decoder.code << 8 | *decoder.in++;
  }
}

static int get_bit(probability *p) {
  uint32_t bound = (decoder.range >> 11) * *p;
  int bit = decoder.code >= bound;
  if (bit) {
    decoder.code -= bound;
    decoder.range -= bound;
    *p -= *p >> 5;
  } else {
    decoder.range = bound;
    *p += (2048 - *p) >> 5;
  }
  refill();
  return bit;
}

static uint32_t get_plain(int bits) {
  uint32_t value = 0;
  while (bits--) {
    decoder.range >>= 1;
    uint32_t bit = decoder.code >= decoder.range;
    if (bit) decoder.code -= decoder.range;
    value = value << 1 | bit;
    refill();
  }
  return value;
}

static uint32_t get_tree(probability *tree, int bits) {
  uint32_t node = 1;
  for (int i = 0; i < bits; i++) node = node << 1 | (uint32_t)get_bit(&tree[node]);
  return node - (1u << bits);
}

/* ---- Matches: the longest of up to CHAIN earlier places with the same three bytes ---- */

#define MINIMUM 3
#define MAXIMUM (MINIMUM + 255)
#define CHAIN 24
static int32_t heads[1 << 13], previous[SIZE];

static uint32_t hash3(const uint8_t *p) {
  return (uint32_t)(p[0] | p[1] << 8 | p[2] << 16) * 2654435761u >> 19;
}

static void remember(int at) {
  if (at + MINIMUM > SIZE) return;
  uint32_t h = hash3(text + at);
  previous[at] = heads[h];
  heads[h] = at;
}

static int longest_match(int at, int *distance) {
  int best = 0, limit = SIZE - at < MAXIMUM ? SIZE - at : MAXIMUM;
  if (limit < MINIMUM) return 0;
  int candidate = heads[hash3(text + at)];
  for (int tries = 0; candidate >= 0 && tries < CHAIN; tries++, candidate = previous[candidate]) {
    if (text[candidate + best] != text[at + best]) continue;
    int length = 0;
    while (length < limit && text[candidate + length] == text[at + length]) length++;
    if (length > best) {
      best = length;
      *distance = at - candidate;
      if (best == limit) break;
    }
  }
  return best >= MINIMUM ? best : 0;
}

static size_t compress_text(void) {
  reset_model();
  memset(heads, 0xff, sizeof heads);
  encoder.low = 0, encoder.range = 0xffffffff, encoder.cache = 0, encoder.pending = 1, encoder.out = packed;
  for (int at = 0; at < SIZE;) {
    int distance = 0, length = longest_match(at, &distance);
    uint8_t before = at ? text[at - 1] : 0;
    put_bit(&model.is_match[before], length != 0);
    if (length == 0) {
      put_tree(model.literal[before], text[at], 8);
      remember(at++);
      continue;
    }
    put_tree(model.length, (uint32_t)(length - MINIMUM), 8);
    int bits = 31 - __builtin_clz((unsigned)distance);
    put_tree(model.distance_bits, (uint32_t)bits, 5);
    put_plain((uint32_t)distance & ((1u << bits) - 1), bits);
    for (int end = at + length; at < end; at++) remember(at);
  }
  for (int i = 0; i < 5; i++) shift_low();
  return (size_t)(encoder.out - packed);
}

static void decompress_text(void) {
  reset_model();
  decoder.range = 0xffffffff, decoder.code = 0, decoder.in = packed;
  for (int i = 0; i < 5; i++) decoder.code = decoder.code << 8 | *decoder.in++;
  for (int at = 0; at < SIZE;) {
    uint8_t before = at ? unpacked[at - 1] : 0;
    if (!get_bit(&model.is_match[before])) {
      unpacked[at++] = (uint8_t)get_tree(model.literal[before], 8);
      continue;
    }
    int length = (int)get_tree(model.length, 8) + MINIMUM;
    int bits = (int)get_tree(model.distance_bits, 5);
    int distance = (int)(get_plain(bits) | 1u << bits);
    CHECK(distance <= at && at + length <= SIZE);
    for (; length--; at++) unpacked[at] = unpacked[at - distance];
  }
}

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (uint64_t n = 0; n < iterations; n++) {
    write_text(n);
    size_t length = compress_text();
    CHECK(length < SIZE / 2);
    memset(unpacked, 0, SIZE);
    decompress_text();
    CHECK(memcmp(text, unpacked, SIZE) == 0);
    sum = mix(mix(sum, length), packed[length / 2]);
  }
  return sum;
}
