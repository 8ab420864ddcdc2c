/* SHA-256 (FIPS 180-4) over a buffer of 64 KiB, each digest fed into the next repetition. */
#include "bench.h"

/* Fractional parts of the cube roots of the first 64 primes (section 4.2.2). */
static uint32_t constants[64];

/* The high 32 bits of the fraction of the cube root of n: the largest r with r^3 <= n * 2^96, less its integer part. */
static uint32_t cube_root_fraction(uint32_t n) {
  uint64_t root = 0;
  for (int bit = 35; bit >= 0; bit--) {
    unsigned __int128 trial = root | (uint64_t)1 << bit;
    unsigned __int128 square = trial * trial;
    /* trial < 2^36, so trial^3 < 2^108 fits. */
    if (square * trial <= (unsigned __int128)n << 96) root = (uint64_t)trial;
  }
  return (uint32_t)root;
}

static uint32_t square_root_fraction(uint32_t n) {
  uint64_t root = 0;
  for (int bit = 35; bit >= 0; bit--) {
    unsigned __int128 trial = root | (uint64_t)1 << bit;
    if (trial * trial <= (unsigned __int128)n << 64) root = (uint64_t)trial;
  }
  return (uint32_t)root;
}

static uint32_t initial[8];

static void prepare(void) {
  int count = 0;
  for (uint32_t n = 2; count < 64; n++) {
    int prime = 1;
    for (uint32_t d = 2; d * d <= n; d++) prime &= n % d != 0;
    if (!prime) continue;
    if (count < 8) initial[count] = square_root_fraction(n);
    constants[count++] = cube_root_fraction(n);
  }
}

static inline uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void compress(uint32_t state[8], const uint8_t *block) {
  uint32_t w[64];
  for (int t = 0; t < 16; t++)
    w[t] = (uint32_t)block[4 * t] << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
  for (int t = 16; t < 64; t++) {
    uint32_t s0 = rotr(w[t - 15], 7) ^ rotr(w[t - 15], 18) ^ w[t - 15] >> 3;
    uint32_t s1 = rotr(w[t - 2], 17) ^ rotr(w[t - 2], 19) ^ w[t - 2] >> 10;
    w[t] = w[t - 16] + s0 + w[t - 7] + s1;
  }
  uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
  uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
  for (int t = 0; t < 64; t++) {
    uint32_t sum1 = rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25);
    uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + constants[t] + w[t];
    uint32_t sum0 = rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22);
    uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static void sha256(const uint8_t *data, size_t length, uint32_t state[8]) {
  memcpy(state, initial, sizeof initial);
  size_t whole = length / 64 * 64;
  for (size_t i = 0; i < whole; i += 64) compress(state, data + i);
  uint8_t tail[128] = {0};
  size_t rest = length - whole;
  memcpy(tail, data + whole, rest);
  tail[rest] = 0x80;
  size_t tail_length = rest < 56 ? 64 : 128;
  for (int i = 0; i < 8; i++) tail[tail_length - 1 - i] = (uint8_t)((uint64_t)length * 8 >> 8 * i);
  for (size_t i = 0; i < tail_length; i += 64) compress(state, tail + i);
}

static uint8_t buffer[64 * 1024];

static uint64_t run(uint64_t iterations) {
  uint32_t digest[8];
  prepare();
  /* FIPS 180-4's example: "abc". */
  sha256((const uint8_t *)"abc", 3, digest);
  CHECK(digest[0] == 0xba7816bf && digest[7] == 0xf20015ad);

  uint64_t seed = 1;
  for (size_t i = 0; i < sizeof buffer; i++) buffer[i] = (uint8_t)next_random(&seed);
  for (uint64_t i = 0; i < iterations; i++) {
    sha256(buffer, sizeof buffer, digest);
    memcpy(buffer + i % 1024 * 32, digest, sizeof digest);
  }
  return mix_bytes(0, digest, sizeof digest);
}
