/* Seven bodies under gravity, leapfrog steps: square roots, divisions and chains of dependent multiply-adds. */
#include <math.h>
#include "bench.h"

#define BODIES 7
#define STEP 0.001
#define SOFTENING 0.01
static struct body { double x, y, z, vx, vy, vz, mass; } bodies[BODIES];

static double energy(void) {
  double e = 0;
  for (int i = 0; i < BODIES; i++) {
    struct body *a = &bodies[i];
    e += 0.5 * a->mass * (a->vx * a->vx + a->vy * a->vy + a->vz * a->vz);
    for (int j = i + 1; j < BODIES; j++) {
      struct body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      e -= a->mass * b->mass / sqrt(dx * dx + dy * dy + dz * dz + SOFTENING);
    }
  }
  return e;
}

static void kick(double time) {
  for (int i = 0; i < BODIES; i++) {
    struct body *a = &bodies[i];
    for (int j = i + 1; j < BODIES; j++) {
      struct body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      double square = dx * dx + dy * dy + dz * dz + SOFTENING;
      double pull = time / (square * sqrt(square));
      a->vx -= dx * b->mass * pull, a->vy -= dy * b->mass * pull, a->vz -= dz * b->mass * pull;
      b->vx += dx * a->mass * pull, b->vy += dy * a->mass * pull, b->vz += dz * a->mass * pull;
    }
  }
}

static void drift(double time) {
  for (int i = 0; i < BODIES; i++) {
    struct body *b = &bodies[i];
    b->x += time * b->vx, b->y += time * b->vy, b->z += time * b->vz;
  }
}

static uint64_t run(uint64_t iterations) {
  /* One heavy body at rest, the others on near-circular orbits at growing radii. */
  uint64_t seed = 7;
  bodies[0].mass = 10;
  for (int i = 1; i < BODIES; i++) {
    double angle = (double)(next_random(&seed) >> 11) * 0x1p-53 * 6.283185307179586;
    double radius = i, speed = sqrt(10.0 / radius);
    bodies[i] = (struct body){radius * cos(angle), radius * sin(angle), 0.05 * i,
                              -speed * sin(angle), speed * cos(angle), 0, 0.01 * i};
  }
  double before = energy();
  for (uint64_t n = 0; n < iterations * 1000; n++) {
    drift(0.5 * STEP);
    kick(STEP);
    drift(0.5 * STEP);
  }
  double after = energy();
  /* A symplectic integrator keeps energy; a wrong sum or root would not. */
  CHECK(fabs(after - before) < 1e-2 * fabs(before));
  uint64_t sum = mix_double(0, after);
  for (int i = 0; i < BODIES; i++) sum = mix_double(mix_double(sum, bodies[i].x), bodies[i].vy);
  return sum;
}
