/* ChaCha20 (RFC 8439) encrypting 64 KiB in place, again and again: adds, xors and rotations in sixteen registers. */
#include "bench.h"

static inline uint32_t rotl(uint32_t x, int n) { return x << n | x >> (32 - n); }

#define QUARTER(a, b, c, d)            \
  a += b, d = rotl(d ^ a, 16);         \
  c += d, b = rotl(b ^ c, 12);         \
  a += b, d = rotl(d ^ a, 8);          \
  c += d, b = rotl(b ^ c, 7)

/* State: four constant words, eight of key, one block counter, three of nonce (section 2.3). */
static void block(const uint32_t state[16], uint32_t out[16]) {
  uint32_t x[16];
  memcpy(x, state, sizeof x);
  for (int i = 0; i < 10; i++) {
    QUARTER(x[0], x[4], x[8], x[12]);
    QUARTER(x[1], x[5], x[9], x[13]);
    QUARTER(x[2], x[6], x[10], x[14]);
    QUARTER(x[3], x[7], x[11], x[15]);
    QUARTER(x[0], x[5], x[10], x[15]);
    QUARTER(x[1], x[6], x[11], x[12]);
    QUARTER(x[2], x[7], x[8], x[13]);
    QUARTER(x[3], x[4], x[9], x[14]);
  }
  for (int i = 0; i < 16; i++) out[i] = x[i] + state[i];
}

static uint32_t buffer[16 * 1024];

static uint64_t run(uint64_t iterations) {
  uint32_t state[16], out[16];
  /* The example of section 2.3.2: key 00 01 … 1f, counter 1, nonce 000000090000004a00000000. */
  memcpy(state, "expand 32-byte k", 16);
  for (int i = 0; i < 8; i++) state[4 + i] = 0x03020100u + 0x04040404u * (uint32_t)i;
  state[12] = 1, state[13] = 0x09000000, state[14] = 0x4a000000, state[15] = 0;
  block(state, out);
  CHECK(out[0] == 0xe4e7f110 && out[15] == 0x4e3c50a2);

  for (uint64_t n = 0; n < iterations; n++) {
    state[14] = (uint32_t)n;
    for (uint32_t i = 0; i < 1024; i++) {
      state[12] = i;
      block(state, out);
      for (int w = 0; w < 16; w++) buffer[16 * i + w] ^= out[w];
    }
  }
  return mix_bytes(0, buffer, sizeof buffer);
}
