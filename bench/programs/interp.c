/*
 * A bytecode interpreter: a stack machine with a switch in a loop, as most scripting languages have at heart. One indirect
 * jump for every instruction interpreted, with targets that repeat only as the interpreted program does.
 * It runs a sieve of primes, a recursive Fibonacci and a search for the longest Collatz chain.
 */
#include "bench.h"

enum {
  PUSH,   /* operand       → operand                     */
  LOAD,   /*               → locals[operand]             */
  STORE,  /* a             →          locals[operand]=a  */
  FETCH,  /* i             → memory[i]                   */
  PUT,    /* a i           →          memory[i]=a        */
  ADD, SUB, MUL, SHR, AND, LESS, EQUAL, /* a b → a op b  */
  JUMP,   /*                          pc=operand         */
  JZERO,  /* a             →          pc=operand if !a   */
  CALL,   /* a             → result   the argument becomes local 0 of a new frame of 4 */
  RETURN, /* a             → a        in the caller      */
  HALT
};

struct code { int32_t op, operand; };
#define MEMORY 8192
static int64_t memory[MEMORY];

static int64_t interpret(const struct code *code, int64_t argument) {
  static int64_t stack[256], frames[64 * 4];
  static const struct code *returns[64];
  int64_t *sp = stack, *locals = frames;
  int depth = 0;
  const struct code *pc = code;
  locals[0] = argument;
  for (;;) {
    int32_t operand = pc->operand;
    switch ((pc++)->op) {
      case PUSH: *sp++ = operand; break;
      case LOAD: *sp++ = locals[operand]; break;
      case STORE: locals[operand] = *--sp; break;
      case FETCH: sp[-1] = memory[sp[-1] & (MEMORY - 1)]; break;
      case PUT: sp -= 2; memory[sp[1] & (MEMORY - 1)] = sp[0]; break;
      case ADD: sp--; sp[-1] += sp[0]; break;
      case SUB: sp--; sp[-1] -= sp[0]; break;
      case MUL: sp--; sp[-1] *= sp[0]; break;
      case SHR: sp--; sp[-1] >>= sp[0]; break;
      case AND: sp--; sp[-1] &= sp[0]; break;
      case LESS: sp--; sp[-1] = sp[-1] < sp[0]; break;
      case EQUAL: sp--; sp[-1] = sp[-1] == sp[0]; break;
      case JUMP: pc = code + operand; break;
      case JZERO: if (!*--sp) pc = code + operand; break;
      case CALL:
        returns[depth++] = pc;
        locals += 4;
        locals[0] = *--sp;
        pc = code + operand;
        break;
      case RETURN:
        pc = returns[--depth];
        locals -= 4;
        break;
      case HALT: return *--sp;
    }
  }
}

/* Count the primes below the argument. locals: 0 limit, 1 candidate, 2 multiple, 3 count */
static const struct code sieve[] = {
  /*  0 */ {PUSH, 0}, {STORE, 1},
  /*  2 clear */ {LOAD, 1}, {LOAD, 0}, {LESS, 0}, {JZERO, 14},
  /*  6 */ {PUSH, 0}, {LOAD, 1}, {PUT, 0}, {LOAD, 1}, {PUSH, 1}, {ADD, 0}, {STORE, 1}, {JUMP, 2},
  /* 14 */ {PUSH, 0}, {STORE, 3}, {PUSH, 2}, {STORE, 1},
  /* 18 next */ {LOAD, 1}, {LOAD, 0}, {LESS, 0}, {JZERO, 51},
  /* 22 */ {LOAD, 1}, {FETCH, 0}, {PUSH, 0}, {EQUAL, 0}, {JZERO, 46},
  /* 27 */ {LOAD, 3}, {PUSH, 1}, {ADD, 0}, {STORE, 3}, {LOAD, 1}, {LOAD, 1}, {MUL, 0}, {STORE, 2},
  /* 35 strike */ {LOAD, 2}, {LOAD, 0}, {LESS, 0}, {JZERO, 46},
  /* 39 */ {PUSH, 1}, {LOAD, 2}, {PUT, 0}, {LOAD, 2}, {LOAD, 1}, {ADD, 0}, {JUMP, 52},
  /* 46 advance */ {LOAD, 1}, {PUSH, 1}, {ADD, 0}, {STORE, 1}, {JUMP, 18},
  /* 51 */ {JUMP, 54},
  /* 52 */ {STORE, 2}, {JUMP, 35},
  /* 54 */ {LOAD, 3}, {HALT, 0},
};

/* fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2) */
static const struct code fibonacci[] = {
  /*  0 */ {LOAD, 0}, {CALL, 3}, {HALT, 0},
  /*  3 */ {LOAD, 0}, {PUSH, 2}, {LESS, 0}, {JZERO, 9},
  /*  7 */ {LOAD, 0}, {RETURN, 0},
  /*  9 */ {LOAD, 0}, {PUSH, 1}, {SUB, 0}, {CALL, 3},
  /* 13 */ {LOAD, 0}, {PUSH, 2}, {SUB, 0}, {CALL, 3}, {ADD, 0}, {RETURN, 0},
};

/* The length of the longest Collatz chain that starts below the argument. locals: 0 limit, 1 n, 2 length, 3 longest */
static const struct code collatz[] = {
  /*  0 */ {PUSH, 0}, {STORE, 3},
  /*  2 start */ {LOAD, 0}, {PUSH, 1}, {SUB, 0}, {STORE, 0}, {LOAD, 0}, {JZERO, 46},
  /*  8 */ {LOAD, 0}, {STORE, 1}, {PUSH, 1}, {STORE, 2},
  /* 12 step */ {LOAD, 1}, {PUSH, 1}, {EQUAL, 0}, {JZERO, 18}, {JUMP, 37}, {HALT, 0},
  /* 18 */ {LOAD, 2}, {PUSH, 1}, {ADD, 0}, {STORE, 2},
  /* 22 */ {LOAD, 1}, {PUSH, 1}, {AND, 0}, {JZERO, 32},
  /* 26 odd */ {LOAD, 1}, {PUSH, 3}, {MUL, 0}, {PUSH, 1}, {ADD, 0}, {JUMP, 35},
  /* 32 even */ {LOAD, 1}, {PUSH, 1}, {SHR, 0},
  /* 35 */ {STORE, 1}, {JUMP, 12},
  /* 37 compare */ {LOAD, 3}, {LOAD, 2}, {LESS, 0}, {JZERO, 43}, {LOAD, 2}, {STORE, 3},
  /* 43 */ {JUMP, 2}, {HALT, 0}, {HALT, 0},
  /* 46 */ {LOAD, 3}, {HALT, 0},
};

static uint64_t run(uint64_t iterations) {
  uint64_t sum = 0;
  CHECK(interpret(sieve, 8000) == 1007);
  CHECK(interpret(fibonacci, 20) == 6765);
  CHECK(interpret(collatz, 1000) == 179);
  for (uint64_t n = 0; n < iterations; n++) {
    sum = mix(sum, (uint64_t)interpret(sieve, 4000 + (int64_t)(n % 4000)));
    sum = mix(sum, (uint64_t)interpret(fibonacci, 14 + (int64_t)(n % 4)));
    sum = mix(sum, (uint64_t)interpret(collatz, 300 + (int64_t)(n % 64)));
  }
  return sum;
}
