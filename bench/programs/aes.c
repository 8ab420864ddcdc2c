/* AES-128 (FIPS 197) in CBC mode with the customary four tables of a round, over 64 KiB, then back again. */
#include "bench.h"

static uint8_t sbox[256], inverse_sbox[256];
/* SubBytes, ShiftRows and MixColumns of one byte as a column; and the inverse. */
static uint32_t encrypt_table[4][256], decrypt_table[4][256];

static uint8_t times2(uint8_t x) { return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1b : 0)); }

static uint8_t multiply(uint8_t a, uint8_t b) {
  uint8_t product = 0;
  for (; b; b >>= 1, a = times2(a))
    if (b & 1) product ^= a;
  return product;
}

static uint32_t rotl(uint32_t x, int n) { return n ? x << n | x >> (32 - n) : x; }

static void prepare(void) {
  for (int x = 0; x < 256; x++) {
    uint8_t inverse = 0;
    for (int y = 1; y < 256 && x; y++)
      if (multiply((uint8_t)x, (uint8_t)y) == 1) inverse = (uint8_t)y;
    uint8_t s = 0x63;
    for (int shift = 0; shift < 5; shift++) s ^= (uint8_t)(inverse << shift | inverse >> (8 - shift));
    sbox[x] = s;
    inverse_sbox[s] = (uint8_t)x;
  }
  for (int x = 0; x < 256; x++) {
    uint8_t s = sbox[x], i = inverse_sbox[x];
    uint32_t e = multiply(s, 2) | s << 8 | s << 16 | (uint32_t)multiply(s, 3) << 24;
    uint32_t d = multiply(i, 14) | multiply(i, 9) << 8 | multiply(i, 13) << 16 | (uint32_t)multiply(i, 11) << 24;
    for (int row = 0; row < 4; row++) {
      encrypt_table[row][x] = rotl(e, 8 * row);
      decrypt_table[row][x] = rotl(d, 8 * row);
    }
  }
}

#define ROUNDS 10
struct key {
  uint32_t encrypt[4 * (ROUNDS + 1)], decrypt[4 * (ROUNDS + 1)];
};

static uint32_t substitute(uint32_t word) {
  return sbox[word & 0xff] | sbox[word >> 8 & 0xff] << 8 | sbox[word >> 16 & 0xff] << 16 |
         (uint32_t)sbox[word >> 24] << 24;
}

static void expand(struct key *key, const uint8_t bytes[16]) {
  uint32_t *w = key->encrypt;
  memcpy(w, bytes, 16);
  uint8_t constant = 1;
  for (int i = 4; i < 4 * (ROUNDS + 1); i++) {
    uint32_t word = w[i - 1];
    if (i % 4 == 0) {
      word = substitute(rotl(word, 24)) ^ constant;
      constant = times2(constant);
    }
    w[i] = w[i - 4] ^ word;
  }
  /* The equivalent inverse cipher (section 5.3.5): round keys reversed, the middle ones through InvMixColumns. */
  for (int round = 0; round <= ROUNDS; round++)
    for (int column = 0; column < 4; column++) {
      uint32_t word = w[4 * (ROUNDS - round) + column];
      if (round != 0 && round != ROUNDS) {
        word = decrypt_table[0][sbox[word & 0xff]] ^ decrypt_table[1][sbox[word >> 8 & 0xff]] ^
               decrypt_table[2][sbox[word >> 16 & 0xff]] ^ decrypt_table[3][sbox[word >> 24]];
      }
      key->decrypt[4 * round + column] = word;
    }
}

/* One direction or the other: they differ in tables, S-box and the way that rows are shifted. */
static inline void cipher(const uint32_t *keys, uint32_t (*table)[256], const uint8_t *box, int turn, uint32_t s[4]) {
  uint32_t t[4];
  for (int c = 0; c < 4; c++) s[c] ^= keys[c];
  for (int round = 1; round < ROUNDS; round++) {
    for (int c = 0; c < 4; c++)
      t[c] = table[0][s[c] & 0xff] ^ table[1][s[(c + turn) & 3] >> 8 & 0xff] ^
             table[2][s[(c + 2) & 3] >> 16 & 0xff] ^ table[3][s[(c - turn) & 3] >> 24] ^ keys[4 * round + c];
    memcpy(s, t, sizeof t);
  }
  for (int c = 0; c < 4; c++)
    t[c] = (box[s[c] & 0xff] | box[s[(c + turn) & 3] >> 8 & 0xff] << 8 | box[s[(c + 2) & 3] >> 16 & 0xff] << 16 |
            (uint32_t)box[s[(c - turn) & 3] >> 24] << 24) ^
           keys[4 * ROUNDS + c];
  memcpy(s, t, sizeof t);
}

static void encrypt(const struct key *key, uint32_t s[4]) { cipher(key->encrypt, encrypt_table, sbox, 1, s); }
static void decrypt(const struct key *key, uint32_t s[4]) { cipher(key->decrypt, decrypt_table, inverse_sbox, -1, s); }

#define BLOCKS 4096
static uint32_t plain[BLOCKS][4], secret[BLOCKS][4];

static uint64_t run(uint64_t iterations) {
  struct key key;
  uint8_t bytes[16];
  uint32_t block[4];
  prepare();

  /* FIPS 197, appendix C.1. */
  for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)i;
  expand(&key, bytes);
  for (int i = 0; i < 4; i++) block[i] = 0x33221100u + 0x44444444u * (uint32_t)i;
  encrypt(&key, block);
  CHECK(block[0] == 0xd8e0c469 && block[3] == 0x5ac5b470);
  decrypt(&key, block);
  CHECK(block[0] == 0x33221100 && block[3] == 0xffeeddcc);

  uint64_t seed = 2;
  for (int i = 0; i < BLOCKS; i++)
    for (int c = 0; c < 4; c++) plain[i][c] = (uint32_t)next_random(&seed);
  uint32_t chain[4] = {0}, previous[4];
  for (uint64_t n = 0; n < iterations; n++) {
    memcpy(previous, chain, sizeof chain);
    for (int i = 0; i < BLOCKS; i++) {
      for (int c = 0; c < 4; c++) chain[c] ^= plain[i][c];
      encrypt(&key, chain);
      memcpy(secret[i], chain, sizeof chain);
    }
    for (int i = 0; i < BLOCKS; i++) {
      memcpy(block, secret[i], sizeof block);
      decrypt(&key, block);
      for (int c = 0; c < 4; c++) CHECK((block[c] ^ previous[c]) == plain[i][c]);
      memcpy(previous, secret[i], sizeof previous);
    }
  }
  return mix_bytes(0, chain, sizeof chain);
}
