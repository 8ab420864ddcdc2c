/*
 * An integer mix of the kind that CoreMark made customary: linked lists, small matrices, a state machine over text,
 * and a CRC that ties the results together. Written afresh; its numbers don't compare with CoreMark's.
 */
#include "bench.h"

/* ---- CRC-16/ARC, bit by bit: shifts and unpredictable branches ---- */

static uint16_t crc16(uint16_t crc, uint32_t value) {
  for (int i = 0; i < 32; i++) {
    int carry = (crc ^ value) & 1;
    crc >>= 1;
    value >>= 1;
    if (carry) crc ^= 0xa001;
  }
  return crc;
}

/* ---- Linked list: find, reverse, merge sort by one of two orders ---- */

struct node {
  struct node *next;
  int16_t key;
  int16_t index;
};

#define NODES 256
static struct node nodes[NODES];

static struct node *list_build(uint64_t seed) {
  for (int i = 0; i < NODES; i++) {
    nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
    nodes[i].key = (int16_t)(next_random(&seed) & 0x7fff);
    nodes[i].index = (int16_t)i;
  }
  return nodes;
}

static struct node *list_reverse(struct node *list) {
  struct node *reversed = NULL;
  while (list) {
    struct node *next = list->next;
    list->next = reversed;
    reversed = list;
    list = next;
  }
  return reversed;
}

static struct node *list_find(struct node *list, int16_t key) {
  while (list && (list->key & 0xff) != key) list = list->next;
  return list;
}

typedef int order(const struct node *, const struct node *);
static int by_key(const struct node *a, const struct node *b) { return a->key - b->key; }
static int by_index(const struct node *a, const struct node *b) { return a->index - b->index; }

static struct node *list_merge(struct node *a, struct node *b, order *compare) {
  struct node *head = NULL, **tail = &head;
  while (a && b) {
    struct node **least = compare(a, b) <= 0 ? &a : &b;
    *tail = *least;
    tail = &(*least)->next;
    *least = *tail;
  }
  *tail = a ? a : b;
  return head;
}

static struct node *list_sort(struct node *list, int length, order *compare) {
  if (length < 2) {
    if (list) list->next = NULL;
    return list;
  }
  struct node *second = list;
  for (int i = 0; i < length / 2; i++) second = second->next;
  struct node *sorted_second = list_sort(second, length - length / 2, compare);
  return list_merge(list_sort(list, length / 2, compare), sorted_second, compare);
}

static uint16_t list_work(uint16_t crc, uint64_t seed) {
  struct node *list = list_build(seed);
  for (int16_t key = 0; key < 32; key++) {
    struct node *found = list_find(list, key * 8);
    crc = crc16(crc, found ? (uint32_t)found->index : 0xffff);
    list = list_reverse(list);
  }
  list = list_sort(list, NODES, by_key);
  for (struct node *n = list; n; n = n->next) crc = crc16(crc, (uint32_t)n->index);
  list = list_sort(list, NODES, by_index);
  for (struct node *n = list; n && n->next; n = n->next) CHECK(n->index < n->next->index);
  return crc;
}

/* ---- Matrices of 16-bit numbers with 32-bit results ---- */

#define ORDER 20
static int16_t left[ORDER][ORDER], right[ORDER][ORDER];
static int32_t product[ORDER][ORDER];

static uint16_t matrix_work(uint16_t crc, uint64_t seed) {
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      left[i][j] = (int16_t)next_random(&seed);
      right[i][j] = (int16_t)(next_random(&seed) & 0xff);
    }
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      int32_t sum = 0;
      for (int k = 0; k < ORDER; k++) sum += (int32_t)left[i][k] * right[k][j];
      product[i][j] = sum;
    }
  int32_t previous = 0, rises = 0;
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      int32_t field = (product[i][j] >> 2) & 0xff;
      rises += field > previous ? 10 : 0;
      previous = field;
    }
  return crc16(crc, (uint32_t)rises);
}

/* ---- A scanner that sorts words into kinds of number, one character at a time ---- */

enum state { START, SIGN, INTEGER, POINT, FRACTION, EXPONENT, EXPONENT_DIGITS, INVALID, STATES };

static enum state step(enum state state, char c) {
  int digit = c >= '0' && c <= '9';
  switch (state) {
    case START: return digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : INVALID;
    case SIGN: return digit ? INTEGER : c == '.' ? POINT : INVALID;
    case INTEGER: return digit ? INTEGER : c == '.' ? POINT : c == 'e' ? EXPONENT : INVALID;
    case POINT: return digit ? FRACTION : INVALID;
    case FRACTION: return digit ? FRACTION : c == 'e' ? EXPONENT : INVALID;
    case EXPONENT: return digit || c == '-' ? EXPONENT_DIGITS : INVALID;
    case EXPONENT_DIGITS: return digit ? EXPONENT_DIGITS : INVALID;
    default: return INVALID;
  }
}

static uint16_t state_work(uint16_t crc, uint64_t seed) {
  static const char *const words[] = {"5012", "-874.5", "+.7e3", "35.54400", "12e-9", "T0.3e-1F", "1.2.3", "--4"};
  uint32_t ends[STATES] = {0};
  for (int i = 0; i < 200; i++) {
    uint64_t random = next_random(&seed);
    enum state state = START;
    for (const char *c = words[random & 7]; *c; c++) {
      /* Now and then a character is damaged, so that branches are not learnt by heart. */
      char damaged = (random >>= 1) % 13 == 0 ? ',' : *c;
      state = step(state, damaged);
    }
    ends[state]++;
  }
  for (int i = 0; i < STATES; i++) crc = crc16(crc, ends[i]);
  return crc;
}

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < iterations; i++) {
    uint16_t crc = list_work(0xffff, i);
    crc = matrix_work(crc, i);
    crc = state_work(crc, i);
    sum = mix(sum, crc);
  }
  return sum;
}
