/* Sorting: quicksort and heap sort on numbers, the C library's qsort() on records through a comparison function. */
#include "bench.h"

#define COUNT 20000
static uint32_t numbers[COUNT];

static void insertion_sort(uint32_t *a, long n) {
  for (long i = 1; i < n; i++) {
    uint32_t value = a[i];
    long j = i;
    for (; j > 0 && a[j - 1] > value; j--) a[j] = a[j - 1];
    a[j] = value;
  }
}

static void quicksort(uint32_t *a, long n) {
  while (n > 16) {
    uint32_t low = a[0], middle = a[n / 2], high = a[n - 1];
    uint32_t pivot = low < middle ? (middle < high ? middle : low < high ? high : low)
                                  : (low < high ? low : middle < high ? high : middle);
    long i = 0, j = n - 1;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) {
        uint32_t swap = a[i];
        a[i++] = a[j];
        a[j--] = swap;
      }
    }
    quicksort(a, j + 1);
    a += i;
    n -= i;
  }
  insertion_sort(a, n);
}

static void sift(uint32_t *a, long root, long n) {
  uint32_t value = a[root];
  for (long child; (child = 2 * root + 1) < n; root = child) {
    if (child + 1 < n && a[child + 1] > a[child]) child++;
    if (a[child] <= value) break;
    a[root] = a[child];
  }
  a[root] = value;
}

static void heap_sort(uint32_t *a, long n) {
  for (long i = n / 2 - 1; i >= 0; i--) sift(a, i, n);
  for (long end = n - 1; end > 0; end--) {
    uint32_t swap = a[0];
    a[0] = a[end];
    a[end] = swap;
    sift(a, 0, end);
  }
}

struct record {
  char name[12];
  uint32_t value;
};
static struct record records[COUNT / 4];

static int by_name(const void *a, const void *b) {
  const struct record *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  return order ? order : (x->value > y->value) - (x->value < y->value);
}

static uint64_t fill_and_check(void (*sort)(uint32_t *, long), uint64_t seed, uint64_t sum) {
  for (int i = 0; i < COUNT; i++) numbers[i] = (uint32_t)next_random(&seed);
  sort(numbers, COUNT);
  for (int i = 1; i < COUNT; i++) CHECK(numbers[i - 1] <= numbers[i]);
  return mix(mix(sum, numbers[COUNT / 3]), numbers[COUNT / 2]);
}

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (uint64_t n = 0; n < iterations; n++) {
    sum = fill_and_check(quicksort, n, sum);
    sum = fill_and_check(heap_sort, n + 1000000, sum);
    uint64_t seed = n + 2000000;
    int count = sizeof records / sizeof records[0];
    for (int i = 0; i < count; i++) {
      for (int c = 0; c < 11; c++) records[i].name[c] = (char)('a' + next_random(&seed) % 3);
      records[i].name[11] = 0;
      records[i].value = (uint32_t)i;
    }
    qsort(records, (size_t)count, sizeof records[0], by_name);
    for (int i = 1; i < count; i++) CHECK(by_name(&records[i - 1], &records[i]) < 0);
    sum = mix(sum, records[count / 2].value);
  }
  return sum;
}
