/* The mathematical library: transcendental functions in double and single precision, with identities checked. */
#include <math.h>
#include "bench.h"

#define POINTS 500

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (uint64_t n = 0; n < iterations; n++) {
    uint64_t seed = n;
    double total = 0;
    float single = 0;
    for (int i = 0; i < POINTS; i++) {
      double x = (double)(next_random(&seed) >> 11) * 0x1p-53 * 20 + 0.001;
      double s = sin(x), c = cos(x);
      CHECK(fabs(s * s + c * c - 1) < 1e-14);
      double e = exp(x * 0.5), l = log(x);
      CHECK(fabs(log(e) - x * 0.5) < 1e-12 * (1 + x));
      total += s * e + l + pow(x, 1.0 / 3) - cbrt(x) + atan2(s, x) + tanh(c) + hypot(s, l) + fmod(e, 1.7);
      total += floor(x * 3.7) + rint(l * 11) + (double)lrint(s * 1000);
      float f = (float)x;
      single += sinf(f) * expf(-f) + logf(f) + powf(f, 0.25f) + atanf(f) + sqrtf(f);
    }
    sum = mix_double(mix_double(sum, total), single);
  }
  return sum;
}
