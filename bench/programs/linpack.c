/* LINPACK's kind of work: factor a dense matrix with partial pivoting and solve, in double precision; residual checked. */
#include <math.h>
#include "bench.h"

#define N 160
/* By columns, so that the inner loop (y += a * x) runs along memory. */
static double matrix[N][N], original[N][N], vector[N], right[N];
static int pivots[N];

static void axpy(int n, double a, const double *x, double *y) {
  for (int i = 0; i < n; i++) y[i] += a * x[i];
}

static void factor(void) {
  for (int k = 0; k < N; k++) {
    double *column = matrix[k];
    int pivot = k;
    for (int i = k + 1; i < N; i++)
      if (fabs(column[i]) > fabs(column[pivot])) pivot = i;
    pivots[k] = pivot;
    CHECK(column[pivot] != 0);
    double swap = column[pivot];
    column[pivot] = column[k];
    column[k] = swap;
    for (int i = k + 1; i < N; i++) column[i] /= -swap;
    for (int j = k + 1; j < N; j++) {
      double value = matrix[j][pivot];
      matrix[j][pivot] = matrix[j][k];
      matrix[j][k] = value;
      axpy(N - k - 1, value, column + k + 1, matrix[j] + k + 1);
    }
  }
}

static void solve(void) {
  for (int k = 0; k < N; k++) {
    double value = vector[pivots[k]];
    vector[pivots[k]] = vector[k];
    vector[k] = value;
    axpy(N - k - 1, value, matrix[k] + k + 1, vector + k + 1);
  }
  for (int k = N - 1; k >= 0; k--) {
    vector[k] /= matrix[k][k];
    axpy(k, -vector[k], matrix[k], vector);
  }
}

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  for (uint64_t n = 0; n < iterations; n++) {
    uint64_t seed = n;
    memset(right, 0, sizeof right);
    for (int j = 0; j < N; j++)
      for (int i = 0; i < N; i++) {
        original[j][i] = (double)(int64_t)next_random(&seed) * 0x1p-63;
        right[i] += original[j][i];
      }
    memcpy(matrix, original, sizeof matrix);
    memcpy(vector, right, sizeof vector);
    factor();
    solve();
    /* The solution is all ones: right holds the sums of the rows. */
    for (int i = 0; i < N; i++) {
      CHECK(fabs(vector[i] - 1) < 1e-8);
      sum = mix_double(sum, vector[i]);
    }
  }
  return sum;
}
